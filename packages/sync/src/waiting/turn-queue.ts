import { abortErrorOf, throwIfAborted } from '../errors.js'
import { onAbort, type Signal } from '../host/abort.js'
import { callAt } from '../host/clock.js'
import { assertStackRoom } from '../host/stack-room.js'
import { yieldBudget } from './yield-budget.js'

/**
 * Orders the asynchronous calls on one handle: one runs at a time, first come, first served.
 *
 * @example
 * ```ts
 * const turns = new TurnQueue()
 * if (!turns.tryEnter() && !(await turns.enter(deadlineAfter(1000), signal))) return undefined
 * try {
 *   // This call alone uses the handle.
 * } finally {
 *   turns.leave()
 * }
 * ```
 */
export class TurnQueue {
  readonly #waiting = new Set<() => void>()
  #isBusy = false

  /** Whether a call is running or waits for its turn. */
  get isBusy(): boolean {
    return this.#isBusy
  }

  /** Whether a call may complete at once, without a turn: no other call is running, and the event loop is not due (see YieldBudget). */
  canCompleteSynchronously(): boolean {
    return !this.#isBusy && yieldBudget.canCompleteSynchronously()
  }

  /** For a call that completed at once and has done the work of several (see YieldBudget). */
  countMore(completions: number): void {
    yieldBudget.countMore(completions)
  }

  /** Lets everything else in this thread have its turn, if that is due (see YieldBudget). */
  yieldToEventLoop(): Promise<void> {
    return yieldBudget.yieldToEventLoop()
  }

  /** The same, whether it is due or not. */
  yieldNow(): Promise<void> {
    return yieldBudget.yieldNow()
  }

  /** Begins a turn if no other call is running. If it returns true, the caller must `leave`, whatever happens. */
  tryEnter(): boolean {
    assertStackRoom()
    if (this.#isBusy) return false
    this.#isBusy = true
    return true
  }

  /**
   * Waits for this call's turn, after `tryEnter` has returned false. Resolves to true when the turn begins, and then the
   * caller must `leave`; to false if the deadline passes first.
   * @throws AbortError; then no turn has begun
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

  /** Ends a turn. If a call is waiting, its turn begins before any new call can enter. */
  leave(): void {
    const [next] = this.#waiting
    if (next === undefined) this.#isBusy = false
    else next()
  }
}
