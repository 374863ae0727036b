import { abortErrorOf, throwIfAborted } from '../errors.js'
import { onAbort } from './abort.js'
import { callAt } from './deadline.js'
import type { Signal } from './host.js'
import { assertStackRoom } from './stack-room.js'
import { yieldBudget } from './yield-budget.js'

/** The asynchronous calls on one handle: one after the other, in the order in which they were made. */
export class TurnQueue {
  readonly #waiting = new Set<() => void>()
  #isBusy = false

  /** Whether a call is under way, or waits for its turn. */
  get isBusy(): boolean {
    return this.#isBusy
  }

  /** Whether a call may complete at once, without a turn: no call is under way, and the event loop is not due (see YieldBudget). */
  canCompleteSynchronously(): boolean {
    return !this.#isBusy && yieldBudget.canCompleteSynchronously()
  }

  /** Lets everything else in this thread have its turn, if that is due (see YieldBudget). */
  yieldToEventLoop(): Promise<void> {
    return yieldBudget.yieldToEventLoop()
  }

  /** Begins a turn if no call has one. The caller must `leave`, whatever happens. */
  tryEnter(): boolean {
    assertStackRoom()
    if (this.#isBusy) return false
    this.#isBusy = true
    return true
  }

  /**
   * Waits for this call's turn, after `tryEnter` has returned false. Resolves to true when the turn begins, and then the
   * caller must `leave`; to false if the deadline passes first.
   * @throws AbortError; no turn has begun then
   */
  enter(deadline: number, signal: Signal | undefined): Promise<boolean> {
    return new Promise((resolve, reject) => {
      throwIfAborted(signal)
      let isOver = false
      let forgetAbort: (() => void) | undefined
      const end = () => {
        isOver = true
        this.#waiting.delete(begin)
        forgetAbort?.()
        forgetDeadline()
      }
      const begin = () => {
        end()
        resolve(true)
      }
      const forgetDeadline = callAt(deadline, () => {
        end()
        resolve(false)
      })
      try {
        forgetAbort = onAbort(signal, () => {
          end()
          reject(abortErrorOf(signal))
        })
      } catch (error) {
        end()
        throw error
      }
      if (isOver) forgetAbort()
      else this.#waiting.add(begin)
    })
  }

  /** Ends a turn. It stays busy where somebody waits: nobody overtakes the one whose turn it is. */
  leave(): void {
    const [next] = this.#waiting
    if (next === undefined) this.#isBusy = false
    else next()
  }
}
