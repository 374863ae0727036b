import { MAX_PARK_WORDS } from '../control.js'

/**
 * The same reads with the same values, repeated this many times, are a loop that waits for a write. Fewer repetitions
 * happen without a loop: a barrier loads its phase four times between a broken wait and a reset, and a subscriber that learns of the
 * end of its publisher, and then of an overrun, loads both words of the write position five times.
 */
const REPETITIONS = 6

/**
 * The reads of one agent since its last write. If they repeat themselves, and the agent is about to begin the same
 * sequence once more, it polls: until one of these words changes, each further round would be the same again.
 */
export class ReadStreak {
  readonly #words: number[] = []
  readonly #values: number[] = []

  add(word: number, value: number): void {
    this.#words.push(word)
    this.#values.push(value)
  }

  clear(): void {
    this.#words.length = 0
    this.#values.length = 0
  }

  /** If a read of `word` would go on with a loop: the words, with their values, whose change ends it; else empty. */
  loopAt(word: number): [word: number, value: number][] {
    const { length } = this.#words
    for (let period = 1; period <= MAX_PARK_WORDS && period * REPETITIONS <= length; period++) {
      if (this.#words[length - period] === word && this.#isRepeated(period)) return this.#pairs(period)
    }
    return []
  }

  #isRepeated(period: number): boolean {
    const { length } = this.#words
    for (let at = length - period * (REPETITIONS - 1); at < length; at++) {
      if (this.#words[at] !== this.#words[at - period] || this.#values[at] !== this.#values[at - period]) return false
    }
    return true
  }

  #pairs(period: number): [word: number, value: number][] {
    const pairs = new Map<number, number>()
    for (let at = this.#words.length - period; at < this.#words.length; at++) {
      pairs.set(this.#words[at], this.#values[at])
    }
    return [...pairs]
  }
}
