import type { MpmcQueueOptions } from '@isthmus/ring'
import { Segment } from '@isthmus/shm-posix'
import { afterEach, describe, expect, it } from 'vitest'
import { Agent, endAllAgents } from '../src/harness/agent.js'
import { type DeliveryRun, faultsOfDelivery, type Value, valueIn, valueOfNote } from '../src/harness/mpmc-delivery.js'
import { mortalQueueLayout } from '../src/harness/mpmc-layout.js'
import { removeTestSegments, uniqueName } from '../src/harness/test-segments.js'

const KILLS = Number(process.env.ISTHMUS_KILLS ?? 2)
/** How many of each are at work at any time. */
const AT_WORK = 2
const WATCHDOG_MS = 60_000

afterEach(async () => {
  await endAllAgents()
  removeTestSegments()
})

interface Case {
  readonly delivery: 'at-most-once' | 'at-least-once'
  readonly batch: number
  readonly isLending: boolean
}
type Work = 'send' | 'receive'

describe.each<Case>([
  { delivery: 'at-most-once', batch: 1, isLending: true },
  { delivery: 'at-most-once', batch: 5, isLending: false },
  { delivery: 'at-least-once', batch: 1, isLending: true },
  { delivery: 'at-least-once', batch: 5, isLending: false },
])('Delivery $delivery, in batches of $batch, with loans: $isLending', (delivery) => {
  it(`keeps its promise while ${KILLS} senders and ${KILLS} receivers are killed`, { timeout: 120_000 }, async () => {
    const run = await play(delivery, ['send', 'receive'])
    expect(faultsOfDelivery(run)).toEqual([])
  })
})

describe('Delivery at most once', () => {
  it('loses and doubles nothing if only senders are killed', { timeout: 120_000 }, async () => {
    const run = await play({ delivery: 'at-most-once', batch: 5, isLending: false }, ['send'])
    // None of them was killed: they have received all, and were ended when nothing was left.
    const receivers = run.receivers.map((notes) => ({ ...notes, isKilled: false }))
    expect(faultsOfDelivery({ ...run, receivers })).toEqual([])
    expect(run.lost).toBe(0)
  })
})

describe('The checker of deliveries', () => {
  const values = [0, 1, 2, 3].map((number) => ({ sender: 0, number }))
  const [first, second, third, fourth] = values
  const base: DeliveryRun = { delivery: 'at-most-once', batch: 1, sent: [4], receivers: [], lost: 0 }
  const whole = { values, isKilled: false }
  const early = { values: [first, second], isKilled: true }
  const atLeastOnce = { ...base, delivery: 'at-least-once' } as const

  it.each<[string, DeliveryRun]>([
    ['everything once', { ...base, receivers: [whole] }],
    ['one lost with its receiver', { ...base, receivers: [early, { values: [fourth], isKilled: false }] }],
    ['one more than the killed sender has counted', { ...base, sent: [3], receivers: [whole] }],
    [
      'one twice, unacknowledged',
      { ...atLeastOnce, receivers: [early, { values: [third, fourth, second], isKilled: false }] },
    ],
  ])('accepts %s', (_, run) => {
    expect(faultsOfDelivery(run)).toEqual([])
  })

  it.each<[string, DeliveryRun, RegExp]>([
    ['is lost', { ...base, receivers: [{ values: [first, third, fourth], isKilled: false }] }, /1 messages were lost/],
    [
      'is lost, at least once',
      { ...atLeastOnce, receivers: [early, { ...early, values: [third] }] },
      /1 messages were lost/,
    ],
    ['comes twice', { ...base, receivers: [early, { values: [second, third, fourth], isKilled: false }] }, /2 times/],
    [
      'comes again after it was acknowledged',
      { ...atLeastOnce, receivers: [early, { values: [first, third, fourth], isKilled: false }] },
      /2 times/,
    ],
    ['was never sent', { ...base, sent: [2], receivers: [whole] }, /never sent/],
    [
      'comes out of order',
      { ...base, receivers: [{ ...whole, values: [first, third, second, fourth] }] },
      /out of order/,
    ],
    ['is counted as lost and is not', { ...base, receivers: [whole], lost: 2 }, /counts 2 lost/],
  ])('tells if a message %s', (_, run, fault) => {
    expect(faultsOfDelivery(run).join('; ')).toMatch(fault)
  })
})

/** Kills senders and receivers at work, one after the other, then the rest; receives what is left. */
async function play({ delivery, batch, isLending }: Case, victims: readonly Work[]): Promise<DeliveryRun> {
  const options: MpmcQueueOptions = { blocks: 16, blockBytes: 64, packLimit: 3, delivery, maxDeliveries: 65_535 }
  const counts = { send: AT_WORK, receive: AT_WORK }
  for (const victim of victims) counts[victim] += KILLS
  const name = uniqueName()
  using segment = Segment.create(name, mortalQueueLayout(options, counts.send, counts.receive))
  const { queue, sent, notes, noted } = segment.root
  const part = { region: { name }, options, senders: counts.send, receivers: counts.receive, batch, isLending }
  const started = { send: 0, receive: 0 }
  const start = async (work: Work): Promise<Agent> => {
    const number = started[work]++
    const agent = await Agent.start('mpmc-agent')
    agent.tell(work, { ...part, agent: number })
    return agent
  }
  const progressOf = (work: Work, number: number) => (work === 'send' ? sent : noted)[number].value
  const atWork = { send: [] as Agent[], receive: [] as Agent[] }
  for (const work of ['send', 'receive'] as const) {
    atWork[work] = await Promise.all(Array.from({ length: AT_WORK }, () => start(work)))
  }
  for (let kill = 0; kill < KILLS; kill++) {
    for (const work of victims) {
      const victim = kill % AT_WORK
      const newest = started[work] - 1
      await expect.poll(() => progressOf(work, newest), { interval: 1, timeout: WATCHDOG_MS }).toBeGreaterThan(0)
      await pause(Math.random() * 5)
      atWork[work][victim].signal('SIGKILL')
      const [next] = await Promise.all([start(work), atWork[work][victim].exited])
      atWork[work][victim] = next
    }
  }
  await Promise.all(atWork.send.map((agent) => agent.kill()))
  if (!victims.includes('receive')) {
    await expect.poll(() => queue.describe(), { timeout: WATCHDOG_MS }).toMatchObject({ depth: 0 })
    await pause(50)
  }
  await Promise.all(atWork.receive.map((agent) => agent.kill()))
  const rest: Value[] = []
  const receiver = queue.receiver()
  for (;;) {
    const message = receiver.receiveSync({ timeoutMs: 0 })
    if (message === undefined || message === null) break
    rest.push(valueIn(new DataView(message.buffer, message.byteOffset, message.byteLength)))
  }
  receiver.close()
  const { free, lost } = queue.describe()
  expect(free).toBe(options.blocks)
  const receivers = noted.map(({ value }, number) => {
    return { values: Array.from(notes[number].subarray(0, value), valueOfNote), isKilled: true }
  })
  Segment.unlink(name)
  return {
    delivery,
    batch,
    sent: sent.map(({ value }) => value),
    receivers: [...receivers, { values: rest, isKilled: false }],
    lost,
  }
}

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))
