import { closeSync, openSync, readFileSync, rmSync, writeFileSync, writeSync } from 'node:fs'
import { LOCK_PID_WORD, LOCK_PURPOSE_WORD, LOCK_TURN_WORD, nowMs } from '@isthmus/sync/internal'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { host } from '../../../sync/src/host/host.js'
import { expectCode } from '../../../sync/test/support/expect-code.js'
import { Segment } from '../../src/index.js'
import { HeaderLockDeadline, withHeaderLock } from '../../src/segment/header-lock.js'
import { FutexWaiter } from '../../src/waiting/futex-waiter.js'
import { Child, endAllChildren } from '../support/child.js'
import { counter } from '../support/ledger.js'
import { pathOf, removeEverything, uniqueName } from '../support/names.js'

const descriptors: number[] = []

afterEach(async () => {
  vi.restoreAllMocks()
  for (const fd of descriptors.splice(0)) closeSync(fd)
  await endAllChildren()
  removeEverything()
})

function openTwice(): { path: string; one: number; other: number } {
  const path = pathOf(uniqueName())
  writeFileSync(path, Buffer.alloc(4096))
  const [one, other] = [openSync(path, 'r+'), openSync(path, 'r+')]
  descriptors.push(one, other)
  return { path, one, other }
}

function holderOf(path: string): number {
  return readFileSync(path).readInt32LE(LOCK_PID_WORD * 4)
}

