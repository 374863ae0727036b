import { isSingleCore } from '../host/host.js'

/** How a thread polls before it sleeps: for about 25 µs at most, as long as a sleep and its wake-up take. */
export interface SpinPolicy {
  readonly pollsMin: number
  readonly pollsMax: number
  /** How long to leave the memory alone after each poll, in steps of about a nanosecond. */
  readonly pauseSteps: number
}

/** For a change that comes once and stays, such as a message: the spin sees it as soon as it is there. */
export const SPIN_TIGHT: SpinPolicy = { pollsMin: 16, pollsMax: 1_500, pauseSteps: 0 }

/**
 * For memory that another agent goes on using, such as the word of a mutex, which its owner unlocks and soon locks again:
 * each poll takes the cache line from that agent. One poll per microsecond leaves it time for dozens of rounds in between,
 * and still notices when the waiter's turn has come. (Backing off from a contended line: Anderson 1990.)
 */
export const SPIN_WITH_BACKOFF: SpinPolicy = { pollsMin: 1, pollsMax: 20, pauseSteps: 1_000 }

/** A sleep shorter than this would have been a spin, if the thread had polled for longer. */
const SHORT_SLEEP_MS = 0.05

/** A few times the wake-up latency: two event loops that answer each other then overlap in their polling and never sleep. */
const POLL_LATENCIES = 8
const POLL_SHARE_MIN = 1 / 32
/** Longer than a program takes to answer at once. */
const ANSWER_MS = 0.05

const SKIPS_MAX = 64
/** In place of the length of a sleep. */
const LEARNED = -1

/** On Node.js 24 and later it tells the core that this is a spin loop. */
const pause: (() => void) | undefined = (Atomics as { pause?: () => void }).pause

/** How a blocking wait polls before it sleeps: each wait as many times as the earlier ones have shown to pay. */
export class AdaptiveSpin {
  readonly #budget: SpinBudget
  readonly #pauseSteps: number
  /** How long the last sleep was, if that was not learned yet. */
  #sleptMs = LEARNED
  /** Keeps the compiler from removing the pause. */
  #stepped = 0

  constructor({ pollsMin, pollsMax, pauseSteps }: SpinPolicy) {
    this.#budget = isSingleCore
      ? new SpinBudget(0, 0, SHORT_SLEEP_MS)
      : new SpinBudget(pollsMin, pollsMax, SHORT_SLEEP_MS)
    this.#pauseSteps = pauseSteps
  }

  /** Polls until the condition is ready; false once the budget is used up. */
  until(condition: { poll(): boolean }): boolean {
    if (this.#sleptMs !== LEARNED) this.#learn()
    const polls = this.#budget.limit
    for (let count = 0; count < polls; count++) {
      if (condition.poll()) {
        this.#budget.pollingWasEnough()
        return true
      }
      pause?.()
      this.#backOff()
    }
    return false
  }

  /** Says how long the sleep was that followed a spin in vain. The next call learns from it. */
  noteSleep(sleptMs: number): void {
    if (this.#sleptMs !== LEARNED) this.#learn()
    this.#sleptMs = sleptMs
  }

  #learn(): void {
    this.#budget.slept(this.#sleptMs)
    this.#sleptMs = LEARNED
  }

  #backOff(): void {
    let stepped = this.#stepped
    for (let step = this.#pauseSteps; step > 0; step--) stepped = (Math.imul(stepped, 3) + step) | 0
    this.#stepped = stepped
  }
}

/** For how long an event loop polls, once in each of its turns, before it sleeps. A turn takes about a microsecond. */
export class PollBudget {
  readonly #ms: SpinBudget
  #lastEndMs = Number.NEGATIVE_INFINITY

  /** @param wakeLatencyMs about how long a wake-up of an event loop takes */
  constructor(wakeLatencyMs: number) {
    const longestMs = isSingleCore ? 0 : wakeLatencyMs * POLL_LATENCIES
    this.#ms = new SpinBudget(longestMs * POLL_SHARE_MIN, longestMs, 2 * longestMs)
  }

  /**
   * The budget of a wait that begins now, in milliseconds. If this thread has just woken another one, polling is pointless
   * until that one runs, and it may need this core: then the budget is 0, except in a quick back-and-forth.
   */
  for(startMs: number, lastWakeMs: number): number {
    const isConversation = startMs - this.#lastEndMs < ANSWER_MS
    return startMs - lastWakeMs < ANSWER_MS && !isConversation ? 0 : this.#ms.limit
  }

  /** @param sleptMs how long the wait lasted, from its first poll on; 0 if it ended while it was polling */
  learn(endMs: number, sleptMs: number): void {
    this.#lastEndMs = endMs
    if (sleptMs === 0) this.#ms.pollingWasEnough()
    else this.#ms.slept(sleptMs)
  }
}

/**
 * How much to poll before a sleep, learned from the outcomes: a poll costs little, a sleep and its wake-up cost much.
 *
 * If polling was enough, or the sleep after it was short, the limit doubles; after a long sleep it halves. If even the
 * longest spin failed but the sleep was short, the other side probably needs this core. Then spinning is skipped for a
 * while, longer each time it happens. (The idea of glibc's adaptive mutex and of folly's spin cutoff; the skipping is ours.)
 */
export class SpinBudget {
  readonly #least: number
  readonly #most: number
  readonly #shortSleepMs: number
  #limit: number
  /** How many waits were skipped the last time. */
  #skips = 0
  #skipsLeft = 0

  constructor(least: number, most: number, shortSleepMs: number) {
    this.#least = least
    this.#most = most
    this.#shortSleepMs = shortSleepMs
    this.#limit = most
  }

  /** The limit of the next wait, in the unit of `least` and `most`. */
  get limit(): number {
    return this.#skipsLeft > 0 ? this.#least : this.#limit
  }

  pollingWasEnough(): void {
    if (this.#skipsLeft > 0) this.#skipsLeft--
    else this.#skips = 0
    this.#limit = Math.min(this.#most, this.#limit * 2)
  }

  slept(sleptMs: number): void {
    const wasSkipping = this.#skipsLeft > 0
    if (wasSkipping) this.#skipsLeft--
    if (sleptMs >= this.#shortSleepMs) this.#limit = Math.max(this.#least, this.#limit / 2)
    else if (this.#limit < this.#most) this.#limit = Math.min(this.#most, this.#limit * 2)
    else if (!wasSkipping) {
      this.#skips = Math.min(SKIPS_MAX, this.#skips * 2 + 1)
      this.#skipsLeft = this.#skips
    }
  }
}
