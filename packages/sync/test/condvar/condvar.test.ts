import { describe, expect, test, vi } from 'vitest'
import {
  type Condvar,
  condvar,
  type Futex,
  futex,
  HeapRegion,
  type Mutex,
  mutex,
  struct,
  type Waitable,
  waitAny,
} from '../../src/index.js'
import { WAITABLE } from '../../src/internal.js'
import { expectCode, expectRejection } from '../support/expect-code.js'
import { attach, leftovers } from '../support/regions.js'
import { withoutSafetyNet } from '../support/safety-net.js'
import { describeWait } from '../support/wait-contract.js'
import { sleep, soon, stateOf, until } from '../support/waiting.js'
import { startAgent } from '../support/workers.js'

withoutSafetyNet()

interface Mailbox {
  readonly lock: Mutex
  readonly changed: Condvar
  readonly letters: Futex
}
const layout = struct({ lock: mutex(), changed: condvar(), letters: futex() })
const layoutText = '(sync) => sync.struct({ lock: sync.mutex(), changed: sync.condvar(), letters: sync.futex() })'
/** The sequences and registrations of the mutex and of the condition variable; the number of letters. */
const IGNORED = [1, 10, 16, 25, 26]

function setUp() {
  const regions = attach(layout)
  const [own, other, third] = regions.map(({ root }) => root)
  const waiters = () => own.changed.describe().waiters.length
  const expectFree = () => expect([leftovers(regions[0], layout, IGNORED), waiters()]).toEqual([[], 0])
  return { regions, own, other, third, waiters, expectFree }
}

/** A waiter: locks, waits, says how the wait ended and whether it had the lock then, and unlocks. */
async function waitIn(root: Mailbox, options: object = {}) {
  const guard = await root.lock.lock()
  try {
    const isNotified = await root.changed.wait(guard, options)
    return { isNotified, isHeld: guard.isHeld }
  } finally {
    if (guard.isHeld) guard.unlock()
  }
}

describeWait<Mailbox>({
  name: 'Condvar.wait',
  layout,
  layoutText,
  block: (root) => {
    root.letters.value = 0
    return () => {
      root.letters.value = 1
      root.changed.notifyOne()
    }
  },
  wait: async (root, options) => {
    const guard = await root.lock.lock()
    try {
      const isThere = await root.changed.wait(guard, () => root.letters.value > 0, options)
      if (isThere) root.changed.notifyOne()
      return isThere
    } finally {
      guard[Symbol.dispose]()
    }
  },
  waitSync: (root, options) => {
    const guard = root.lock.lockSync()
    try {
      const isThere = root.changed.waitSync(guard, () => root.letters.value > 0, options)
      if (isThere) root.changed.notifyOne()
      return isThere
    } finally {
      guard.unlock()
    }
  },
  timedOut: false,
  waiters: (root) => root.changed.describe().waiters.length,
  ignored: IGNORED,
})

