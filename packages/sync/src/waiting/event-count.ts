import type { Region } from '../region/region.js'
import { nowMs } from './deadline.js'
import { AdaptiveSpin } from './spin.js'

/**
 * An event count for one sleeper: the meeting point of an agent that waits for a condition in shared memory and of those
 * who make it true. (The two-phase handshake of folly's EventCount, here for a single sleeper.)
 *
 * ```
 * byte  0            4            8
 *       +------------+------------+
 *       | waiting    | sequence   |
 *       +------------+------------+
 * ```
 *
 * | word     | written by                      | read by     | its writer is killed right after                          |
 * |----------|---------------------------------|-------------|-----------------------------------------------------------|
 * | waiting  | the sleeper alone: 1 before it  | the notifier| 1 stays: wakes that wake nobody, until the next sleeper   |
 * |          | looks again, 0 when it is up    |             | takes the place and writes its own value                  |
 * | sequence | notifiers: +1 before each wake  | the sleeper | the wake is missing: the sleeper looks after one slice    |
 *
 * Nobody misses a wake-up: the sleeper stores `waiting`, then looks at the condition; the notifier changes the condition,
 * then looks at `waiting`. One of the two sees the other. A notify between that look and the sleep changes `sequence`,
 * and the sleep ends at once.
 */
export const EVENT_COUNT_BYTES = 8
const WAITING_WORD = 0
const SEQUENCE_WORD = 1

export class EventCount {
  readonly #region: Region
  readonly #words: Int32Array
  readonly #waitingIndex: number
  readonly #sequenceIndex: number
  readonly #spin = new AdaptiveSpin()

  constructor(region: Region, byteOffset: number) {
    this.#region = region
    this.#words = region.words
    this.#waitingIndex = (byteOffset >>> 2) + WAITING_WORD
    this.#sequenceIndex = (byteOffset >>> 2) + SEQUENCE_WORD
  }

  /** A look without ordering: right sooner or later, and free. */
  get isAwaited(): boolean {
    return this.#words[this.#waitingIndex] !== 0
  }

  /** To be called after the condition was changed through Atomics. A system call only where somebody sleeps. */
  notify(): void {
    if (Atomics.load(this.#words, this.#waitingIndex) !== 0) this.#wake()
  }

  /** For the agent that takes the sleeper's place: what a dead predecessor left behind is forgotten. */
  reset(): void {
    Atomics.store(this.#words, this.#waitingIndex, 0)
  }

  /**
   * Blocks until `isReady()` or until the deadline (see deadlineAfter); returns whether it is ready. `beforeSleep` runs
   * ahead of every sleep, at least every WAIT_SLICE_MS: the place to look whether the one we wait for still lives.
   */
  waitSync(isReady: () => boolean, deadline: number, beforeSleep: () => void): boolean {
    if (this.#spin.until(isReady)) return true
    for (;;) {
      beforeSleep()
      if (isReady()) return true
      const startedMs = nowMs()
      if (startedMs >= deadline) return false
      this.#sleep(isReady, deadline - startedMs)
      this.#spin.learn(nowMs() - startedMs)
      if (isReady()) return true
    }
  }

  #sleep(isReady: () => boolean, timeoutMs: number): void {
    const sequence = Atomics.load(this.#words, this.#sequenceIndex)
    Atomics.store(this.#words, this.#waitingIndex, 1)
    try {
      if (!isReady()) this.#region.waiter.waitSync(this.#sequenceIndex, sequence, timeoutMs)
    } finally {
      Atomics.store(this.#words, this.#waitingIndex, 0)
    }
  }

  #wake(): void {
    Atomics.add(this.#words, this.#sequenceIndex, 1)
    this.#region.waiter.wake(this.#sequenceIndex, 1)
  }
}
