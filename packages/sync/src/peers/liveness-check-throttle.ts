import { nowMs } from '../host/clock.js'

const CHECK_INTERVAL_MS = 10
const POLLS_BETWEEN_CLOCKS_MAX = 64

/**
 * Rate limit for liveness checks by callers that poll with `try…`: each check is a system call. For a caller that polls
 * millions of times a second, even the clock is read only now and then; for one that polls seldom, it is read each time.
 *
 * @example
 * ```ts
 * const throttle = new LivenessCheckThrottle()
 * const [peer] = region.peers.others()
 * const message = consumer.tryReceive()
 * if (message === undefined && throttle.isDue() && region.peers.isDead(peer)) console.log('it has died')
 * ```
 */
export class LivenessCheckThrottle {
  #pollsUntilClock = 1
  #pollsBetweenClocks = 1
  #lastClockMs = nowMs()
  #lastCheckMs = this.#lastClockMs

  /** Whether this poll, one in vain, should pay for a check. */
  isDue(): boolean {
    if (--this.#pollsUntilClock > 0) return false
    const now = nowMs()
    const isPollingOften = now - this.#lastClockMs < CHECK_INTERVAL_MS / 10
    this.#pollsBetweenClocks = isPollingOften ? Math.min(POLLS_BETWEEN_CLOCKS_MAX, this.#pollsBetweenClocks * 2) : 1
    this.#pollsUntilClock = this.#pollsBetweenClocks
    this.#lastClockMs = now
    if (now - this.#lastCheckMs < CHECK_INTERVAL_MS) return false
    this.#lastCheckMs = now
    return true
  }
}
