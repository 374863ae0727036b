import { describe, expect, test } from 'vitest'
import { HeapRegion, type RwLock, rwLock, waitAny } from '../../src/index.js'
import { expectCode, expectRejection } from '../support/expect-code.js'
import { attach, leftovers, rootWord } from '../support/regions.js'
import { withoutSafetyNet } from '../support/safety-net.js'
import { describeWait } from '../support/wait-contract.js'
import { sleep, soon, stateOf, turns, until } from '../support/waiting.js'
import { startAgent } from '../support/workers.js'

withoutSafetyNet()

const layout = rwLock()
const layoutText = '(sync) => sync.rwLock()'
/** The sequences and registrations of the writers' waiter set, of the drained event count, of the readers' waiter set; the known bits. */
const SEQUENCES = [1, 10, 17, 18, 27, 28, 29, 30, 31]
const DRAINING = 16

function setUp() {
  const regions = attach(layout)
  const [own, other, third] = regions.map(({ root }) => root)
  const expectFree = () => {
    const { writers, readers, waitingReaders } = own.describe()
    expect(leftovers(regions[0], layout, SEQUENCES)).toEqual([])
    expect([writers.state, readers, waitingReaders]).toEqual(['free', [], []])
  }
  const isDraining = () => rootWord(regions[0], layout, DRAINING) !== 0
  return { regions, own, other, third, expectFree, isDraining }
}

const writing = {
  layout,
  layoutText,
  wait: async (root: RwLock, options: object) => {
    const guard = await root.writeLock(options)
    guard?.unlock()
    return guard === undefined ? undefined : true
  },
  waitSync: (root: RwLock, options: object) => {
    const guard = root.writeLockSync(options)
    guard?.unlock()
    return guard === undefined ? undefined : true
  },
  timedOut: undefined,
  waiters: (root: RwLock, region: HeapRegion<RwLock>) =>
    root.describe().writers.waiters.length + (rootWord(region, layout, DRAINING) === 0 ? 0 : 1),
  ignored: SEQUENCES,
}

describeWait<RwLock>({
  ...writing,
  name: 'RwLock.writeLock after a reader',
  block: (root) => {
    const guard = root.readLockSync()
    return () => guard.unlock()
  },
})

describeWait<RwLock>({
  ...writing,
  name: 'RwLock.writeLock after a writer',
  block: (root) => {
    const guard = root.writeLockSync()
    return () => guard.unlock()
  },
})

describeWait<RwLock>({
  ...writing,
  name: 'RwLock.readLock',
  block: (root) => {
    const guard = root.writeLockSync()
    return () => guard.unlock()
  },
  wait: async (root, options) => {
    const guard = await root.readLock(options)
    guard?.unlock()
    return guard === undefined ? undefined : true
  },
  waitSync: (root, options) => {
    const guard = root.readLockSync(options)
    guard?.unlock()
    return guard === undefined ? undefined : true
  },
  waiters: (root) => root.describe().waitingReaders.length,
})

