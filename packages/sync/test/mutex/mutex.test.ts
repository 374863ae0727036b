import { describe, expect, test } from 'vitest'
import { HeapRegion, type Mutex, mutex, waitAny } from '../../src/index.js'
import { ABANDONED, CONTENDED, INCONSISTENT } from '../../src/mutex/layout.js'
import { expectCode, expectRejection } from '../support/expect-code.js'
import { attach, leftovers, rootWord } from '../support/regions.js'
import { withoutSafetyNet } from '../support/safety-net.js'
import { countOf, describeWait } from '../support/wait-contract.js'
import { sleep, soon, stateOf, turns, until } from '../support/waiting.js'
import { startAgent } from '../support/workers.js'

withoutSafetyNet()

const layout = mutex()
/** The sequence and the registrations of its waiter set. */
const COUNTERS = [1, 10]

function setUp() {
  const regions = attach(layout)
  const [own, other, third] = regions.map(({ root }) => root)
  const word = () => rootWord(regions[0], layout, 0)
  const expectFree = () => expect([leftovers(regions[0], layout, COUNTERS), own.describe().state]).toEqual([[], 'free'])
  return { regions, own, other, third, word, expectFree }
}

describeWait<Mutex>({
  name: 'Mutex.lock',
  layout,
  layoutText: '(sync) => sync.mutex()',
  block: (root) => {
    const guard = root.lockSync()
    return () => guard.unlock()
  },
  wait: async (root, options) => {
    const guard = await root.lock(options)
    guard?.unlock()
    return guard === undefined ? undefined : true
  },
  waitSync: (root, options) => {
    const guard = root.lockSync(options)
    guard?.unlock()
    return guard === undefined ? undefined : true
  },
  timedOut: undefined,
  waiters: (root) => countOf(root.describe().waiters),
  ignored: COUNTERS,
})

describe('Mutex.tryLock and lockSync', () => {
  test('Mutex.tryLock locks a free mutex; the word is the owner, and 0 again after unlock', () => {
    const { regions, own, word, expectFree } = setUp()
    const guard = own.tryLock()
    expect([guard?.isHeld, guard?.ownerDied, word()]).toEqual([true, false, regions[0].peers.self])
    guard?.unlock()
    expect(guard?.isHeld).toBe(false)
    expectFree()
  })

  test('Mutex.tryLock returns undefined if another attachment owns the mutex, or this one', () => {
    const { own, other } = setUp()
    const guard = own.lockSync()
    expect([own.tryLock(), other.tryLock()]).toEqual([undefined, undefined])
    guard.unlock()
    expect(other.tryLock()?.isHeld).toBe(true)
    expect(own.tryLock()).toBeUndefined()
  })

  test('Mutex.lockSync throws EDEADLK if this attachment owns the mutex, with a timeout too, and locks after unlock', async () => {
    const { own, expectFree } = setUp()
    const guard = await own.lock()
    expectCode('EDEADLK', () => own.lockSync())
    expectCode('EDEADLK', () => own.lockSync({ timeoutMs: 10 }))
    expect(guard.isHeld).toBe(true)
    guard.unlock()
    own.lockSync().unlock()
    expectFree()
  })

  test('Mutex.tryLock of a closed region is refused', () => {
    const { regions, own } = setUp()
    const guard = own.lockSync()
    regions[0].close()
    expectCode('ERR_ISTHMUS_CLOSED', () => own.tryLock())
    expectCode('ERR_ISTHMUS_CLOSED', () => own.lockSync())
    expectCode('ERR_ISTHMUS_CLOSED', () => own.describe())
    expectCode('ERR_ISTHMUS_CLOSED', () => guard.unlock())
    expectCode('ERR_ISTHMUS_CLOSED', () => guard.markConsistent())
    expectCode('ERR_ISTHMUS_CLOSED', () => guard.abandon())
    expect(() => guard[Symbol.dispose]()).not.toThrow()
  })
})

describe('MutexGuard', () => {
  test('MutexGuard.unlock twice is refused, and so is every other use', () => {
    const { own, other } = setUp()
    const guard = own.lockSync()
    guard.unlock()
    expectCode('ERR_ISTHMUS_NOT_HELD', () => guard.unlock())
    expectCode('ERR_ISTHMUS_NOT_HELD', () => guard.markConsistent())
    expectCode('ERR_ISTHMUS_NOT_HELD', () => guard.abandon())
    expect(other.tryLock()?.isHeld).toBe(true)
    expectCode('ERR_ISTHMUS_NOT_HELD', () => guard.unlock())
    expect(other.describe().state).toBe('held')
  })
})