describe('Condvar.wait and waitSync', () => {
  test('Condvar refuses a guard that does not hold its mutex, one of another region, and a closed region', async () => {
    const { regions, own } = setUp()
    const guard = own.lock.lockSync()
    guard.unlock()
    expectCode('ERR_ISTHMUS_NOT_HELD', () => own.changed.waitSync(guard, { timeoutMs: 0 }))
    await expectRejection(
      'ERR_ISTHMUS_NOT_HELD',
      own.changed.wait(guard, () => true),
    )
    const foreign = HeapRegion.create(layout).root.lock.lockSync()
    expectCode('ERR_ISTHMUS_NOT_HELD', () => own.changed.waitSync(foreign, { timeoutMs: 0 }))
    await expectRejection('ERR_ISTHMUS_NOT_HELD', own.changed.wait(foreign))
    expect(foreign.isHeld).toBe(true)
    regions[0].close()
    expectCode('ERR_ISTHMUS_CLOSED', () => own.changed.waitSync(guard))
    for (const use of [() => own.changed.notifyOne(), () => own.changed.notifyAll(), () => own.changed.describe()]) {
      expectCode('ERR_ISTHMUS_CLOSED', use)
    }
  })

  test('Condvar.wait gives the mutex back while it waits, and has it again when it returns', async () => {
    const { own, other, waiters, expectFree } = setUp()
    const waiting = waitIn(own)
    await until(() => waiters() === 1)
    const guard = other.lock.tryLock()
    expect(guard?.isHeld).toBe(true)
    other.changed.notifyOne()
    expect(await stateOf(waiting)).toBe('pending')
    guard?.unlock()
    expect(await soon(waiting)).toEqual({ isNotified: true, isHeld: true })
    expectFree()
  })

  test('Condvar.waitSync in another thread does the same', async () => {
    const { regions, own, waiters, expectFree } = setUp()
    const agent = await startAgent(
      regions[0],
      layoutText,
      `(root) => {
        const guard = root.lock.lockSync()
        const result = [root.changed.waitSync(guard), guard.isHeld]
        guard.unlock()
        return result
      }`,
    )
    await until(() => waiters() === 1 && own.lock.describe().state === 'free')
    const guard = own.lock.lockSync()
    own.changed.notifyOne()
    expect(await stateOf(agent.result)).toBe('pending')
    guard.unlock()
    expect(await agent.result).toEqual([true, true])
    expectFree()
  })

  test('Condvar.wait and waitSync that time out have the mutex again, and say false', async () => {
    const { own, expectFree } = setUp()
    const guard = own.lock.lockSync()
    expect([own.changed.waitSync(guard, { timeoutMs: 5 }), guard.isHeld]).toEqual([false, true])
    expect([own.changed.waitSync(guard, () => false, { timeoutMs: 5 }), guard.isHeld]).toEqual([false, true])
    expect([await own.changed.wait(guard, { timeoutMs: 5 }), guard.isHeld]).toEqual([false, true])
    expect([await own.changed.wait(guard, () => false, { timeoutMs: 0 }), guard.isHeld]).toEqual([false, true])
    guard.unlock()
    expectFree()
  })

  test('Condvar.wait that times out while another has the mutex waits for the mutex, however long', async () => {
    const { own, other, waiters } = setUp()
    const waiting = waitIn(own, { timeoutMs: 10 })
    await until(() => waiters() === 1)
    const guard = other.lock.lockSync()
    expect(await stateOf(waiting, 40)).toBe('pending')
    guard.unlock()
    expect(await soon(waiting)).toEqual({ isNotified: false, isHeld: true })
  })

  test('Condvar.wait that is aborted rejects with the mutex held', async () => {
    const { own, other, waiters, expectFree } = setUp()
    const controller = new AbortController()
    const guard = await own.lock.lock()
    const waiting = own.changed.wait(guard, { signal: controller.signal })
    waiting.catch(() => {})
    await until(() => waiters() === 1)
    const foreign = other.lock.lockSync()
    controller.abort()
    expect(await stateOf(waiting)).toBe('pending')
    foreign.unlock()
    await expectRejection('ABORT_ERR', soon(waiting))
    expect([guard.isHeld, other.lock.tryLock()]).toEqual([true, undefined])
    await expectRejection('ABORT_ERR', own.changed.wait(guard, { signal: controller.signal }))
    expect(guard.isHeld).toBe(true)
    guard.unlock()
    expectFree()
  })

  test('Condvar asks its predicate with the mutex held only, first of all, and after each notify', async () => {
    const { own, other, waiters, expectFree } = setUp()
    const guard = await own.lock.lock()
    const held: boolean[] = []
    const isThere = () => {
      held.push(guard.isHeld)
      return own.letters.value > 0
    }
    own.letters.value = 1
    expect([own.changed.waitSync(guard, isThere), await own.changed.wait(guard, isThere)]).toEqual([true, true])
    own.letters.value = 0
    const waiting = own.changed.wait(guard, isThere)
    await until(() => waiters() === 1)
    other.changed.notifyOne()
    await until(() => held.length === 4)
    expect(await stateOf(waiting)).toBe('pending')
    own.letters.value = 1
    other.changed.notifyAll()
    expect(await soon(waiting)).toBe(true)
    expect(held.every(Boolean)).toBe(true)
    guard.unlock()
    expectFree()
  })

  test('Condvar: a predicate that throws ends the wait with the mutex held', async () => {
    const { own, other, waiters, expectFree } = setUp()
    const guard = await own.lock.lock()
    const fail = () => {
      throw new Error('predicate failed')
    }
    expect(() => own.changed.waitSync(guard, fail)).toThrow('predicate failed')
    let calls = 0
    const waiting = own.changed.wait(guard, () => ++calls > 1 && fail())
    await until(() => waiters() === 1)
    other.changed.notifyOne()
    await expect(soon(waiting)).rejects.toThrow('predicate failed')
    expect(guard.isHeld).toBe(true)
    guard.unlock()
    expectFree()
  })

  test('Condvar.wait throws if the mutex was abandoned meanwhile', async () => {
    const { own, other, waiters } = setUp()
    const guard = await own.lock.lock()
    const waiting = own.changed.wait(guard)
    await until(() => waiters() === 1)
    other.lock.lockSync().abandon()
    other.changed.notifyOne()
    await expectRejection('ERR_ISTHMUS_ABANDONED', soon(waiting))
    expect([guard.isHeld, waiters()]).toEqual([false, 0])
  })

  test('Condvar.wait: the guard says ownerDied if an owner died meanwhile', async () => {
    const { regions, own, other, waiters } = setUp()
    const guard = await own.lock.lock()
    const waiting = own.changed.wait(guard)
    await until(() => waiters() === 1)
    other.lock.lockSync()
    other.changed.notifyOne()
    regions[0].declareDead(regions[1].peers.self)
    expect([await soon(waiting), guard.ownerDied]).toEqual([true, true])
  })
})

