import type { QueueGeometry } from './geometry.js'
import { FREE, HOLD_MASK, nextInstance, OWNED, sameInstance } from './layout.js'

export const NO_BLOCK = -1

/** A table of up to this size is looked at as a whole: a send finds no block only if there is none. */
const SMALL_TABLE = 64
/** How many blocks of a larger one a send looks at, from the hint on. Blocks come free roughly in the order in which they were taken. */
const QUICK_LOOKS = 8
/** So many quick looks may be in vain, then one goes through the whole table. */
const VAIN_LOOKS = 8

/**
 * The cells of all blocks, as one attachment takes and frees them. Steps are numbered as in layout.ts: A1, A2.
 *
 * The attachment knows which blocks it keeps beyond one call. A cell that names it, and that it does not keep, is a *stray*: it
 * was left by a call that failed half-way, and a look through the whole table finds it.
 */
export class BlockTable {
  readonly #words: Int32Array
  readonly #firstCell: number
  readonly #stride: number
  readonly #owned: number
  readonly #quickLooks: number
  /** Where the search begins: after the block that was taken last. */
  #hint: number
  #vainLooks = 0
  /** The cell of the block that was taken last. */
  takenCell = 0
  /** 1 for each block that this attachment keeps. */
  readonly kept: Uint8Array

  /** @param slot of this attachment in the peers table */
  constructor(words: Int32Array, geometry: QueueGeometry, slot: number, kept: Uint8Array) {
    const { byteOffset, blocks, blocksOffset, strideBytes } = geometry
    this.#words = words
    this.#firstCell = (byteOffset + blocksOffset) >>> 2
    this.#stride = strideBytes >>> 2
    this.#owned = OWNED | slot
    this.#quickLooks = blocks <= SMALL_TABLE ? blocks : QUICK_LOOKS
    // Attachments begin at different blocks, so they contend less.
    this.#hint = (slot * 37) % blocks
    this.kept = kept
  }

  /**
   * Takes a free block; returns its number, or NO_BLOCK. The caller has to note it before it makes another call; see
   * `takenCell`.
   *
   * - A1: read the cells from the hint on, plainly.
   * - A2: CAS one that is FREE to OWNED, with the next seq. If that fails, A1.
   *
   * @param end only blocks before this one
   */
  tryTake(end: number): number {
    const words = this.#words
    let block = this.#hint < end ? this.#hint : 0
    for (let looks = this.#quickLooks; looks > 0; looks--) {
      const cellWord = this.#firstCell + block * this.#stride
      const cell = words[cellWord]
      if ((cell & HOLD_MASK) === FREE) {
        const owned = nextInstance(cell, this.#owned)
        // SYNC block handed over
        if (Atomics.compareExchange(words, cellWord, cell, owned) === cell) {
          this.takenCell = owned
          this.#hint = block + 1
          return block
        }
      }
      block = block + 1 < end ? block + 1 : 0
    }
    return NO_BLOCK
  }

  /** Whether a look in vain is to be followed by one through the whole table. */
  get isWholeLookDue(): boolean {
    this.#vainLooks = (this.#vainLooks + 1) % VAIN_LOOKS
    return this.#vainLooks === 1
  }

  /** Looks at all blocks, and moves the hint to a free one. Returns whether there is one before `end`. */
  findFree(end: number): boolean {
    const start = this.#hint < end ? this.#hint : 0
    for (let step = 0, block = start; step < end; step++) {
      if ((this.cellOf(block) & HOLD_MASK) === FREE) {
        this.#hint = block
        return true
      }
      block = block + 1 < end ? block + 1 : 0
    }
    return false
  }

  cellOf(block: number): number {
    return Atomics.load(this.#words, this.#firstCell + block * this.#stride)
  }

  /** Frees a block if its cell is exactly this. */
  free(block: number, cell: number): boolean {
    const cellWord = this.#firstCell + block * this.#stride
    // SYNC block handed over
    return Atomics.compareExchange(this.#words, cellWord, cell, sameInstance(cell, FREE)) === cell
  }
}
