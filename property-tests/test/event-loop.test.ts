import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { Segment } from '@isthmus/shm-posix'
import { PeerDiedError } from '@isthmus/sync'
import { fallbackPolling } from '@isthmus/sync/internal'
import { afterEach, describe, expect, it } from 'vitest'
import { Agent, endAllAgents } from '../src/harness/agent.js'
import { lockLayout } from '../src/harness/lock-layout.js'
import { manyRings } from '../src/harness/many-rings.js'
import { removeTestSegments, uniqueName } from '../src/harness/test-segments.js'

const IDLE_MS = Number(process.env.ISTHMUS_IDLE_MS ?? 3000)
/** A watchdog for a loaded machine: a wait that held up the end would do so without end. */
const AT_ONCE_MS = 20_000

afterEach(async () => {
  await endAllAgents()
  removeTestSegments()
})

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

describe('the death of a peer', () => {
  it('ends a pending receive long before the next tick', { timeout: 120_000 }, async () => {
    const { tickMs } = fallbackPolling
    // Ticks are switched off: the test measures the notification by the system, not fallback polling.
    fallbackPolling.tickMs = 1e9
    const latenciesMs: number[] = []
    try {
      for (let run = 0; run < 15; run++) {
        const name = uniqueName()
        using segment = Segment.create(name, lockLayout)
        const agent = await Agent.start('lock-agent')
        const region = { name }
        let wait: Promise<unknown>
        if (run % 3 === 0) {
          await agent.call('beProducer', { region })
          wait = expect(segment.root.there.consumer().receive()).rejects.toThrow(PeerDiedError)
        } else if (run % 3 === 1) {
          await agent.call('hold', { region, form: 'sync' })
          wait = segment.root.lock.lock()
        } else {
          // The producer attaches after the wait has begun.
          wait = expect(segment.root.there.consumer().receive()).rejects.toThrow(PeerDiedError)
          await sleep(20)
          await agent.call('beProducer', { region })
        }
        await sleep(20)
        const killedMs = performance.now()
        agent.signal('SIGKILL')
        await wait
        latenciesMs.push(performance.now() - killedMs)
        await agent.exited
        Segment.unlink(name)
      }
    } finally {
      fallbackPolling.tickMs = tickMs
    }
    latenciesMs.sort((a, b) => a - b)
    console.log(
      `death reported after ${latenciesMs[7].toFixed(1)} ms (median), ${latenciesMs[14].toFixed(1)} ms (slowest)`,
    )
    expect(latenciesMs[7]).toBeLessThan(250)
  })
})

describe('a thousand idle rings', () => {
  it.each(['receiveFromAll', 'waitForAny'])(
    'cost an idle waiter next to nothing with %s',
    {
      timeout: 120_000,
    },
    async (operation) => {
      const names = [uniqueName(), uniqueName(), uniqueName(), uniqueName()]
      const segments = names.map((name) => Segment.create(name, manyRings))
      try {
        const peers = await Promise.all(names.map(() => Agent.start('event-loop-agent')))
        await Promise.all(peers.map((peer, at) => peer.call('produce', { name: names[at] })))
        const server = await Agent.start('event-loop-agent')
        type Idleness = { cpuShare: number; threads: number; descriptors: number }
        const before = await server.call<Idleness>('idle', { forMs: 100 })
        await server.call(operation, { names })
        await server.call('idle', { forMs: 500 })
        const idle = await server.call<Idleness>('idle', { forMs: IDLE_MS })
        const more = idle.descriptors - before.descriptors
        console.log(
          `${operation}: ${(idle.cpuShare * 100).toFixed(3)} % of a core, ${more} more descriptors for 4 peers`,
        )
        expect(idle.cpuShare).toBeLessThan(0.02)
        expect(idle.threads).toBe(before.threads)
        expect(more).toBeLessThanOrEqual(4 * 4 + 4)
      } finally {
        for (const segment of segments) segment.close()
        for (const name of names) Segment.unlink(name)
      }
    },
  )
})

describe('an end during a wait', () => {
  it.each([
    ['sync', 'message'],
    ['sync', 'lock'],
    ['async', 'message'],
    ['async', 'lock'],
    ['async', 'any'],
  ])('of a thread that waits (%s) for a %s comes at once', { timeout: 60_000 }, async (form, what) => {
    const name = uniqueName()
    using segment = Segment.create(name, lockLayout)
    segment.root.lock.lockSync()
    const producer = segment.root.there.producer()
    const worker = await Agent.start('lock-agent', 'thread')
    worker.tell('waitForEver', { region: { name }, form, what })
    const { there, lock } = segment.root
    const isWaiting = () => there.describe().consumer.isWaiting || lock.describe().waiters.length > 0
    await expect.poll(isWaiting).toBe(true)
    const startedMs = performance.now()
    await worker.kill()
    expect(performance.now() - startedMs).toBeLessThan(AT_ONCE_MS)
    // The thread leaves nothing: the role is free for the next consumer.
    if (what !== 'lock') await expect.poll(() => segment.root.there.describe().consumer.holder?.isDead).not.toBe(false)
    producer.close()
    Segment.unlink(name)
  })

  it('of a process by process.exit comes at once, and leaves no FIFO', { timeout: 60_000 }, async () => {
    const name = uniqueName()
    using segment = Segment.create(name, lockLayout)
    segment.root.lock.lockSync()
    const agent = await Agent.start('lock-agent')
    await agent.call('waitForEver', { region: { name }, form: 'async', what: 'any' })
    const startedMs = performance.now()
    await agent.call('exit')
    await agent.exited
    expect(performance.now() - startedMs).toBeLessThan(AT_ONCE_MS)
    Segment.unlink(name)
  })
})

describe('a process that only waits', () => {
  const run = async (body: string) => {
    const folder = mkdtempSync(fileURLToPath(new URL('../dist/waits-', import.meta.url)))
    const file = join(folder, 'program.mjs')
    const name = uniqueName()
    writeFileSync(
      file,
      `import { Segment } from '@isthmus/shm-posix'
       import { spscRing, utf8 } from '@isthmus/ring'
       const segment = Segment.openOrCreate('${name}', spscRing({ capacityBytes: 4096, codec: utf8 }))
       const consumer = segment.root.consumer()
       ${body}`,
    )
    try {
      return { name, ...(await promisify(execFile)(process.execPath, [file], { timeout: 50_000 })) }
    } finally {
      rmSync(folder, { recursive: true })
    }
  }

  it('stays until the message is there, then ends', { timeout: 60_000 }, async () => {
    const { stdout } = await run(`
      const producer = segment.root.producer()
      setTimeout(() => producer.trySend('late'), 300).unref()
      setTimeout(() => {}, 350)
      console.log(await consumer.receive())
      segment.close()`)
    expect(stdout).toBe('late\n')
  })

  it('stays as long as the wait lasts', { timeout: 60_000 }, async () => {
    const { stdout } = await run(`
      const startedMs = performance.now()
      console.log(await consumer.receive({ timeoutMs: 400 }), performance.now() - startedMs >= 400)
      segment.close()`)
    expect(stdout).toBe('undefined true\n')
  })

  it('ends if the wait is unref’ed', { timeout: 60_000 }, async () => {
    const { stdout } = await run(`
      consumer.unref()
      consumer.receive().then(() => console.log('never'))
      console.log('waiting')`)
    expect(stdout).toBe('waiting\n')
  })
})
