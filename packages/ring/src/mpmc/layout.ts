import { alignUp, MAX_ALIGNMENT, WAITER_SET_BYTES } from '@isthmus/sync/internal'

/**
 * The MPMC queue in memory. Messages lie in blocks. A lane is a ring of slots, each of which names a block; a queue has one
 * lane for each priority, and one for dead letters if it keeps them. Words that many peers write lie 128 bytes apart: two
 * cache lines, since the hardware fetches them in pairs.
 *
 * ```
 * byte    0 +----------+--------+----------------+----------------+
 *           | given up | lost   | orphans left   | orphans seen   |    seldom written
 *       128 +----------+--------+----------------+----------------+
 *           | messages: a waiter set                              |    receivers sleep here
 *       256 +-----------------------------------------------------+
 *           | space: a waiter set                                 |    senders sleep here
 *       384 +-----------------------------------------------------+
 *           | dead letters: a waiter set                          |    their receivers sleep here
 *       512 +-----------+-----------------------------------------+
 *           | tail hint |                                              of lane 0
 *       640 +-----------+
 *           | head hint |                                              and so on: 256 bytes for each lane
 *       ... +-----------+---- … ----------------------------------+
 *           | slots: lanes x N x 4 bytes                          |    N: a power of two, at least 64 and blocks + 1
 *       ... +---------------- … ----------------------------------+    aligned to 128
 *           | blocks: each of 32 + blockBytes, aligned to 64      |
 *           +---------------- … ----------------------------------+
 *
 * slot        31            n n-1         0       n = log2 N. The slot of position p is the one at p modulo N.
 *             +--------------+-------------+      lap: the high bits of p + N once position p is pushed, those of p while it
 *             | lap          | block       |      is free. Zeroed memory is free for the positions of the first lap.
 *             +--------------+-------------+      block: its index; N - 1 is END
 *
 * block       0      4          8            12                 16       20       24     28      32
 *             +------+----------+------------+------------------+--------+--------+------+-------+---- … ---+
 *             | cell | position | byteLength | kind, lane,      | lease  | sender | done | count | payload  |
 *             |      |          |            | deliveries       |        |        |      |       |          |
 *             +------+----------+------------+------------------+--------+--------+------+-------+---- … ---+
 *
 * cell        31                     9 8     7 6         0         FREE 0, OWNED 1, HELD 2, RETURNING 3.
 *             +-----------------------+-------+-----------+        FREE has slot 0; with slot 1 it is ORPHAN.
 *             | seq (23 bits)         | state | peer slot |        Zeroed memory is FREE.
 *             +-----------------------+-------+-----------+        An instance of a block is one seq of it with one owner.
 *
 * kind        31         16 15    8  7   6     0    DATA: one message. PACKED: several, as records (record/layout.ts).
 *             +------------+-------+---+-------+    PIPE: a message that is larger than a block. See below.
 *             | deliveries | lane  | U | kind  |    U: UNDELIVERED. At most once: a receiver has put it back.
 *             +------------+-------+---+-------+
 * ```
 *
 * A block goes round like this:
 *
 * ```
 *            A2            P3: pushed          T4              T7
 *   FREE ─────────> OWNED ════════════> OWNED ─────────> HELD ─────────> FREE
 *                     |                (RETURNING)         |
 *                     | S3: its owner                      | S4: its holder is dead
 *                     v      is dead                       v          R1            R3        P3: pushed
 *                   FREE                                ORPHAN ─────────> HELD ─────────> RETURNING ═════> RETURNING
 *                                                          ^               |                  |
 *                                                          |               v                  |
 *                                                          |     FREE, if it is dropped       |
 *                                                          └──────────────────────────────────┘
 *                                                             R4: the lane has ended
 * ```
 *
 * END never moves: nothing is pushed behind it. What is put back after the end stays an orphan, and a receiver that comes to the
 * end takes it (R1) and gives it to its program.
 *
 * | word         | written by                            | read by    | publishes           | its writer is killed right after           |
 * |--------------|---------------------------------------|------------|---------------------|--------------------------------------------|
 * | slot         | senders, and `end`, by CAS from the   | all        | the message: its    | it is sent: others find it by walking      |
 * |              | word that is free for that position;  |            | payload, length,    | along the slots, and need no help          |
 * |              | `reopen`: END → free                  |            | kind and position   |                                            |
 * | cell         | by CAS from the exact word: FREE →    | all        | who has the block   | OWNED and not pushed: a sweep frees it.    |
 * |              | OWNED a sender; OWNED, RETURNING →    |            |                     | HELD: a sweep leaves an ORPHAN, which the  |
 * |              | HELD a receiver; HELD → FREE,         |            |                     | next peer that looks pushes again, or      |
 * |              | RETURNING its holder; OWNED → FREE    |            |                     | frees. Stopped: it keeps this block, and   |
 * |              | its owner. A sweep: see sweep.ts      |            |                     | no other is delayed                        |
 * | position     | the owner, plainly, before P3; one    | receivers, | with the cell,      | not pushed: no slot names the block at     |
 * |              | far away by the holder, before it     | sweeps     | which instance of   | this position                              |
 * |              | frees the block or pushes it again    |            | the block this is   |                                            |
 * | byteLength,  | the owner, plainly, before P3.        | the holder |                     | no peer reads them                         |
 * | kind, count, | deliveries: also the holder           |            |                     |                                            |
 * | sender,      |                                       |            |                     |                                            |
 * | payload      |                                       |            |                     |                                            |
 * | done         | the holder: how many messages of a    | the next   |                     | that message was delivered (at most once), |
 * |              | packed block need no delivery any     | holder     |                     | or acknowledged (at least once)            |
 * |              | more                                  |            |                     |                                            |
 * | tail hint    | senders, by CAS upward, after P3;     | senders    | all returned sends  | it lags by the sends that had not returned |
 * |              | receivers that found nothing          | far behind |                     |                                            |
 * | head hint    | receivers, by CAS upward, every 32    | receivers  | a bound: everything | it lags; a drained queue may look as if it |
 * |              | messages, and when they find nothing  | far behind | before it is taken  | had messages                               |
 * | orphans left | +1: a sweep, at its end, if there are | receivers, |                     | a sweep: the slot is swept again. Else the |
 * |              | orphans; after R4; `reopen`           | senders    |                     | peer was not heard of: checks find orphans |
 * | orphans seen | a peer that has looked at all blocks: | the same   |                     | nothing                                    |
 * |              | the value of `left` before it looked  |            |                     |                                            |
 * | given up     | a peer that frees a block after       | tools      |                     | it is not counted                          |
 * |              | maxDeliveries, +1 for each message    |            |                     |                                            |
 * | lost         | a peer that frees what a dead holder  | tools      |                     | it is not counted                          |
 * |              | had (at most once), +1 for each       |            |                     |                                            |
 * | lease        | of a PIPE: see below                  |            |                     |                                            |
 *
 * Invariants, of each lane:
 * 1. Pushed positions are a prefix: the slot of p is filled only after that of p - 1.
 * 2. Taken positions are a prefix. So no message may be taken out of its order.
 * 3. The blocks of the positions that are pushed and not taken are distinct, and OWNED or RETURNING.
 * 4. Only the peer that the cell names writes the rest of the block.
 * 5. head hint <= first position not taken <= first position not pushed; tail hint <= first position not pushed.
 *
 * There are fewer blocks than slots. So when the slot of p is free for p, the message at p - N was taken: a slot is never
 * overwritten unread, and never full.
 *
 * A cell that is committed (pushed and not taken) may name a sender that is long gone, and so the slot of another peer. That is
 * harmless: a sweep asks the slots first, and the next owner raises seq.
 *
 * A receiver reads slot, cell and position in this order, and takes by CAS from the exact cell word. If the instance that
 * was pushed at p had been freed, its last holder had changed the position before; no later instance gets position p in this
 * lane; and one that has the same position in another lane has another lane. So the CAS hits what was pushed at p, or fails. A
 * holder that pushes a block again makes its position another one first: the slot of p still names the block.
 *
 * Lanes count alike, so with several of them a position means something only together with a lane. Its owner makes the position
 * another one before it stores the lane; a receiver reads the lane, the position, and the lane again.
 *
 * Words repeat: a slot's word after 2 ** 32 messages, a cell's after 2 ** 23 instances _of one block_. A receiver that is
 * stopped between reading the cell and its CAS takes a wrong instance if meanwhile exactly a multiple of those have passed, by
 * the same sender: a queue of one block takes seconds for that, one of 1,024 an hour.
 */
