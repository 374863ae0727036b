import { describe, expect, test } from 'vitest'
import type * as sources from '../../src/index.js'
import type * as internal from '../../src/internal.js'
import { asOfAnotherThread } from '../support/other-thread.js'
import { withoutSafetyNet } from '../support/safety-net.js'
import { atStackEdge } from '../support/stack-edge.js'
import { soon } from '../support/waiting.js'

// The built package: in the sources, as vitest runs them, every imported constant is a call.
const built = (await import('../../dist/index.js')) as unknown as typeof sources
const builtInternal = (await import('../../dist/internal.js')) as unknown as typeof internal
const { barrier, condvar, HeapRegion, mutex, rwLock, semaphore, struct } = built

const layout = struct({
  lock: mutex(),
  changed: condvar(),
  permits: semaphore({ permits: 1 }),
  shared: rwLock(),
  gate: barrier(),
})

/**
 * In frames of about 90 bytes: from a call that fails at once to one that has all the room it needs. First one with very
 * much room: compiling a function, which happens when it is first called, takes 50 KiB of stack.
 */
const ROOMS = [2000, ...Array.from({ length: 120 }, (_, frames) => frames)]

interface Held {
  readonly isHeld: boolean
  release?(): void
  unlock?(): void
}

function setUp() {
  const region = asOfAnotherThread(HeapRegion.create(layout))
  const other = asOfAnotherThread(HeapRegion.attach(region.handle, layout))
  return { region, own: region.root, other: other.root }
}

type Root = ReturnType<typeof setUp>['own']

function end(held: Held | undefined): void {
  if (held?.isHeld) (held.unlock ?? held.release)?.call(held)
}

/** Another attachment can have everything, by turns. */
function expectFree({ lock, permits, shared, gate }: Root): void {
  const takings: (() => Held | undefined)[] = [
    () => lock.tryLock(),
    () => permits.tryAcquire(),
    () => shared.tryReadLock(),
    () => shared.tryWriteLock(),
  ]
  for (const take of takings) {
    const held = take()
    expect(held?.isHeld).toBe(true)
    end(held)
  }
  expect(gate.describe().members).toEqual([])
}

withoutSafetyNet(builtInternal.fallbackPolling)

