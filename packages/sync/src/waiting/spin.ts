import type { Condition } from './condition.js'
import { isSingleCore } from './host.js'

/** On Node.js 24 and later it tells the core that this is a spin loop. */
const pause: (() => void) | undefined = (Atomics as { pause?: () => void }).pause

const LOOKS_MAX = isSingleCore ? 0 : 1_500
const LOOKS_MIN = isSingleCore ? 0 : 16

/** A sleep shorter than this would have been a spin, had we looked for longer. */
const SHORT_SLEEP_MS = 0.05

/**
 * How long a waiting thread looks before it sleeps: a look costs nanoseconds, a sleep and a wake-up microseconds.
 * Where the last looks were in vain and the sleep was long, it looks half as long the next time; where they were not,
 * or the sleep was short, twice as long. (The idea of glibc's adaptive mutex and of folly's spin cutoff.)
 */
export class AdaptiveSpin {
  #looks = LOOKS_MAX >> 2

  /** Looks until the condition is ready; false when the looks are used up. */
  until(condition: Condition): boolean {
    for (let look = 0; look < this.#looks; look++) {
      if (condition.isReady()) {
        this.#lookLonger()
        return true
      }
      pause?.()
    }
    return false
  }

  /** To be told how long the sleep was that followed looks in vain. */
  learn(sleptMs: number): void {
    if (sleptMs < SHORT_SLEEP_MS) this.#lookLonger()
    else this.#looks = Math.max(LOOKS_MIN, this.#looks >> 1)
  }

  #lookLonger(): void {
    this.#looks = Math.min(LOOKS_MAX, this.#looks * 2)
  }
}
