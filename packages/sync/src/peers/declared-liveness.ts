import {
  DEAD,
  FREE,
  generationOfSlotWord,
  LEASE_WORD,
  LIVE,
  PEER_SLOT_BYTES,
  STATE_WORD,
  slotWord,
  stateOfSlotWord,
} from './layout.js'
import { generationOf, MAX_PEERS, nextGeneration, type PeerId, slotOf } from './peer-id.js'
import type { Liveness } from './peers.js'

/**
 * Liveness for memory without an operating system: the lease of a slot is a word in it. The word is 0, or the generation
 * that has the lease, or, negative, the slot of the peer that sweeps a generation declared dead (see layout.ts). A lease
 * ends when its holder releases it, or when its holder was declared dead and is swept.
 */
export class DeclaredLiveness implements Liveness {
  readonly #words: Int32Array
  readonly #firstWord: number

  constructor(words: Int32Array, byteOffset: number) {
    this.#words = words
    this.#firstWord = byteOffset >>> 2
  }

  tryAcquire(slot: number): boolean {
    const base = this.#wordOf(slot)
    for (;;) {
      const last = generationOfSlotWord(Atomics.load(this.#words, base + STATE_WORD))
      const next = nextGeneration(last)
      // SYNC lease visible to other claimers
      if (Atomics.compareExchange(this.#words, base + LEASE_WORD, 0, next) !== 0) return false
      // Another peer may have come and gone in between. Then the lease names a past generation: try again.
      if (generationOfSlotWord(Atomics.load(this.#words, base + STATE_WORD)) === last) return true
      Atomics.compareExchange(this.#words, base + LEASE_WORD, next, 0)
    }
  }

  release(slot: number): void {
    Atomics.store(this.#words, this.#wordOf(slot) + LEASE_WORD, 0)
  }

  isHeldByAnother(slot: number): boolean {
    // SYNC lease visible to other claimers
    return Atomics.load(this.#words, this.#wordOf(slot) + LEASE_WORD) !== 0
  }

  /**
   * Declares a live peer dead, gives back what it held, and ends its lease.
   *
   * 1. The state word goes from LIVE to DEAD, if it still has this generation.
   * 2. The lease goes from the dead generation to the mark of this sweeper. Only one of several callers succeeds; the others
   *    return: the sweep must be over before the slot can have its next holder.
   * 3. The sweep gives back what the dead peer held.
   * 4. The lease becomes free.
   *
   * If the sweeper dies half-way and is declared dead itself, declaring the first death again completes the sweep.
   */
  declareDead(peer: PeerId, self: PeerId, sweep: (deadPeer: PeerId) => void): void {
    const base = this.#wordOf(slotOf(peer))
    const generation = generationOf(peer)
    const live = slotWord(generation, LIVE)
    const before = Atomics.compareExchange(this.#words, base + STATE_WORD, live, slotWord(generation, DEAD))
    if (generationOfSlotWord(before) !== generation) return
    const mark = -(slotOf(self) + 1)
    if (!this.#takeOver(base + LEASE_WORD, generation, mark)) return
    try {
      // FREE: it died after it had given everything back, and before it released its lease.
      if (stateOfSlotWord(before) !== FREE) sweep(peer)
    } catch (error) {
      Atomics.compareExchange(this.#words, base + LEASE_WORD, mark, generation)
      throw error
    }
    Atomics.compareExchange(this.#words, base + LEASE_WORD, mark, 0)
  }

  /** Takes the lease from the dead generation, or from a sweeper that is dead as well. */
  #takeOver(leaseIndex: number, generation: number, mark: number): boolean {
    const lease = Atomics.compareExchange(this.#words, leaseIndex, generation, mark)
    if (lease === generation) return true
    if (lease >= 0) return false
    const sweeper = -lease - 1
    // No correct peer writes such a mark, so no peer is sweeping.
    const isNobody = sweeper >= MAX_PEERS
    const sweeperState = isNobody
      ? FREE
      : stateOfSlotWord(Atomics.load(this.#words, this.#wordOf(sweeper) + STATE_WORD))
    return sweeperState !== LIVE && Atomics.compareExchange(this.#words, leaseIndex, lease, mark) === lease
  }

  #wordOf(slot: number): number {
    return this.#firstWord + (slot * PEER_SLOT_BYTES) / 4
  }
}