export const GIVEN_UP_OFFSET = 0
export const LOST_OFFSET = 4
export const ORPHANS_LEFT_OFFSET = 8
export const ORPHANS_SEEN_OFFSET = 12

const SEPARATION = 128
export const MESSAGES_OFFSET = SEPARATION
export const SPACE_OFFSET = 2 * SEPARATION
export const DEAD_LETTERS_OFFSET = 3 * SEPARATION
const HINTS_OFFSET = 4 * SEPARATION
if (WAITER_SET_BYTES > SEPARATION) throw new Error('A waiter set does not fit between two lines of the MPMC queue')

export const tailOffsetOf = (lane: number): number => HINTS_OFFSET + lane * 2 * SEPARATION
export const headOffsetOf = (lane: number): number => HINTS_OFFSET + (lane * 2 + 1) * SEPARATION

export const BLOCKS_MAX = 2 ** 20 - 1
export const BLOCK_BYTES_MAX = 2 ** 30
export const LANES_MAX = 8
export const DELIVERIES_MAX = 0xffff

const SLOTS_MIN = 64
const BLOCK_ALIGNMENT = 64

/** How many slots a lane has: more than there are blocks. */
export function slotCountOf(blocks: number): number {
  return 2 ** Math.ceil(Math.log2(Math.max(SLOTS_MIN, blocks + 1)))
}

