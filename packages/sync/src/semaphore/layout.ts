import { WAITER_SET_BYTES } from '../waiting/waiter-set.js'

/**
 * A counting semaphore. Each permit is a cell that contains the id of its holder, so what a killed holder had can be found.
 *
 * ```
 * byte  0                    40                               40 + 4 * permits
 *       +-------- … ---------+------------+---- … -----------+
 *       | waiter set         | cell 0     | cell 1 …         |
 *       +-------- … ---------+------------+---- … -----------+
 * ```
 *
 * The table of a cell's word is that of OwnedCells: 0 is a free permit. See WaiterSet for its words.
 */
export const WAITER_SET_OFFSET = 0
export const CELLS_OFFSET = WAITER_SET_OFFSET + WAITER_SET_BYTES

/** `tryAcquire` may look at every cell. */
export const PERMITS_MAX = 4096
