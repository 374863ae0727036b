import { describe, expect, test, vi } from 'vitest'
import {
  HeapRegion,
  IsthmusRangeError,
  type PeerId,
  type Permit,
  type Semaphore,
  semaphore,
  waitAny,
} from '../../src/index.js'
import { expectCode, expectRejection } from '../support/expect-code.js'
import { attach, leftovers, rootWord } from '../support/regions.js'
import { withoutSafetyNet } from '../support/safety-net.js'
import { describeWait } from '../support/wait-contract.js'
import { sleep, soon, stateOf, turns, until } from '../support/waiting.js'
import { startAgent } from '../support/workers.js'

withoutSafetyNet()

const layout = semaphore({ permits: 2 })
const layoutText = '(sync) => sync.semaphore({ permits: 2 })'
const SEQUENCE = 0
const REGISTRATIONS = 9

function setUp() {
  const regions = attach(layout)
  const [own, other, third] = regions.map(({ root }) => root)
  const expectFree = () => {
    expect([leftovers(regions[0], layout, [SEQUENCE, REGISTRATIONS]), own.describe().available]).toEqual([[], 2])
  }
  return { regions, own, other, third, expectFree }
}

describeWait<Semaphore>({
  name: 'Semaphore.acquire',
  layout,
  layoutText,
  block: (root) => {
    const permits = [root.acquireSync(), root.acquireSync()]
    return () => {
      for (const permit of permits) permit.release()
    }
  },
  wait: async (root, options) => {
    const permit = await root.acquire(options)
    permit?.release()
    return permit === undefined ? undefined : true
  },
  waitSync: (root, options) => {
    const permit = root.acquireSync(options)
    permit?.release()
    return permit === undefined ? undefined : true
  },
  timedOut: undefined,
  waiters: (root) => root.describe().waiters.length,
  ignored: [SEQUENCE, REGISTRATIONS],
})

describe('semaphore', () => {
  test.each([0, -1, 1.5, 4097, Number.NaN, Number.POSITIVE_INFINITY])('semaphore refuses %s permits', (permits) => {
    expectCode('ERR_ISTHMUS_INVALID_ARGUMENT', () => semaphore({ permits }))
    expect(() => semaphore({ permits })).toThrow(IsthmusRangeError)
  })

  test.each([1, 4096])('semaphore gives out exactly its %s permits', (permits) => {
    const { root } = HeapRegion.create(semaphore({ permits }))
    for (let given = 0; given < permits; given++) expect(root.tryAcquire()?.isHeld).toBe(true)
    expect([root.tryAcquire(), root.describe().available, root.permits]).toEqual([undefined, 0, permits])
  })
})

describe('Semaphore.tryAcquire and acquireSync', () => {
  test('Semaphore.tryAcquire takes a free permit; other attachments may hold the rest', () => {
    const { regions, own, other, third, expectFree } = setUp()
    const permits = [own.tryAcquire(), other.acquireSync()]
    expect([third.tryAcquire(), own.tryAcquire()]).toEqual([undefined, undefined])
    expect(third.describe()).toEqual({
      permits: 2,
      available: 0,
      holders: [regions[0], regions[1]].map(({ peers }) => ({ ...peers.describe(peers.self), permits: 1 })),
      waiters: [],
    })
    for (const permit of permits) permit?.release()
    expectFree()
  })

  test('Semaphore.acquireSync throws EDEADLK only if this attachment holds all permits', async () => {
    const { own, other } = setUp()
    const [first] = [await own.acquire(), own.acquireSync()]
    expectCode('EDEADLK', () => own.acquireSync())
    expectCode('EDEADLK', () => own.acquireSync({ timeoutMs: 5 }))
    first.release()
    const foreign = other.acquireSync()
    expect(own.acquireSync({ timeoutMs: 5 })).toBeUndefined()
    foreign.release()
    expect(own.acquireSync().isHeld).toBe(true)
  })

  test('Semaphore of a closed region is refused', () => {
    const { regions, own } = setUp()
    const permit = own.acquireSync()
    regions[0].close()
    expectCode('ERR_ISTHMUS_CLOSED', () => own.tryAcquire())
    expectCode('ERR_ISTHMUS_CLOSED', () => own.describe())
    expectCode('ERR_ISTHMUS_CLOSED', () => permit.release())
    expect(() => permit[Symbol.dispose]()).not.toThrow()
  })
})

