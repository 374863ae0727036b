import { describe, expect, test } from 'vitest'
import { SpinBudget } from '../../src/waiting/eagerness.js'

const SHORT_MS = 0.05
const LONG_MS = 1

/** Learns at most 16, at least 1, and begins with 16. */
function make() {
  return new SpinBudget(1, 16, SHORT_MS)
}

describe('SpinBudget', () => {
  test('SpinBudget halves with each long sleep, down to the least', () => {
    const eagerness = make()
    const amounts = Array.from({ length: 6 }, () => {
      eagerness.slept(LONG_MS)
      return eagerness.amount
    })
    expect(amounts).toEqual([8, 4, 2, 1, 1, 1])
  })

  test('SpinBudget doubles where looking was enough, and after a short sleep, up to the most', () => {
    const eagerness = make()
    for (let sleep = 0; sleep < 3; sleep++) eagerness.slept(LONG_MS)
    const amounts = [eagerness.amount]
    eagerness.lookingWasEnough()
    amounts.push(eagerness.amount)
    eagerness.slept(SHORT_MS / 2)
    amounts.push(eagerness.amount)
    eagerness.lookingWasEnough()
    amounts.push(eagerness.amount)
    expect(amounts).toEqual([2, 4, 8, 16])
  })

  test('SpinBudget holds back where the longest look was in vain before a short sleep, longer each time', () => {
    const eagerness = make()
    const waits: number[] = []
    for (let time = 0; time < 3; time++) {
      expect(eagerness.amount).toBe(16)
      eagerness.slept(SHORT_MS / 2)
      let heldBack = 0
      for (; eagerness.amount === 1; heldBack++) eagerness.slept(SHORT_MS / 2)
      waits.push(heldBack)
    }
    expect(waits).toEqual([1, 3, 7])
  })

  test('SpinBudget forgets its restraint when the longest look was enough', () => {
    const eagerness = make()
    eagerness.slept(SHORT_MS / 2)
    eagerness.slept(SHORT_MS / 2)
    eagerness.lookingWasEnough()
    eagerness.slept(SHORT_MS / 2)
    expect(eagerness.amount).toBe(1)
    eagerness.slept(SHORT_MS / 2)
    expect(eagerness.amount).toBe(16)
  })
})
