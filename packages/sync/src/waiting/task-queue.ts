import { AbortError } from '../errors.js'
import { callAt } from './deadline.js'
import { eventLoop } from './event-loop.js'
import type { Signal } from './host.js'

/** The asynchronous calls on one handle: one after the other, in the order in which they were made. */
export class TaskQueue {
  readonly #waiting = new Set<() => void>()
  #isBusy = false

  /** Whether a call is under way, or waits for its turn. */
  get isBusy(): boolean {
    return this.#isBusy
  }

  /** Whether a call may be done with at once, without `run`: nobody waits for its turn, see also EventLoop.mayPass. */
  mayPass(): boolean {
    return !this.#isBusy && eventLoop.mayPass()
  }

  /** Runs the task when all before it are over. Returns `timedOut` where its turn does not come in time. */
  async run<R>(deadline: number, signal: Signal | undefined, timedOut: R, task: () => Promise<R>): Promise<R> {
    if (this.#isBusy) {
      const isOurTurn = await this.#turn(deadline, signal)
      if (!isOurTurn) return timedOut
    }
    this.#isBusy = true
    try {
      await eventLoop.breathe()
      return await task()
    } finally {
      this.#next()
    }
  }

  /** It stays busy in between: nobody overtakes the one whose turn it is. */
  #next(): void {
    const [next] = this.#waiting
    if (next === undefined) this.#isBusy = false
    else next()
  }

  #turn(deadline: number, signal: Signal | undefined): Promise<boolean> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(new AbortError(signal.reason))
      const leave = () => {
        this.#waiting.delete(begin)
        signal?.removeEventListener('abort', abort)
        forgetDeadline()
      }
      const begin = () => {
        leave()
        resolve(true)
      }
      const abort = () => {
        leave()
        reject(new AbortError(signal?.reason))
      }
      this.#waiting.add(begin)
      signal?.addEventListener('abort', abort, { once: true })
      const forgetDeadline = callAt(deadline, () => {
        leave()
        resolve(false)
      })
    })
  }
}
