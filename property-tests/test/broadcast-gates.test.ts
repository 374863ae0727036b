import { readFileSync } from 'node:fs'
import { Segment } from '@isthmus/shm-posix'
import { afterEach, describe, expect, it } from 'vitest'
import { Agent, endAllAgents } from '../src/harness/agent.js'
import { watchedBroadcast } from '../src/harness/broadcast-layout.js'
import { type BroadcastNotes, beginningOf, faultsOfNotes, NoteTaker } from '../src/harness/broadcast-notes.js'
import { StampedMessages } from '../src/harness/stamped-messages.js'
import { removeTestSegments, uniqueName } from '../src/harness/test-segments.js'

const OPTIONS = { capacityBytes: 65_536, gates: 3 }
const BYTE_LENGTH = 500
const KILLS = Number(process.env.ISTHMUS_KILLS ?? 3)
/** A machine that is busy with other things takes longer than the publisher needs: 50 ms. */
const GENEROUS_MS = 1_000
const WATCHDOG_MS = 30_000
const watchdog = { interval: 1, timeout: WATCHDOG_MS }

afterEach(async () => {
  await endAllAgents()
  removeTestSegments()
})

const monotonicMs = () => Number(process.hrtime.bigint() / 1000n) / 1000
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

describe('A gating subscriber that is killed while the publisher waits for it', { timeout: 120_000 }, () => {
  it.each(['publishSync', 'publish', 'tryPublish'] as const)('lets it go on at once, in %s', async (wait) => {
    const name = uniqueName()
    using segment = Segment.create(name, watchedBroadcast(OPTIONS))
    const { ring, begun, published } = segment.root
    const place = { region: { name }, options: OPTIONS }
    const [publisher, ...holders] = await Promise.all(
      Array.from({ length: 1 + KILLS }, () => Agent.start('broadcast-agent')),
    )
    const tookMs: number[] = []
    for (const holder of holders) {
      begun[0].value = 0
      await holder.call('hold', { ...place, subscription: { gate: true }, index: 0 })
      const before = published.value
      const returned = publisher.call<number>('publishBeyond', { ...place, byteLength: BYTE_LENGTH, wait })
      returned.catch(() => undefined)
      await expect.poll(() => published.value - before, watchdog).toBeGreaterThan(100)
      if (wait === 'tryPublish') await pause(20)
      else await expect.poll(() => ring.describe().publisher.isWaiting, watchdog).toBe(true)
      const full = published.value
      expect(ring.describe().gates).toMatchObject([{ state: 'active', owner: { pid: holder.pid } }])
      await pause(5)
      expect(published.value, 'what it publishes while it waits').toBe(full)
      const killMs = monotonicMs()
      holder.signal('SIGKILL')
      tookMs.push((await returned) - killMs)
      expect(published.value).toBe(full + 1)
      await holder.exited
    }
    const median = tookMs.sort((a, b) => a - b)[KILLS >> 1]
    expect(tookMs[0], 'a return before the kill').toBeGreaterThan(0)
    expect(median).toBeLessThan(GENEROUS_MS)
    expect(ring.describe().gates).toEqual([])
    Segment.unlink(name)
  })
})

