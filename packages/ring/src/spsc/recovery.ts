import {
  ABORT,
  advance,
  distance,
  FIRST,
  fitsRecord,
  kindOf,
  kindWord,
  RECORD_HEADER_BYTES,
  readTotalLength,
  recordBytesOf,
} from '../record/layout.js'
import { MessageAssembly } from '../record/message-assembly.js'
import type { RingGeometry } from './geometry.js'
import { arePositionsValid, READ_POSITION_OFFSET, RECORDS_OFFSET, WRITE_POSITION_OFFSET } from './layout.js'

/**
 * After a crash of the machine, when pages of different age may have reached the disk: makes the ring valid again. No peer
 * is attached.
 *
 * 1. Positions that cannot belong to one ring: begin with an empty ring.
 * 2. From the read position on, keep the records that follow each other as a producer writes them; drop the rest.
 * 3. If the kept records break off inside a large message, an ABORT after them says so.
 * 4. Store the write position, which publishes what was kept.
 */
export function recoverRecords({ region, byteOffset, capacityBytes, maxMessageBytes, subject }: RingGeometry): void {
  const { words } = region
  const writePositionWord = (byteOffset + WRITE_POSITION_OFFSET) >>> 2
  const readPositionWord = (byteOffset + READ_POSITION_OFFSET) >>> 2
  const recordsWord = (byteOffset + RECORDS_OFFSET) >>> 2
  const writePosition = words[writePositionWord]
  const readPosition = words[readPositionWord]
  if (!arePositionsValid(writePosition, readPosition, capacityBytes)) {
    words[readPositionWord] = 0
    Atomics.store(words, writePositionWord, 0)
    return
  }

  const indexOf = (position: number) => position & (capacityBytes - 1)
  const headerWordOf = (position: number) => recordsWord + (indexOf(position) >> 2)
  const assembly = new MessageAssembly(maxMessageBytes, subject)
  let position = readPosition
  let lastPosition = readPosition
  while (position !== writePosition) {
    const headerWord = headerWordOf(position)
    const byteLength = words[headerWord]
    const kind = words[headerWord + 1]
    if (!fitsRecord(byteLength, distance(writePosition, position), capacityBytes - indexOf(position))) break
    const total = kindOf(kind) === FIRST ? readTotalLength(words, headerWord + RECORD_HEADER_BYTES / 4) : 0
    if (!assembly.accepts(kind, byteLength, total)) break
    lastPosition = position
    position = advance(position, recordBytesOf(byteLength))
  }
  if (assembly.isMessageOpen) {
    // After a fragment 8 bytes are free. If they are not, no producer wrote the last record: the ABORT takes its place.
    if (distance(position, readPosition) > capacityBytes - RECORD_HEADER_BYTES) position = lastPosition
    words[headerWordOf(position)] = 0
    words[headerWordOf(position) + 1] = kindWord(ABORT, 0)
    position = advance(position, RECORD_HEADER_BYTES)
  }
  Atomics.store(words, writePositionWord, position)
}
