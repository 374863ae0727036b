import { type PeerId, slotOf } from '../peers/peer-id.js'
import { assertOpen, type Region } from './region.js'

export const NO_CELL = -1

export interface OwnedCellsOptions {
  readonly count: number
  /** From one cell to the next, a multiple of 4; 4 if not given. */
  readonly strideBytes?: number
  /**
   * The peer that takes and releases; this attachment if not given. A sweep gives the dead peer: a newcomer that sweeps has
   * no id yet.
   */
  readonly self?: PeerId
}

/**
 * A row of words, each of which is 0 or contains the id of the peer that owns it. There is no count that a killed owner
 * could leave wrong, and what it owned can be found.
 *
 * | word | written by                                     | read by  | its writer is killed right after                    |
 * |------|------------------------------------------------|----------|-----------------------------------------------------|
 * | cell | 0 → id: the owner, by CAS, or by a store if    | everyone | taken: the owner is dead, and a peer that proves    |
 * |      | only its slot may use this cell.               |          | it, or a sweep, frees the cell. Freed, and no       |
 * |      | id → 0: the owner; a sweep, or a peer that has |          | waiter woken: the waiters poll after one slice, or  |
 * |      | proven its death, by CAS from exactly that id  |          | when they hear of the death                         |
 *
 * A cell always goes from one owner to 0, and from 0 to the next owner. A peer id is given out once, so a CAS from an id
 * cannot hit the cell of another owner, however late it comes.
 */
export class OwnedCells {
  readonly count: number
  readonly #region: Region
  readonly #words: Int32Array
  readonly #firstWord: number
  readonly #stride: number
  readonly #self: PeerId
  /** Where the search for a free cell begins: after the cell that was taken last, or at the one that was released last. */
  #hint: number

  constructor(region: Region, byteOffset: number, options: OwnedCellsOptions) {
    const { count, strideBytes = 4, self = region.peers.self } = options
    this.count = count
    this.#region = region
    this.#words = region.words
    this.#firstWord = byteOffset >>> 2
    this.#stride = strideBytes >>> 2
    this.#self = self
    // Peers begin at different cells, so they contend less.
    this.#hint = slotOf(self) % count
  }

  /**
   * Takes a free cell; returns its number, or NO_CELL. The caller has to note the number before it makes another call: at
   * the edge of the stack that call would throw, and nothing would say whose the cell is.
   */
  tryTake(): number {
    const { words } = assertOpen(this.#region)
    for (let step = 0, cell = this.#hint; step < this.count; step++) {
      // SYNC cell handed over
      if (Atomics.compareExchange(words, this.#firstWord + cell * this.#stride, 0, this.#self) === 0) {
        this.#hint = cell + 1 === this.count ? 0 : cell + 1
        return cell
      }
      cell = cell + 1 === this.count ? 0 : cell + 1
    }
    return NO_CELL
  }

  /** Frees a cell that this attachment owns; false if it does not own it. */
  release(cell: number): boolean {
    const { words } = assertOpen(this.#region)
    // SYNC cell handed over
    const found = Atomics.compareExchange(words, this.#firstWord + cell * this.#stride, this.#self, 0)
    if (found !== this.#self) return false
    this.#hint = cell
    return true
  }

  /** Whether `tryTake` would find a free cell now. */
  get isAnyFree(): boolean {
    const { words } = assertOpen(this.#region)
    for (let cell = 0; cell < this.count; cell++) {
      if (Atomics.load(words, this.#firstWord + cell * this.#stride) === 0) return true
    }
    return false
  }

  /** The owner of a cell, dead or alive; 0 if the cell is free. */
  ownerOf(cell: number): PeerId | 0 {
    return Atomics.load(this.#words, this.#firstWord + cell * this.#stride) as PeerId | 0
  }

  /** The owner of each cell, in one pass; 0 for free cells. */
  owners(): (PeerId | 0)[] {
    return Array.from({ length: this.count }, (_, cell) => this.ownerOf(cell))
  }

  /** Frees the cells whose owner is proven dead. It asks for one proof for each owner. */
  reapDead(): void {
    const { peers } = this.#region
    const isDead = new Map<PeerId, boolean>()
    for (let cell = 0; cell < this.count; cell++) {
      const owner = this.ownerOf(cell)
      if (owner === 0) continue
      if (!isDead.has(owner)) isDead.set(owner, peers.isDead(owner))
      if (isDead.get(owner)) this.free(cell, owner)
    }
  }

  /**
   * Frees all cells of a peer, for its sweep. `wakeWaiter` is called after each: if the sweep breaks off, the next one finds
   * the cells for which no waiter was woken.
   */
  sweep(deadPeer: PeerId, wakeWaiter: () => void): void {
    for (let cell = 0; cell < this.count; cell++) {
      if (this.free(cell, deadPeer)) wakeWaiter()
    }
  }

  /** Frees a cell if this peer owns it; returns whether it did. */
  free(cell: number, owner: PeerId): boolean {
    // SYNC cell handed over
    return Atomics.compareExchange(this.#words, this.#firstWord + cell * this.#stride, owner, 0) === owner
  }
}
