import { host } from './host.js'

/** How many calls may complete synchronously before we yield to the event loop. */
const COMPLETIONS_PER_TURN = 256

/**
 * Keeps a program that awaits one call after the other, all of which find at once what they want, from starving its timers
 * and sockets: such calls are settled in microtasks, and no turn of the event loop comes in between.
 */
class YieldBudget {
  #completions = 0

  /** Counts one completion; false once the event loop is due. */
  canCompleteSynchronously(): boolean {
    return ++this.#completions < COMPLETIONS_PER_TURN
  }

  /** If the event loop is due, everything else in this thread has its turn first. */
  async yieldToEventLoop(): Promise<void> {
    if (this.#completions < COMPLETIONS_PER_TURN) return
    await new Promise<void>((resolve) => {
      if (host.setImmediate !== undefined) host.setImmediate(resolve)
      else host.setTimeout(resolve, 0)
    })
    this.#completions = 0
  }
}

/** One for each thread: what counts is the time since the event loop had its turn, whichever handles took it. */
export const yieldBudget = new YieldBudget()
