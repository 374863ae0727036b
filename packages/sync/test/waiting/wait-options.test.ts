import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import {
  barrier,
  condvar,
  futex,
  HeapRegion,
  mutex,
  rwLock,
  type Signal,
  semaphore,
  struct,
  type TimeoutOptions,
  type WaitOptions,
  waitAny,
} from '../../src/index.js'
import { expectCode, expectRejection } from '../support/expect-code.js'
import { asOfAnotherThread } from '../support/other-thread.js'
import { withoutSafetyNet } from '../support/safety-net.js'
import { soon, stateOf, turns } from '../support/waiting.js'

const layout = struct({
  lock: mutex(),
  changed: condvar(),
  permits: semaphore({ permits: 1 }),
  shared: rwLock(),
  gate: barrier(),
  word: futex(),
})

function setUp() {
  const region = asOfAnotherThread(HeapRegion.create(layout))
  const other = asOfAnotherThread(HeapRegion.attach(region.handle, layout))
  const member = region.root.gate.join()
  const guard = region.root.lock
  return { own: region.root, other: other.root, member, guard }
}

type Place = ReturnType<typeof setUp>
type Held = { unlock?(): void; release?(): void } | undefined | boolean | unknown[]

function end(held: Held): void {
  if (typeof held !== 'object' || Array.isArray(held)) return
  ;(held.unlock ?? held.release)?.call(held)
}

/** What can be awaited, and what makes each of them wait. Returns what ends that. */
const awaited: [
  string,
  block: (place: Place) => () => void,
  wait: (place: Place, options: WaitOptions) => Promise<Held>,
][] = [
  ['Mutex.lock', ({ other }) => release(other.lock.lockSync()), ({ own }, options) => own.lock.lock(options)],
  [
    'Semaphore.acquire',
    ({ other }) => release(other.permits.acquireSync()),
    ({ own }, options) => own.permits.acquire(options),
  ],
  [
    'RwLock.readLock',
    ({ other }) => release(other.shared.writeLockSync()),
    ({ own }, options) => own.shared.readLock(options),
  ],
  [
    'RwLock.writeLock',
    ({ other }) => release(other.shared.readLockSync()),
    ({ own }, options) => own.shared.writeLock(options),
  ],
  [
    'BarrierMember.wait',
    ({ other }) => {
      const member = other.gate.join()
      return () => member.leave()
    },
    ({ member }, options) => member.wait(options),
  ],
  [
    'Futex.waitWhile',
    ({ own }) =>
      () => {
        own.word.value = 1
        own.word.notifyAll()
      },
    ({ own }, options) => own.word.waitWhile(0, options),
  ],
  ['waitAny', ({ other }) => release(other.lock.lockSync()), ({ own }, options) => waitAny([own.lock], options)],
]

const blocking: [string, (place: Place, options: TimeoutOptions) => unknown][] = [
  ['Mutex.lockSync', ({ own }, options) => own.lock.lockSync(options)],
  ['Semaphore.acquireSync', ({ own }, options) => own.permits.acquireSync(options)],
  ['RwLock.readLockSync', ({ own }, options) => own.shared.readLockSync(options)],
  ['RwLock.writeLockSync', ({ own }, options) => own.shared.writeLockSync(options)],
  ['BarrierMember.waitSync', ({ member }, options) => member.waitSync(options)],
  ['Futex.waitWhileSync', ({ own }, options) => own.word.waitWhileSync(1, options)],
]

function release(held: { unlock?(): void; release?(): void }): () => void {
  return () => end(held)
}

const listens = { addEventListener() {}, removeEventListener() {} }
const noOptions: unknown[] = [null, 5, 'soon', 5n, true, Symbol('options'), () => {}]
const noTimeouts: unknown[] = [null, '5', 5n, Symbol('timeout'), {}, Number.NaN, -1, Object.create(null)]
const noSignals: unknown[] = [
  null,
  5,
  'signal',
  {},
  { aborted: false },
  { ...listens },
  { ...listens, aborted: 'no' },
  { ...listens, aborted: false, addEventListener: 1 },
]

/** What the program is told of errors that change no outcome. */
let unhandled: unknown[] = []
let listeners: NodeJS.UnhandledRejectionListener[] = []
beforeEach(() => {
  unhandled = []
  listeners = process.listeners('unhandledRejection')
  process.removeAllListeners('unhandledRejection')
  process.on('unhandledRejection', (error) => unhandled.push(error))
})
afterEach(() => {
  process.removeAllListeners('unhandledRejection')
  for (const listener of listeners) process.on('unhandledRejection', listener)
})

withoutSafetyNet()

