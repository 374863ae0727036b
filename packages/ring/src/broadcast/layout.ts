import type { PeerId } from '@isthmus/sync'
import { EVENT_COUNT_BYTES, WAITER_SET_BYTES } from '@isthmus/sync/internal'
import { RECORD_HEADER_BYTES } from '../record/layout.js'
import { MESSAGE_NUMBER_BYTES } from '../record/message-number.js'

/**
 * The broadcast ring in memory: one publisher, and any number of subscribers, each of which gets every message. A lossy
 * subscriber writes nothing here: the publisher does not wait for it, and overwrites what it has not read. A gating subscriber
 * has one of the gates, and the publisher overwrites nothing that it has not read.
 *
 * ```
 * byte    0 +----------------+
 *           | publisher role |                                         seldom written
 *       128 +----------------+-----+- 8 -+--------------+--------------+
 *           | write position | era |     | number       | number       |  publisher's: on every publication
 *       256 +----------------+-----+-----+--------------+--------------+
 *           | intent         | era |                                   publisher's: every eighth of the ring
 *       384 +----------------+-----+----- … ----------+
 *           | 16 checkpoints, one word each           |                publisher's: every sixteenth of the ring
 *       512 +----------------------- … ---------------+
 *           | data: a waiter set                      |                subscribers wait here for messages
 *       640 +----------------+----------------+-------+
 *           | sleeper        | sequence       |                        publisher's event count: waits for gates
 *       768 +----------------+----------------+-----+
 *           | gate 0: owner  | cursor         | era |                  its subscriber's: every quarter of the ring, and
 *       896 +----------------+----------------+-----+                  with each call while the publisher waits
 *           | gate 1 …       |                |     |
 *           +----------------+----------------+-----+-- … --+
 *           | records: capacityBytes (record/layout.ts)     |
 *           +---------------------------------------- … ----+
 *
 * gate owner:  31  30     29 28                  0      number:  0              4                       12        16
 *             +---+---------+---------------------+             +--------------+-----------------------+---------+
 *             | 0 | state   | peer id, 0 if FREE  |             | position     | number of the next    | inside: |
 *             +---+---------+---------------------+             | (low)        | message (64 bits)     | 0 or 1  |
 *                                                               +--------------+-----------------------+---------+
 * ```
 *
 * A position has 62 bits, in two words: see position.ts. A checkpoint and the position in a number are the low words alone.
 *
 * The payload of a DATA, FIRST, MIDDLE or LAST record begins with the number of its message, 64 bits; in a FIRST record the
 * total length follows it. PADDING and ABORT have none. The number of a message says how many whole messages were published
 * before it, so a subscriber counts exactly how many it has lost. A message that was aborted gives its number to the next one.
 *
 * "Inside" says that fragments of a message are published and its last one is not: then the successor of a publisher that died
 * begins with an ABORT. After a FIRST or MIDDLE that is published, 8 bytes are free for it, and no gate opens later that needs
 * them: a subscriber begins at the write position, or after it.
 *
 * | word           | written by                | read by    | publishes                | its writer is killed, or stopped, right after |
 * |----------------|---------------------------|------------|--------------------------|-----------------------------------------------|
 * | publisher role | see role/layout.ts        | all        | who the publisher is     | see role/layout.ts                            |
 * | era of the     | the publisher, before the | all        | nothing: the low word    | (era + 1, low) reads as the old position; the |
 * | write position | low word, if it changes   |            | does                     | successor stores the old era again            |
 * | write position | the publisher             | all        | the records before it,   | they are delivered: sleepers look after a     |
 * | (low word)     |                           |            | their numbers, and the   | slice, a tick, or when they hear of the death.|
 * |                |                           |            | number with this position| Later records were never sent                 |
 * | number         | the publisher, plainly,   | successor, | nothing: the write       | no write position agrees with this number, or |
 * |                | the two in turn, before   | newcomers  | position does            | with what is stored of it: the other one      |
 * |                | the write position        |            |                          | counts                                        |
 * | intent         | the publisher, before it  | lossy sub- | bytes before intent -    | up to an eighth of the ring is not readable   |
 * | (as the write  | writes bytes up to there; | scribers,  | capacity may be          | any more, for nothing. It never goes back: the|
 * | position)      | never less than before    | after each | overwritten              | successor begins at the write position, and   |
 * |                |                           | copy       |                          | with this intent                              |
 * | checkpoint     | the publisher, after the  | newcomers, | between its position and | an older boundary stands there, which is      |
 * |                | write position            | overrun    | the next one a whole     | validated as any; the successor replaces those|
 * |                |                           | subscribers| message begins           | that are more than a ring behind              |
 * | owner of a gate| FREE to JOINING, to       | publisher, | ACTIVE: the publisher is | JOINING: it holds back nobody. ACTIVE: it     |
 * |                | ACTIVE, to FREE: a        | owner,     | held back, by the cursor | holds back the publisher. Killed: a sweep, or |
 * |                | subscriber                | tools      |                          | the publisher that has proven the death, frees|
 * |                | ACTIVE to DEMOTED: the    |            | DEMOTED: no longer; the  | it, and notifies the publisher.               |
 * |                | publisher                 |            | subscriber is lossy      | DEMOTED: the publisher goes on                |
 * |                | to FREE: any peer that has|            |                          | FREE, not notified: the publisher looks after |
 * |                | proven the owner's death  |            |                          | a slice                                       |
 * |                | (all by CAS from the      |            |                          |                                               |
 * |                | exact word)               |            |                          |                                               |
 * | cursor         | its subscriber            | publisher  | the space before it: the | the gate falls with its owner, as above; a    |
 * |                |                           |            | subscriber reads none of | stopped one holds the publisher back until it |
 * |                |                           |            | it again                 | is demoted                                    |
 * | data           | see sync's WaiterSet      |            |                          |                                               |
 * | event count    | see sync's EventCount     |            |                          |                                               |
 * | records        | the publisher, plainly, from the write position to the intent. A killed publisher leaves bytes there  |
 * |                | that nothing refers to, and that its successor overwrites.                                            |
 *
 * Publishing (broadcast/publisher.ts), with P the position up to which records are published and E the end of new ones:
 *
 * | step | what                                                                                                          |
 * |------|---------------------------------------------------------------------------------------------------------------|
 * | G1   | E > limit: limit = min(P, cursors of the ACTIVE gates) + capacity. Still: the ring is full                     |
 * | G2   | E > intent: store intent = min(E + capacity / 8, limit), then load it                                         |
 * | G3   | plain stores: the records, and, of all of them before G4, their numbers                                       |
 * | G4   | plain stores: the other next number. Then store the write position: E                                         |
 * | G5   | E is in another sixteenth than the last checkpoint: store E in those that were passed; inside a message, 1    |
 * | G6   | notify data: one load                                                                                          |
 *
 * - E - P is at most the capacity: a publisher that holds more back publishes first. So a subscriber that has read everything
 *   can always read what is published next, and the era of a position grows by at most 1 at a time.
 * - The limit counts from P and not from the end of what is held back: a subscriber that joins begins at P (J3).
 * - The loads of G2 and G6 order the plain stores after them behind the atomic stores before them, on every processor: an
 *   atomic store and a later atomic load stay in order, and nothing passes an atomic load upwards. So new bytes are seen only
 *   with the new intent, and a number changes only after the publication of the other one.
 * - A subscriber that has copied bytes, and validates them by the intent, needs its reads in order before the load of the
 *   intent. Atomic loads do not keep earlier plain reads before them on arm64; an atomic store to a word of its own, and then
 *   the atomic load, do (record/order-reads.ts). x64 keeps the order of loads by itself.
 *
 * The number of the next message, at a position W: load the write position, W; the number whose position is W's low word; then
 * the write position again. If it is still W, that number was whole: the publisher writes it again only after it has published
 * another position. The two positions differ from each other and from what is written over them by less than 2 ** 32 bytes.
 * Both are W's in a new ring alone: then the first one counts, and the second one is written next. A successor must not publish W
 * once more: while it writes the other number, that one has W's position and not yet W's number.
 *
 * A checkpoint, c, with the write position W (62 bits): d = W - c modulo 2 ** 32, and the position is W - d. It is used if
 * c is a multiple of 8 and 0 <= d <= capacity, and validated by the intent as every position. That suffices: checkpoints that the
 * publisher passes are replaced, and its successor begins by replacing those that are not of the last ring. So each of them is
 * less than three rings old, or, if W is old, the intent says so.
 *
 * Joining (broadcast/gates.ts):
 *
 * | step | what                                                        | killed right after               | stopped right after      |
 * |------|-------------------------------------------------------------|----------------------------------|--------------------------|
 * | J1   | CAS owner: FREE to JOINING; store cursor = write position   | swept: FREE                      | one gate fewer           |
 * | J2   | CAS owner: to ACTIVE                                        | swept or proven: FREE            | the publisher is held    |
 * | J3   | load the write position again: the subscriber begins there  | the same                         | back by the old cursor   |
 * | J4   | store cursor = that position; notify the publisher          | the same                         | as any subscriber        |
 *
 * J3: the publisher may have made its limit just before J2, from a position P. J3 finds P or a later one, so nothing from
 * there on is overwritten. Between J2 and J4 the cursor may be more than a ring behind: the ring is full until then, and the publisher may
 * wait for J4. J4 moves the
 * cursor as any subscriber does: the publisher finds a position there at every moment, wherever the subscriber is stopped. If
 * J3 finds a position more than 2 ** 30 bytes ahead, the gate goes back to JOINING, and J1 to J3 are repeated.
 */
