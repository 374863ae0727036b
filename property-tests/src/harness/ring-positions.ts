import type { AttachedRegion } from '@isthmus/sync/internal'
import { READ_POSITION_OFFSET, WRITE_POSITION_OFFSET } from '../../../packages/ring/src/spsc/layout.js'

/** The header word that says where the root of the region begins. */
const ROOT_OFFSET_WORD = 12

/**
 * Sets the start position of a ring that is unused so far, for example to just before the 32-bit wrap. The ring must be
 * the root of the region.
 */
export function startPositionsAt(region: AttachedRegion<unknown>, position: number): void {
  const root = region.words[ROOT_OFFSET_WORD]
  region.words[(root + WRITE_POSITION_OFFSET) / 4] = position
  region.words[(root + READ_POSITION_OFFSET) / 4] = position
}
