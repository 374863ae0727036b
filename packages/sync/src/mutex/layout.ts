import { WAITER_SET_BYTES } from '../waiting/waiter-set.js'

/**
 * A mutex: an owner word, and a waiter set for the agents that want to be its next owner.
 *
 * ```
 * byte  0            4                    44          64
 *       +------------+-------- … ---------+---- … ----+
 *       | owner word | waiter set         | reserved  |      one cache line
 *       +------------+-------- … ---------+---- … ----+
 *
 * owner word:  31   30   29   28                  0
 *             +----+----+----+---------------------+
 *             | A  | I  | C  | peer id, 0 = free   |      Abandoned, Inconsistent, Contended
 *             +----+----+----+---------------------+
 * ```
 *
 * | owner word        | meaning                                                 | written by                              |
 * |-------------------|---------------------------------------------------------|-----------------------------------------|
 * | 0                 | free                                                    | the owner that unlocks                  |
 * | I                 | free; what it protects may be half changed              | an owner that unlocks without having    |
 * |                   |                                                         | marked it consistent; a peer that has   |
 * |                   |                                                         | proven the owner's death, by CAS from   |
 * |                   |                                                         | the exact word; a sweep                 |
 * | owner             | held, no waiter sleeps                                  | the owner, by CAS from 0                |
 * | owner, C          | held, waiters may sleep                                 | a waiter, by CAS, before it sleeps; an  |
 * |                   |                                                         | owner that slept before, by CAS from 0  |
 * | owner, I (, C)    | held by one that was told of its predecessor's death    | the owner, by CAS from I                |
 * | A                 | given up for good                                       | the owner                               |
 *
 * Its writer is killed right after: an owner is dead, which is proven before its exact word is replaced. A waiter leaves C:
 * the next unlock looks for sleepers in vain. An owner that unlocked leaves 0 or I, and perhaps woke no waiter: the waiters
 * poll after one slice, or when they hear of the death. A waiter that has slept takes the mutex with C, since others may
 * still sleep.
 */
export const OWNER_WORD_OFFSET = 0
export const WAITER_SET_OFFSET = 4
export const MUTEX_BYTES = 64

if (WAITER_SET_OFFSET + WAITER_SET_BYTES > MUTEX_BYTES) throw new Error('A waiter set does not fit into a mutex')

export const CONTENDED = 1 << 29
export const INCONSISTENT = 1 << 30
export const ABANDONED = 1 << 31
export const OWNER_MASK = CONTENDED - 1

export function ownerOf(word: number): number {
  return word & OWNER_MASK
}