describe('Mutex.lock', () => {
  test('Mutex.lock serves the tasks of one attachment in the order of their calls', async () => {
    const { own, expectFree } = setUp()
    const served: number[] = []
    const task = async (at: number) => {
      const guard = await own.lock()
      served.push(at)
      if (at % 3 === 0) await turns(1)
      guard.unlock()
    }
    await soon(Promise.all(Array.from({ length: 50 }, (_, at) => task(at))))
    expect(served).toEqual(Array.from({ length: 50 }, (_, at) => at))
    expectFree()
  })

  test('Mutex.lock: a call amid the queue that times out or is aborted leaves the others in their order', async () => {
    const { own, other, expectFree } = setUp()
    const guard = other.lockSync()
    const controller = new AbortController()
    const served: string[] = []
    const take = async (name: string, options = {}) => {
      const got = await own.lock(options)
      served.push(got === undefined ? `${name} timed out` : name)
      got?.unlock()
    }
    const first = take('first')
    const timed = take('second', { timeoutMs: 10 })
    const aborted = take('third', { signal: controller.signal })
    const last = take('last')
    await soon(timed)
    controller.abort()
    await expectRejection('ABORT_ERR', aborted)
    guard.unlock()
    await soon(Promise.all([first, last]))
    expect(served).toEqual(['second timed out', 'first', 'last'])
    expectFree()
  })

  test('Mutex.lock: two attachments that contend exclude each other, and none starves', async () => {
    const { own, other, third, expectFree } = setUp()
    let inside = 0
    const served = [0, 0, 0]
    const task = async (root: Mutex, at: number) => {
      for (let turn = 0; turn < 100; turn++) {
        const guard = await root.lock()
        expect(++inside).toBe(1)
        if (turn % 10 === 0) await turns(1)
        inside--
        served[at]++
        guard.unlock()
      }
    }
    await soon(Promise.all([task(own, 0), task(other, 1), task(third, 2)]))
    expect(served).toEqual([100, 100, 100])
    expectFree()
  })

  test('Mutex.lock marks the owner word, so that the owner wakes the waiter; an owner without waiters finds no mark', async () => {
    const { regions, own, other, word } = setUp()
    const guard = own.lockSync()
    expect(word() & CONTENDED).toBe(0)
    const waiting = other.lock()
    await until(() => (word() & CONTENDED) !== 0)
    expect(own.describe().waiters).toEqual([regions[0].peers.describe(regions[1].peers.self)])
    guard.unlock()
    ;(await soon(waiting)).unlock()
    expect(word()).toBe(0)
  })

  test('Mutex.lock settles before other code of the thread can take the same lock', async () => {
    const { own, other } = setUp()
    const guard = other.lockSync()
    const waiting = own.lock()
    await sleep(5)
    guard.unlock()
    await until(() => own.describe().owner !== undefined)
    expect(own.tryLock()).toBeUndefined()
    expect((await waiting).isHeld).toBe(true)
  })

  test('Mutex.lock does not keep the rest of the program waiting, however free the mutex', async () => {
    const { own } = setUp()
    let isOver = false
    setTimeout(() => {
      isOver = true
    }, 5)
    const watchdog = performance.now() + 30_000
    while (!isOver && performance.now() < watchdog) (await own.lock()).unlock()
    expect(isOver).toBe(true)
  })
})

describe('Mutex and an owner that dies', () => {
  test('Mutex.tryLock after a declared death says ownerDied, until it was marked consistent', () => {
    const { regions, own, other, third, word } = setUp()
    other.lockSync()
    regions[0].declareDead(regions[1].peers.self)
    expect([word(), own.describe()]).toMatchObject([
      INCONSISTENT,
      { state: 'free', isInconsistent: true, owner: undefined },
    ])
    const told = own.tryLock()
    expect(told?.ownerDied).toBe(true)
    told?.unlock()
    const toldToo = third.lockSync()
    expect(toldToo.ownerDied).toBe(true)
    toldToo.markConsistent()
    expect([toldToo.ownerDied, toldToo.isHeld, third.describe().isInconsistent]).toEqual([false, true, false])
    toldToo.unlock()
    expect([own.lockSync().ownerDied, word() & INCONSISTENT]).toEqual([false, 0])
  })

  test('Mutex.lock that waits gets ownerDied after the death, and so does the next lock', async () => {
    const { regions, own, other, third } = setUp()
    other.lockSync()
    const waiting = [own.lock(), third.lock()].map(async (lock) => {
      const guard = await lock
      const { ownerDied } = guard
      guard.unlock()
      return ownerDied
    })
    await sleep(10)
    regions[0].declareDead(regions[1].peers.self)
    expect(await soon(Promise.all(waiting))).toEqual([true, true])
  })

  test('Mutex.lockSync in another thread is woken by the death', async () => {
    const { regions, own, other } = setUp()
    other.lockSync()
    const agent = await startAgent(regions[0], '(sync) => sync.mutex()', '(root) => root.lockSync().ownerDied')
    await until(() => own.describe().waiters.length === 1)
    regions[0].declareDead(regions[1].peers.self)
    expect(await agent.result).toBe(true)
  })

  test('Mutex of a thread that was terminated while it held it', async () => {
    const { regions, own } = setUp()
    const agent = await startAgent(regions[0], '(sync) => sync.mutex()', '(root) => root.lockSync().isHeld')
    expect(await agent.result).toBe(true)
    await agent.worker.terminate()
    expect(own.tryLock()).toBeUndefined()
    const waiting = own.lock()
    await sleep(5)
    regions[0].declareDead(agent.peer)
    expect((await soon(waiting)).ownerDied).toBe(true)
  })

  test('Mutex: closing the region while it is held counts as a death: the next guard says ownerDied', async () => {
    const { regions, own, other, third, word } = setUp()
    other.lockSync()
    const waiting = own.lock()
    await sleep(5)
    regions[1].close()
    const guard = await soon(waiting)
    expect(guard.ownerDied).toBe(true)
    guard.markConsistent()
    guard.unlock()
    expect([third.lockSync().ownerDied, word() & INCONSISTENT]).toEqual([false, 0])
  })

  test('Mutex: the death of a waiter leaves no mark, and the others are woken', async () => {
    const { regions, own, third, expectFree } = setUp()
    const guard = own.lockSync()
    const gone = await startAgent(regions[0], '(sync) => sync.mutex()', '(root) => root.lockSync().isHeld')
    const waiting = third.lock()
    await until(() => own.describe().waiters.length === 2)
    await gone.worker.terminate()
    regions[0].declareDead(gone.peer)
    expect(own.describe().waiters.map(({ peer }) => peer)).toEqual([regions[2].peers.self])
    guard.unlock()
    const last = await soon(waiting)
    expect(last.ownerDied).toBe(false)
    last.unlock()
    expectFree()
  })

  test('Mutex: a live owner is never robbed, however often one tries', async () => {
    const { own, other } = setUp()
    const guard = own.lockSync()
    for (let attempt = 0; attempt < 100; attempt++) expect(other.tryLock()).toBeUndefined()
    expect(other.lockSync({ timeoutMs: 5 })).toBeUndefined()
    expect(await other.lock({ timeoutMs: 5 })).toBeUndefined()
    expect(guard.isHeld).toBe(true)
  })

  test('Mutex.describe shows the owner', () => {
    const { regions, own, other } = setUp()
    other.lockSync()
    expect(own.describe()).toEqual({
      state: 'held',
      isInconsistent: false,
      owner: regions[0].peers.describe(regions[1].peers.self),
      waiters: [],
    })
  })
})

