import { describe, expect, test } from 'vitest'
import { SpinBudget } from '../../src/waiting/adaptive-spin.js'

const SHORT_MS = 0.05
const LONG_MS = 1

/** Its limit is 16 at first and at most, 1 at least. */
function make() {
  return new SpinBudget(1, 16, SHORT_MS)
}

describe('SpinBudget', () => {
  test('SpinBudget halves its limit after each long sleep, down to the least', () => {
    const budget = make()
    const limits = Array.from({ length: 6 }, () => {
      budget.slept(LONG_MS)
      return budget.limit
    })
    expect(limits).toEqual([8, 4, 2, 1, 1, 1])
  })

  test('SpinBudget doubles its limit if polling was enough, and after a short sleep, up to the most', () => {
    const budget = make()
    for (let sleep = 0; sleep < 3; sleep++) budget.slept(LONG_MS)
    const limits = [budget.limit]
    budget.pollingWasEnough()
    limits.push(budget.limit)
    budget.slept(SHORT_MS / 2)
    limits.push(budget.limit)
    budget.pollingWasEnough()
    limits.push(budget.limit)
    expect(limits).toEqual([2, 4, 8, 16])
  })

  test('SpinBudget skips spinning if the longest spin failed before a short sleep, for longer each time', () => {
    const budget = make()
    const skips: number[] = []
    for (let time = 0; time < 3; time++) {
      expect(budget.limit).toBe(16)
      budget.slept(SHORT_MS / 2)
      let skipped = 0
      for (; budget.limit === 1; skipped++) budget.slept(SHORT_MS / 2)
      skips.push(skipped)
    }
    expect(skips).toEqual([1, 3, 7])
  })

  test('SpinBudget begins with one skip again after the longest spin was enough', () => {
    const budget = make()
    budget.slept(SHORT_MS / 2)
    budget.slept(SHORT_MS / 2)
    budget.pollingWasEnough()
    budget.slept(SHORT_MS / 2)
    expect(budget.limit).toBe(1)
    budget.slept(SHORT_MS / 2)
    expect(budget.limit).toBe(16)
  })
})
