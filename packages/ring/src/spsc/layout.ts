import { EVENT_COUNT_BYTES } from '@isthmus/sync/internal'

/**
 * The SPSC ring in memory. What different sides write lies 128 bytes apart: two cache lines, since the hardware fetches
 * them in pairs.
 *
 * ```
 * byte    0 +----------------+----------------+----------------+
 *           | producer role  | consumer role  | reported epoch |      roles: seldom written
 *       128 +----------------+----------------+----------------+
 *           | write position |                                        producer's: on every publication
 *       256 +----------------+
 *           | read position  |                                        consumer's: every quarter of the ring
 *       384 +----------------+----------------+
 *           | sleeper        | sequence       |                       consumer's event count: data to come
 *       512 +----------------+----------------+
 *           | sleeper        | sequence       |                       producer's event count: space to come
 *       640 +----------------+----------------+--------- … ----+
 *           | records: capacityBytes                           |
 *           +---------------------------------- … -------------+
 * ```
 *
 * | word           | written by                | read by  | publishes               | its writer is killed right after           |
 * |----------------|---------------------------|----------|-------------------------|--------------------------------------------|
 * | producer role, | see role/layout.ts        | both     | who is the other side   | see role/layout.ts                         |
 * | consumer role  |                           |          |                         |                                            |
 * | reported epoch | the consumer, when its    | its suc- | the end of that producer| that end is told once. Killed before: the  |
 * |                | program comes back after  | cessor   | epoch has been told     | successor tells it, maybe once more        |
 * |                | being told, or closes     |          |                         |                                            |
 * | write position | the producer              | both     | the records before it,  | what it covers will be received, what is   |
 * |                |                           |          | written with plain      | not was never sent                         |
 * |                |                           |          | stores                  |                                            |
 * | read position  | the consumer              | both     | the space before it:    | its successor begins there: what was read  |
 * |                |                           |          | nobody reads it any more| but not returned is delivered once more    |
 * | event counts   | see sync's EventCount     |          |                         |                                            |
 * | records        | the producer, between the read position plus capacity, and the write position. The consumer only      |
 * |                | reads. A killed producer leaves bytes there that nothing refers to.                                    |
 *
 * Positions are free-running 32-bit numbers of bytes, compared by `(a - b) | 0`; `position & (capacityBytes - 1)` is the
 * index in the records. The ring is valid if and only if
 * 1. both positions are multiples of 8 and 0 <= writePosition - readPosition <= capacityBytes,
 * 2. from the read to the write position there is one whole record behind the other, none of them across the end,
 * 3. kinds come in this order: any number of DATA and PADDING between whole messages; FIRST, MIDDLE …, LAST of one message
 *    with nothing but PADDING between; ABORT anywhere, and always where a message breaks off,
 * 4. behind a published FIRST or MIDDLE at least 8 bytes are free, so that an ABORT always fits.
 */
export const PRODUCER_ROLE_OFFSET = 0
export const CONSUMER_ROLE_OFFSET = 4
export const REPORTED_EPOCH_OFFSET = 8

const SEPARATION = 128
let offset = SEPARATION
export const WRITE_POSITION_OFFSET = offset
offset += SEPARATION
export const READ_POSITION_OFFSET = offset
offset += SEPARATION
export const CONSUMER_EVENTS_OFFSET = offset
offset += SEPARATION
export const PRODUCER_EVENTS_OFFSET = offset
offset += SEPARATION
export const RECORDS_OFFSET = offset

if (EVENT_COUNT_BYTES > SEPARATION) throw new Error('An event count does not fit between two lines of the SPSC ring')

export const CAPACITY_BYTES_MIN = 64
export const CAPACITY_BYTES_MAX = 2 ** 30

/**
 * A record: a header of 8 bytes and the payload, padded to a multiple of 8.
 *
 * ```
 * byte  0                 4         5                 8                          8 + byteLength
 *       +-----------------+---------+-----------------+----------- … -------------+ - - - - - +
 *       | byteLength      | kind    | message id (24) | payload                   | padding   |
 *       +-----------------+---------+-----------------+----------- … -------------+ - - - - - +
 * ```
 *
 * | kind    | payload                                         | meaning                                                   |
 * |---------|-------------------------------------------------|-----------------------------------------------------------|
 * | DATA    | the message                                     | a whole message                                           |
 * | PADDING | nothing that matters                            | the next record begins at index 0                         |
 * | FIRST   | total length (64 bits), then the first fragment | a message in fragments begins                             |
 * | MIDDLE  | a fragment                                      | and goes on                                               |
 * | LAST    | a fragment                                      | and is complete                                           |
 * | ABORT   | empty                                           | the message before it, if it is not complete, never will  |
 *
 * FIRST, MIDDLE and LAST of one message carry the same message id.
 */
export const RECORD_HEADER_BYTES = 8
export const RECORD_ALIGNMENT = 8
export const TOTAL_LENGTH_BYTES = 8

/** The total length that begins the payload of a FIRST, which stands from this word on. */
export function readTotalLength(words: Int32Array, payloadIndex: number): number {
  return (words[payloadIndex] >>> 0) + (words[payloadIndex + 1] >>> 0) * 2 ** 32
}

export function writeTotalLength(words: Int32Array, payloadIndex: number, byteLength: number): void {
  words[payloadIndex] = byteLength
  words[payloadIndex + 1] = byteLength / 2 ** 32
}

export const DATA = 1
export const PADDING = 2
export const FIRST = 3
export const MIDDLE = 4
export const LAST = 5
export const ABORT = 6

const KIND_MASK = 0xff
const MESSAGE_ID_SHIFT = 8
const MESSAGE_ID_MASK = 0xffffff

export function kindWord(kind: number, messageId: number): number {
  return kind | (messageId << MESSAGE_ID_SHIFT)
}

export function kindOf(word: number): number {
  return word & KIND_MASK
}

export function messageIdOf(word: number): number {
  return word >>> MESSAGE_ID_SHIFT
}

export function nextMessageId(messageId: number): number {
  return (messageId + 1) & MESSAGE_ID_MASK
}

/** Bytes that a record takes: header, payload, and padding up to the alignment. */
export function recordBytesOf(byteLength: number): number {
  return (byteLength + (RECORD_HEADER_BYTES + RECORD_ALIGNMENT - 1)) & -RECORD_ALIGNMENT
}

/** The largest message that travels in one record: with its padding it fits behind any position of an empty ring. */
export function maxRecordBytesOf(capacityBytes: number): number {
  return capacityBytes / 2 - RECORD_HEADER_BYTES
}

/** Large messages travel in pieces that stay in the caches, and of which several fit into the ring: both sides work at once. */
const FRAGMENT_RECORD_BYTES_MAX = 64 * 1024

export function maxFragmentRecordBytesOf(capacityBytes: number): number {
  return Math.min(FRAGMENT_RECORD_BYTES_MAX, Math.max(capacityBytes / 4, 32))
}

/** Whether these two can be the positions of one ring: the first thing asked of whatever the other side wrote. */
export function arePositionsValid(writePosition: number, readPosition: number, capacityBytes: number): boolean {
  const usedBytes = (writePosition - readPosition) | 0
  return usedBytes >= 0 && usedBytes <= capacityBytes && ((writePosition | readPosition) & (RECORD_ALIGNMENT - 1)) === 0
}
