import type { PeerId } from '@isthmus/sync'
import { slotOf, WaiterSet } from '@isthmus/sync/internal'
import type { QueueGeometry } from './geometry.js'
import {
  DEAD_LETTERS_OFFSET,
  FREE,
  HOLD_MASK,
  KIND_WORD,
  laneIn,
  MESSAGES_OFFSET,
  nextInstance,
  ORPHAN,
  ORPHANS_LEFT_OFFSET,
  OWNED,
  PUSHABLE,
  SPACE_OFFSET,
  sameInstance,
  slotOfCell,
  stateOfCell,
} from './layout.js'
import { Slots } from './slots.js'

/** What sweeping a block has come to. */
export const UNCHANGED = 0
export const FREED = 1
export const ORPHANED = 2

/**
 * The blocks that peers in one slot had, as any agent sweeps them: the one that has the lease of the slot, which may have no peer
 * id yet, and any peer that has proven the death.
 *
 * - S1: load the cell. Another slot: nothing to do.
 * - S2: OWNED or RETURNING: if it was pushed, it is a message like any other. Nothing to do.
 * - S3: OWNED and not pushed: CAS to FREE.
 * - S4: HELD, or RETURNING and not pushed: CAS to ORPHAN, with the next seq.
 *
 * Each block takes one CAS from the exact word, so sweepers never wait for each other, and one that is killed or stopped
 * leaves every block as it was or as it is to be. An orphan belongs to no peer; see `QueueSide`.
 */
export class BlockSweep {
  readonly #words: Int32Array
  readonly #lanes: readonly Slots[]
  readonly #firstCell: number
  readonly #stride: number

  constructor(words: Int32Array, geometry: QueueGeometry, lanes: readonly Slots[]) {
    this.#words = words
    this.#lanes = lanes
    this.#firstCell = (geometry.byteOffset + geometry.blocksOffset) >>> 2
    this.#stride = geometry.strideBytes >>> 2
  }

  cellOf(block: number): number {
    return Atomics.load(this.#words, this.#firstCell + block * this.#stride)
  }

  /**
   * @param cell as it was loaded before it was known that the peer which it names is dead, or does not keep this block: whoever has
   * the slot since has another word
   */
  sweep(block: number, cell: number): number {
    const cellWord = this.#firstCell + block * this.#stride
    const hold = cell & HOLD_MASK
    if (hold === FREE || hold === ORPHAN) return UNCHANGED
    if ((cell & PUSHABLE) !== 0) {
      // The lane is written before the position. If it is not one, the block was never pushed.
      const lane = this.#lanes[laneIn(this.#words[cellWord + KIND_WORD])]
      if (lane?.isPushed(block)) return UNCHANGED
    }
    const isOwned = stateOfCell(cell) === OWNED
    const swept = isOwned ? sameInstance(cell, FREE) : nextInstance(cell, ORPHAN)
    // SYNC block handed over
    if (Atomics.compareExchange(this.#words, cellWord, cell, swept) !== cell) return UNCHANGED
    return isOwned ? FREED : ORPHANED
  }
}

export function lanesOf(words: Int32Array, geometry: QueueGeometry): Slots[] {
  const count = geometry.lanes + (geometry.deadLane === undefined ? 0 : 1)
  return Array.from({ length: count }, (_, lane) => new Slots(words, geometry, lane))
}

/** See Layout.sweep. The next peer that looks for a message or for a block brings back the orphans. */
export function sweepQueue(geometry: QueueGeometry, deadPeer: PeerId): void {
  const { region, byteOffset, blocks } = geometry
  const { words } = region
  const messages = new WaiterSet(region, byteOffset + MESSAGES_OFFSET)
  const space = new WaiterSet(region, byteOffset + SPACE_OFFSET)
  const deadLetters = new WaiterSet(region, byteOffset + DEAD_LETTERS_OFFSET)
  for (const waiters of [messages, space, deadLetters]) waiters.sweep(deadPeer)
  const sweep = new BlockSweep(words, geometry, lanesOf(words, geometry))
  let hasOrphans = false
  for (let block = 0; block < blocks; block++) {
    const cell = sweep.cellOf(block)
    // An orphan may be that of a sweep that broke off before it said so.
    if ((cell & HOLD_MASK) === ORPHAN) hasOrphans = true
    if (slotOfCell(cell) !== slotOf(deadPeer)) continue
    const swept = sweep.sweep(block, cell)
    if (swept === FREED) space.notifyOne()
    if (swept === ORPHANED) hasOrphans = true
  }
  if (!hasOrphans) return
  // SYNC orphans visible to those that look
  Atomics.add(words, (byteOffset + ORPHANS_LEFT_OFFSET) >>> 2, 1)
  messages.notifyAll()
  space.notifyAll()
}
