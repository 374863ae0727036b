import { WAITER_SET_BYTES } from '../waiting/waiter-set.js'

/**
 * A word, and a waiter set for the agents that wait until it changes.
 *
 * ```
 * byte  0            4                    44
 *       +------------+-------- … ---------+
 *       | value      | waiter set         |
 *       +------------+-------- … ---------+
 * ```
 *
 * | word  | written by  | read by  | its writer is killed right after                                               |
 * |-------|-------------|----------|--------------------------------------------------------------------------------|
 * | value | the program | everyone | the value stands, and no waiter was woken: waiters poll after one slice or tick |
 *
 * See WaiterSet for its words.
 */
export const WAITER_SET_OFFSET = 4
export const FUTEX_BYTES = WAITER_SET_OFFSET + WAITER_SET_BYTES
