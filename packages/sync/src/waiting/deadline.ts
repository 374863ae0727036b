import { IsthmusRangeError, IsthmusTypeError, inWords } from '../errors.js'
import { host, type Signal, setKeepsAlive } from './host.js'

/** Timers count milliseconds in 32 bits. */
export const TIMER_MS_MAX = 2 ** 31 - 1

/** How long a call that blocks its thread may take. */
export interface TimeoutOptions {
  /** How long to wait, in milliseconds from 0 on; without end if not given. */
  readonly timeoutMs?: number
}

/** How long a promise may take, and what ends it early. */
export interface WaitOptions extends TimeoutOptions {
  /** Ends the wait with an AbortError and leaves nothing of it behind. */
  readonly signal?: Signal
}

/**
 * What ends a promise early that never times out, so its result is never `undefined` for want of time. Options that may
 * hold a timeout do not fit, also if they come in a variable.
 */
export interface UntimedOptions {
  readonly timeoutMs?: never
  /** Ends the wait with an AbortError and leaves nothing of it behind. */
  readonly signal?: Signal
}

/** Milliseconds on a clock that never jumps. */
export function nowMs(): number {
  return host.now()
}

/**
 * When a wait of `timeoutMs` that begins now has to end: Infinity for none.
 * @throws IsthmusRangeError, IsthmusTypeError `ERR_ISTHMUS_INVALID_ARGUMENT` where it is negative or not a number.
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

/** Calls back at this time, never earlier; returns what takes it back. It keeps no process running. */
export function callAt(deadline: number, callback: () => void): () => void {
  if (deadline === Number.POSITIVE_INFINITY) return () => {}
  let timer: unknown
  const schedule = () => {
    const delayMs = Math.min(Math.max(0, Math.ceil(deadline - nowMs())), TIMER_MS_MAX)
    timer = host.setTimeout(() => (nowMs() < deadline ? schedule() : callback()), delayMs)
    setKeepsAlive(timer, false)
  }
  schedule()
  return () => host.clearTimeout(timer)
}
