import { READ_POSITION_OFFSET, WRITE_POSITION_OFFSET } from '../../../packages/ring/src/spsc/layout.js'

/** The memory of a region, and where its root begins in it. */
export interface RootPlace {
  readonly words: Int32Array
  readonly rootByteOffset: number
}

/**
 * Sets the start position of a ring that is unused so far, for example to just before the 32-bit wrap. The ring must stand
 * at the start of the root.
 */
export function startPositionsAt({ words, rootByteOffset }: RootPlace, position: number): void {
  words[(rootByteOffset + WRITE_POSITION_OFFSET) >>> 2] = position
  words[(rootByteOffset + READ_POSITION_OFFSET) >>> 2] = position
}
