import { IsthmusError } from '../errors.js'
import type { PeerId } from '../peers/peer-id.js'
import { assertOpen, type Region } from '../region/region.js'
import { ABANDONED, CONTENDED, INCONSISTENT, ownerOf } from './layout.js'

/** The word that says who has a mutex. Its values, and who may write which, are in layout.ts. It is taken in mutex.ts. */
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

  /** Its owner will see, when it unlocks, that somebody sleeps. False where it is free, or has just changed. */
  mark(): boolean {
    const { word } = this
    if (word === ABANDONED || ownerOf(word) === 0) return false
    return (word & CONTENDED) !== 0 || this.#replace(word, word | CONTENDED)
  }

  /** Frees it from an owner that is proven dead. */
  reapDead(): boolean {
    const { word } = this
    const owner = ownerOf(word) as PeerId
    if (owner === 0 || word === ABANDONED || !this.#region.peers.isDead(owner)) return false
    return this.#replace(word, INCONSISTENT)
  }

  /** Gives it back; returns whether somebody may sleep. For its owner. */
  release(): boolean {
    for (;;) {
      const { word } = this
      if (this.#replace(word, word & INCONSISTENT)) return (word & CONTENDED) !== 0
    }
  }

  /** For its owner: what it protects is as it should be. */
  markConsistent(): void {
    Atomics.and(this.#words, this.#index, ~INCONSISTENT)
  }

  /** For its owner: nobody shall ever have it again. */
  abandon(): void {
    Atomics.store(this.#words, this.#index, ABANDONED)
  }

  /** For a sweep: the dead peer has it no more. Returns whether it had. */
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
    'Locking: an earlier owner of this lock found what it protects beyond repair and abandoned it. Make a new segment.',
  )
}
