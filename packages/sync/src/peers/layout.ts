/**
 * The peers table: 128 slots of 64 bytes, part of every region's header.
 *
 * ```
 * byte   0            4          8           12         16                24         28
 *        +------------+----------+-----------+----------+-----------------+----------+
 *        | state word | pid      | thread id | lease    | loop id (64)    | wake     |
 *        +------------+----------+-----------+----------+-----------------+----------+
 *       28           32         36          40                           56         64
 *        +------------+----------+-----------+----------------------------+----------+
 *        | place      | uid      | unreach-  | hints (128 bits)           | reserved |
 *        |            |          | able      |                            |          |
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
 * | state word | the slot's holder; its sweeper          | all peers| the lease is free, the next claimer sweeps     |
 * |            |                                         |          | again                                          |
 * | pid, tid,  | the claimer, before it stores LIVE      | all peers| the slot never became LIVE: no peer reads them |
 * | loop id,   | (place 0: its event loop cannot be      |          |                                                |
 * | place, uid | woken)                                  |          |                                                |
 * | wake       | heap regions only: a waker, +1          | the      | no loop was woken: the holder polls at its     |
 * |            |                                         | holder   | next tick                                      |
 * | unreach-   | 1: a waker that could not reach the     | the      | it stays: the holder polls more often than     |
 * | able       | holder's event loop; a claimer whose    | holder   | necessary                                      |
 * |            | place is 0. 0: other claimers, before   |          |                                                |
 * |            | LIVE; the holder, when it has made its  |          |                                                |
 * |            | FIFOs again                             |          |                                                |
 * | hints      | heap regions only: a waker sets the bit | the      | the bits stay: the holder polls at these wait  |
 * |            | of the wait point, before it wakes; the | holder   | points with the next wake-up                   |
 * |            | holder takes all bits at once           |          |                                                |
 * | lease      | heap regions only: claimer and holder   | all peers| declaring the death of that generation sweeps  |
 * |            | (their generation, 0), a sweeper        |          | and frees it; the death of a claimer that was  |
 * |            | (-1 - its slot)                         |          | never LIVE is not noticed: its slot is lost    |
 *
 * A slot belongs to the agent that has its *lease*: on a segment a lock that the kernel drops with its holder, on a heap
 * region the word above. Only the agent with the lease writes the state word, with one exception: LIVE becomes DEAD by the
 * CAS of an agent that has proven the death, or on a heap region declares it.
 *
 * | state | lease | meaning                                                                                          |
 * |-------|-------|--------------------------------------------------------------------------------------------------|
 * | FREE  | free  | no holder; everything of this generation was given back                                          |
 * | FREE  | taken | an agent is claiming the slot, or giving it back                                                 |
 * | LIVE  | taken | attached; or its holder came and died while a claimer, which is about to store DEAD, took the    |
 * |       |       | lease of a slot that it had seen FREE or DEAD                                                    |
 * | LIVE  | free  | the holder died; nothing of it has been swept                                                    |
 * | DEAD  | taken | the holder of this generation is proven dead and is being swept                                  |
 * | DEAD  | free  | proven dead and not swept yet, or the sweeper died as well: the next claimer sweeps              |
 */
export const PEER_SLOT_BYTES = 64
export const STATE_WORD = 0
export const PID_WORD = 1
export const THREAD_ID_WORD = 2
export const LEASE_WORD = 3
/** The loop id of the holder's thread: the lower half, then the upper one. It names the thread's FIFOs, see shm-posix. */
export const LOOP_ID_WORD = 4
export const WAKE_WORD = 6
/** Where those FIFOs are, see shm-posix: a place, and the number of the user that made them. */
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
