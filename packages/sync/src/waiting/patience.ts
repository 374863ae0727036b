import { isSingleCore } from './host.js'

/** Looking for a few times as long as a bell takes: two loops that answer each other then come to look at the same time. */
const BELLS = 4
const SHORTEST_SHARE = 1 / 16

/**
 * For how long an event loop looks again, once in each of its turns, before it sleeps: a look costs about a microsecond,
 * a bell many. It learns as AdaptiveSpin does.
 */
export class Patience {
  readonly #longestMs: number
  #ms: number

  /** @param bellMs about how long it takes until a ring is heard */
  constructor(bellMs: number) {
    this.#longestMs = isSingleCore ? 0 : bellMs * BELLS
    this.#ms = this.#longestMs
  }

  get ms(): number {
    return this.#ms
  }

  /** It slept this long, from the first look on; 0 where looking was enough. */
  learn(sleptMs: number): void {
    const wasShort = sleptMs < 2 * this.#longestMs
    this.#ms = wasShort
      ? Math.min(this.#longestMs, this.#ms * 2)
      : Math.max(this.#longestMs * SHORTEST_SHARE, this.#ms / 2)
  }
}