describe('MutexGuard.abandon', () => {
  test('MutexGuard.abandon makes every later lock throw', async () => {
    const { regions, own, other, word } = setUp()
    const guard = own.lockSync()
    guard.abandon()
    expect([guard.isHeld, word(), own.describe()]).toMatchObject([
      false,
      ABANDONED,
      { state: 'abandoned', isInconsistent: false, owner: undefined },
    ])
    for (const root of [own, other]) {
      expectCode('ERR_ISTHMUS_ABANDONED', () => root.tryLock())
      expectCode('ERR_ISTHMUS_ABANDONED', () => root.lockSync())
      await expectRejection('ERR_ISTHMUS_ABANDONED', root.lock())
    }
    regions[0].close()
    expectCode('ERR_ISTHMUS_ABANDONED', () => other.tryLock())
    expect(word()).toBe(ABANDONED)
  })

  test('MutexGuard.abandon ends all waits: tasks of this attachment, event loops and threads', async () => {
    const { regions, own, other, word } = setUp()
    const guard = own.lockSync()
    const agent = await startAgent(regions[0], '(sync) => sync.mutex()', '(root) => root.lockSync().isHeld')
    const waiting = [own.lock(), own.lock(), other.lock(), other.lock()]
    const codes = waiting.map((lock) => lock.then(() => 'locked').catch(({ code }) => code))
    await until(() => own.describe().waiters.length === 3)
    guard.abandon()
    expect(await soon(Promise.all(codes))).toEqual(Array(4).fill('ERR_ISTHMUS_ABANDONED'))
    await expectRejection('ERR_ISTHMUS_ABANDONED', agent.result)
    expect([word(), own.describe().waiters]).toEqual([ABANDONED, []])
  })
})

describe('Mutex and waitAny', () => {
  test('waitAny returns a free mutex, takes nothing, and leaves no mark', async () => {
    const { own, other, expectFree } = setUp()
    expect(await waitAny([other])).toEqual([other])
    const guard = own.lockSync()
    const waiting = waitAny([other])
    expect(await stateOf(waiting)).toBe('pending')
    guard.unlock()
    expect(await soon(waiting)).toEqual([other])
    expectFree()
  })

  test('waitAny hands its wake-up off: a lock that waits too is served', async () => {
    const { own, other, third, expectFree } = setUp()
    const guard = own.lockSync()
    const watching = waitAny([other])
    await sleep(5)
    const locking = third.lock().then((taken) => taken.unlock())
    await sleep(5)
    guard.unlock()
    await soon(locking)
    // Without a timeout it never returns an empty list, even if another waiter was quicker.
    expect(await soon(watching)).toEqual([other])
    expectFree()
  })

  test('waitAny returns an abandoned mutex, whose tryLock then throws', async () => {
    const { own, other } = setUp()
    const guard = own.lockSync()
    const waiting = waitAny([other])
    await sleep(5)
    guard.abandon()
    expect(await soon(waiting)).toEqual([other])
  })
})

test('Mutex.ref and unref return the mutex', () => {
  const { root } = HeapRegion.create(layout)
  expect([root.unref(), root.ref()]).toEqual([root, root])
})
