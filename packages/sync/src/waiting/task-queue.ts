import { abortErrorOf, throwIfAborted } from '../errors.js'
import { onAbort } from './abort.js'
import { callAt } from './deadline.js'
import { eventLoop } from './event-loop.js'
import type { Signal } from './host.js'
import { assertStackRoom } from './stack-room.js'

/** The asynchronous calls on one handle: one after the other, in the order in which they were made. */
export class TaskQueue {
  readonly #waiting = new Set<() => void>()
  #isBusy = false

  /** Whether a call is under way, or waits for its turn. */
  get isBusy(): boolean {
    return this.#isBusy
  }

  /** Whether a call may be done with at once, without its turn: nobody waits for its turn, see also EventLoop.mayPass. */
  mayPass(): boolean {
    return !this.#isBusy && eventLoop.mayPass()
  }

  /**
   * A turn begins at once where nobody has it, or when it comes; false, or a promise of it, where that is not in time. Who
   * has entered leaves, whatever happens; an entry that throws or rejects has not entered.
   */
  enter(deadline: number, signal: Signal | undefined): boolean | Promise<boolean> {
    assertStackRoom()
    if (this.#isBusy) return this.#turn(deadline, signal)
    this.#isBusy = true
    return true
  }

  /** Ends a turn. It stays busy where somebody waits: nobody overtakes the one whose turn it is. */
  leave(): void {
    const [next] = this.#waiting
    if (next === undefined) this.#isBusy = false
    else next()
  }

  #turn(deadline: number, signal: Signal | undefined): Promise<boolean> {
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
}
