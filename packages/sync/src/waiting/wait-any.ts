import { IsthmusTypeError, inWords } from '../errors.js'
import type { WaitOptions } from './deadline.js'
import { pendingWaits, type WaitFor } from './pending-waits.js'
import { deadlineOf, signalOf } from './wait-options.js'

const KEY_NAME = 'isthmus.waitable'

/**
 * Under this key an object says how one waits until it is ready, without taking anything. One key for all copies of this
 * package in a program, as long as what stands under it means the same.
 */
export const WAITABLE: unique symbol = Symbol.for(`${KEY_NAME}@1`)

const ATTEMPT = 'Waiting for any of several'

/** What can be waited for together with others: consumers, producers, locks, words. */
export interface Waitable {
  /** What this one waits for, as it stands now. */
  [WAITABLE](): WaitFor
}

/**
 * Waits on the event loop until one of these, or several, are ready: a consumer with something to receive (a message, an
 * end, a death), a producer with space, a mutex that is free, a semaphore with a permit … It takes nothing: another agent
 * may be quicker, so `tryX` what is ready, and wait again. What has ended, or was closed, stays ready: wait without it.
 *
 * @returns those that are ready, in the order given; none once `timeoutMs` is over, or where none were given
 * @throws AbortError when the signal aborts; ERR_ISTHMUS_CLOSED when one of their regions is closed meanwhile; a handle
 * that is closed is ready. What looking at one of them throws, such as a dead peer's, is thrown by that one's `tryX`, not here.
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
  for (;;) {
    const isReady = await pendingWaits.wait(waits, deadline, signal)
    const ready = isReady ? all.filter((_, at) => waits[at].condition.poll()) : []
    // Others of this thread may have been quicker.
    if (!isReady || ready.length > 0) return ready
  }
}

function iterable<W>(waitables: Iterable<W>): Iterable<W> {
  if (typeof waitables?.[Symbol.iterator] === 'function') return waitables
  throw new IsthmusTypeError(
    'ERR_ISTHMUS_INVALID_ARGUMENT',
    `${ATTEMPT}: got ${inWords(waitables)}. Give an array or a set of them, also of one.`,
  )
}

function waitForOf(waitable: Waitable | undefined): WaitFor {
  if (typeof waitable?.[WAITABLE] === 'function') return waitable[WAITABLE]()
  if (hasKeyOfAnotherCopy(waitable)) {
    throw new IsthmusTypeError(
      'ERR_ISTHMUS_INVALID_ARGUMENT',
      `${ATTEMPT}: one of them comes from another version of @isthmus/sync, of which this program has two copies. Install one for all packages, or wait with the waitAny of that copy.`,
    )
  }
  throw new IsthmusTypeError(
    'ERR_ISTHMUS_INVALID_ARGUMENT',
    `${ATTEMPT}: ${inWords(waitable)} is nothing that can be waited for. Give consumers, producers, mutexes, semaphores or futex.otherThan().`,
  )
}

function hasKeyOfAnotherCopy(value: unknown): boolean {
  for (let owner = value; typeof owner === 'object' && owner !== null; owner = Object.getPrototypeOf(owner)) {
    if (Object.getOwnPropertySymbols(owner).some(({ description }) => description?.startsWith(KEY_NAME))) return true
  }
  return false
}
