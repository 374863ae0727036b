const RESTRAINT_MAX = 64

/**
 * How long to look before a sleep, learned from what came of it: a look costs little, a sleep and a wake-up much.
 *
 * Where looking was enough, or the sleep behind it was short, it pays to look longer; where the sleep was long, half of it
 * will do. Where even the longest look was in vain, although the sleep was short, whoever is to bring it needs the very
 * core on which we look: then we hold back, the longer the more often that happens, before we try again. (The idea of
 * glibc's adaptive mutex and of folly's spin cutoff; the holding back is ours.)
 */
export class SpinBudget {
  readonly #least: number
  readonly #most: number
  readonly #shortSleepMs: number
  #amount: number
  #restraint = 0
  #waitsToHoldBack = 0

  constructor(least: number, most: number, shortSleepMs: number) {
    this.#least = least
    this.#most = most
    this.#shortSleepMs = shortSleepMs
    this.#amount = most
  }

  /** For the next wait. */
  get amount(): number {
    return this.#waitsToHoldBack > 0 ? this.#least : this.#amount
  }

  lookingWasEnough(): void {
    if (this.#waitsToHoldBack > 0) this.#waitsToHoldBack--
    else this.#restraint = 0
    this.#amount = Math.min(this.#most, this.#amount * 2)
  }

  slept(sleptMs: number): void {
    const wasHoldingBack = this.#waitsToHoldBack > 0
    if (wasHoldingBack) this.#waitsToHoldBack--
    if (sleptMs >= this.#shortSleepMs) this.#amount = Math.max(this.#least, this.#amount / 2)
    else if (this.#amount < this.#most) this.#amount = Math.min(this.#most, this.#amount * 2)
    else if (!wasHoldingBack) {
      this.#restraint = Math.min(RESTRAINT_MAX, this.#restraint * 2 + 1)
      this.#waitsToHoldBack = this.#restraint
    }
  }
}
