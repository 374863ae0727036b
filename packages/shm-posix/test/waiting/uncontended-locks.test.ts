import { barrier, condvar, mutex, rwLock, semaphore, struct } from '@isthmus/sync'
import { afterEach, describe, expect, test } from 'vitest'
import { type Libc, libc } from '../../src/native/libc.js'
import { Segment } from '../../src/segment/segment.js'

const locks = struct({
  lock: mutex(),
  changed: condvar(),
  permits: semaphore({ permits: 4 }),
  shared: rwLock(),
  meeting: barrier(),
})

const undo: (() => void)[] = []
afterEach(() => {
  for (const step of undo.splice(0)) step()
})

/** Counts all calls into the C library from now on. */
function countCalls(): { count: number } {
  const calls = { count: 0 }
  const c = libc() as { -readonly [K in keyof Libc]: Libc[K] }
  for (const name of Object.keys(c) as (keyof Libc)[]) {
    const original = c[name] as (...parameters: unknown[]) => unknown
    const counting = (...parameters: unknown[]): unknown => {
      calls.count++
      return original(...parameters)
    }
    Object.assign(c, { [name]: counting })
    undo.push(() => Object.assign(c, { [name]: original }))
  }
  return calls
}

describe('An uncontended lock', () => {
  test('costs no native call', async () => {
    using segment = Segment.createAnonymous(locks)
    const { lock, changed, permits, shared, meeting } = segment.root
    using member = meeting.join()
    const calls = countCalls()
    for (let round = 0; round < 1000; round++) {
      lock.lockSync().unlock()
      lock.tryLock()?.unlock()
      permits.acquireSync().release()
      shared.readLockSync().unlock()
      shared.writeLockSync().unlock()
      changed.notifyOne()
      changed.notifyAll()
      expect(member.waitSync()).toBe(true)
    }
    const guard = await lock.lock()
    guard.unlock()
    const permit = await permits.acquire()
    permit.release()
    expect(calls.count).toBe(0)
    // The count works: for a lock that is held, its owner's death is asked for.
    const held = lock.lockSync()
    using other = Segment.attach(segment.handle, locks)
    const before = calls.count
    expect(other.root.lock.tryLock()).toBeUndefined()
    expect(calls.count).toBeGreaterThan(before)
    held.unlock()
  })
})
