import { afterEach, describe, expect, test, vi } from 'vitest'
import { HeapRegion, type PeerId, type Region, words } from '../../src/index.js'
import { WAITER_SET_BYTES, WaiterSet } from '../../src/internal.js'
import { fallbackPolling } from '../../src/waiting/fallback-polling.js'
import { until } from '../support/waiting.js'

const layout = words(WAITER_SET_BYTES / 4)
const { handOffMs } = fallbackPolling
afterEach(() => {
  fallbackPolling.handOffMs = handOffMs
  vi.restoreAllMocks()
})

/** A waiter set as some attachments see it; it is noted which event loops they wake. */
function setUp() {
  const first = HeapRegion.create(layout)
  const rings: PeerId[] = []
  const system = { calls: 0, sleepingThreads: 0 }
  const attachments = [first, HeapRegion.attach(first.handle, layout), HeapRegion.attach(first.handle, layout)].map(
    (heap) => {
      const { subject, words, bytes, peers, waiter } = heap
      const region: Region = {
        subject,
        words,
        bytes,
        peers,
        waiter: {
          wakeLatencyMs: 0,
          waitSync: () => {},
          wakeThreads(_word, count) {
            system.calls++
            const woken = Math.min(count, system.sleepingThreads)
            system.sleepingThreads -= woken
            return woken
          },
          listen: () => {},
          wakeLoop: (peer) => rings.push(peer) > 0,
          watch: () => 'already',
          hintOf: (word) => waiter.hintOf(word),
          isUnreachable: false,
        },
        isClosed: false,
        onClose: () => () => {},
      }
      return { set: new WaiterSet(region, heap.root.byteOffset), self: peers.self }
    },
  )
  const [loop, notifier, other] = attachments
  const from = first.root.byteOffset / 4
  return { loop, notifier, other, rings, system, words: first.words.subarray(from, from + WAITER_SET_BYTES / 4) }
}

describe('WaiterSet and event loops whose wake-up is under way', () => {
  test('WaiterSet.notifyOne and notifyAll wake a loop once, and again when it has registered again', () => {
    fallbackPolling.handOffMs = Number.POSITIVE_INFINITY
    const { loop, notifier, rings } = setUp()
    loop.set.arm()
    notifier.set.notifyOne()
    notifier.set.notifyOne()
    notifier.set.notifyAll()
    expect(rings).toEqual([loop.self])
    loop.set.renew()
    notifier.set.notifyAll()
    notifier.set.notifyOne()
    expect(rings).toEqual([loop.self, loop.self])
    loop.set.disarm()
    loop.set.arm()
    notifier.set.notifyOne()
    expect(rings).toEqual([loop.self, loop.self, loop.self])
  })

  test('WaiterSet: a notifier that has found no more sleeper to wake calls the system again when one has registered', () => {
    fallbackPolling.handOffMs = Number.POSITIVE_INFINITY
    const { loop, notifier, other, rings, system } = setUp()
    loop.set.enterSync()
    system.sleepingThreads = 1
    for (let time = 0; time < 5; time++) notifier.set.notifyOne()
    // The first one woke the thread, the second one found that no other sleeps.
    expect(system.calls).toBe(2)
    notifier.set.notifyAll()
    notifier.set.relay()
    expect(system.calls).toBe(2)

    // The thread has not run yet, and sleeps again within the same call.
    loop.set.enterSync()
    system.sleepingThreads = 1
    notifier.set.notifyOne()
    expect([system.calls, system.sleepingThreads]).toEqual([3, 0])

    notifier.set.notifyOne()
    other.set.arm()
    for (let time = 0; time < 5; time++) notifier.set.notifyOne()
    expect(rings).toEqual([other.self])
    expect(system.calls).toBe(6)
  })

  test('WaiterSet.notifyAll that has found no more sleeper to wake calls the system again when one has registered', () => {
    const { loop, notifier, other, rings, system } = setUp()
    loop.set.enterSync()
    other.set.arm()
    system.sleepingThreads = 1
    for (let time = 0; time < 5; time++) notifier.set.notifyAll()
    // The first one woke both, the second one found that no other sleeps. They have not run yet.
    expect([system.calls, rings]).toEqual([2, [other.self]])

    loop.set.enterSync()
    system.sleepingThreads = 1
    for (let time = 0; time < 5; time++) notifier.set.notifyAll()
    expect([system.calls, system.sleepingThreads]).toEqual([4, 0])

    other.set.renew()
    notifier.set.notifyAll()
    expect(rings).toHaveLength(3)
    expect(rings.at(-1)).toBe(other.self)
  })

  test('WaiterSet: a loop that could not be woken is woken by the next notification', () => {
    fallbackPolling.handOffMs = Number.POSITIVE_INFINITY
    const { loop, notifier, rings } = setUp()
    vi.spyOn(rings, 'push').mockReturnValueOnce(0)
    loop.set.arm()
    notifier.set.notifyOne()
    expect(rings).toEqual([])
    notifier.set.notifyOne()
    expect(rings).toEqual([loop.self])
  })

  test('WaiterSet: a notifier relies on no wake-up of another one', () => {
    fallbackPolling.handOffMs = Number.POSITIVE_INFINITY
    const { loop, notifier, other, rings } = setUp()
    loop.set.arm()
    notifier.set.notifyOne()
    other.set.notifyOne()
    other.set.notifyAll()
    expect(rings).toEqual([loop.self, loop.self])
  })

  test('WaiterSet.arm registers again, although another wait of the loop is armed already', () => {
    fallbackPolling.handOffMs = Number.POSITIVE_INFINITY
    const { loop, notifier, rings } = setUp()
    loop.set.arm()
    notifier.set.notifyOne()
    loop.set.arm()
    notifier.set.notifyOne()
    expect(rings).toEqual([loop.self, loop.self])
  })

  test('WaiterSet wakes a loop whose wake-up is under way again, if what was notified is still there', async () => {
    const { loop, notifier, rings } = setUp()
    loop.set.arm()
    notifier.set.notifyOne()
    await until(() => rings.length >= 2)
    expect(new Set(rings)).toEqual(new Set([loop.self]))
    loop.set.disarm()
  })
})

