import type { Subscriber, SubscriberOptions } from '@isthmus/ring'
import { Segment } from '@isthmus/shm-posix'
import { waitAny } from '@isthmus/sync'
import { afterEach, describe, expect, it } from 'vitest'
import { Agent, type AgentKind, endAllAgents } from '../src/harness/agent.js'
import { manyKindsLayout, watchedBroadcast } from '../src/harness/broadcast-layout.js'
import { type BroadcastNotes, beginningOf, faultsOfNotes, type Way } from '../src/harness/broadcast-notes.js'
import { scrambled } from '../src/harness/messages.js'
import { numberOfStamped, STAMPED_BYTES_MIN, StampedMessages } from '../src/harness/stamped-messages.js'
import { removeTestSegments, uniqueName } from '../src/harness/test-segments.js'

const OPTIONS = { capacityBytes: 16_384, gates: 2, maxMessageBytes: 50_000 }
const MESSAGES = Number(process.env.ISTHMUS_MESSAGES ?? 4_000)
const WATCHDOG_MS = 60_000
const watchdog = { interval: 1, timeout: WATCHDOG_MS }

afterEach(async () => {
  await endAllAgents()
  removeTestSegments()
})

interface Planned {
  readonly kind: AgentKind
  readonly way: Way
  readonly subscription: SubscriberOptions
  /** Begins after so many messages, while the publisher streams; before there is a publisher if not given. */
  readonly joinsAt?: number
}

const PLAN: readonly Planned[] = [
  { kind: 'thread', way: 'sync', subscription: {} },
  { kind: 'process', way: 'chunks', subscription: { gate: true } },
  { kind: 'process', way: 'for-each', subscription: {} },
  { kind: 'thread', way: 'chunks', subscription: { onOverrun: 'throw' } },
  { kind: 'thread', way: 'poll', subscription: { gate: true }, joinsAt: 500 },
  { kind: 'process', way: 'into', subscription: { from: 'oldest' }, joinsAt: 1000 },
  { kind: 'process', way: 'drain', subscription: {}, joinsAt: 1500 },
  { kind: 'thread', way: 'batch', subscription: { from: 'oldest', onOverrun: 'throw' }, joinsAt: 2000 },
]

describe('A broadcast ring with subscribers in threads and processes', () => {
  it('gives each of them every message from where it began, or counts it, however it receives', {
    timeout: 120_000,
  }, async () => {
    const name = uniqueName()
    using segment = Segment.create(name, watchedBroadcast(OPTIONS))
    const { ring, begun } = segment.root
    const agents = await Promise.all(PLAN.map(({ kind }) => Agent.start('broadcast-agent', kind)))
    const answers: Promise<BroadcastNotes>[] = []
    const begin = (index: number) => {
      const { subscription, way } = PLAN[index]
      answers[index] = agents[index].call('receive', { region: { name }, options: OPTIONS, subscription, way, index })
      answers[index].catch(() => undefined)
    }
    const early = PLAN.flatMap(({ joinsAt }, index) => (joinsAt === undefined ? [index] : []))
    for (const index of early) begin(index)
    await expect.poll(() => early.every((index) => begun[index].value === 1), watchdog).toBe(true)
    const publisher = ring.publisher()
    const messages = new StampedMessages()
    const lateBegin = new Map<number, { earliest: number; latest: number }>()
    let published = 0
    const publish = async () => {
      const dice = scrambled(published)
      const lengths = dice % 64 === 0 ? OPTIONS.maxMessageBytes : 400
      const message = messages.at(published, STAMPED_BYTES_MIN + ((dice >>> 6) % (lengths - STAMPED_BYTES_MIN)))
      if (!(await publisher.publish(message, { timeoutMs: WATCHDOG_MS }))) throw new Error('There is no space')
      published++
      for (const [index, bounds] of lateBegin) if (begun[index].value === 0) bounds.latest = published
    }
    const isOver = () => published >= MESSAGES && PLAN.every((_, index) => begun[index].value === 1)
    for (const endMs = performance.now() + WATCHDOG_MS; !isOver(); ) {
      if (performance.now() > endMs) throw new Error(`A subscriber has not begun after ${published} messages`)
      for (const [index, { joinsAt }] of PLAN.entries()) {
        if (joinsAt !== published) continue
        lateBegin.set(index, { earliest: published, latest: published })
        begin(index)
      }
      await publish()
      if (published % 16 === 0) await new Promise((resolve) => setImmediate(resolve))
    }
    // Those that came late get some, too.
    for (let count = 0; count < 200; count++) await publish()
    publisher.close()
    const all = await Promise.all(answers)
    for (const [index, notes] of all.entries()) {
      const { subscription, way, kind } = PLAN[index]
      const title = `${index}: ${kind}, ${way}, ${JSON.stringify(subscription)}`
      const late = lateBegin.get(index)
      expect(faultsOfNotes(notes, published), title).toEqual([])
      const from = beginningOf(notes, published)
      expect(notes.received, title).toBeGreaterThan(100)
      expect(notes.deaths + notes.incomplete, title).toBe(0)
      if (subscription.gate) expect(notes, title).toMatchObject({ lost: 0, overruns: 0 })
      if (subscription.onOverrun === 'throw') expect(notes.toldLost, title).toBe(notes.lost)
      if (late === undefined) {
        expect(from, title).toBe(0)
        continue
      }
      // One that begins with history begins at most a ring, of the smallest messages, before it was asked to.
      const history = subscription.from === 'oldest' ? OPTIONS.capacityBytes / (STAMPED_BYTES_MIN + 16) : 0
      expect(from, title).toBeGreaterThanOrEqual(late.earliest - history)
      expect(from, title).toBeLessThanOrEqual(late.latest + 1)
    }
    Segment.unlink(name)
  })
})

describe('waitAny over a subscriber, a receiver of a queue, and a consumer of a ring', () => {
  it('finds every message of another process, wherever it comes', { timeout: 60_000 }, async () => {
    const name = uniqueName()
    using segment = Segment.create(name, manyKindsLayout)
    const { broadcast, queue, ring } = segment.root
    const subscriber = broadcast.subscriber()
    const receiver = queue.receiver()
    const consumer = ring.consumer()
    const all = [subscriber, receiver, consumer] as const
    const agent = await Agent.start('broadcast-agent')
    const count = 300
    const sent = agent.call<number[]>('sendToAll', { region: { name }, count })
    const received = [0, 0, 0]
    let told = 0
    while (received.reduce((sum, each) => sum + each) < count) {
      const [ready] = await waitAny([...all], { timeoutMs: WATCHDOG_MS })
      if (ready === undefined) throw new Error(`Nothing more comes after ${received}`)
      told++
      const which = all.indexOf(ready as Subscriber)
      for (let message = ready.tryReceive(); message; message = ready.tryReceive()) {
        expect(numberOfStamped(message)).toBe(received[which])
        received[which]++
      }
    }
    expect(received).toEqual(await sent)
    expect(told).toBeGreaterThan(3)
    expect(subscriber.lost).toBe(0)
    Segment.unlink(name)
  })
})
