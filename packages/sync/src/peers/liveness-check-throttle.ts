import { nowMs } from '../host/clock.js'

const PROBE_INTERVAL_MS = 10
const LOOKS_BETWEEN_CLOCKS_MAX = 64

/**
 * Says when somebody who polls in vain should pay for a proof of life of the other side. It costs a system call, so it
 * must not stand in every look; and for those who look millions of times a second, even the clock is read only now and
 * then. Whoever looks seldom reads it every time.
 */
export class LivenessCheckThrottle {
  #looksUntilClock = 1
  #looksBetweenClocks = 1
  #lastClockMs = nowMs()
  #lastProbeMs = this.#lastClockMs

  isDue(): boolean {
    if (--this.#looksUntilClock > 0) return false
    const now = nowMs()
    const isLookingOften = now - this.#lastClockMs < PROBE_INTERVAL_MS / 10
    this.#looksBetweenClocks = isLookingOften ? Math.min(LOOKS_BETWEEN_CLOCKS_MAX, this.#looksBetweenClocks * 2) : 1
    this.#looksUntilClock = this.#looksBetweenClocks
    this.#lastClockMs = now
    if (now - this.#lastProbeMs < PROBE_INTERVAL_MS) return false
    this.#lastProbeMs = now
    return true
  }
}