describe('withHeaderLock()', () => {
  it('runs the action, notes its holder meanwhile, and returns its result', () => {
    const { path, one } = openTwice()
    expect(
      withHeaderLock({ fd: one, subject: 'it' }, 'attaching', new HeaderLockDeadline(0), () => [
        holderOf(path),
        'result',
      ]),
    ).toEqual([process.pid, 'result'])
    expect(holderOf(path)).toBe(0)
  })

  it('keeps other threads out; after their time they throw an error that names the holder', () => {
    const { one, other } = openTwice()
    let hasRun = false
    withHeaderLock({ fd: one, subject: 'it' }, 'attaching', new HeaderLockDeadline(0), () => {
      const startMs = nowMs()
      const error = expectCode('ERR_ISTHMUS_BUSY', () => {
        withHeaderLock({ fd: other, subject: 'the segment /orders' }, 'attaching', new HeaderLockDeadline(25), () => {
          hasRun = true
        })
      })
      expect(nowMs() - startMs).toBeGreaterThanOrEqual(25)
      expect(error.message).toMatch(new RegExp(`/orders.*process ${process.pid}.*lockTimeoutMs`))
    })
    expect(hasRun).toBe(false)
    expect(withHeaderLock({ fd: other, subject: 'it' }, 'attaching', new HeaderLockDeadline(0), () => 'free')).toBe(
      'free',
    )
  })

  it('is free after an action that throws', () => {
    const { path, one, other } = openTwice()
    const broken = () =>
      withHeaderLock({ fd: one, subject: 'it' }, 'attaching', new HeaderLockDeadline(0), () => {
        throw new Error('of the action')
      })
    expect(broken).toThrow('of the action')
    expect(holderOf(path)).toBe(0)
    expect(withHeaderLock({ fd: other, subject: 'it' }, 'attaching', new HeaderLockDeadline(0), () => 'free')).toBe(
      'free',
    )
  })

  it.each([
    ['attaching', /is being attached to by process/],
    ['closing', /is being closed by process/],
    ['flushing', /is being flushed by process/],
    ['checking', /is being checked after a restart of the machine by process/],
    ['recovering', /is being recovered after a restart of the machine by process/],
    ['removing', /is being removed by process/],
  ] as const)('tells waiters that the holder is %s', (purpose, message) => {
    const name = uniqueName()
    using segment = Segment.create(name, counter)
    const fd = openSync(pathOf(name), 'r+')
    descriptors.push(fd)
    withHeaderLock({ fd, subject: name }, 'attaching', new HeaderLockDeadline(0), (note) => {
      note(purpose)
      for (const attempt of [
        () => Segment.open(name, counter, { lockTimeoutMs: 1 }),
        () => Segment.attach(segment.handle, counter, { lockTimeoutMs: 0 }),
        () => Segment.unlink(name, { lockTimeoutMs: 5 }),
      ]) {
        expect(expectCode('ERR_ISTHMUS_BUSY', attempt).message).toMatch(message)
      }
    })
  })

  it('ignores an unknown purpose in the header', () => {
    const { path, one, other } = openTwice()
    withHeaderLock({ fd: one, subject: 'it' }, 'attaching', new HeaderLockDeadline(0), () => {
      writeSync(one, new Int32Array([0x7fffffff]), 0, 4, LOCK_PURPOSE_WORD * 4)
      const attempt = () => withHeaderLock({ fd: other, subject: 'it' }, 'closing', new HeaderLockDeadline(0), () => {})
      expect(expectCode('ERR_ISTHMUS_BUSY', attempt).message).toContain('it is in use by process')
    })
    expect(holderOf(path)).toBe(0)
  })

  it('has one deadline for all steps of openOrCreate', () => {
    const name = uniqueName()
    Segment.create(name, counter).close()
    const fd = openSync(pathOf(name), 'r+')
    descriptors.push(fd)
    // A clock that only pauses move: how long the machine takes for the rest does not count.
    const startMs = host.now()
    let passedMs = 0
    vi.spyOn(host, 'now').mockImplementation(() => startMs + passedMs)
    vi.spyOn(FutexWaiter.prototype, 'waitSync').mockImplementation((_index, _expected, timeoutMs) => {
      passedMs += timeoutMs
    })
    withHeaderLock({ fd, subject: name }, 'attaching', new HeaderLockDeadline(0), () => {
      expectCode('ERR_ISTHMUS_BUSY', () => Segment.openOrCreate(name, counter, { lockTimeoutMs: 300 }))
    })
    expect(passedMs).toBeGreaterThanOrEqual(300)
    expect(passedMs).toBeLessThan(590)
  })

  it('raises the lock turn, on which waiters sleep, after each holder that has the memory mapped', () => {
    using segment = Segment.create(uniqueName(), counter)
    const before = segment.words[LOCK_TURN_WORD]
    Segment.attach(segment.handle, counter).close()
    expect(segment.words[LOCK_TURN_WORD] - before).toBe(1)
  })

  it('starts the time anew with each holder, so that many peers can attach one after the other', async () => {
    const name = uniqueName()
    using segment = Segment.create(name, counter)
    const children = 7
    // Slots of dead peers: each child sweeps one, under the lock.
    for (let slot = 1; slot <= children; slot++) segment.words[(128 + slot * 64) / 4] = (1 << 3) | 1
    const attaching = Array.from({ length: children }, () =>
      Child.start(async (kit, name) => {
        const { Segment, struct, u32 } = await kit.load()
        const layout = {
          ...struct({ count: u32(), other: u32() }),
          sweep: () => void Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 400),
        }
        kit.tell('loaded')
        await kit.hear()
        const startMs = performance.now()
        const segment = Segment.open(name, layout, { lockTimeoutMs: 2000 })
        kit.tell([segment.isClosed, performance.now() - startMs])
        await kit.hear()
        segment.close()
      }, name),
    )
    await Promise.all(attaching.map((child) => child.next()))
    for (const child of attaching) child.say('go')
    const seen = (await Promise.all(attaching.map((child) => child.next()))) as [boolean, number][]
    expect(seen.map(([isClosed]) => isClosed)).toEqual(Array(children).fill(false))
    // The last one waited longer than one holder may take.
    expect(Math.max(...seen.map(([, ms]) => ms))).toBeGreaterThan(2000)
    for (const child of attaching) child.say('end')
    await Promise.all(attaching.map(({ result }) => result))
  })

  it('is freed with a killed holder, although the header still names it', async () => {
    const path = pathOf(uniqueName())
    const name = path.slice('/dev/shm'.length)
    const child = Child.start(async (kit, name) => {
      const { Segment, struct, u32 } = await kit.load()
      // The sweep runs under the header lock.
      const layout = {
        ...struct({ count: u32(), other: u32() }),
        sweep() {
          process.kill(process.pid, 'SIGKILL')
        },
      }
      Segment.open(name, layout)
    }, name)
    {
      using segment = Segment.create(name, counter)
      segment.words[(128 + 64) / 4] = (1 << 3) | 1
      await child.exited
      expect(holderOf(path)).toBe(child.pid)
      using other = Segment.open(name, counter, { lockTimeoutMs: 0 })
      expect(other.peers.list()).toHaveLength(2)
      expect(holderOf(path)).toBe(0)
    }
    rmSync(path)
  })
})
