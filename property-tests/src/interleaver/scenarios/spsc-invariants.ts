import { ABORT, DATA, kindOf, RECORD_HEADER_BYTES, recordBytesOf } from '../../../../packages/ring/src/record/layout.js'
import {
  arePositionsValid,
  READ_POSITION_OFFSET,
  RECORDS_OFFSET,
  WRITE_POSITION_OFFSET,
} from '../../../../packages/ring/src/spsc/layout.js'
import type { RegionWords } from '../scenario.js'

/** What the ring's layout.ts promises at every moment, for a ring at the start of the root. */
export function spscInvariant(capacityBytes: number): (region: RegionWords) => string | undefined {
  return ({ words, rootByteOffset }) => {
    const write = words[(rootByteOffset + WRITE_POSITION_OFFSET) >>> 2]
    const read = words[(rootByteOffset + READ_POSITION_OFFSET) >>> 2]
    if (!arePositionsValid(write, read, capacityBytes)) return `positions: written ${write}, read ${read}`
    const records = (rootByteOffset + RECORDS_OFFSET) >>> 2
    for (let position = read; position !== write; ) {
      const index = position & (capacityBytes - 1)
      const byteLength = words[records + (index >>> 2)]
      const kind = kindOf(words[records + (index >>> 2) + 1])
      const isWhole =
        byteLength >>> 0 <= ((write - position) | 0) - RECORD_HEADER_BYTES && kind >= DATA && kind <= ABORT
      if (!isWhole || index + recordBytesOf(byteLength) > capacityBytes) {
        return `records: at position ${position} of ${read} to ${write} stands kind ${kind} with ${byteLength} bytes`
      }
      position = (position + recordBytesOf(byteLength)) | 0
    }
    return undefined
  }
}
