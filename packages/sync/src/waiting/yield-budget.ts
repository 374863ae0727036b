import { host } from '../host/host.js'

/** How many calls may complete synchronously before we yield to the event loop. */
const COMPLETIONS_PER_TURN = 256

/**
 * Keeps a program from starving its timers and sockets if it awaits one call after another and each finds at once what it
 * wants: such calls settle in microtasks, and no turn of the event loop comes between them.
 */
class YieldBudget {
  #completions = 0

  /** Counts one completion; false once the event loop must have a turn. */
  canCompleteSynchronously(): boolean {
    return ++this.#completions < COMPLETIONS_PER_TURN
  }

  /** Counts these as well, for a call that has done the work of several. */
  countMore(completions: number): void {
    this.#completions += completions
  }

  /** If the event loop must have a turn, waits until everything else in this thread has had its turn. */
  async yieldToEventLoop(): Promise<void> {
    if (this.#completions >= COMPLETIONS_PER_TURN) await this.yieldNow()
  }

  /** Waits until everything else in this thread has had its turn. */
  async yieldNow(): Promise<void> {
    await new Promise<void>((resolve) => {
      if (host.setImmediate !== undefined) host.setImmediate(resolve)
      else host.setTimeout(resolve, 0)
    })
    this.#completions = 0
  }
}

/** One for each copy of this package in a thread, for all its handles: what counts is when the event loop last had a turn. */
export const yieldBudget = new YieldBudget()