describe('RwLock: readers and writers', () => {
  test('RwLock lets several read at a time, and none write meanwhile', () => {
    const { regions, own, other, third, expectFree } = setUp()
    const guards = [own.tryReadLock(), other.readLockSync()]
    expect([third.tryWriteLock(), third.writeLockSync({ timeoutMs: 5 })]).toEqual([undefined, undefined])
    expect(third.describe().readers.map(({ peer }) => peer)).toEqual([regions[0].peers.self, regions[1].peers.self])
    for (const guard of guards) guard?.unlock()
    const writer = third.tryWriteLock()
    expect([writer?.isHeld, own.tryReadLock(), own.tryWriteLock(), third.tryReadLock()]).toEqual([
      true,
      undefined,
      undefined,
      undefined,
    ])
    writer?.unlock()
    expectFree()
  })

  test('RwLock.tryWriteLock that failed lets the readers go on', async () => {
    const { own, other, third } = setUp()
    own.readLockSync()
    expect(other.tryWriteLock()).toBeUndefined()
    expect(third.tryReadLock()?.isHeld).toBe(true)
    expect(other.describe().writers.state).toBe('free')
  })

  test('RwLock: a writer that waits keeps new readers out, and lets them in when it gives up', async () => {
    const { own, other, third, isDraining, expectFree } = setUp()
    const reader = own.readLockSync()
    const controller = new AbortController()
    const aborted = other.writeLock({ signal: controller.signal })
    aborted.catch(() => {})
    await until(isDraining)
    expect(third.tryReadLock()).toBeUndefined()
    const reading = third.readLock()
    expect(await stateOf(reading)).toBe('pending')
    controller.abort()
    await expectRejection('ABORT_ERR', aborted)
    ;(await soon(reading)).unlock()
    const timed = other.writeLock({ timeoutMs: 20 })
    await until(isDraining)
    const readingAgain = third.readLock()
    expect(await soon(timed)).toBeUndefined()
    ;(await soon(readingAgain)).unlock()
    reader.unlock()
    expectFree()
  })

  test('RwLock: overlapping readers of one attachment let a writer in, and all that wait for it', async () => {
    const { own, other, third, isDraining, expectFree } = setUp()
    const first = await own.readLock()
    const writing = other.writeLock()
    await until(isDraining)
    // Without a turn for the writer, the second one would read before the first has left, the first before the second …
    const second = own.readLock()
    expect(await stateOf(second)).toBe('pending')
    // A thread cannot wait for its own readers: it joins them.
    own.readLockSync().unlock()
    first.unlock()
    const writer = await soon(writing)
    const elsewhere = third.readLock()
    expect([await stateOf(second), await stateOf(elsewhere)]).toEqual(['pending', 'pending'])
    writer.unlock()
    for (const guard of await soon(Promise.all([second, elsewhere]))) guard.unlock()
    expectFree()
  })

  test('RwLock.writeLock of an attachment that reads waits for its own readers', async () => {
    const { own, expectFree } = setUp()
    const readers = [own.readLockSync(), await own.readLock()]
    const writing = own.writeLock()
    await sleep(5)
    readers[0].unlock()
    expect(await stateOf(writing)).toBe('pending')
    readers[1].unlock()
    ;(await soon(writing)).unlock()
    expectFree()
  })

  test('RwLock.writeLock serves the tasks of one attachment in order; attachments exclude each other', async () => {
    const { own, other, third, expectFree } = setUp()
    let writers = 0
    let readers = 0
    const served: number[] = []
    const write = async (root: RwLock, at: number) => {
      const guard = await root.writeLock()
      if (root === own) served.push(at)
      expect([++writers, readers]).toEqual([1, 0])
      if (at % 4 === 0) await turns(1)
      writers--
      guard.unlock()
    }
    const read = async (root: RwLock, at: number) => {
      const guard = await root.readLock()
      readers++
      expect(writers).toBe(0)
      if (at % 4 === 0) await turns(1)
      readers--
      guard.unlock()
    }
    const all: Promise<void>[] = []
    for (let at = 0; at < 40; at++) {
      all.push(write(own, at), read(other, at), write(third, at), read(own, at))
    }
    await soon(Promise.all(all))
    expect(served).toEqual(Array.from({ length: 40 }, (_, at) => at))
    expectFree()
  })

  test('RwLock throws EDEADLK if a blocking call waits for this very attachment', async () => {
    const { own, expectFree } = setUp()
    const reader = own.readLockSync()
    expectCode('EDEADLK', () => own.writeLockSync())
    expectCode('EDEADLK', () => own.writeLockSync({ timeoutMs: 5 }))
    expect(own.tryWriteLock()).toBeUndefined()
    reader.unlock()
    const writer = await own.writeLock()
    expectCode('EDEADLK', () => own.readLockSync())
    expectCode('EDEADLK', () => own.readLockSync({ timeoutMs: 5 }))
    expectCode('EDEADLK', () => own.writeLockSync())
    writer.unlock()
    expectFree()
  })
})

