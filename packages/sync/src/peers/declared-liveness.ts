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
 * Liveness for memory without an operating system behind it: the hold is a word in the slot: 0, the generation that has
 * it, or, negative, the slot of the peer that sweeps a declared-dead generation. It ends when its holder lets go or when
 * its holder's death has been declared and swept.
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
      if (Atomics.compareExchange(this.#words, base + LEASE_WORD, 0, next) !== 0) return false
      // Somebody may have come and gone in between. Then the hold bears a generation that has passed: try again.
      if (generationOfSlotWord(Atomics.load(this.#words, base + STATE_WORD)) === last) return true
      Atomics.compareExchange(this.#words, base + LEASE_WORD, next, 0)
    }
  }

  release(slot: number): void {
    Atomics.store(this.#words, this.#wordOf(slot) + LEASE_WORD, 0)
  }

  isHeldByAnother(slot: number): boolean {
    return Atomics.load(this.#words, this.#wordOf(slot) + LEASE_WORD) !== 0
  }

  /**
   * Makes a live peer a dead one, gives back what it held, and ends its hold. Of several that declare the same death, one
   * at a time goes on: a sweep must be over before the slot can have its next holder. Where that one dies half-way, and
   * is declared dead itself, declaring the first death again completes it.
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
      // FREE: it died between giving everything back and letting go.
      if (stateOfSlotWord(before) !== FREE) sweep(peer)
    } catch (error) {
      Atomics.compareExchange(this.#words, base + LEASE_WORD, mark, generation)
      throw error
    }
    Atomics.compareExchange(this.#words, base + LEASE_WORD, mark, 0)
  }

  /** From the dead generation, or from a sweeper that is dead as well. */
  #takeOver(holdIndex: number, generation: number, mark: number): boolean {
    const hold = Atomics.compareExchange(this.#words, holdIndex, generation, mark)
    if (hold === generation) return true
    if (hold >= 0) return false
    const sweeper = -hold - 1
    // No correct peer writes such a mark, so nobody is sweeping.
    const isNobody = sweeper >= MAX_PEERS
    const sweeperState = isNobody
      ? FREE
      : stateOfSlotWord(Atomics.load(this.#words, this.#wordOf(sweeper) + STATE_WORD))
    return sweeperState !== LIVE && Atomics.compareExchange(this.#words, holdIndex, hold, mark) === hold
  }

  #wordOf(slot: number): number {
    return this.#firstWord + (slot * PEER_SLOT_BYTES) / 4
  }
}