/** Where everything lies, from the beginning of the queue. */
export interface Places {
  readonly slotsOffset: number
  readonly blocksOffset: number
  /** From one block to the next. */
  readonly strideBytes: number
  readonly byteLength: number
}

export function placesOf(blocks: number, blockBytes: number, allLanes: number, slotCount: number): Places {
  const slotsOffset = tailOffsetOf(allLanes)
  const blocksOffset = alignUp(slotsOffset + allLanes * slotCount * 4, MAX_ALIGNMENT)
  const strideBytes = alignUp(BLOCK_HEADER_BYTES + blockBytes, BLOCK_ALIGNMENT)
  return { slotsOffset, blocksOffset, strideBytes, byteLength: blocksOffset + blocks * strideBytes }
}

/** Words of a block, counted from its cell. */
export const POSITION_WORD = 1
export const LENGTH_WORD = 2
export const KIND_WORD = 3
export const LEASE_WORD = 4
export const SENDER_WORD = 5
export const DONE_WORD = 6
export const COUNT_WORD = 7
export const BLOCK_HEADER_BYTES = 32

export const FREE = 0
export const ORPHAN = 1
export const OWNED = 1 << 7
export const HELD = 2 << 7
export const RETURNING = 3 << 7
/** OWNED and RETURNING have this bit, and no other state has it: a block that may be pushed. */
export const PUSHABLE = 1 << 7
const SLOT_MASK = (1 << 7) - 1
const STATE_MASK = 3 << 7
/** State and slot: FREE and ORPHAN are values of it. */
export const HOLD_MASK = STATE_MASK | SLOT_MASK
const SEQ_MASK = ~HOLD_MASK
const SEQ_STEP = 1 << 9

export const stateOfCell = (cell: number): number => cell & STATE_MASK
export const slotOfCell = (cell: number): number => cell & SLOT_MASK
/** The same seq, with this state and slot. */
export const sameInstance = (cell: number, hold: number): number => (cell & SEQ_MASK) | hold
/** The next seq, with this state and slot. */
export const nextInstance = (cell: number, hold: number): number => ((cell & SEQ_MASK) + SEQ_STEP) | hold

/** What a position becomes before its block is freed: no position that a receiver may be looking for. */
export const awayFrom = (position: number): number => position ^ -0x80000000

export const DATA = 1
export const PACKED = 2
export const PIPE = 3

const LANE_SHIFT = 8
const DELIVERIES_SHIFT = 16
export const DELIVERY = 1 << DELIVERIES_SHIFT

/** At most once: a receiver has put the message back, so its program did not get it. */
export const UNDELIVERED = 1 << 7
export const kindIn = (word: number): number => word & 0x7f
export const laneIn = (word: number): number => (word >>> LANE_SHIFT) & 0xff
export const deliveriesIn = (word: number): number => word >>> DELIVERIES_SHIFT
export const setLaneIn = (word: number, lane: number): number => (word & ~(0xff << LANE_SHIFT)) | (lane << LANE_SHIFT)

