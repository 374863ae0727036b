import { WAITER_SET_BYTES } from '../waiting/waiter-set.js'

/**
 * A mutex: an owner word, and a wait set for those who want to be the next.
 *
 * ```
 * byte  0            4                    40          64
 *       +------------+-------- … ---------+---- … ----+
 *       | owner word | wait set           | reserved  |      one cache line
 *       +------------+-------- … ---------+---- … ----+
 *
 * owner word:  31   30   29   28                  0
 *             +----+----+----+---------------------+
 *             | A  | I  | C  | peer id, 0 = free   |      Abandoned, Inconsistent, Contended
 *             +----+----+----+---------------------+
 * ```
 *
 * | owner word        | meaning                                                 | who writes it                           |
 * |-------------------|---------------------------------------------------------|-----------------------------------------|
 * | 0                 | free                                                    | the owner that unlocks                  |
 * | I                 | free; what it protects may be half changed              | an owner that unlocks without having    |
 * |                   |                                                         | marked it consistent; whoever proves    |
 * |                   |                                                         | the owner's death, by CAS from its      |
 * |                   |                                                         | exact word; a sweep                     |
 * | owner             | held, nobody sleeps                                     | the owner, by CAS from 0                |
 * | owner, C          | held, somebody may sleep                                | a waiter, by CAS, before it sleeps; an  |
 * |                   |                                                         | owner that slept before, by CAS from 0  |
 * | owner, I (, C)    | held by one who was told of its predecessor's death     | the owner, by CAS from I                |
 * | A                 | given up for good                                       | the owner                               |
 *
 * Killed right after its store: an owner is dead, which is proven before its exact word is replaced. A waiter leaves C: an
 * unlock that looks for sleepers in vain. One that unlocked leaves 0 or I, and perhaps its wake-up missing: the sleepers
 * look after one slice, or when they hear of the death. Whoever slept takes the mutex with C, since others may sleep on.
 */
export const OWNER_WORD_OFFSET = 0
export const WAIT_SET_OFFSET = 4
export const MUTEX_BYTES = 64

if (WAIT_SET_OFFSET + WAITER_SET_BYTES > MUTEX_BYTES) throw new Error('A wait set does not fit into a mutex')

export const CONTENDED = 1 << 29
export const INCONSISTENT = 1 << 30
export const ABANDONED = 1 << 31
export const OWNER_MASK = CONTENDED - 1

export function ownerOf(word: number): number {
  return word & OWNER_MASK
}
