import {
  ABORT,
  arePositionsValid,
  DATA,
  kindOf,
  READ_POSITION_OFFSET,
  RECORD_HEADER_BYTES,
  RECORDS_OFFSET,
  recordBytesOf,
  WRITE_POSITION_OFFSET,
} from './layout.js'
import type { SpscRingPlace } from './spsc-ring.js'

/**
 * After a crash of the machine, when pages of different age may have reached the disk: keeps the records that follow the
 * read position without a gap, and drops the rest. A message that breaks off there is aborted by the next producer.
 */
export function recoverRecords({ region, byteOffset, capacityBytes }: SpscRingPlace): void {
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
  let position = readPosition
  while (position !== writePosition) {
    const index = position & (capacityBytes - 1)
    const byteLength = words[recordsWord + (index >> 2)]
    const kind = kindOf(words[recordsWord + (index >> 2) + 1])
    const availableBytes = (writePosition - position) | 0
    const isWhole = byteLength >>> 0 <= availableBytes - RECORD_HEADER_BYTES && kind >= DATA && kind <= ABORT
    if (!isWhole || index + recordBytesOf(byteLength) > capacityBytes) break
    position = (position + recordBytesOf(byteLength)) | 0
  }
  Atomics.store(words, writeIndex, position)
}
