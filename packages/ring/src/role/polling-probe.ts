import { nowMs } from '@isthmus/sync'

const LOOKS_BETWEEN_CLOCKS = 64
const PROBE_INTERVAL_MS = 10

/**
 * Says when somebody who polls in vain should pay for a proof of life of the other side: it costs a system call, so it
 * must not stand in every look, and even the clock is only read now and then.
 */
export class PollingProbe {
  #looks = 0
  #lastProbeMs = nowMs()

  isDue(): boolean {
    if (++this.#looks % LOOKS_BETWEEN_CLOCKS !== 0) return false
    const now = nowMs()
    if (now - this.#lastProbeMs < PROBE_INTERVAL_MS) return false
    this.#lastProbeMs = now
    return true
  }
}
