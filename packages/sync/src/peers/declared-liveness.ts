import { DEAD, generationOfSlotWord, HOLD_WORD, LIVE, PEER_SLOT_BYTES, STATE_WORD, slotWord } from './layout.js'
import { generationOf, nextGeneration, type PeerId, slotOf } from './peer-id.js'
import type { Liveness } from './peers.js'

/**
 * Liveness for memory without an operating system behind it: the hold is a word in the slot, 0 or the generation that
 * has it. It ends when its holder lets go or when its holder's death is declared.
 */
export class DeclaredLiveness implements Liveness {
  readonly #words: Int32Array
  readonly #firstWord: number

  constructor(words: Int32Array, byteOffset: number) {
    this.#words = words
    this.#firstWord = byteOffset >>> 2
  }

  tryHold(slot: number): boolean {
    const base = this.#wordOf(slot)
    for (;;) {
      const last = generationOfSlotWord(Atomics.load(this.#words, base + STATE_WORD))
      const next = nextGeneration(last)
      if (Atomics.compareExchange(this.#words, base + HOLD_WORD, 0, next) !== 0) return false
      // Somebody may have come and gone in between. Then the hold bears a generation that has passed: try again.
      if (generationOfSlotWord(Atomics.load(this.#words, base + STATE_WORD)) === last) return true
      Atomics.compareExchange(this.#words, base + HOLD_WORD, next, 0)
    }
  }

  release(slot: number): void {
    Atomics.store(this.#words, this.#wordOf(slot) + HOLD_WORD, 0)
  }

  isHeldByAnother(slot: number): boolean {
    return Atomics.load(this.#words, this.#wordOf(slot) + HOLD_WORD) !== 0
  }

  /**
   * Makes a live peer a dead one, gives back what it held, and ends its hold. Of several that declare the same death, one
   * does all of it: a sweep must not go on once the slot can have its next holder.
   */
  declareDead(peer: PeerId, sweep: (deadPeer: PeerId) => void): void {
    const base = this.#wordOf(slotOf(peer))
    const live = slotWord(generationOf(peer), LIVE)
    const dead = slotWord(generationOf(peer), DEAD)
    if (Atomics.compareExchange(this.#words, base + STATE_WORD, live, dead) !== live) return
    try {
      sweep(peer)
    } catch (error) {
      // As if it had not been declared: the next attempt sweeps again.
      Atomics.compareExchange(this.#words, base + STATE_WORD, dead, live)
      throw error
    }
    Atomics.compareExchange(this.#words, base + HOLD_WORD, generationOf(peer), 0)
  }

  #wordOf(slot: number): number {
    return this.#firstWord + (slot * PEER_SLOT_BYTES) / 4
  }
}
