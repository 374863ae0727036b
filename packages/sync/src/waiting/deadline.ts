import { IsthmusRangeError } from '../errors.js'

/** Both Node.js and browsers have it; this package takes its types from neither. */
declare const performance: { now(): number }

/** Milliseconds on a clock that never jumps. */
export function nowMs(): number {
  return performance.now()
}

/**
 * When a wait of `timeoutMs` that begins now has to end: Infinity for none.
 * @throws IsthmusRangeError `ERR_ISTHMUS_INVALID_ARGUMENT` where it is negative or not a number.
 */
export function deadlineAfter(timeoutMs: number | undefined): number {
  if (timeoutMs === undefined) return Number.POSITIVE_INFINITY
  if (typeof timeoutMs === 'number' && timeoutMs >= 0) return nowMs() + timeoutMs
  throw new IsthmusRangeError(
    'ERR_ISTHMUS_INVALID_ARGUMENT',
    `Waiting: timeoutMs is ${timeoutMs}. Give milliseconds from 0 on, or leave it out to wait without end.`,
  )
}
