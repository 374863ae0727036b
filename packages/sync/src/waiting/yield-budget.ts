import { nowMs } from '../host/clock.js'
import { host } from '../host/host.js'

/** After so many calls that completed synchronously, the clock is read. */
const COMPLETIONS_PER_CHECK = 256

/** How long such calls may follow each other before the event loop has a turn, which costs as much as tens of them. */
const TURN_MS = 1

/**
 * Keeps a program from starving its timers and sockets if it awaits one call after another and each finds at once what it
 * wants: such calls settle in microtasks, and no turn of the event loop comes between them.
 */
class YieldBudget {
  #completions = 0
  /** When the present turn of the event loop is to end, if this thread has let it begin. */
  #turnEndMs = 0

  /** Counts one completion; false once the event loop must have a turn. */
  canCompleteSynchronously(): boolean {
    if (++this.#completions < COMPLETIONS_PER_CHECK) return true
    if (nowMs() >= this.#turnEndMs) return false
    this.#completions = 0
    return true
  }

  /** Counts these as well, for a call that has done the work of several. */
  countMore(completions: number): void {
    this.#completions += completions
  }

  /** If the event loop must have a turn, waits until everything else in this thread has had its turn. */
  async yieldToEventLoop(): Promise<void> {
    if (this.#completions >= COMPLETIONS_PER_CHECK) await this.yieldNow()
  }

  /** Waits until everything else in this thread has had its turn. */
  async yieldNow(): Promise<void> {
    await new Promise<void>((resolve) => {
      if (host.setImmediate !== undefined) host.setImmediate(resolve)
      else host.setTimeout(resolve, 0)
    })
    this.#completions = 0
    this.#turnEndMs = nowMs() + TURN_MS
  }
}

/** One for each copy of this package in a thread, for all its handles: what counts is when the event loop last had a turn. */
export const yieldBudget = new YieldBudget()