describe('Permit', () => {
  test.each([
    ['acquireSync', (root: Semaphore): Permit | Promise<Permit> => root.acquireSync()],
    ['acquire', (root: Semaphore) => root.acquire()],
  ])('Permit of %s that was released is refused, and frees no other permit', async (_how, acquire) => {
    const { own, other } = setUp()
    const permit = await acquire(own)
    permit.release()
    expect(permit.isHeld).toBe(false)
    expectCode('ERR_ISTHMUS_NOT_HELD', () => permit.release())
    const others = [other.acquireSync(), other.acquireSync()]
    expectCode('ERR_ISTHMUS_NOT_HELD', () => permit.release())
    expect([own.describe().available, others.every(({ isHeld }) => isHeld)]).toEqual([0, true])
  })
})

describe('Semaphore.acquire', () => {
  test('Semaphore.acquire serves the tasks of one attachment in order, and never gives out more than its permits', async () => {
    const { own, expectFree } = setUp()
    const served: number[] = []
    let inside = 0
    const task = async (at: number) => {
      const permit = await own.acquire()
      served.push(at)
      expect(++inside).toBeLessThanOrEqual(2)
      await turns(1)
      inside--
      permit.release()
    }
    await soon(Promise.all(Array.from({ length: 30 }, (_, at) => task(at))))
    expect(served).toEqual(Array.from({ length: 30 }, (_, at) => at))
    expectFree()
  })

  test('Semaphore.acquire: attachments that contend never hold more than its permits', async () => {
    const { own, other, third, expectFree } = setUp()
    let inside = 0
    const task = async (root: Semaphore) => {
      for (let turn = 0; turn < 60; turn++) {
        const permit = await root.acquire()
        expect(++inside).toBeLessThanOrEqual(2)
        if (turn % 5 === 0) await turns(1)
        inside--
        permit.release()
      }
    }
    await soon(Promise.all([own, own, other, other, third, third].map(task)))
    expectFree()
  })

  test('Semaphore.acquire: two releases at once serve two waiters in different threads and attachments', async () => {
    const { regions, own, other, third, expectFree } = setUp()
    const permits = [own.acquireSync(), own.acquireSync()]
    const agent = await startAgent(regions[0], layoutText, '(root) => { root.acquireSync().release(); return true }')
    const waiting = [other.acquire(), third.acquire()].map(async (acquire) => (await acquire).release())
    await until(() => own.describe().waiters.length === 3)
    for (const permit of permits) permit.release()
    await soon(Promise.all([...waiting, agent.result]))
    expectFree()
  })

  test('Semaphore.acquire that times out or is aborted in the queue takes no permit', async () => {
    const { own, other, expectFree } = setUp()
    const permits = [other.acquireSync(), other.acquireSync()]
    const controller = new AbortController()
    const first = own.acquire()
    const timed = own.acquire({ timeoutMs: 5 })
    const aborted = own.acquire({ signal: controller.signal })
    const last = own.acquire()
    expect(await soon(timed)).toBeUndefined()
    controller.abort()
    await expectRejection('ABORT_ERR', aborted)
    for (const permit of permits) permit.release()
    for (const permit of await soon(Promise.all([first, last]))) permit.release()
    expectFree()
  })

  test('Semaphore.acquire that is aborted when it has just been woken wakes another waiter', async () => {
    const { regions, own, other, third, expectFree } = setUp()
    const permits = [own.acquireSync(), own.acquireSync()]
    const controller = new AbortController()
    const aborted = other.acquire({ signal: controller.signal })
    const waiting = third.acquire()
    await until(() => own.describe().waiters.length === 2)
    permits[0].release()
    const before = rootWord(regions[0], layout, SEQUENCE)
    controller.abort()
    expect(rootWord(regions[0], layout, SEQUENCE)).toBe(before + 1)
    await expectRejection('ABORT_ERR', aborted)
    ;(await soon(waiting)).release()
    permits[1].release()
    expectFree()
  })

  test('Semaphore.acquire settles with its cell, although others of the thread take one meanwhile', async () => {
    const { own, other } = setUp()
    const permits = [other.acquireSync(), other.acquireSync()]
    const waiting = own.acquire()
    await sleep(5)
    for (const permit of permits) permit.release()
    await until(() => own.describe().available < 2)
    const sync = own.tryAcquire()
    const async = await soon(waiting)
    sync?.release()
    async.release()
    expect(own.describe().available).toBe(2)
  })
})

