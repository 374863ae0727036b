import {
  ABORT,
  arePositionsValid,
  FIRST,
  kindOf,
  kindWord,
  READ_POSITION_OFFSET,
  RECORD_HEADER_BYTES,
  RECORDS_OFFSET,
  readTotalLength,
  recordBytesOf,
  WRITE_POSITION_OFFSET,
} from './layout.js'
import { MessageAssembly } from './message-assembly.js'
import type { RingGeometry } from './spsc-ring.js'

/**
 * After a crash of the machine, when pages of different age may have reached the disk: keeps the records that follow the
 * read position as a producer could have written them, and drops the rest. Where they break off inside a large message,
 * an ABORT says so.
 */
export function recoverRecords({ region, byteOffset, capacityBytes, maxMessageBytes }: RingGeometry): void {
  const { words } = region
  const writeIndex = (byteOffset + WRITE_POSITION_OFFSET) >>> 2
  const readIndex = (byteOffset + READ_POSITION_OFFSET) >>> 2
  const recordsWord = (byteOffset + RECORDS_OFFSET) >>> 2
  const writePosition = words[writeIndex]
  const readPosition = words[readIndex]
  if (!arePositionsValid(writePosition, readPosition, capacityBytes)) {
    words[readIndex] = 0
    Atomics.store(words, writeIndex, 0)
    return
  }

  const headerIndexOf = (position: number) => recordsWord + ((position & (capacityBytes - 1)) >> 2)
  const assembly = new MessageAssembly(maxMessageBytes)
  let position = readPosition
  let lastPosition = readPosition
  while (position !== writePosition) {
    const headerIndex = headerIndexOf(position)
    const byteLength = words[headerIndex]
    const kind = words[headerIndex + 1]
    const availableBytes = Math.min((writePosition - position) | 0, capacityBytes - (position & (capacityBytes - 1)))
    const isWhole =
      byteLength >>> 0 <= availableBytes - RECORD_HEADER_BYTES && recordBytesOf(byteLength) <= availableBytes
    const total = kindOf(kind) === FIRST ? readTotalLength(words, headerIndex + RECORD_HEADER_BYTES / 4) : 0
    if (!isWhole || !assembly.accepts(kind, byteLength, total)) break
    lastPosition = position
    position = (position + recordBytesOf(byteLength)) | 0
  }
  if (assembly.isMessageOpen) {
    // Behind a fragment 8 bytes are kept free. Where they are not, no producer wrote it: the ABORT takes its place.
    if (((position - readPosition) | 0) > capacityBytes - RECORD_HEADER_BYTES) position = lastPosition
    words[headerIndexOf(position)] = 0
    words[headerIndexOf(position) + 1] = kindWord(ABORT, 0)
    position = (position + RECORD_HEADER_BYTES) | 0
  }
  Atomics.store(words, writeIndex, position)
}
