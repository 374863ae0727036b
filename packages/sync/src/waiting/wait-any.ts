import { IsthmusTypeError, inWords } from '../errors.js'
import type { WaitFor } from './condition.js'
import { pendingWaits } from './pending-waits.js'
import { deadlineOf, signalOf, type WaitOptions } from './wait-options.js'

const KEY_NAME = 'isthmus.waitable'

/**
 * Under this key an object has a method that says what to wait for until the object is ready, without taking anything. All
 * copies of this package in a program share the key as long as the method means the same.
 */
export const WAITABLE: unique symbol = Symbol.for(`${KEY_NAME}@1`)

const ATTEMPT = 'Waiting for any of several'

/** An object that `waitAny` can wait for: a consumer, a producer, a lock, a futex word. */
export interface Waitable {
  /** The condition under which this object is ready, in its present state, and the wait point. Polling it takes nothing. */
  [WAITABLE](): WaitFor
}

/**
 * Waits on the event loop until at least one of these is ready: a consumer with something to receive (a message, an end, a
 * death), a producer with space, a mutex that is free, a semaphore with a permit, a condition variable that was notified, a
 * barrier member whose phase has ended … It takes nothing, and another agent may be quicker: call `tryX` on what is ready,
 * and wait again. A consumer that has ended, or a handle that was closed, stays
 * ready: leave it out of the next wait.
 *
 * If a peer dies, the objects that its death makes ready are among the result; the error, if there is one, comes from their
 * `tryX`.
 *
 * @returns those that are ready, in the order given; none once `timeoutMs` has passed, or if none were given
 * @throws AbortError if the signal aborts
 * @throws IsthmusError `ERR_ISTHMUS_CLOSED` if a region of one of them is closed meanwhile
 *
 * @example
 * ```ts
 * while (consumers.size > 0) {
 *   for (const consumer of await waitAny(consumers)) if (consumer.drain(handle) === null) consumers.delete(consumer)
 * }
 * ```
 */
export async function waitAny<W extends Waitable>(waitables: Iterable<W>, options?: WaitOptions): Promise<W[]> {
  const deadline = deadlineOf(options, ATTEMPT)
  const signal = signalOf(options, ATTEMPT)
  const all = [...iterable(waitables)]
  if (all.length === 0) return []
  const waits = all.map(waitForOf)
  const registered: WaitFor[] = []
  let ready: W[] = []
  try {
    for (const wait of waits.filter(({ isMomentary }) => isMomentary)) {
      wait.point.arm()
      registered.push(wait)
    }
    for (;;) {
      const isReady = await pendingWaits.wait(waits, deadline, signal)
      if (isReady) ready = all.filter((_, at) => waits[at].condition.poll())
      // Other calls of this thread may have been quicker.
      if (!isReady || ready.length > 0) return ready
    }
  } finally {
    for (const wait of registered) deregister(wait, ready.includes(all[waits.indexOf(wait)]))
  }
}

function deregister({ point, condition }: WaitFor, isUsed: boolean): void {
  // A closed region has swept this waiter.
  if (point.region.isClosed) return
  point.disarm()
  condition.handOffWakeup?.(isUsed)
}

function iterable<W>(waitables: Iterable<W>): Iterable<W> {
  if (typeof waitables?.[Symbol.iterator] === 'function') return waitables
  throw new IsthmusTypeError(
    'ERR_ISTHMUS_INVALID_ARGUMENT',
    `${ATTEMPT}: got ${inWords(waitables)}. Give an array or a set, even for a single one.`,
  )
}

function waitForOf(waitable: Waitable | undefined): WaitFor {
  if (typeof waitable?.[WAITABLE] === 'function') return waitable[WAITABLE]()
  if (hasKeyOfAnotherCopy(waitable)) {
    throw new IsthmusTypeError(
      'ERR_ISTHMUS_INVALID_ARGUMENT',
      `${ATTEMPT}: one of them comes from another version of @isthmus/sync: this program has two copies. Install one for all packages, or use the waitAny of that copy.`,
    )
  }
  throw new IsthmusTypeError(
    'ERR_ISTHMUS_INVALID_ARGUMENT',
    `${ATTEMPT}: got ${inWords(waitable)}, which waitAny cannot wait for. Give consumers, producers, mutexes, semaphores, condition variables, barrier members, rwLock.forReading, futex.otherThan() or what newerThan() of a latest value returns.`,
  )
}

function hasKeyOfAnotherCopy(value: unknown): boolean {
  for (let owner = value; typeof owner === 'object' && owner !== null; owner = Object.getPrototypeOf(owner)) {
    if (Object.getOwnPropertySymbols(owner).some(({ description }) => description?.startsWith(KEY_NAME))) return true
  }
  return false
}
