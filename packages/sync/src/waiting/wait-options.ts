import { IsthmusRangeError, IsthmusTypeError, inWords } from '../errors.js'
import type { Signal } from '../host/abort.js'
import { nowMs } from '../host/clock.js'

/** How long a call that blocks its thread may take. */
export interface TimeoutOptions {
  /** How long to wait, in milliseconds from 0 on. Without it, the call waits without end. */
  readonly timeoutMs?: number
}

/** How long a promise may stay pending, and what ends it early. */
export interface WaitOptions extends TimeoutOptions {
  /** Ends the wait with an AbortError and leaves nothing of it behind. */
  readonly signal?: Signal
}

/**
 * What ends a promise early if it has no timeout: then its result is never `undefined` for want of time. Options that may
 * contain a timeout do not fit this type, even if they come in a variable.
 */
export interface UntimedOptions {
  readonly timeoutMs?: never
  /** Ends the wait with an AbortError and leaves nothing of it behind. */
  readonly signal?: Signal
}

/**
 * The functions below read the options of a call that waits, once, before the call enters anything. They also check what
 * callers without types pass. `attempt` begins the error message, such as `Locking a mutex`.
 */

/**
 * The time at which a wait with these options must end: Infinity for none.
 * @throws IsthmusTypeError, IsthmusRangeError `ERR_ISTHMUS_INVALID_ARGUMENT`
 * @example
 * ```ts
 * const deadline = deadlineOf({ timeoutMs: 100 }, 'Locking a mutex')
 * ```
 */
export function deadlineOf(options: TimeoutOptions | undefined, attempt: string): number {
  if (options === undefined) return Number.POSITIVE_INFINITY
  assertOptions(options, attempt)
  return deadlineAfter(options.timeoutMs, 'timeoutMs', attempt)
}

/**
 * The time at which a wait of `timeoutMs` that begins now must end: Infinity for none.
 * @throws IsthmusRangeError, IsthmusTypeError `ERR_ISTHMUS_INVALID_ARGUMENT` if `timeoutMs` is negative or not a number
 * @example
 * ```ts
 * const deadline = deadlineAfter(100)
 * ```
 */
export function deadlineAfter(timeoutMs: number | undefined, name = 'timeoutMs', attempt = 'Waiting'): number {
  if (timeoutMs === undefined) return Number.POSITIVE_INFINITY
  if (typeof timeoutMs === 'number' && timeoutMs >= 0) return nowMs() + timeoutMs
  const InvalidArgumentError = typeof timeoutMs === 'number' ? IsthmusRangeError : IsthmusTypeError
  throw new InvalidArgumentError(
    'ERR_ISTHMUS_INVALID_ARGUMENT',
    `${attempt}: ${name} is ${inWords(timeoutMs)}. Give a number of milliseconds from 0 on, or leave it out.`,
  )
}

/**
 * The signal that ends a wait with these options early.
 * @throws IsthmusTypeError `ERR_ISTHMUS_INVALID_ARGUMENT` if it is not a signal
 * @example
 * ```ts
 * const signal = signalOf({ signal: AbortSignal.timeout(100) }, 'Locking a mutex')
 * ```
 */
export function signalOf(options: WaitOptions | undefined, attempt: string): Signal | undefined {
  if (options === undefined) return undefined
  assertOptions(options, attempt)
  const { signal } = options
  if (signal === undefined || isSignal(signal)) return signal
  throw new IsthmusTypeError(
    'ERR_ISTHMUS_INVALID_ARGUMENT',
    `${attempt}: signal is ${inWords(signal)}, which lacks what an AbortSignal has (aborted, addEventListener, removeEventListener). Give an AbortSignal, or leave it out.`,
  )
}

/** @throws IsthmusTypeError `ERR_ISTHMUS_INVALID_ARGUMENT` if the options are not an object */
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