describe('Condvar.notifyOne and notifyAll', () => {
  test('Condvar.notifyOne wakes one thread at a time, notifyAll the rest', async () => {
    const { regions, own, waiters, expectFree } = setUp()
    let woken = 0
    const task = `(root) => {
      const guard = root.lock.lockSync()
      const isNotified = root.changed.waitSync(guard)
      guard.unlock()
      return isNotified
    }`
    const agents = [1, 2, 3].map(() => startAgent(regions[0], layoutText, task))
    const results = (await Promise.all(agents)).map(({ result }) => result.then(() => woken++))
    await until(() => waiters() === 3)
    await sleep(10)
    own.changed.notifyOne()
    await until(() => woken === 1)
    await sleep(20)
    expect([woken, waiters()]).toEqual([1, 2])
    own.changed.notifyAll()
    await Promise.all(results)
    expectFree()
  })

  test('Condvar.notifyAll wakes every task, of every attachment', async () => {
    const { own, other, third, waiters, expectFree } = setUp()
    const waiting = [own, own, other, other, third].map((root) => waitIn(root))
    await until(() => waiters() === 3)
    await sleep(5)
    own.changed.notifyAll()
    const results = await soon(Promise.all(waiting))
    expect(results.every(({ isNotified, isHeld }) => isNotified && isHeld)).toBe(true)
    expectFree()
  })

  test('Condvar.notifyOne that reached a waiter which is aborted goes to another one', async () => {
    const { own, other, third, waiters, expectFree } = setUp()
    const controller = new AbortController()
    const aborted = waitIn(other, { signal: controller.signal })
    aborted.catch(() => {})
    await until(() => waiters() === 1)
    own.changed.notifyOne()
    const waiting = waitIn(third)
    controller.abort()
    await Promise.allSettled([soon(aborted)])
    expect(await stateOf(waiting)).toBe('pending')
    own.changed.notifyOne()
    expect(await soon(waiting)).toEqual({ isNotified: true, isHeld: true })
    expectFree()
  })

  test('Condvar.notifyOne right before an abort is not lost on the thread that waits too', async () => {
    const { regions, own, other, waiters, expectFree } = setUp()
    for (let round = 0; round < 10; round++) {
      const controller = new AbortController()
      const aborted = waitIn(other, { signal: controller.signal })
      aborted.catch(() => {})
      const agent = await startAgent(
        regions[0],
        layoutText,
        '(root) => { const guard = root.lock.lockSync(); root.changed.waitSync(guard); guard.unlock(); return true }',
      )
      await until(() => waiters() === 2)
      own.changed.notifyOne()
      controller.abort()
      await Promise.allSettled([soon(aborted)])
      expect(await agent.result).toBe(true)
    }
    expectFree()
  })

  test('Condvar.notifyOne that reached only a waiter that is aborted wakes the others', async () => {
    const { regions, own, other, third, waiters, expectFree } = setUp()
    const controller = new AbortController()
    const aborted = waitIn(other, { signal: controller.signal })
    const waiting = waitIn(third)
    await until(() => waiters() === 2)
    own.changed.notifyOne()
    // Others may sleep in other threads, and the notify has reached this one alone.
    const wake = vi.spyOn(regions[1].waiter, 'wakeThreads')
    controller.abort()
    expect(wake).toHaveBeenCalled()
    await expectRejection('ABORT_ERR', aborted)
    expect(await soon(waiting)).toEqual({ isNotified: true, isHeld: true })
    expectFree()
  })

  test('Condvar.notifyOne without a waiter is not kept', async () => {
    const { own, other } = setUp()
    own.changed.notifyOne()
    own.changed.notifyAll()
    expect(await soon(waitIn(other, { timeoutMs: 5 }))).toEqual({ isNotified: false, isHeld: true })
  })

  test('Condvar: the death of a waiter leaves no mark, and the next notification is not lost on it', async () => {
    const { regions, own, other, waiters, expectFree } = setUp()
    const gone = await startAgent(regions[0], layoutText, '(root) => root.changed.waitSync(root.lock.lockSync())')
    await until(() => waiters() === 1)
    const waiting = waitIn(other)
    await until(() => waiters() === 2)
    await gone.worker.terminate()
    regions[0].declareDead(gone.peer)
    expect(own.changed.describe().waiters.map(({ peer }) => peer)).toEqual([regions[1].peers.self])
    own.changed.notifyOne()
    expect(await soon(waiting)).toEqual({ isNotified: true, isHeld: true })
    expectFree()
  })
})

