import type { Condition } from './condition.js'
import { SpinBudget } from './eagerness.js'
import { isSingleCore } from './host.js'

/** How a waiting thread looks before it sleeps, about 25 µs at most: as long as a sleep and its wake-up take. */
export interface SpinPolicy {
  readonly pollsMin: number
  readonly pollsMax: number
  /** How long to leave the memory alone after a look, in steps of about a nanosecond. */
  readonly pauseSteps: number
}

/** Where the change that is waited for comes once and stays, such as a message: see it as soon as it is there. */
export const SPIN_TIGHT: SpinPolicy = { pollsMin: 16, pollsMax: 1_500, pauseSteps: 0 }

/**
 * Where the other one goes on using what is looked at, such as the owner of a lock, who unlocks it and soon locks it
 * again: each look takes the cache line from it. Looking once in a microsecond lets it do dozens of rounds in between,
 * and the waiter too when its turn has come. (Backing off from a contended line: Anderson 1990.)
 */
export const SPIN_WITH_BACKOFF: SpinPolicy = { pollsMin: 1, pollsMax: 20, pauseSteps: 1_000 }

/** On Node.js 24 and later it tells the core that this is a spin loop. */
const pause: (() => void) | undefined = (Atomics as { pause?: () => void }).pause

/** A sleep shorter than this would have been a spin, had we looked for longer. */
const SHORT_SLEEP_MS = 0.05

/** How often a waiting thread looks before it sleeps. */
export class AdaptiveSpin {
  readonly #budget: SpinBudget
  readonly #pauseSteps: number
  /** Keeps the compiler from leaving the pause out. */
  #stepped = 0

  constructor({ pollsMin: looksMin, pollsMax: looksMax, pauseSteps }: SpinPolicy) {
    this.#budget = isSingleCore
      ? new SpinBudget(0, 0, SHORT_SLEEP_MS)
      : new SpinBudget(looksMin, looksMax, SHORT_SLEEP_MS)
    this.#pauseSteps = pauseSteps
  }

  /** Looks until the condition is ready; false when the looks are used up. */
  until(condition: Condition): boolean {
    const looks = this.#budget.amount
    for (let look = 0; look < looks; look++) {
      if (condition.poll()) {
        this.#budget.lookingWasEnough()
        return true
      }
      pause?.()
      this.#backOff()
    }
    return false
  }

  /** To be told how long the sleep was that followed looks in vain. */
  learn(sleptMs: number): void {
    this.#budget.slept(sleptMs)
  }

  #backOff(): void {
    let stepped = this.#stepped
    for (let step = this.#pauseSteps; step > 0; step--) stepped = (Math.imul(stepped, 3) + step) | 0
    this.#stepped = stepped
  }
}