export const PUBLISHER_ROLE_OFFSET = 0

const SEPARATION = 128
let offset = SEPARATION
export const WRITE_POSITION_OFFSET = offset
/** Two of them. */
export const NUMBERS_OFFSET = offset + 16
export const NUMBER_BYTES = 16
offset += SEPARATION
export const INTENT_OFFSET = offset
offset += SEPARATION
export const CHECKPOINTS_OFFSET = offset
offset += SEPARATION
export const DATA_OFFSET = offset
offset += SEPARATION
export const SPACE_EVENTS_OFFSET = offset
offset += SEPARATION
export const GATES_OFFSET = offset
export const GATE_BYTES = SEPARATION
/** Within a gate. */
export const GATE_OWNER_OFFSET = 0
export const GATE_CURSOR_OFFSET = 8

if (Math.max(EVENT_COUNT_BYTES, WAITER_SET_BYTES) > SEPARATION) {
  throw new Error('A wait point does not fit between two lines of the broadcast ring')
}

export const CHECKPOINTS = 16
/** Stands for "none": positions are multiples of 8. */
export const NO_CHECKPOINT = 1

/** The intent goes ahead of what is written by this part of the ring. */
export const INTENT_STEPS = 8

export const CAPACITY_BYTES_MIN = 64
export const CAPACITY_BYTES_MAX = 2 ** 30
export const GATES_MAX = 128

