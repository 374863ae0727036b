/**
 * The peers table: 128 slots of 64 bytes, part of every region's header.
 *
 * ```
 * byte   0            4          8           12         16                24         28
 *        +------------+----------+-----------+----------+-----------------+----------+
 *        | state word | pid      | thread id | hold     | loop id (64)    | bell     |
 *        +------------+----------+-----------+----------+-----------------+----------+
 *       28           32         36          40                           56         64
 *        +------------+----------+-----------+----------------------------+----------+
 *        | place      | uid      | unheard   | hints (128 bits)           | reserved |
 *        +------------+----------+-----------+----------------------------+----------+
 *
 * state word:   31  25 24                    3 2       0
 *              +------+-----------------------+---------+
 *              |  0   | generation (22 bits)  |  state  |
 *              +------+-----------------------+---------+
 * ```
 *
 * | word       | written by                              | read by  | its writer is killed right after               |
 * |------------|-----------------------------------------|----------|------------------------------------------------|
 * | state word | the slot's holder; whoever sweeps it    | everyone | the hold is free, the next claimer sweeps anew |
 * | pid, tid,  | the claimer, before it stores LIVE      | everyone | the slot never became LIVE: nobody reads them  |
 * | loop id,   | (place 0: its event loop cannot be      |          |                                                |
 * | place, uid | rung)                                   |          |                                                |
 * | bell       | heap regions only: whoever rings, +1    | the      | nobody was woken: the loop looks at its next   |
 * |            |                                         | holder   | tick                                           |
 * | unheard    | 1: a waker that could not reach the     | the      | it stays: the holder looks more often than it  |
 * |            | holder's event loop; a claimer whose    | holder   | has to                                         |
 * |            | place is 0. 0: other claimers, before   |          |                                                |
 * |            | LIVE; the holder, when it has made its  |          |                                                |
 * |            | FIFOs anew                              |          |                                                |
 * | hints      | heap regions only: a waker sets the bit | the      | the bits stay: the holder looks at these wait  |
 * |            | of the wait point, before it rings; the | holder   | points with the next wake-up                   |
 * |            | holder takes all bits at once           |          |                                                |
 * | hold       | heap regions only: claimer and holder   | everyone | declaring the death of that generation sweeps  |
 * |            | (their generation, 0), a sweeper        |          | and frees it; of a claimer that was never LIVE |
 * |            | (-1 - its slot)                         |          | nobody knows: its slot is lost to the region   |
 *
 * A slot belongs to the agent that has its *hold*: on a segment a lock that the kernel drops with its holder, on a heap
 * region the word above. Only the agent that has the hold writes the state word, with one exception: LIVE becomes DEAD
 * through the CAS of whoever has proven the death, or on a heap region declares it.
 *
 * | state | hold  | meaning                                                                                          |
 * |-------|-------|--------------------------------------------------------------------------------------------------|
 * | FREE  | free  | nobody; everything of this generation was given back                                             |
 * | FREE  | taken | somebody is claiming the slot, or letting it go                                                  |
 * | LIVE  | taken | attached; or its holder came and died while a claimer, which is about to store DEAD, took the    |
 * |       |       | hold of what it had seen FREE or DEAD                                                            |
 * | LIVE  | free  | the holder died; nothing of it has been swept                                                    |
 * | DEAD  | taken | the holder of this generation is proven dead and is being swept                                  |
 * | DEAD  | free  | proven dead and not swept yet, or the sweeper died as well: the next claimer sweeps              |
 */
export const PEER_SLOT_BYTES = 64
export const STATE_WORD = 0
export const PID_WORD = 1
export const THREAD_ID_WORD = 2
export const LEASE_WORD = 3
/** A number of the holder's thread alone: the lower half, then the upper one. It names the thread's FIFOs, see shm-posix. */
export const LOOP_ID_WORD = 4
export const WAKE_WORD = 6
/** Where those FIFOs stand, see shm-posix: a place, and the number of the user who made them. */
export const PLACE_WORD = 7
export const NO_PLACE = 0
export const UID_WORD = 8
export const UNREACHABLE_WORD = 9
export const HINTS_WORD = 10
export const HINT_WORDS = 4

export const FREE = 0
export const LIVE = 1
export const DEAD = 2

const STATE_BITS = 3
const STATE_MASK = (1 << STATE_BITS) - 1
const GENERATION_MASK = (1 << 22) - 1

export type SlotState = typeof FREE | typeof LIVE | typeof DEAD

export function slotWord(generation: number, state: SlotState): number {
  return (generation << STATE_BITS) | state
}

export function stateOfSlotWord(word: number): number {
  return word & STATE_MASK
}

export function generationOfSlotWord(word: number): number {
  return (word >>> STATE_BITS) & GENERATION_MASK
}
