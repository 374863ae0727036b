import { host } from './host.js'

/** What keeps something that others may wait for, such as the space of messages that were received. */
export interface SpaceHolder {
  /**
   * Gives it to them. Returns whether nothing is left: a debtor that still needs some of it stays in the list, and is
   * asked again before the next sleep, and in the next turn of the event loop.
   */
  settle(): boolean
}

/**
 * What this thread settles before it sleeps. A consumer keeps the space of a received message until the program comes
 * back for the next one; a program that waits for something else first may wait for the very producer that needs this
 * space. So before every sleep, whatever it waits for, all that is kept back goes to the others.
 *
 * Only debtors are in the list, so a sleep costs nothing for handles that are idle. It refers to them weakly: a handle
 * that the program has dropped, and its region, are collected as before.
 */
class BeforeSleep {
  readonly #debtors = new Set<WeakRef<SpaceHolder>>()
  #isSettlingDue = false

  /**
   * The debtor keeps something from now on.
   * @param isAsleep whether this thread waits for something already, on its event loop: then it settles in its next turn
   */
  add(debtor: WeakRef<SpaceHolder>, isAsleep: boolean): void {
    this.#debtors.add(debtor)
    if (isAsleep) this.#settleInNextTurn()
  }

  remove(debtor: WeakRef<SpaceHolder>): void {
    this.#debtors.delete(debtor)
  }

  settle(): void {
    for (const debtor of this.#debtors) {
      if (debtor.deref()?.settle() !== false) this.#debtors.delete(debtor)
      else this.#settleInNextTurn()
    }
  }

  #settleInNextTurn(): void {
    if (this.#isSettlingDue) return
    this.#isSettlingDue = true
    const turn = () => {
      this.#isSettlingDue = false
      this.settle()
    }
    if (host.setImmediate !== undefined) host.setImmediate(turn)
    else host.setTimeout(turn, 0)
  }
}

const KEY = Symbol.for('isthmus.before-sleep@1')
const shared = globalThis as { [KEY]?: BeforeSleep }

/** One for each thread, also if a program has several copies of this package: a wait through one settles for all. */
export const beforeSleep: BeforeSleep = shared[KEY] ?? new BeforeSleep()
shared[KEY] = beforeSleep
