import { SpinBudget } from './eagerness.js'
import { isSingleCore } from './host.js'

/** Looking for a few times as long as a bell takes: two loops that answer each other then come to look at the same time. */
const BELLS = 4
const SHORTEST_SHARE = 1 / 16
/** Longer than a program takes to answer at once. */
const SOON_MS = 0.05

/** For how long an event loop looks again, once in each of its turns, before it sleeps: a turn costs about a microsecond. */
export class PollBudget {
  readonly #ms: SpinBudget
  #lastEndMs = Number.NEGATIVE_INFINITY

  /** @param wakeLatencyMs about how long it takes until a ring is heard */
  constructor(wakeLatencyMs: number) {
    const longestMs = isSingleCore ? 0 : wakeLatencyMs * BELLS
    this.#ms = new SpinBudget(longestMs * SHORTEST_SHARE, longestMs, 2 * longestMs)
  }

  /**
   * For a wait that begins now. Where we have just woken somebody up, and are not in the midst of a conversation, there is
   * nothing to see before that one runs: perhaps on this very core, which is to be free for it.
   */
  for(startMs: number, ringMs: number): number {
    const isConversation = startMs - this.#lastEndMs < SOON_MS
    return startMs - ringMs < SOON_MS && !isConversation ? 0 : this.#ms.amount
  }

  /** It slept this long, from the first look on; 0 where looking was enough. */
  learn(endMs: number, sleptMs: number): void {
    this.#lastEndMs = endMs
    if (sleptMs === 0) this.#ms.lookingWasEnough()
    else this.#ms.slept(sleptMs)
  }
}
