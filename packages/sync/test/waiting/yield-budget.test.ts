import { describe, expect, test } from 'vitest'
import { nowMs } from '../../src/host/clock.js'
import { yieldBudget } from '../../src/waiting/yield-budget.js'

const completeUntilDue = () => {
  let completions = 0
  while (yieldBudget.canCompleteSynchronously()) completions++
  return completions
}

describe('the yield budget', () => {
  test('lets calls complete for a millisecond, then has the event loop take its turn', async () => {
    await yieldBudget.yieldNow()
    const startMs = nowMs()
    expect(completeUntilDue()).toBeGreaterThanOrEqual(256)
    expect(nowMs() - startMs).toBeGreaterThanOrEqual(1)
    expect(yieldBudget.canCompleteSynchronously()).toBe(false)

    let hadTurn = false
    setImmediate(() => {
      hadTurn = true
    })
    await yieldBudget.yieldToEventLoop()
    expect(hadTurn).toBe(true)
    expect(yieldBudget.canCompleteSynchronously()).toBe(true)
  })

  test('asks for the turn after 256 calls that took more than a millisecond together', async () => {
    await yieldBudget.yieldNow()
    const endMs = nowMs() + 2
    while (nowMs() < endMs);
    expect(completeUntilDue()).toBe(255)
  })
})