describe('ReadGuard and WriteGuard', () => {
  test('ReadGuard of tryReadLock and readLockSync is one object, to be unlocked as often as it was given', async () => {
    const { own, other, expectFree } = setUp()
    const guard = own.readLockSync()
    expect(own.tryReadLock()).toBe(guard)
    const async = await own.readLock()
    expect(async).not.toBe(guard)
    guard.unlock()
    expect([guard.isHeld, other.tryWriteLock()]).toEqual([true, undefined])
    guard.unlock()
    expect(guard.isHeld).toBe(false)
    expectCode('ERR_ISTHMUS_NOT_HELD', () => guard.unlock())
    expect([async.isHeld, other.tryWriteLock()]).toEqual([true, undefined])
    async.unlock()
    expectCode('ERR_ISTHMUS_NOT_HELD', () => async.unlock())
    expectFree()
  })

  test('WriteGuard of tryWriteLock and writeLockSync is one object; unlocked, it is refused', async () => {
    const { own } = setUp()
    const guard = own.writeLockSync()
    guard.unlock()
    expect(guard.isHeld).toBe(false)
    for (const use of [() => guard.unlock(), () => guard.markConsistent(), () => guard.abandon()]) {
      expectCode('ERR_ISTHMUS_NOT_HELD', use)
    }
    expect(own.tryWriteLock()).toBe(guard)
    guard.unlock()
    const async = await own.writeLock()
    expect(async).not.toBe(guard)
    expectCode('ERR_ISTHMUS_NOT_HELD', () => guard.unlock())
    expect(async.isHeld).toBe(true)
  })

  test('RwLock of a closed region is refused', () => {
    const { regions, own, other } = setUp()
    const reader = own.readLockSync()
    regions[0].close()
    for (const use of [
      () => own.tryReadLock(),
      () => own.tryWriteLock(),
      () => own.describe(),
      () => reader.unlock(),
    ]) {
      expectCode('ERR_ISTHMUS_CLOSED', use)
    }
    const writer = other.writeLockSync()
    regions[1].close()
    expectCode('ERR_ISTHMUS_CLOSED', () => writer.unlock())
    for (const guard of [reader, writer]) expect(() => guard[Symbol.dispose]()).not.toThrow()
  })
})

describe('RwLock and peers that die', () => {
  test('RwLock: a reader that dies has left, and the writer that waits for it goes on', async () => {
    const { regions, own, other, third, isDraining, expectFree } = setUp()
    other.readLockSync()
    const agent = await startAgent(regions[0], layoutText, '(root) => root.readLockSync().isHeld')
    await agent.result
    const writing = third.writeLock()
    await until(isDraining)
    regions[0].declareDead(regions[1].peers.self)
    expect(await stateOf(writing)).toBe('pending')
    await agent.worker.terminate()
    regions[0].declareDead(agent.peer)
    const writer = await soon(writing)
    expect([writer.ownerDied, own.describe().readers]).toEqual([false, []])
    writer.unlock()
    expectFree()
  })

  test('RwLock.writeLockSync in another thread goes on after the death of a reader', async () => {
    const { regions, other, isDraining } = setUp()
    other.readLockSync()
    const agent = await startAgent(regions[0], layoutText, '(root) => root.writeLockSync().isHeld')
    await until(isDraining)
    regions[0].declareDead(regions[1].peers.self)
    expect(await agent.result).toBe(true)
  })

  test('RwLock: after the death of a writer, readers and writers get ownerDied, until a writer marks it consistent', async () => {
    const { regions, own, other, third } = setUp()
    other.writeLockSync()
    const reading = own.readLock()
    await sleep(5)
    regions[0].declareDead(regions[1].peers.self)
    const reader = await soon(reading)
    expect([reader.ownerDied, third.readLockSync().ownerDied]).toEqual([true, true])
    reader.unlock()
    third.tryReadLock()?.unlock()
    third.readLockSync().unlock()
    expect(third.describe().writers.isInconsistent).toBe(true)
    third.readLockSync().unlock()
    const { ownerDied } = third.readLockSync()
    expect(ownerDied).toBe(true)
  })

  test('RwLock: markConsistent ends it', async () => {
    const { regions, own, other, third, expectFree } = setUp()
    other.writeLockSync()
    regions[0].declareDead(regions[1].peers.self)
    const told = own.writeLockSync()
    expect(told.ownerDied).toBe(true)
    told.unlock()
    const repairing = await third.writeLock()
    expect(repairing.ownerDied).toBe(true)
    repairing.markConsistent()
    expect([repairing.ownerDied, repairing.isHeld]).toEqual([false, true])
    repairing.unlock()
    const [writer] = [own.writeLockSync()]
    expect(writer.ownerDied).toBe(false)
    writer.unlock()
    const reader = own.readLockSync()
    expect(reader.ownerDied).toBe(false)
    reader.unlock()
    expectFree()
  })

  test('RwLock: closing the region while writing or reading lets the others go on', async () => {
    const { regions, own, other, third, isDraining } = setUp()
    other.writeLockSync()
    const reading = own.readLock()
    await sleep(5)
    regions[1].close()
    const reader = await soon(reading)
    expect(reader.ownerDied).toBe(true)
    const writing = third.writeLock()
    await until(isDraining)
    regions[0].close()
    expect((await soon(writing)).ownerDied).toBe(true)
  })

  test('RwLock: a writer that dies while it waits for readers leaves the lock usable', async () => {
    const { regions, own, third, isDraining } = setUp()
    const reader = own.readLockSync()
    const agent = await startAgent(regions[0], layoutText, '(root) => root.writeLockSync().isHeld')
    await until(isDraining)
    const reading = third.readLock()
    await sleep(5)
    await agent.worker.terminate()
    regions[0].declareDead(agent.peer)
    ;(await soon(reading)).unlock()
    reader.unlock()
    expect(third.writeLockSync().isHeld).toBe(true)
  })

  test('WriteGuard.abandon makes every later lock throw, and ends all waits', async () => {
    const { own, other, third } = setUp()
    const writer = own.writeLockSync()
    const codes = [other.readLock(), third.writeLock(), third.readLock(), own.writeLock()].map((lock) =>
      lock.then(() => 'locked').catch(({ code }) => code),
    )
    await sleep(10)
    writer.abandon()
    expect(writer.isHeld).toBe(false)
    expect(await soon(Promise.all(codes))).toEqual(Array(4).fill('ERR_ISTHMUS_ABANDONED'))
    expectCode('ERR_ISTHMUS_ABANDONED', () => other.tryReadLock())
    expectCode('ERR_ISTHMUS_ABANDONED', () => other.tryWriteLock())
    expectCode('ERR_ISTHMUS_ABANDONED', () => other.writeLockSync())
    expect(other.describe()).toMatchObject({
      writers: { state: 'abandoned', waiters: [] },
      readers: [],
      waitingReaders: [],
    })
  })
})

