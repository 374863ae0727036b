/** Longer than any pause between two looks of a process that runs. */
const GAP_MAX_MS = 500

/**
 * The time for which this process has run. If it did not, because it was stopped or the machine stood still, neither did its children:
 * that is no time in which they could have got on.
 */
export class RunningClock {
  #lastMs = performance.now()
  #ranMs = 0

  /** Called in every look: what is beyond GAP_MAX_MS since the last call does not count. */
  nowMs(): number {
    const now = performance.now()
    this.#ranMs += Math.min(now - this.#lastMs, GAP_MAX_MS)
    this.#lastMs = now
    return this.#ranMs
  }
}