/** Where the records of a ring with so many gates begin. */
export function recordsOffsetOf(gates: number): number {
  return GATES_OFFSET + gates * GATE_BYTES
}

/** The largest message that travels in one record: with its padding it fits at any position of an empty ring. */
export function maxNumberedRecordBytesOf(capacityBytes: number): number {
  return capacityBytes / 2 - RECORD_HEADER_BYTES - MESSAGE_NUMBER_BYTES
}

/** From this capacity on, fragments are large enough for a message of half the ring to leave an eighth of it free. */
const CAPACITY_BYTES_OF_FRAGMENTS = 512

/** The largest message that a subscriber without a gate can receive when all of it is published, wherever it begins. */
export function maxLossyMessageBytesOf(capacityBytes: number): number {
  return capacityBytes < CAPACITY_BYTES_OF_FRAGMENTS ? maxNumberedRecordBytesOf(capacityBytes) : capacityBytes / 2
}

export const FREE = 0
export const JOINING = 1
export const ACTIVE = 2
export const DEMOTED = 3

export type GateState = typeof FREE | typeof JOINING | typeof ACTIVE | typeof DEMOTED

const GATE_STATE_SHIFT = 29
const PEER_MASK = (1 << GATE_STATE_SHIFT) - 1

/** Not for FREE, which is the word 0. */
export function gateWord(state: GateState, peer: PeerId): number {
  return (state << GATE_STATE_SHIFT) | peer
}

export function stateOfGate(word: number): GateState {
  return ((word >>> GATE_STATE_SHIFT) & 3) as GateState
}

export function peerOfGate(word: number): PeerId {
  return (word & PEER_MASK) as PeerId
}