describe('A gating subscriber that is stopped', { timeout: 120_000 }, () => {
  it.each(['publisher', 'ring'] as const)(
    'is named, and demoted by the %s; nobody else loses anything, and it reads on as a lossy one',
    async (demoter) => {
      const name = uniqueName()
      using segment = Segment.create(name, watchedBroadcast(OPTIONS))
      const { ring, next, begun } = segment.root
      const messages = new StampedMessages()
      const publisher = ring.publisher()
      let published = 0
      const agents = await Promise.all([Agent.start('broadcast-agent'), Agent.start('broadcast-agent')])
      const notes = agents.map((agent, index) => {
        const task = { region: { name }, options: OPTIONS, subscription: { gate: true }, way: 'sync', index }
        return agent.call<BroadcastNotes>('receive', task)
      })
      await expect.poll(() => begun[0].value + begun[1].value, watchdog).toBe(2)
      // The lossy one, in this thread, reads each message as soon as it is published.
      const lossy = ring.subscriber()
      const taker = new NoteTaker(lossy, ring.maxMessageBytes)
      const publish = () => {
        if (!publisher.tryPublish(messages.at(published, BYTE_LENGTH))) return false
        published++
        const message = lossy.tryReceive()
        if (message) taker.note(message)
        return true
      }
      const publishUntil = async (isOver: () => boolean) => {
        for (const endMs = performance.now() + WATCHDOG_MS; !isOver(); ) {
          if (performance.now() > endMs) throw new Error(`Still ${published} messages after half a minute`)
          if (!publish()) await pause(0)
        }
      }
      await publishUntil(() => next[0].value > 300 && next[1].value > 300)
      const [stopped, other] = agents
      stopped.signal('SIGSTOP')
      // A full ring that only one subscriber keeps so.
      let full = -1
      await expect
        .poll(async () => {
          while (publish());
          const isFull = full === published && next[1].value === published
          full = published
          await pause(2)
          return isFull
        }, watchdog)
        .toBe(true)
      expect(publisher.publishSync(messages.at(published, BYTE_LENGTH), { timeoutMs: 20 })).toBe(false)
      const gates = publisher.gates()
      const furthest = gates.reduce((a, b) => (a.behindBytes > b.behindBytes ? a : b))
      expect(furthest.owner?.pid).toBe(stopped.pid)
      expect(gates.map(({ owner }) => owner?.pid).sort()).toEqual([stopped.pid, other.pid].sort())
      expect(ring.describe().gates).toContainEqual(furthest)
      const atDemotion = next[0].value
      expect((demoter === 'ring' ? ring : publisher).demote(furthest)).toBe(true)
      expect(publish()).toBe(true)
      await publishUntil(() => published > full + 2000)
      expect(next[0].value).toBeLessThanOrEqual(atDemotion + 1)
      stopped.signal('SIGCONT')
      const resumedAt = published
      await publishUntil(() => next[0].value > resumedAt && next[1].value > resumedAt)
      publisher.close()
      const [ofStopped, ofOther] = await Promise.all(notes)
      expect(lossy.tryReceive()).toBeNull()
      expect(faultsOfNotes(taker.notes, published)).toEqual([])
      expect(beginningOf(taker.notes, published)).toBe(0)
      expect(taker.notes.lost).toBe(0)
      expect(faultsOfNotes(ofOther, published)).toEqual([])
      expect(beginningOf(ofOther, published)).toBe(0)
      expect(ofOther).toMatchObject({ lost: 0, overruns: 0, received: published })
      expect(faultsOfNotes(ofStopped, published)).toEqual([])
      expect(beginningOf(ofStopped, published)).toBe(0)
      expect(ofStopped.lost).toBeGreaterThan(1000)
      expect(ofStopped.toldLost).toBe(ofStopped.lost)
      Segment.unlink(name)
    },
  )

  it('holds back nobody who has no gate, and goes on where it was if nobody demotes it', async () => {
    const name = uniqueName()
    using segment = Segment.create(name, watchedBroadcast(OPTIONS))
    const { ring, next, begun } = segment.root
    const messages = new StampedMessages()
    const publisher = ring.publisher()
    const agent = await Agent.start('broadcast-agent')
    const task = { region: { name }, options: OPTIONS, subscription: { gate: true }, way: 'batch', index: 0 }
    const notes = agent.call<BroadcastNotes>('receive', task)
    await expect.poll(() => begun[0].value, watchdog).toBe(1)
    let published = 0
    while (published < 100 && (await publisher.publish(messages.at(published, BYTE_LENGTH)))) published++
    await expect.poll(() => next[0].value, watchdog).toBe(published)
    agent.signal('SIGSTOP')
    const state = () => readFileSync(`/proc/${agent.pid}/stat`, 'utf8').split(') ')[1][0]
    await expect.poll(state, watchdog).toBe('T')
    while (publisher.tryPublish(messages.at(published, BYTE_LENGTH))) published++
    const history = ring.subscriber({ from: 'oldest' })
    expect(history.tryReceiveBatch()?.length).toBeGreaterThan(50)
    expect(await publisher.publish(messages.at(published, BYTE_LENGTH), { timeoutMs: 20 })).toBe(false)
    const waiting = publisher.publish(messages.at(published, BYTE_LENGTH), { timeoutMs: WATCHDOG_MS })
    agent.signal('SIGCONT')
    expect(await waiting).toBe(true)
    published++
    publisher.close()
    expect(faultsOfNotes(await notes, published)).toEqual([])
    expect(beginningOf(await notes, published)).toBe(0)
    expect(await notes).toMatchObject({ lost: 0, received: published })
    Segment.unlink(name)
  })
})
