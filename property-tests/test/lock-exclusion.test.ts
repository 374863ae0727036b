import { Segment } from '@isthmus/shm-posix'
import * as fc from 'fast-check'
import { afterEach, describe, expect, it } from 'vitest'
import { Agent, type AgentKind, endAllAgents } from '../src/harness/agent.js'
import { lockLayout } from '../src/harness/lock-layout.js'
import { removeTestSegments, uniqueName } from '../src/harness/test-segments.js'

const RUNS = Number(process.env.ISTHMUS_LOCK_RUNS ?? 12)
const KILLS = Number(process.env.ISTHMUS_LOCK_KILLS ?? 25)

afterEach(async () => {
  await endAllAgents()
  removeTestSegments()
})

const form = fc.constantFrom<'sync' | 'async'>('sync', 'async')
const kind = fc.constantFrom<AgentKind>('process', 'process', 'thread')
const crew = fc.array(fc.record({ form, kind, tasks: fc.integer({ min: 1, max: 4 }), rounds: fc.nat(400) }), {
  minLength: 2,
  maxLength: 4,
})

describe.each(['increment', 'readAndWrite'])('agents that %s', (operation) => {
  it('exclude each other, in every mixture of blocking and awaiting', { timeout: 300_000 }, async () => {
    await fc.assert(
      fc.asyncProperty(crew, async (members) => {
        const name = uniqueName()
        using segment = Segment.create(name, lockLayout)
        const agents = await Promise.all(members.map(({ kind }) => Agent.start('lock-agent', kind)))
        const stepsOf = members.map(({ form, tasks, rounds }, agent) => {
          // A blocked thread has no second task that could run.
          return { region: { name }, form, agent, tasks: form === 'sync' ? 1 : tasks, rounds }
        })
        await Promise.all(agents.map((agent, at) => agent.call(operation, stepsOf[at])))
        const expected = stepsOf.reduce((sum, { tasks, rounds }) => sum + tasks * rounds, 0)
        expect(segment.root.count[0]).toBe(expected)
        expect(segment.root.crowds.value).toBe(0)
        expect(segment.root.deaths.value).toBe(0)
        expect(segment.root.lock.describe()).toMatchObject({ state: 'free', waiters: [] })
        await Promise.all(agents.map((agent) => agent.kill()))
        Segment.unlink(name)
      }),
      { numRuns: RUNS },
    )
  })

  it(`count every completed step, and no other, while ${KILLS} of them are killed`, { timeout: 300_000 }, async () => {
    const name = uniqueName()
    using segment = Segment.create(name, lockLayout)
    const { root } = segment
    const start = async (agent: number): Promise<Agent> => {
      const started = await Agent.start('lock-agent')
      const form = agent % 2 === 0 ? 'sync' : 'async'
      started.tell(operation, {
        region: { name },
        form,
        agent,
        tasks: form === 'sync' ? 1 : 3,
        rounds: Number.POSITIVE_INFINITY,
      })
      return started
    }
    const agents = await Promise.all([0, 1, 2].map(start))
    for (let kill = 0; kill < KILLS; kill++) {
      const victim = kill % 3
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 10))
      agents[victim].signal('SIGKILL')
      const [next] = await Promise.all([start(victim), agents[victim].exited])
      agents[victim] = next
      const before = root.steps.reduce((sum, steps) => sum + steps, 0)
      await expect
        .poll(() => root.steps.reduce((sum, steps) => sum + steps, 0), { interval: 1 })
        .toBeGreaterThan(before)
    }
    await Promise.all(agents.map((agent) => agent.kill()))
    const guard = operation === 'increment' ? root.lock.lockSync() : root.shared.writeLockSync()
    const steps = root.steps.reduce((sum, steps) => sum + steps, 0)
    // The last agent may have died half-way: then we are told of its death, and the count is ahead by one.
    expect(root.count[0] - steps).toBeGreaterThanOrEqual(0)
    expect(root.count[0] - steps).toBeLessThanOrEqual(guard.ownerDied ? 1 : 0)
    expect(root.crowds.value).toBe(0)
    expect(root.deaths.value).toBeGreaterThan(0)
    guard.unlock()
    Segment.unlink(name)
  })
})

