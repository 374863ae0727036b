import { host } from '../host/host.js'

/** A handle that holds space of which other agents may be waiting to use it, such as the space of received messages. */
export interface SpaceHolder {
  /**
   * Returns the space to the other agents. The result says whether nothing is left: a holder that still needs some of it
   * stays in the list, and is asked again before the next sleep and in the next turn of the event loop.
   */
  returnSpace(): boolean
}

/**
 * The space that the handles of one thread hold, to be returned before the thread sleeps. A consumer keeps the space of a
 * received message until the program asks for the next one. If the program waits for something else first, it may wait for
 * the very producer that needs this space. So before every sleep, whatever it waits for, all held space is returned.
 *
 * Only handles that hold something are in the list, so idle handles cost a sleep nothing. The list refers to them weakly:
 * a handle that the program has dropped, and its region, can still be garbage-collected.
 */
class HeldSpace {
  readonly #holders = new Set<WeakRef<SpaceHolder>>()
  #isReturnDue = false
  /** Whether a wait of this thread's event loop sleeps already (see PendingWaits, which sets it). */
  isLoopAsleep = false

  /** Adds a handle that holds space from now on. If the event loop sleeps already, the space is returned in its next turn. */
  add(holder: WeakRef<SpaceHolder>): void {
    this.#holders.add(holder)
    if (this.isLoopAsleep) this.#returnInNextTurn()
  }

  remove(holder: WeakRef<SpaceHolder>): void {
    this.#holders.delete(holder)
  }

  /** Asks each holder in the list. An error of one ends the call; the others are asked before the next sleep. */
  returnAll(): void {
    for (const holder of this.#holders) {
      if (holder.deref()?.returnSpace() !== false) this.#holders.delete(holder)
      else this.#returnInNextTurn()
    }
  }

  /** Empties the list, for a thread that starts over as if it were a new one: its handles are gone, and were not closed. */
  forgetAll(): void {
    this.#holders.clear()
  }

  #returnInNextTurn(): void {
    if (this.#isReturnDue) return
    this.#isReturnDue = true
    const turn = () => {
      this.#isReturnDue = false
      this.returnAll()
    }
    if (host.setImmediate !== undefined) host.setImmediate(turn)
    else host.setTimeout(turn, 0)
  }
}

const KEY = Symbol.for('isthmus.held-space@1')
const shared = globalThis as { [KEY]?: HeldSpace }

/** One for each thread, even if a program has several copies of this package: a wait through one returns the space of all. */
export const heldSpace: HeldSpace = shared[KEY] ?? new HeldSpace()
shared[KEY] = heldSpace
