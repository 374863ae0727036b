import type { AttachedRegion } from '@isthmus/sync/internal'
import { READ_POSITION_OFFSET, WRITE_POSITION_OFFSET } from '../../../packages/ring/src/spsc/layout.js'

/** Where the root of a region whose layout is a single ring begins: its header says so. */
const ROOT_OFFSET_WORD = 12

/** Lets a ring that nobody has used yet begin at another position, such as one just before the 32-bit wrap. */
export function startPositionsAt(region: AttachedRegion<unknown>, position: number): void {
  const root = region.words[ROOT_OFFSET_WORD]
  region.words[(root + WRITE_POSITION_OFFSET) / 4] = position
  region.words[(root + READ_POSITION_OFFSET) / 4] = position
}