/**
 * A pipe: a block through which one message goes that is larger than a block. Its sender writes into it what its receiver reads
 * meanwhile. Offsets from the cell:
 *
 * ```
 * byte    0 +--------------------------------+------------------+
 *           | header, as of any block        | total length (64)|
 *       128 +----------------+---------------+------------------+
 *           | write position |                                       the sender's: bytes that are published
 *       256 +----------------+
 *           | read position  |                                       the receiver's: bytes that were copied
 *       384 +----------------+
 *           | event count    |                                       the receiver waits for bytes
 *       512 +----------------+
 *           | event count    |                                       the sender waits for space, and for the receiver's mark
 *       640 +----------------+------------------ … ------------+
 *           | bytes: a ring of blockBytes - 608, a multiple of 8
 *           +----------------------------------- … ------------+
 * ```
 *
 * Positions count the bytes of the message, modulo 2 ** 32. Each side keeps its own, and compares the other one with it.
 *
 * Two peers use the block, and its cell names one of them. The other one is the sender: the header names it, and the lease says
 * whether it is done. **A block whose sender is at work (alive, and not GONE) is freed by its sender alone.** The receiver leaves
 * it as an ORPHAN, or dies and a sweep does; then its sender takes it back, or is GONE and the last of the two frees it.
 *
 * ```
 *         push           T4            Y3, S4            R1                  R4
 *   OWNED ====> OWNED ────────> HELD ────────> ORPHAN ──────> HELD (sender) ────> RETURNING ====> RETURNING
 *                                 |               |              |
 *                                 | Y2: GONE      | GONE         | R3: not again
 *                                 v               v              v
 *                               FREE             FREE           FREE
 * ```
 *
 * | mark in the lease | by       | meaning                                              |
 * |-------------------|----------|------------------------------------------------------|
 * | SENDER_ABORTED    | sender   | no more bytes will be published, and some are missing|
 * | SENDER_GONE       | sender   | it does not touch the block any more                 |
 * | RECEIVER_DONE     | receiver | the message was received whole, and is acknowledged  |
 * | RECEIVER_LEFT     | receiver | the receiver gives the message up                    |
 *
 * Marks are added with `Atomics.or`, and taken away only by a sender that has taken the block back and pushes it again. Each side marks
 * first and looks then: the sender adds GONE, then loads the cell; the receiver makes the cell an ORPHAN, then loads the lease.
 * So at least one of them sees that the other one has left, and frees the block; if both do, one CAS wins.
 *
 * | right after                | what stands            | killed                                     | stopped                           |
 * |----------------------------|------------------------|--------------------------------------------|-----------------------------------|
 * | sender: A2, header         | OWNED                  | S3 frees it                                | its block                         |
 * | sender: P3                 | a message in the queue | its receiver passes it over silently; or,  | its receiver waits, times out,    |
 * |                            |                        | if it had begun, gets what was published,  | or gives it up: skipMessage       |
 * |                            |                        | then IncompleteMessageError                |                                   |
 * | sender: a publication      | more bytes             | the same                                   | the same                          |
 * | sender: ABORTED            | not whole              | the same                                   | its receiver goes on; the block   |
 * |                            |                        |                                            | is an orphan until it goes on     |
 * | sender: GONE               | the receiver frees it  | an ORPHAN: the next peer that looks frees  | the same                          |
 * | sender: R1, R2             | HELD by the sender     | S4, then R1 of another peer, which frees   | its block                         |
 * |                            |                        | it, since the sender is dead               |                                   |
 * | sender: R4, the CAS        | RETURNING, not pushed  | the same                                   | its block                         |
 * | sender: R4, P3             | as P3                  | as P3                                      | as P3                             |
 * | receiver: T4               | HELD                   | S4 by a sweep, or by the sender, which     | the sender waits: timeout, abort; |
 * |                            |                        | watches the holder; then R1                | others are unaffected             |
 * | receiver: DONE, LEFT       | HELD                   | the same; DONE: the message is sent        | DONE: nothing. LEFT: the sender   |
 * |                            |                        |                                            | waits for the block, at least once|
 * | receiver: Y3               | ORPHAN                 | the sender finds it, or has died: then the | the same                          |
 * |                            |                        | next peer that looks frees it              |                                   |
 *
 * The sender of a pipe that is not taken holds one block, and waits for no other; nor does its receiver. So messages that wait
 * for each other cannot close a circle. A message that is given up before it is taken stays in its place, with SENDER_ABORTED
 * (nothing is taken out of its order), and is passed over silently.
 *
 * At most once, a message is sent when all of it is published and its sender is GONE: if its receiver had LEFT before, the send
 * throws. At least once, its sender is what would send it again: it
 * stays until the receiver has acknowledged the message. It ends with an error after maxDeliveries, and if the queue has ended
 * before it could push the block again. So a receiver that comes to the end waits for no pipe that another one holds.
 *
 * A peer id comes again after 2 ** 22 attachments in one slot. A pipe whose sender has died, and that stays in the queue as
 * long, would wait for another one.
 */
export const PIPE_LENGTH_OFFSET = BLOCK_HEADER_BYTES
export const PIPE_WRITE_OFFSET = SEPARATION
export const PIPE_READ_OFFSET = 2 * SEPARATION
export const PIPE_RECEIVER_EVENTS_OFFSET = 3 * SEPARATION
export const PIPE_SENDER_EVENTS_OFFSET = 4 * SEPARATION
export const PIPE_BYTES_OFFSET = 5 * SEPARATION
/** A smaller block has no room for a pipe. */
export const PIPE_BLOCK_BYTES_MIN = 768

export const SENDER_GONE = 1
export const SENDER_ABORTED = 2
export const RECEIVER_DONE = 4
export const RECEIVER_LEFT = 8

/** How many bytes of a large message are in its block at a time. */
export const pipeCapacityOf = (blockBytes: number): number => (blockBytes + BLOCK_HEADER_BYTES - PIPE_BYTES_OFFSET) & -8
