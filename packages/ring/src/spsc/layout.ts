import { EVENT_COUNT_BYTES } from '@isthmus/sync/internal'
import { distance, RECORD_ALIGNMENT } from '../record/layout.js'

/**
 * The SPSC ring in memory. Words that different sides write lie 128 bytes apart: two cache lines, since the hardware
 * fetches them in pairs.
 *
 * ```
 * byte    0 +----------------+----------------+----------------+
 *           | producer role  | consumer role  | reported epoch |      roles: seldom written
 *       128 +----------------+----------------+----------------+
 *           | write position |                                        producer's: on every publication
 *       256 +----------------+
 *           | read position  |                                        consumer's: every quarter of the ring, and
 *           |                |                                        with each call while the producer waits
 *       384 +----------------+----------------+
 *           | sleeper        | sequence       |                       consumer's event count: waits for records
 *       512 +----------------+----------------+
 *           | sleeper        | sequence       |                       producer's event count: waits for space
 *       640 +----------------+----------------+--------- … ----+
 *           | records: capacityBytes (record/layout.ts)        |
 *           +---------------------------------- … -------------+
 * ```
 *
 * | word           | written by                | read by  | publishes               | its writer is killed right after           |
 * |----------------|---------------------------|----------|-------------------------|--------------------------------------------|
 * | producer role, | see role/layout.ts        | both     | who the other side is   | see role/layout.ts                         |
 * | consumer role  |                           |          |                         |                                            |
 * | reported epoch | the consumer, in the call | its suc- | the end of that producer| that end is told once. Killed before: the  |
 * |                | after the one that told   | cessor   | epoch has been told     | successor tells it, perhaps for the second |
 * |                | the end, or when it closes|          |                         | time                                       |
 * | write position | the producer              | both     | the records before it,  | the records before it will be received;    |
 * |                |                           |          | written with plain      | later ones were never sent                 |
 * |                |                           |          | stores                  |                                            |
 * | read position  | the consumer              | both     | the space before it: the| its successor begins there: records that   |
 * |                |                           |          | consumer reads none of  | were read and not returned are delivered   |
 * |                |                           |          | it again                | once more                                  |
 * | event counts   | see sync's EventCount     |          |                         |                                            |
 * | records        | the producer, between the write position, and the read position plus the capacity. The consumer only  |
 * |                | reads. A killed producer leaves bytes there that nothing refers to.                                    |
 *
 * The ring is valid if and only if
 * 1. both positions are multiples of 8 and 0 <= writePosition - readPosition <= capacityBytes,
 * 2. from the read to the write position whole records follow each other, none of them across the end of the ring,
 * 3. kinds come in this order: any number of DATA and PADDING between whole messages; FIRST, MIDDLE …, LAST of one message
 *    with nothing but PADDING between; ABORT anywhere, and always where a message breaks off,
 * 4. after a published FIRST or MIDDLE at least 8 bytes are free, so that an ABORT always fits.
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

/** Whether these two can be the positions of one ring: checked first, before anything the other side wrote is used. */
export function arePositionsValid(writePosition: number, readPosition: number, capacityBytes: number): boolean {
  const usedBytes = distance(writePosition, readPosition)
  return usedBytes >= 0 && usedBytes <= capacityBytes && ((writePosition | readPosition) & (RECORD_ALIGNMENT - 1)) === 0
}
