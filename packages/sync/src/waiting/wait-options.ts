import { IsthmusTypeError, inWords } from '../errors.js'
import { deadlineAfter, type TimeoutOptions, type WaitOptions } from './deadline.js'
import type { Signal } from './host.js'

/**
 * The options of a call that waits, for callers without types: read once and checked, before the call enters anything.
 * `attempt` begins the message, such as `Locking a mutex`.
 */

/**
 * When a wait with these options has to end: Infinity for none.
 * @throws IsthmusTypeError, IsthmusRangeError `ERR_ISTHMUS_INVALID_ARGUMENT`
 */
export function deadlineOf(options: TimeoutOptions | undefined, attempt: string): number {
  if (options === undefined) return Number.POSITIVE_INFINITY
  assertOptions(options, attempt)
  return deadlineAfter(options.timeoutMs, 'timeoutMs', attempt)
}

/**
 * The signal that ends a wait with these options early.
 * @throws IsthmusTypeError `ERR_ISTHMUS_INVALID_ARGUMENT` for what is no signal
 */
export function signalOf(options: WaitOptions | undefined, attempt: string): Signal | undefined {
  if (options === undefined) return undefined
  assertOptions(options, attempt)
  const { signal } = options
  if (signal === undefined || isSignal(signal)) return signal
  throw new IsthmusTypeError(
    'ERR_ISTHMUS_INVALID_ARGUMENT',
    `${attempt}: signal is ${inWords(signal)}, without what an AbortSignal has (aborted, addEventListener, removeEventListener). Give an AbortSignal, or leave it out.`,
  )
}

/** @throws IsthmusTypeError `ERR_ISTHMUS_INVALID_ARGUMENT` for what is no object */
export function assertOptions(options: unknown, attempt: string): void {
  if (typeof options === 'object' && options !== null) return
  throw new IsthmusTypeError(
    'ERR_ISTHMUS_INVALID_ARGUMENT',
    `${attempt}: the options are ${inWords(options)}. Give an object such as { timeoutMs: 100 }, or leave them out.`,
  )
}

function isSignal(value: unknown): value is Signal {
  if (typeof value !== 'object' || value === null) return false
  const { aborted, addEventListener, removeEventListener } = value as Partial<Signal>
  return (
    typeof aborted === 'boolean' && typeof addEventListener === 'function' && typeof removeEventListener === 'function'
  )
}