describe('Condvar and waitAny', () => {
  test('waitAny ends after a notification that follows its call, not after an earlier one, and leaves no mark', async () => {
    const { own, other, waiters, expectFree } = setUp()
    own.changed.notifyAll()
    const waiting = waitAny([other.changed])
    expect(waiters()).toBe(1)
    expect(await stateOf(waiting)).toBe('pending')
    own.changed.notifyOne()
    expect(await soon(waiting)).toEqual([other.changed])
    expectFree()
  })

  test('waitAny that was called with the mutex locked misses no notification after the unlock', async () => {
    const { own, other, expectFree } = setUp()
    const guard = await other.lock.lock()
    const waiting = waitAny([other.changed])
    guard.unlock()
    own.changed.notifyOne()
    expect(await soon(waiting)).toEqual([other.changed])
    expectFree()
  })

  test('waitAny misses no notification between two looks', async () => {
    const { own, other, expectFree } = setUp()
    let polls = 0
    const flickering: Waitable = {
      [WAITABLE]: () => {
        const { point, condition } = other.letters.otherThan(0)[WAITABLE]()
        const poll = () => {
          polls++
          // Ready for waitAny's wait, and not any more when it asks which of them is.
          if (polls === 2) own.changed.notifyOne()
          return polls === 1
        }
        return { point, condition: { ...condition, poll } }
      },
    }
    expect(await soon(waitAny([flickering, other.changed]))).toEqual([other.changed])
    expect(polls).toBeGreaterThan(1)
    expectFree()
  })

  test('waitAny that does not use a notification wakes another waiter', async () => {
    const { own, other, third, waiters, expectFree } = setUp()
    const controller = new AbortController()
    const aborted = waitAny([other.changed], { signal: controller.signal })
    aborted.catch(() => {})
    const waiting = waitIn(third)
    await until(() => waiters() === 2)
    own.changed.notifyOne()
    controller.abort()
    await expectRejection('ABORT_ERR', aborted)
    expect(await soon(waiting)).toEqual({ isNotified: true, isHeld: true })
    expectFree()
  })

  test('waitAny that ends for another reason has left the condition variable', async () => {
    const { own, other, waiters, expectFree } = setUp()
    expect(await waitAny([other.changed], { timeoutMs: 5 })).toEqual([])
    expect(waiters()).toBe(0)
    expect(await waitAny([other.changed, other.letters.otherThan(7)])).toHaveLength(1)
    expect(waiters()).toBe(0)
    await expectRejection('ABORT_ERR', waitAny([other.changed], { signal: AbortSignal.abort() }))
    const broken: Waitable = {
      [WAITABLE]: () => {
        const { point, condition } = other.changed[WAITABLE]()
        const poll = () => {
          throw new Error('poll failed')
        }
        return { point, condition: { ...condition, poll } }
      },
    }
    await expect(waitAny([other.changed, broken])).rejects.toThrow('poll failed')
    own.changed.notifyAll()
    expectFree()
  })

  test('waitAny that is notified when it returns something else wakes another waiter', async () => {
    const { regions, own, other, third, waiters, expectFree } = setUp()
    const waiting = waitIn(third)
    await until(() => waiters() === 1)
    // Ready at once. When waitAny has seen that the condition variable is not, it is notified.
    let polls = 0
    const word = other.letters.otherThan(7)
    const notifying: Waitable = {
      [WAITABLE]: () => {
        const { point, condition } = word[WAITABLE]()
        const poll = () => {
          if (++polls === 2) own.changed.notifyOne()
          return true
        }
        return { point, condition: { ...condition, poll } }
      },
    }
    const wake = vi.spyOn(regions[1].waiter, 'wakeThreads')
    expect(await waitAny([other.changed, notifying])).toEqual([notifying])
    expect(wake).toHaveBeenCalled()
    expect(await soon(waiting)).toEqual({ isNotified: true, isHeld: true })
    expectFree()
  })

  test('waitAny rejects if one of the regions is closed meanwhile, and leaves no mark in either', async () => {
    const { regions, own, other, third, waiters, expectFree } = setUp()
    const waiting = waitAny([other.changed, third.changed])
    waiting.catch(() => {})
    await until(() => waiters() === 2)
    regions[1].close()
    await expectRejection('ERR_ISTHMUS_CLOSED', soon(waiting))
    own.changed.notifyAll()
    expectFree()
  })
})

test('Condvar.ref and unref return the condition variable', () => {
  const { changed } = HeapRegion.create(layout).root
  expect([changed.unref(), changed.ref()]).toEqual([changed, changed])
})
