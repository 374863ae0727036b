import { Segment } from '@isthmus/shm-posix'
import { afterEach, describe, expect, it } from 'vitest'
import { Agent, endAllAgents } from '../src/harness/agent.js'
import { lockLayout } from '../src/harness/lock-layout.js'
import { removeTestSegments, uniqueName } from '../src/harness/test-segments.js'

const HAND_OVERS = Number(process.env.ISTHMUS_HAND_OVERS ?? 100_000)

afterEach(async () => {
  await endAllAgents()
  removeTestSegments()
})

describe('Condvar between processes', () => {
  it(`hands ${HAND_OVERS} tokens over without losing a wake-up, slices and ticks switched off`, {
    timeout: 300_000,
  }, async () => {
    const name = uniqueName()
    using segment = Segment.create(name, lockLayout)
    const { root } = segment
    root.goal.value = HAND_OVERS
    const parts = [
      { part: 'produce', form: 'sync', tasks: 1 },
      { part: 'produce', form: 'async', tasks: 2 },
      { part: 'consume', form: 'sync', tasks: 1 },
      { part: 'consume', form: 'async', tasks: 2 },
      { part: 'dither', form: 'async', tasks: 2 },
      { part: 'dither', form: 'sync', tasks: 1 },
    ]
    const agents = await Promise.all(parts.map(() => Agent.start('lock-agent')))
    const ends = parts.map((part, at) => agents[at].call('handOver', { ...part, region: { name } }, 280_000))
    await Promise.all(ends)
    expect(root.consumed[0]).toBe(HAND_OVERS)
    expect(root.produced[0]).toBe(HAND_OVERS)
    expect(root.givenUp.value).toBeGreaterThan(0)
    expect(root.notEmpty.describe().waiters).toEqual([])
    expect(root.notFull.describe().waiters).toEqual([])
    await Promise.all(agents.map((agent) => agent.kill()))
    Segment.unlink(name)
  })
})