describe('RwLock and waitAny', () => {
  test('RwLock.forReading is ready if there is no writer, takes nothing, and leaves no mark', async () => {
    const { own, other, third, expectFree } = setUp()
    const { forReading } = other
    expect(await waitAny([forReading])).toEqual([forReading])
    const reader = third.readLockSync()
    expect(await waitAny([forReading])).toEqual([forReading])
    reader.unlock()
    const writer = own.writeLockSync()
    const waiting = waitAny([forReading])
    expect(await stateOf(waiting)).toBe('pending')
    writer.unlock()
    expect(await soon(waiting)).toEqual([forReading])
    expectFree()
  })

  test('RwLock.forReading of an attachment that reads is ready, although a writer waits', async () => {
    const { own, other, third, isDraining } = setUp()
    const reader = own.readLockSync()
    const writing = other.writeLock()
    await until(isDraining)
    expect(await waitAny([own.forReading], { timeoutMs: 0 })).toHaveLength(1)
    expect(await waitAny([third.forReading], { timeoutMs: 5 })).toEqual([])
    own.tryReadLock()?.unlock()
    reader.unlock()
    ;(await soon(writing)).unlock()
  })

  test('RwLock.forReading is ready after the death of a writer, and once the lock is abandoned', async () => {
    const { regions, own, other, third } = setUp()
    other.writeLockSync()
    const waiting = waitAny([own.forReading])
    expect(await stateOf(waiting)).toBe('pending')
    regions[0].declareDead(regions[1].peers.self)
    expect(await soon(waiting)).toHaveLength(1)
    const writer = third.writeLockSync()
    const again = waitAny([own.forReading])
    await sleep(5)
    writer.abandon()
    expect(await soon(again)).toHaveLength(1)
    expectCode('ERR_ISTHMUS_ABANDONED', () => own.tryReadLock())
  })
})

test('RwLock.ref and unref return the lock', () => {
  const { root } = HeapRegion.create(layout)
  expect([root.unref(), root.ref()]).toEqual([root, root])
})