describe('Semaphore and holders that die', () => {
  test('Semaphore gets the permits of a declared-dead holder back, and wakes the waiters', async () => {
    const { regions, own, other, third, expectFree } = setUp()
    other.acquireSync()
    other.acquireSync()
    const waiting = [own.acquire(), third.acquire()]
    await sleep(5)
    regions[0].declareDead(regions[1].peers.self)
    for (const permit of await soon(Promise.all(waiting))) permit.release()
    expectFree()
  })

  test('Semaphore: a sweep that breaks off leaves each permit for which it woke no waiter to the next sweep', async () => {
    const { regions, own, other, third, expectFree } = setUp()
    other.acquireSync()
    other.acquireSync()
    const waiting = [own.acquire(), third.acquire()]
    await until(() => own.describe().waiters.length === 2)
    vi.spyOn(regions[0].waiter, 'wakeThreads').mockImplementationOnce(() => {
      throw new Error('broken off')
    })
    expect(() => regions[0].declareDead(regions[1].peers.self)).toThrow('broken off')
    expect(own.describe().available).toBe(1)
    regions[0].declareDead(regions[1].peers.self)
    for (const permit of await soon(Promise.all(waiting))) permit.release()
    expectFree()
  })

  test('Semaphore leaves the permits of the others alone', () => {
    const { regions, own, other, third } = setUp()
    own.acquireSync()
    const gone = other.acquireSync()
    regions[0].declareDead(regions[1].peers.self)
    expect(own.describe().available).toBe(1)
    const permit = third.acquireSync()
    expectCode('ERR_ISTHMUS_NOT_HELD', () => gone.release())
    expect([permit.isHeld, own.describe().available]).toEqual([true, 0])
  })

  test('Semaphore.acquireSync in another thread is woken by the death of a holder', async () => {
    const { regions, own, other } = setUp()
    own.acquireSync()
    other.acquireSync()
    const agent = await startAgent(regions[0], layoutText, '(root) => root.acquireSync().isHeld')
    await until(() => own.describe().waiters.length === 1)
    regions[0].declareDead(regions[1].peers.self)
    expect(await agent.result).toBe(true)
  })

  test('Semaphore: closing the region gives back its permits, and wakes the waiters', async () => {
    const { regions, own, other, expectFree } = setUp()
    other.acquireSync()
    other.acquireSync()
    const waiting = own.acquire()
    await sleep(5)
    regions[1].close()
    ;(await soon(waiting)).release()
    expectFree()
  })

  test('Semaphore: the death of a waiter leaves no mark', async () => {
    const { regions, own, expectFree } = setUp()
    const permits = [own.acquireSync(), own.acquireSync()]
    const gone = await startAgent(regions[0], layoutText, '(root) => root.acquireSync().isHeld')
    await until(() => own.describe().waiters.length === 1)
    await gone.worker.terminate()
    regions[0].declareDead(gone.peer)
    expect(own.describe().waiters).toEqual([])
    for (const permit of permits) permit.release()
    expectFree()
  })

  test('Semaphore.describe counts the permits of a holder', () => {
    const { regions, own, other } = setUp()
    other.acquireSync()
    other.acquireSync()
    const peer: PeerId = regions[1].peers.self
    expect(own.describe()).toMatchObject({ available: 0, holders: [{ peer, permits: 2 }] })
  })
})

describe('Semaphore and waitAny', () => {
  test('waitAny returns a semaphore with a free permit, takes none, and leaves no mark', async () => {
    const { own, other, expectFree } = setUp()
    expect(await waitAny([other])).toEqual([other])
    const permits = [own.acquireSync(), own.acquireSync()]
    const waiting = waitAny([other])
    expect(await stateOf(waiting)).toBe('pending')
    permits[0].release()
    expect(await soon(waiting)).toEqual([other])
    permits[1].release()
    expectFree()
  })
})

test('Semaphore.ref and unref return the semaphore', () => {
  const { root } = HeapRegion.create(layout)
  expect([root.unref(), root.ref()]).toEqual([root, root])
})
