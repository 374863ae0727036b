import { spscRing } from '@isthmus/ring'
import { Segment } from '@isthmus/shm-posix'
import { afterEach, expect, it } from 'vitest'
import { Agent, endAllAgents } from '../src/harness/agent.js'
import { removeTestSegments, uniqueName } from '../src/harness/test-segments.js'

const MESSAGES = Number(process.env.ISTHMUS_STREAM_MESSAGES ?? 200_000)
const ring = { capacityBytes: 1024 * 1024 }

afterEach(async () => {
  await endAllAgents()
  removeTestSegments()
})

it('a steady stream between two event loops needs less than one wake-up for each hundred messages', {
  timeout: 120_000,
}, async () => {
  const name = uniqueName()
  using _segment = Segment.create(name, spscRing(ring))
  const [producer, consumer] = await Promise.all([Agent.start('ring-agent'), Agent.start('ring-agent')])
  const task = { region: { name }, ring, messages: MESSAGES, byteLength: 1024 }
  const calls = await Promise.all([consumer.call<number>('receiveStream', task), producer.call<number>('stream', task)])
  expect(calls.every(Number.isInteger)).toBe(true)
  expect(calls[0] / MESSAGES).toBeLessThan(0.01)
  expect(calls[1] / MESSAGES).toBeLessThan(0.01)
  Segment.unlink(name)
})
