import { MAX_PARK_WORDS } from '../control.js'

/**
 * So many times the same reads with the same values, one right after the other, are a loop that waits for a write. Fewer
 * happen without a loop: a barrier looks at its phase four times on the way from a broken wait to a reset.
 */
const REPETITIONS = 4

/**
 * The reads of one agent since its last write. Where they repeat themselves, and the agent is about to begin the same
 * once more, it polls: until one of these words changes, every further turn would be the same again.
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

  /** The pairs of word and value whose change ends the loop that a read of `word` would go on with; empty where none does. */
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
