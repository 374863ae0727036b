/** Pseudo-random numbers that a seed reproduces. (mulberry32) */
export class Random {
  #state: number

  constructor(seed: number) {
    // Neighbouring seeds must give unrelated numbers.
    this.#state = Math.imul(seed ^ 0x9e3779b9, 0x85ebca6b) | 0
    this.word()
  }

  /** Any 32 bits, signed. */
  word(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0
    let x = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1)
    x ^= x + Math.imul(x ^ (x >>> 7), x | 61)
    return x ^ (x >>> 14)
  }

  /** From 0 to `limit` - 1. */
  below(limit: number): number {
    return (this.word() >>> 0) % limit
  }

  isOneIn(count: number): boolean {
    return this.below(count) === 0
  }

  of<T>(choices: readonly T[]): T {
    return choices[this.below(choices.length)]
  }
}
