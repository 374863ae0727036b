import type { Plan } from '../crew.js'
import type { Search } from './search.js'

/** Random schedules, each with a seed of its own, so that any of them can be run again. */
export class RandomSearch implements Search {
  readonly #firstSeed: number
  readonly #count: number
  #done = 0

  constructor(firstSeed: number, count: number) {
    this.#firstSeed = firstSeed
    this.#count = count
  }

  next(): Plan | undefined {
    if (this.#done === this.#count) return undefined
    return { choices: [], seed: Math.imul(this.#firstSeed + ++this.#done, 0x9e3779b1) | 1 }
  }

  learn(): void {}
}
