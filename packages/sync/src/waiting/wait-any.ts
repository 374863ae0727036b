import { IsthmusTypeError } from '../errors.js'
import { deadlineAfter, type WaitOptions } from './deadline.js'
import { eventLoop, type WaitFor } from './event-loop.js'

/** Under this key an object says how one waits until it is ready, without taking anything. */
export const WAITABLE: unique symbol = Symbol('isthmus.waitable')

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
export async function waitAny<W extends Waitable>(waitables: Iterable<W>, options: WaitOptions = {}): Promise<W[]> {
  const all = [...waitables]
  if (all.length === 0) return []
  const deadline = deadlineAfter(options.timeoutMs)
  const waits = all.map((waitable) => {
    if (typeof waitable?.[WAITABLE] === 'function') return waitable[WAITABLE]()
    throw new IsthmusTypeError(
      'ERR_ISTHMUS_INVALID_ARGUMENT',
      `Waiting for any of several: ${String(waitable)} is not a consumer, a producer, a lock or a futex that can be waited for.`,
    )
  })
  for (;;) {
    const isReady = await eventLoop.wait(waits, deadline, options.signal)
    const ready = isReady ? all.filter((_, at) => waits[at].condition.isReady()) : []
    // Others of this thread may have been quicker.
    if (!isReady || ready.length > 0) return ready
  }
}
