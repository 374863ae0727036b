import type { MpmcQueueOptions } from '@isthmus/ring'
import { Segment } from '@isthmus/shm-posix'
import { planHeader } from '@isthmus/sync/internal'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { QueueMemory } from '../../packages/ring/test/support/queue-memory.js'
import { Agent, endAllAgents } from '../src/harness/agent.js'
import { faultsOf } from '../src/harness/mpmc-history.js'
import { historyLayout } from '../src/harness/mpmc-layout.js'
import type { AgentLog, Command } from '../src/harness/mpmc-scripts.js'
import { removeTestSegments, uniqueName } from '../src/harness/test-segments.js'

const RUNS = Number(process.env.ISTHMUS_HISTORIES ?? 12)
const AGENTS_MAX = 6
/** Of all agents together, in one history. */
const CALLS = 600

let agents: Agent[]
beforeAll(async () => {
  agents = await Promise.all(Array.from({ length: AGENTS_MAX }, () => Agent.start('mpmc-agent')))
})
afterAll(async () => {
  await endAllAgents()
  removeTestSegments()
})

interface Scenario {
  readonly options: MpmcQueueOptions
  readonly startPosition: number
  /** What each process does, again and again. */
  readonly scripts: readonly (readonly Command[])[]
  /** The processes that are stopped in the midst of it, and go on later. */
  readonly stops: readonly number[]
}

describe('A queue of two to six processes', () => {
  it('is linearizable, with any calls, and with stops in between', { timeout: 300_000 }, async () => {
    const seen = { messages: 0, empty: 0, refused: 0 }
    await fc.assert(
      fc.asyncProperty(fc.oneof(scenario(1), scenario(1), scenario(3)), async (scenario) => {
        const history = await historyOf(scenario)
        expect(faultsOf(history)).toEqual([])
        seen.messages += history.takes.length
        seen.empty += history.emptyLooks.length
        seen.refused += history.refusals.length
      }),
      // The next run of the same scenario is another history.
      { numRuns: RUNS, endOnFailure: true },
    )
    expect(Math.min(seen.messages, seen.empty, seen.refused)).toBeGreaterThan(RUNS)
  })
})

async function historyOf({ options, startPosition, scripts, stops }: Scenario) {
  const layout = historyLayout(options)
  const name = uniqueName()
  using segment = Segment.create(name, layout)
  const { queue, start } = segment.root
  const memory = new QueueMemory(segment, planHeader(layout).rootByteOffset, options)
  memory.startAt(startPosition)
  const originNs = process.hrtime.bigint()
  const part = { region: { name }, options, originNs, turn: 1 }
  const playing = scripts.map((commands, agent) => {
    const rounds = Math.ceil(CALLS / scripts.length / commands.length)
    return agents[agent].call<AgentLog>('play', { ...part, agent, commands, rounds })
  })
  start.value = 1
  for (const stop of stops) await stopAWhile(agents[stop % scripts.length])
  const logs = await Promise.all(playing)
  logs.push(await agents[0].call<AgentLog>('drain', { ...part, agent: 0 }))
  expect(memory.check()).toBe(0)
  expect(queue.describe()).toMatchObject({ free: options.blocks, depth: 0, lost: 0, givenUp: 0, strays: 0 })
  Segment.unlink(name)
  return {
    blocks: options.blocks,
    lanes: options.lanes ?? 1,
    startPosition,
    pushes: logs.flatMap(({ pushes }) => pushes),
    takes: logs.flatMap(({ takes }) => takes),
    emptyLooks: logs.flatMap(({ emptyLooks }) => emptyLooks),
    refusals: logs.flatMap(({ refusals }) => refusals),
    unsent: logs.flatMap(({ unsent }) => unsent),
  }
}

async function stopAWhile(agent: Agent): Promise<void> {
  await pause(Math.random() * 4)
  agent.signal('SIGSTOP')
  await pause(Math.random() * 4)
  agent.signal('SIGCONT')
}

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

function scenario(lanes: number): fc.Arbitrary<Scenario> {
  return fc.constantFrom(1, 2, 3, 8, 40).chain((blocks) =>
    fc.record({
      options: fc.record({
        blocks: fc.constant(blocks),
        blockBytes: fc.constantFrom(32, 100),
        packLimit: fc.constantFrom(1, 3, 64),
        delivery: fc.constantFrom('at-most-once', 'at-least-once'),
        lanes: fc.constant(lanes),
        // As few as there may be, so each slot is soon used again; or the usual number.
        slots: fc.constantFrom(2 ** Math.ceil(Math.log2(blocks + 1)), 64),
      }),
      startPosition: fc.constantFrom(0, -64, 0x7fffffc0, 0x7fffffc0 - 640),
      scripts: fc.array(script(lanes - 1), { minLength: 2, maxLength: AGENTS_MAX }),
      stops: fc.array(fc.nat(AGENTS_MAX), { maxLength: 2 }),
    }),
  )
}

function script(highest: number): fc.Arbitrary<readonly Command[]> {
  const priority = fc.nat(highest)
  const count = fc.integer({ min: 1, max: 9 })
  const call = <const C extends Command['call'][]>(...calls: C) => fc.constantFrom<C[number]>(...calls)
  const send = fc.oneof(
    fc.record({ call: call('trySend', 'trySend', 'sendSync', 'send', 'loan', 'loan', 'discard'), priority }),
    fc.record({ call: call('trySendBatch', 'sendBatchSync'), priority, count }),
    fc.record({ call: call('cork', 'uncork') }),
  )
  const receive = fc.oneof(
    fc.record({ call: call('tryReceive', 'tryReceive', 'receiveSync', 'receive') }),
    fc.record({ call: call('take', 'take', 'release', 'acknowledge') }),
    fc.record({ call: call('drain', 'tryReceiveBatch'), limit: count }),
  )
  return fc.oneof(
    { weight: 2, arbitrary: fc.array(send, { minLength: 1, maxLength: 8 }) },
    { weight: 2, arbitrary: fc.array(receive, { minLength: 1, maxLength: 8 }) },
    { weight: 4, arbitrary: fc.array(fc.oneof(send, receive), { minLength: 1, maxLength: 12 }) },
  )
}