describe('agents that enter', () => {
  it('are never more than there are permits', { timeout: 300_000 }, async () => {
    await fc.assert(
      fc.asyncProperty(crew, async (members) => {
        const name = uniqueName()
        using segment = Segment.create(name, lockLayout)
        const agents = await Promise.all(members.map(({ kind }) => Agent.start('lock-agent', kind)))
        await Promise.all(
          agents.map((agent, at) => {
            const { form, tasks, rounds } = members[at]
            return agent.call('enter', { region: { name }, form, tasks: form === 'sync' ? 1 : tasks, rounds })
          }),
        )
        expect(segment.root.crowds.value).toBe(0)
        expect(segment.root.inside.value).toBe(0)
        expect(segment.root.permits.describe()).toMatchObject({ available: 2, holders: [], waiters: [] })
        await Promise.all(agents.map((agent) => agent.kill()))
        Segment.unlink(name)
      }),
      { numRuns: RUNS },
    )
  })

  it('lose their permits to others when they are killed', { timeout: 120_000 }, async () => {
    const name = uniqueName()
    using segment = Segment.create(name, lockLayout)
    for (let kill = 0; kill < 10; kill++) {
      const agent = await Agent.start('lock-agent')
      agent.tell('enter', { region: { name }, form: kill % 2 === 0 ? 'sync' : 'async', tasks: 2, rounds: 1e9 })
      await expect.poll(() => segment.root.permits.describe().holders.length).toBeGreaterThan(0)
      agent.signal('SIGKILL')
      const permits = [segment.root.permits.acquireSync(), await segment.root.permits.acquire()]
      expect(segment.root.permits.tryAcquire()).toBeUndefined()
      for (const permit of permits) permit.release()
      await agent.exited
    }
    Segment.unlink(name)
  })
})

describe('a mutex whose owner', () => {
  it('is stopped half-way stays locked, and passes to the next one, which is told, once the owner is killed', {
    timeout: 120_000,
  }, async () => {
    for (const form of ['sync', 'async'] as const) {
      const name = uniqueName()
      using segment = Segment.create(name, lockLayout)
      const { lock, count } = segment.root
      const holder = await Agent.start('lock-agent')
      await holder.call('holdHalfWay', { region: { name }, form })
      holder.signal('SIGSTOP')
      const waiting = lock.lock()
      // Long enough for many slices and ticks.
      expect(lock.lockSync({ timeoutMs: 300 })).toBeUndefined()
      await new Promise((resolve) => setTimeout(resolve, 1500))
      expect(lock.tryLock()).toBeUndefined()
      expect(lock.describe()).toMatchObject({ state: 'held', owner: { pid: holder.pid, isDead: false } })
      holder.signal('SIGKILL')
      const guard = await waiting
      expect(guard.ownerDied).toBe(true)
      expect(count[0]).toBe(1)
      guard.markConsistent()
      guard.unlock()
      expect(lock.lockSync().ownerDied).toBe(false)
      await holder.exited
      Segment.unlink(name)
    }
  })

  it('is stopped stays locked until its owner goes on', { timeout: 60_000 }, async () => {
    const name = uniqueName()
    using segment = Segment.create(name, lockLayout)
    const holder = await Agent.start('lock-agent')
    await holder.call('hold', { region: { name }, form: 'sync' })
    holder.signal('SIGSTOP')
    const waiting = segment.root.lock.lock()
    await new Promise((resolve) => setTimeout(resolve, 300))
    holder.signal('SIGCONT')
    await holder.call('unlock')
    const guard = await waiting
    expect(guard.ownerDied).toBe(false)
    guard.unlock()
    await holder.kill()
    Segment.unlink(name)
  })
})