/** How often this loads a word through Atomics. */
function loadsIn(action: () => void): number {
  const load = vi.spyOn(Atomics, 'load')
  action()
  const { length } = load.mock.calls
  load.mockRestore()
  return length
}

/** While this runs, and before its load number `at` (the first is 1), another peer acts. */
function withActionBeforeLoad(at: number, act: () => void, action: () => void): void {
  const { load } = Atomics
  let count = 0
  const spy = vi.spyOn(Atomics, 'load').mockImplementation(((words: Int32Array, index: number) => {
    if (++count === at) act()
    return load(words, index)
  }) as typeof load)
  action()
  spy.mockRestore()
  expect(count).toBeGreaterThanOrEqual(at)
}

describe('WaiterSet and whether a peer may sleep', () => {
  const notifications = ['notifyOne', 'notifyAll', 'relay'] as const

  test.each(notifications)('WaiterSet.%s loads one word if no peer has ever slept', (notify) => {
    const { notifier } = setUp()
    expect(loadsIn(() => notifier.set[notify]())).toBe(1)
  })

  test.each(notifications)('WaiterSet.%s looks at the bits once after the last sleeper is up', (notify) => {
    const { loop, notifier } = setUp()
    loop.set.arm()
    loop.set.disarm()
    expect(loadsIn(() => notifier.set[notify]())).toBeGreaterThan(1)
    expect(loadsIn(() => notifier.set[notify]())).toBe(1)
    loop.set.enterSync()
    loop.set.leaveSync()
    expect(loadsIn(() => notifier.set[notify]())).toBeGreaterThan(1)
    expect(loadsIn(() => notifier.set[notify]())).toBe(1)
    expect(notifier.set.sequence).toBe(0)
  })

  test.each(notifications)('WaiterSet.%s looks at the bits once after a dead sleeper was swept', (notify) => {
    const { loop, notifier } = setUp()
    loop.set.arm()
    notifier.set[notify]()
    notifier.set.sweep(loop.self)
    notifier.set[notify]()
    expect(loadsIn(() => notifier.set[notify]())).toBe(1)
  })

  /** The loads of a notifier: whether a peer may sleep, then the four words of `waiting`; its CAS follows, or the wake-up. */
  test.each([1, 2, 3, 4, 5])(
    'a sleeper that registers before a load (%i) of a notifier is woken by it, or by the next one',
    (at) => {
      for (const sleep of ['arm', 'enterSync'] as const) {
        const { loop, other, notifier, words } = setUp()
        other.set.arm()
        other.set.disarm()
        let sequenceThen = 0
        withActionBeforeLoad(
          at,
          () => {
            ;[sequenceThen] = words
            loop.set[sleep]()
          },
          () => notifier.set.notifyOne(),
        )
        notifier.set.notifyOne()
        expect(notifier.set.sequence).toBeGreaterThan(sequenceThen)
      }
    },
  )

  test('a sleeper that registers after the bits were looked at, and before it is noted that none sleeps, is woken', () => {
    for (const sleep of ['arm', 'enterSync'] as const) {
      const { loop, other, notifier } = setUp()
      other.set.arm()
      other.set.disarm()
      const { compareExchange } = Atomics
      vi.spyOn(Atomics, 'compareExchange').mockImplementationOnce(((
        ...parameters: Parameters<typeof compareExchange>
      ) => {
        loop.set[sleep]()
        return compareExchange(...parameters)
      }) as typeof compareExchange)
      notifier.set.notifyOne()
      expect(notifier.set.sequence).toBe(0)
      notifier.set.notifyOne()
      expect(notifier.set.sequence).toBe(1)
    }
  })

  test.each(['arm', 'enterSync'] as const)(
    'a notifier that comes before any step of %s leaves the sleeper to be woken',
    (sleep) => {
      let steps = 0
      for (let at = 1; at === 1 || at <= steps; at++) {
        const { loop, other, notifier } = setUp()
        other.set.arm()
        other.set.disarm()
        steps = 0
        let isNotifier = false
        for (const name of ['load', 'or', 'add', 'compareExchange'] as const) {
          const operation = Atomics[name] as (...parameters: unknown[]) => number
          vi.spyOn(Atomics, name).mockImplementation(((...parameters: unknown[]) => {
            if (!isNotifier && ++steps === at) {
              isNotifier = true
              notifier.set.notifyOne()
              isNotifier = false
            }
            return operation(...parameters)
          }) as never)
        }
        loop.set[sleep]()
        vi.restoreAllMocks()
        const { sequence } = notifier.set
        notifier.set.notifyOne()
        expect(notifier.set.sequence).toBe(sequence + 1)
      }
      expect(steps).toBeGreaterThan(1)
    },
  )

  test('a peer that sleeps in several ways at once is woken as long as it sleeps in one', () => {
    const { loop, notifier } = setUp()
    const expectAwaited = (isAwaited: boolean) => {
      const { sequence } = notifier.set
      notifier.set.notifyOne()
      expect(notifier.set.sequence - sequence).toBe(isAwaited ? 1 : 0)
    }
    loop.set.enterSync()
    loop.set.enterSync()
    loop.set.leaveSync()
    expectAwaited(true)
    loop.set.arm()
    loop.set.leaveSync()
    expectAwaited(true)
    loop.set.enterSync()
    loop.set.disarm()
    expectAwaited(true)
    loop.set.leaveSync()
    expectAwaited(false)
  })

  test('the count of registrations goes round, and stays apart from the mark', () => {
    const { loop, notifier, words } = setUp()
    for (const word of [0x7ffffffe, 0x7fffffff, -2, -1]) {
      words[WAITER_SET_BYTES / 4 - 1] = word
      loop.set.arm()
      expect(words[WAITER_SET_BYTES / 4 - 1]).toBe(((word + 2) | 1) >> 0)
      loop.set.disarm()
      notifier.set.notifyOne()
      expect(words[WAITER_SET_BYTES / 4 - 1]).toBe((word + 2) & ~1)
    }
  })
})
