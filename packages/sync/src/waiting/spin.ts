import type { Condition } from './condition.js'
import { Eagerness } from './eagerness.js'
import { isSingleCore } from './host.js'

/** On Node.js 24 and later it tells the core that this is a spin loop. */
const pause: (() => void) | undefined = (Atomics as { pause?: () => void }).pause

const LOOKS_MAX = isSingleCore ? 0 : 1_500
const LOOKS_MIN = isSingleCore ? 0 : 16

/** A sleep shorter than this would have been a spin, had we looked for longer. */
const SHORT_SLEEP_MS = 0.05

/** How often a waiting thread looks before it sleeps. */
export class AdaptiveSpin {
  readonly #looks = new Eagerness(LOOKS_MIN, LOOKS_MAX, SHORT_SLEEP_MS)

  /** Looks until the condition is ready; false when the looks are used up. */
  until(condition: Condition): boolean {
    const looks = this.#looks.amount
    for (let look = 0; look < looks; look++) {
      if (condition.isReady()) {
        this.#looks.lookingWasEnough()
        return true
      }
      pause?.()
    }
    return false
  }

  /** To be told how long the sleep was that followed looks in vain. */
  learn(sleptMs: number): void {
    this.#looks.slept(sleptMs)
  }
}