describe.each(awaited)('%s', (name, block, wait) => {
  test(`${name} refuses options that are none, whether it has to wait or not, and has entered nothing`, async () => {
    for (const isBlocked of [true, false]) {
      const place = setUp()
      const unblock = isBlocked ? block(place) : undefined
      const first = isBlocked ? wait(place, {}) : undefined
      const bad = [
        ...noOptions,
        ...noTimeouts.map((timeoutMs) => ({ timeoutMs })),
        ...noSignals.map((signal) => ({ signal })),
      ]
      for (const options of bad) {
        await expectRejection('ERR_ISTHMUS_INVALID_ARGUMENT', wait(place, options as WaitOptions))
      }
      unblock?.()
      end(await soon(Promise.resolve(first)))
      if (!isBlocked) block(place)()
      end(await soon(wait(place, {})))
    }
  })

  test(`${name} reads each option once`, async () => {
    const place = setUp()
    const unblock = block(place)
    const reads: string[] = []
    const options = {
      get timeoutMs() {
        reads.push('timeoutMs')
        return 60_000
      },
      get signal() {
        reads.push('signal')
        return new AbortController().signal
      },
    }
    const waiting = wait(place, options)
    unblock()
    end(await soon(waiting))
    expect(reads).toEqual(['timeoutMs', 'signal'])
  })

  test(`${name} with a getter or a listener that throws leaves no trace, at the head of the queue and within it`, async () => {
    const place = setUp()
    const unblock = block(place)
    const mine = new Error('mine')
    const fail = () => {
      throw mine
    }
    const failing = (): WaitOptions[] => [
      {
        get timeoutMs(): number {
          return fail()
        },
      },
      {
        get signal(): Signal {
          return fail()
        },
      },
      {
        signal: {
          ...listens,
          get aborted(): boolean {
            return fail()
          },
        },
      },
      { signal: { ...listens, aborted: false, addEventListener: fail } },
    ]
    for (const options of failing()) await expect(wait(place, options)).rejects.toBe(mine)
    const first = wait(place, {})
    for (const options of failing()) await expect(wait(place, options)).rejects.toBe(mine)
    const last = wait(place, {})
    unblock()
    end(await soon(first))
    end(await soon(last))
    end(await soon(wait(place, {})))
    expect(unhandled).toEqual([])
  })

  test(`${name} keeps its result if its signal cannot remove the listener, and the program is told of the error`, async () => {
    const place = setUp()
    const unblock = block(place)
    const mine = new Error('mine')
    const signal: Signal = {
      aborted: false,
      addEventListener() {},
      removeEventListener() {
        throw mine
      },
    }
    const both = [wait(place, { signal }), wait(place, { signal })]
    expect(await stateOf(both[0])).toBe('pending')
    unblock()
    for (const waiting of both) end(await soon(waiting))
    end(await soon(wait(place, {})))
    await turns()
    expect(unhandled.length).toBeGreaterThanOrEqual(2)
    expect(unhandled.every((error) => error === mine)).toBe(true)
  })

  test(`${name} with a signal that calls its listener at once, or again and again, rejects once and leaves no trace`, async () => {
    const place = setUp()
    const unblock = block(place)
    const first = wait(place, {})
    for (let turn = 0; turn < 2; turn++) {
      const signal: Signal = {
        aborted: false,
        get reason(): unknown {
          throw new Error('no reason')
        },
        addEventListener: (_type, listener) => {
          listener()
          listener()
          setImmediate(listener)
        },
        removeEventListener() {},
      }
      await expectRejection('ABORT_ERR', soon(wait(place, { signal })))
    }
    unblock()
    end(await soon(first))
    end(await soon(wait(place, {})))
    await turns()
    expect(unhandled).toEqual([])
  })
})

test.each(blocking)('%s refuses options that are none, and has entered nothing', (_name, wait) => {
  const place = setUp()
  for (const options of [...noOptions, ...noTimeouts.map((timeoutMs) => ({ timeoutMs }))]) {
    expectCode('ERR_ISTHMUS_INVALID_ARGUMENT', () => wait(place, options as TimeoutOptions))
  }
  expect(wait(place, {})).toBeTruthy()
})

test('Condvar.wait and waitSync refuse what is no guard, no predicate and no option, with the mutex held on', async () => {
  const { own } = setUp()
  const guard = own.lock.lockSync()
  const wait = own.changed.wait.bind(own.changed) as (...args: unknown[]) => Promise<boolean>
  const waitSync = own.changed.waitSync.bind(own.changed) as (...args: unknown[]) => boolean
  for (const bad of [undefined, ...noOptions, {}]) {
    await expectRejection('ERR_ISTHMUS_NOT_HELD', wait(bad))
    expectCode('ERR_ISTHMUS_NOT_HELD', () => waitSync(bad))
  }
  for (const options of [null, 5, 'soon', ...noTimeouts.map((timeoutMs) => ({ timeoutMs }))]) {
    await expectRejection('ERR_ISTHMUS_INVALID_ARGUMENT', wait(guard, options))
    await expectRejection(
      'ERR_ISTHMUS_INVALID_ARGUMENT',
      wait(guard, () => false, options),
    )
    expectCode('ERR_ISTHMUS_INVALID_ARGUMENT', () => waitSync(guard, options))
    expectCode('ERR_ISTHMUS_INVALID_ARGUMENT', () => waitSync(guard, () => false, options))
    await expectRejection('ERR_ISTHMUS_INVALID_ARGUMENT', wait(guard, 'predicate', { timeoutMs: 1 }))
  }
  for (const signal of noSignals) await expectRejection('ERR_ISTHMUS_INVALID_ARGUMENT', wait(guard, { signal }))
  expect(guard.isHeld).toBe(true)
  const mine = new Error('mine')
  const signal = {
    ...listens,
    aborted: false,
    addEventListener: () => {
      throw mine
    },
  }
  await expect(wait(guard, { signal })).rejects.toBe(mine)
  expect([guard.isHeld, own.changed.describe().waiters]).toEqual([true, []])
  guard.unlock()
  expect(own.lock.tryLock()?.isHeld).toBe(true)
})
