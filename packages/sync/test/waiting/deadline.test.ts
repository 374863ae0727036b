import { expect, test } from 'vitest'
import { IsthmusRangeError } from '../../src/index.js'
import { deadlineAfter, nowMs } from '../../src/internal.js'
import { expectCode } from '../support/expect-code.js'

test('deadlineAfter(undefined) is never', () => {
  expect(deadlineAfter(undefined)).toBe(Number.POSITIVE_INFINITY)
})

test.each([0, 1.5, 60_000])('deadlineAfter(%s) counts from now', (timeoutMs) => {
  const before = nowMs()
  const deadline = deadlineAfter(timeoutMs)
  const after = nowMs()
  expect(deadline).toBeGreaterThanOrEqual(before + timeoutMs)
  expect(deadline).toBeLessThanOrEqual(after + timeoutMs)
})

test('deadlineAfter(Infinity) is never', () => {
  expect(deadlineAfter(Number.POSITIVE_INFINITY)).toBe(Number.POSITIVE_INFINITY)
})

test.each([-1, -Number.MIN_VALUE, Number.NaN, Number.NEGATIVE_INFINITY])(
  'deadlineAfter(%s) is refused',
  (timeoutMs) => {
    expectCode('ERR_ISTHMUS_INVALID_ARGUMENT', () => deadlineAfter(timeoutMs))
    expect(() => deadlineAfter(timeoutMs)).toThrow(IsthmusRangeError)
  },
)

test('deadlineAfter refuses what is no number', () => {
  // @ts-expect-error a string is no number of milliseconds
  expectCode('ERR_ISTHMUS_INVALID_ARGUMENT', () => deadlineAfter('5'))
  // @ts-expect-error null is no number of milliseconds
  expectCode('ERR_ISTHMUS_INVALID_ARGUMENT', () => deadlineAfter(null))
})

test('nowMs never goes back', () => {
  const times = Array.from({ length: 1_000 }, nowMs)
  expect(times).toEqual(times.toSorted((a, b) => a - b))
})
