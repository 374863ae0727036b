import { IsthmusError } from '../errors.js'
import type { PeerId } from '../peers/peer-id.js'
import { assertOpen, type Region } from '../region/region.js'
import { ABANDONED, CONTENDED, INCONSISTENT, ownerOf } from './layout.js'

/** The word that names the owner of a mutex. layout.ts has its values and who may write which; mutex.ts takes it. */
export class OwnerWord {
  readonly #region: Region
  readonly #words: Int32Array
  readonly #index: number

  constructor(region: Region, byteOffset: number) {
    this.#region = region
    this.#words = region.words
    this.#index = byteOffset >>> 2
  }

  get word(): number {
    return Atomics.load(assertOpen(this.#region).words, this.#index)
  }

  /** The peer that owns the mutex, dead or alive; 0 if it is free or abandoned. */
  get owner(): PeerId | 0 {
    return ownerOf(this.word) as PeerId | 0
  }

  /**
   * Whether the mutex has an owner, dead or alive.
   * @throws IsthmusError `ERR_ISTHMUS_ABANDONED`
   */
  isTaken(): boolean {
    const { word } = this
    if (word === ABANDONED) throw abandonedError()
    return ownerOf(word) !== 0
  }

  /** Makes the owner look for sleepers when it unlocks. False if the mutex is free, or its word has just changed. */
  mark(): boolean {
    const { word } = this
    if (word === ABANDONED || ownerOf(word) === 0) return false
    return (word & CONTENDED) !== 0 || this.#replace(word, word | CONTENDED)
  }

  /** Frees the mutex if its owner is proven dead; returns whether it did. */
  reapDead(): boolean {
    const { word } = this
    const owner = ownerOf(word) as PeerId
    if (owner === 0 || word === ABANDONED || !this.#region.peers.isDead(owner)) return false
    return this.#replace(word, INCONSISTENT)
  }

  /** For the owner: gives the mutex back; returns whether waiters may sleep. */
  release(): boolean {
    for (;;) {
      const { word } = this
      // SYNC lock handed over
      if (this.#replace(word, word & INCONSISTENT)) return (word & CONTENDED) !== 0
    }
  }

  /** For the owner: what the mutex protects is whole. */
  markConsistent(): void {
    Atomics.and(this.#words, this.#index, ~INCONSISTENT)
  }

  /** For the owner: the mutex has no owner any more, and no next one. */
  abandon(): void {
    Atomics.store(this.#words, this.#index, ABANDONED)
  }

  /** Frees the mutex if this peer owns it, for its sweep; returns whether it did. */
  sweep(deadPeer: PeerId): boolean {
    const word = Atomics.load(this.#words, this.#index)
    return ownerOf(word) === deadPeer && word !== ABANDONED && this.#replace(word, INCONSISTENT)
  }

  #replace(word: number, replacement: number): boolean {
    return Atomics.compareExchange(this.#words, this.#index, word, replacement) === word
  }
}

export function abandonedError(): IsthmusError {
  return new IsthmusError(
    'ERR_ISTHMUS_ABANDONED',
    'Locking: an earlier owner of this lock found what it protects beyond repair, and abandoned it. Make a new segment.',
  )
}