describe('At the edge of the stack', () => {
  test.each<[string, (root: Root) => Held | undefined]>([
    ['Mutex.tryLock', ({ lock }) => lock.tryLock()],
    ['Mutex.lockSync', ({ lock }) => lock.lockSync()],
    ['Mutex.lockSync with a timeout', ({ lock }) => lock.lockSync({ timeoutMs: 0 })],
    ['Semaphore.tryAcquire', ({ permits }) => permits.tryAcquire()],
    ['Semaphore.acquireSync', ({ permits }) => permits.acquireSync()],
    ['RwLock.tryReadLock', ({ shared }) => shared.tryReadLock()],
    ['RwLock.readLockSync', ({ shared }) => shared.readLockSync()],
    ['RwLock.tryWriteLock', ({ shared }) => shared.tryWriteLock()],
    ['RwLock.writeLockSync', ({ shared }) => shared.writeLockSync()],
  ])('%s gives a guard, or has taken nothing', (_name, take) => {
    const { own, other } = setUp()
    end(take(own))
    let given = 0
    for (const frames of ROOMS) {
      const held = atStackEdge(frames, () => take(own))
      if (held !== undefined) given++
      end(held)
      expectFree(other)
    }
    expect(given).toBeGreaterThan(0)
    expect(given).toBeLessThan(ROOMS.length)
  })

  test.each<[string, (root: Root) => Held | undefined]>([
    ['Mutex', ({ lock }) => lock.lockSync()],
    ['Mutex after a death', ({ lock }) => lock.lockSync()],
    ['Semaphore', ({ permits }) => permits.acquireSync()],
    ['RwLock, reading', ({ shared }) => shared.readLockSync()],
    ['RwLock, writing', ({ shared }) => shared.writeLockSync()],
  ])('%s: what is given back is free, or is held and can be given back', (name, take) => {
    for (const frames of ROOMS) {
      const { region, own, other } = setUp()
      if (name === 'Mutex after a death') {
        const gone = HeapRegion.attach(region.handle, layout)
        gone.root.lock.lockSync()
        region.declareDead(gone.peers.self)
      }
      const held = take(own)
      atStackEdge(frames, () => end(held))
      end(held)
      expect(held?.isHeld).toBe(false)
      expectFree(other)
      expectFree(own)
    }
  })

  test('Mutex.unlock wakes the waiter, or has not unlocked', async () => {
    for (const frames of ROOMS.filter((at) => at % 4 === 0)) {
      const { own, other } = setUp()
      const held = own.lock.lockSync()
      const waiting = other.lock.lock()
      const queued = own.lock.lock()
      await new Promise((resolve) => setTimeout(resolve, 1))
      atStackEdge(frames, () => held.unlock())
      end(held)
      const both = [waiting, queued].map((lock) => lock.then((guard) => guard.unlock()))
      await soon(Promise.all(both))
      expectFree(other)
    }
  })

  test.each<[string, (root: Root) => Promise<Held | undefined>]>([
    ['Mutex.lock', ({ lock }) => lock.lock()],
    ['Mutex.lock with a timeout', ({ lock }) => lock.lock({ timeoutMs: 0 })],
    ['Semaphore.acquire', ({ permits }) => permits.acquire()],
    ['RwLock.readLock', ({ shared }) => shared.readLock()],
    ['RwLock.writeLock', ({ shared }) => shared.writeLock()],
  ])('%s resolves, or has taken nothing; the next call has its turn', async (_name, take) => {
    const { own, other } = setUp()
    for (const isTaken of [false, true]) {
      for (const frames of ROOMS) {
        const theirs = isTaken ? [other.lock.tryLock(), other.permits.tryAcquire(), other.shared.tryWriteLock()] : []
        const taking = atStackEdge(frames, () => take(own))
        for (const held of theirs) end(held)
        const outcome = await soon(Promise.resolve(taking).catch((error: Error) => error))
        if (outcome instanceof Error) expect(outcome).not.toHaveProperty('code')
        else end(outcome)
        end(await soon(take(own)))
        expectFree(other)
      }
    }
  })

  test('Condvar.wait has the mutex when it is over, or has never given it up', async () => {
    const { own, other } = setUp()
    for (const frames of ROOMS) {
      const guard = own.lock.lockSync()
      const waiting = atStackEdge(frames, () => own.changed.wait(guard, { timeoutMs: 0 }).catch(() => false))
      await waiting
      expect(guard.isHeld).toBe(true)
      end(guard)
      expect(own.changed.describe().waiters).toEqual([])
      expectFree(other)
    }
  })

  test('Barrier.join gives a member, or no one waits for it; the same for leave', () => {
    const { own, other } = setUp()
    for (const frames of ROOMS) {
      const member = atStackEdge(frames, () => own.gate.join())
      if (member !== undefined) {
        atStackEdge(frames, () => member.leave())
        member.leave()
      }
      expectFree(other)
      expectFree(own)
    }
  })

  test('HeapRegion.attach has a slot, or has taken none; close gives it back', () => {
    const { region } = setUp()
    const before = region.peers.list().length
    for (const frames of [...ROOMS, ...ROOMS]) {
      const attached = atStackEdge(frames, () => HeapRegion.attach(region.handle, layout))
      if (attached !== undefined) {
        atStackEdge(frames, () => attached.close())
        attached.close()
      }
      expect(region.peers.list()).toHaveLength(before)
    }
    const all = Array.from({ length: 128 - before }, () => HeapRegion.attach(region.handle, layout))
    expect(all).toHaveLength(126)
  })
})
