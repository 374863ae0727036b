import { afterEach, describe, expect, test, vi } from 'vitest'
import { host } from '../../src/host/host.js'
import { HeapRegion, type PeerId, type Region, words } from '../../src/index.js'
import {
  type Condition,
  deadlineAfter,
  EVENT_COUNT_BYTES,
  EventCount,
  fallbackPolling,
  type Waiter,
} from '../../src/internal.js'
import { until } from '../support/waiting.js'

const SLEEPER = 0
const SEQUENCE = 1
const ON_EVENT_LOOP = 1 << 29

/** An event count whose waiter does not sleep but writes down how it was called. */
function setUp(onSleep: (events: EventCount) => void = () => {}) {
  const heap = HeapRegion.create(words(EVENT_COUNT_BYTES / 4))
  const sleeps: { isStillExpected: boolean; sleeper: number; timeoutMs: number }[] = []
  const wakes: number[] = []
  const rings: PeerId[] = []
  const calls: string[] = []
  let failures = 0
  const waiter: Waiter = {
    wakeLatencyMs: 0,
    waitSync(index, expected, timeoutMs) {
      sleeps.push({ isStillExpected: heap.words[index] === expected, sleeper: heap.root[SLEEPER], timeoutMs })
      onSleep(events)
    },
    wakeThreads(_index, count) {
      wakes.push(count)
      return 0
    },
    listen: () => void calls.push(`hear with ${heap.root[SLEEPER]}`),
    wakeLoop(peer) {
      if (failures-- > 0) throw new Error('no room')
      failures = 0
      return rings.push(peer) > 0
    },
    watch: () => 'already',
    hintOf: (word) => word,
    isUnreachable: false,
  }
  const region: Region = {
    subject: 'a region of a test',
    words: heap.words,
    bytes: heap.bytes,
    waiter,
    peers: heap.peers,
    isClosed: false,
    onClose: () => () => {},
  }
  const events = new EventCount(region, heap.root.byteOffset)
  /** As another notifier sees the same event count. */
  const successor = new EventCount(region, heap.root.byteOffset)
  const failNext = () => void failures++
  return { events, successor, failNext, memory: heap.root, sleeps, wakes, rings, calls, self: heap.peers.self }
}

function condition(isReady: () => boolean, rest: Partial<Condition> = {}): Condition {
  return { poll: isReady, reapDead() {}, dependsOn: () => [], ...rest }
}

const never = Number.POSITIVE_INFINITY

afterEach(() => void vi.restoreAllMocks())

describe('EventCount.waitSync', () => {
  test('EventCount.waitSync returns at once if it is ready, without a sleep', () => {
    const { events, sleeps } = setUp()
    expect(
      events.waitSync(
        condition(() => true),
        never,
      ),
    ).toBe(true)
    expect(sleeps).toEqual([])
  })

  test('EventCount.waitSync does not sleep once the deadline has passed', () => {
    const { events, sleeps } = setUp()
    expect(
      events.waitSync(
        condition(() => false),
        deadlineAfter(0),
      ),
    ).toBe(false)
    expect(sleeps).toEqual([])
  })

  test('EventCount.waitSync sees that reaping the dead made it ready, even after the deadline', () => {
    const { events } = setUp()
    let isReady = false
    const prove = () => {
      isReady = true
    }
    expect(
      events.waitSync(
        condition(() => isReady, { reapDead: prove }),
        deadlineAfter(0),
      ),
    ).toBe(true)
  })

  test('EventCount.waitSync sleeps with its own id in the sleeper word and takes it back', () => {
    let isReady = false
    const { events, memory, sleeps, self } = setUp(() => {
      isReady = true
    })
    expect(
      events.waitSync(
        condition(() => isReady),
        never,
      ),
    ).toBe(true)
    expect(sleeps).toEqual([{ isStillExpected: true, sleeper: self, timeoutMs: 1 }])
    expect(memory[SLEEPER]).toBe(0)
  })

  test('EventCount.waitSync reaps the dead after each sleep in vain, and not before the first one', () => {
    let proofs = 0
    let sleepCount = 0
    const { events } = setUp(() => {
      sleepCount++
    })
    const prove = () => {
      proofs++
      expect(proofs).toBe(sleepCount)
    }
    events.waitSync(
      condition(() => sleepCount === 3, { reapDead: prove }),
      never,
    )
    expect(proofs).toBe(2)
  })

  test('EventCount.waitSync reaps the dead before a first sleep that may last longer', () => {
    const { sliceMs } = fallbackPolling
    try {
      fallbackPolling.sliceMs = 21
      const { events, sleeps } = setUp()
      let sleepsBefore: number | undefined
      const prove = () => {
        sleepsBefore ??= sleeps.length
      }
      expect(
        events.waitSync(
          condition(() => sleepsBefore !== undefined, { reapDead: prove }),
          never,
        ),
      ).toBe(true)
      expect([sleepsBefore, sleeps.length]).toEqual([0, 0])
    } finally {
      fallbackPolling.sliceMs = sliceMs
    }
  })

  test('EventCount.waitSync polls after 1 ms, then every 20 ms, and less often the longer it has waited', () => {
    let atMs = 1e6
    const beganMs = atMs
    vi.spyOn(host, 'now').mockImplementation(() => atMs)
    const ages: number[] = []
    const { events, sleeps } = setUp(() => {
      ages.push(atMs - beganMs)
      atMs += sleeps[sleeps.length - 1].timeoutMs
    })
    const wait = condition(() => false)
    expect(events.waitSync(wait, atMs + 10_050)).toBe(false)
    expect(atMs).toBe(beganMs + 10_050)
    const slices = sleeps.map(({ timeoutMs }) => timeoutMs)
    // The last one ends with the wait.
    for (const [turn, sliceMs] of slices.slice(0, -1).entries()) {
      const ageMs = ages[turn]
      if (turn === 0) expect(sliceMs).toBe(1)
      else if (ageMs <= 200) expect(sliceMs).toBe(20)
      else if (ageMs >= 2500) expect(sliceMs).toBe(250)
      else expect(sliceMs).toBeCloseTo(ageMs / 10)
    }
    expect(slices.length).toBeGreaterThan(10 + 16 + 29)
  })

  test('EventCount.waitSync polls with pollArmed, if there is one, while the sleeper word is set', () => {
    const { events, memory, sleeps, self } = setUp()
    const pollArmed = () => memory[SLEEPER] === self
    expect(
      events.waitSync(
        condition(() => false, { pollArmed: pollArmed }),
        never,
      ),
    ).toBe(true)
    expect([sleeps, memory[SLEEPER]]).toEqual([[], 0])
  })

  test('EventCount.waitSync does not sleep through a notify between its last poll and the sleep', () => {
    const { events, memory, sleeps } = setUp()
    let isNotified = false
    const isReady = () => {
      if (memory[SLEEPER] !== 0 && !isNotified) {
        isNotified = true
        events.notify()
        return false
      }
      return isNotified
    }
    events.waitSync(condition(isReady), never)
    expect(sleeps.map(({ isStillExpected }) => isStillExpected)).toEqual([false])
  })

  test('EventCount.waitSync throws the error of reapDead, and leaves no mark', () => {
    const { events, memory, sleeps } = setUp()
    const failure = new Error('the other side died')
    const prove = () => {
      throw failure
    }
    expect(() =>
      events.waitSync(
        condition(() => false, { reapDead: prove }),
        never,
      ),
    ).toThrow(failure)
    expect([memory[SLEEPER], sleeps.length]).toEqual([0, 1])
  })

  test('EventCount.waitSync is not waiting any more after its condition threw', () => {
    const { events, memory } = setUp()
    const isReady = () => {
      if (memory[SLEEPER] !== 0) throw new Error('corrupt')
      return false
    }
    expect(() => events.waitSync(condition(isReady), never)).toThrow('corrupt')
    expect(memory[SLEEPER]).toBe(0)
  })

  test('EventCount.waitSync calls handOffWakeup at the end, when it is not waiting any more, and says how it ended', () => {
    const { events, memory } = setUp()
    const passed: [boolean, number][] = []
    const handOffWakeup = (isReady: boolean) => void passed.push([isReady, memory[SLEEPER]])
    for (const isReady of [true, false]) {
      events.waitSync(
        condition(() => isReady, { handOffWakeup: handOffWakeup }),
        deadlineAfter(2),
      )
    }
    const fail = () => {
      throw new Error('corrupt')
    }
    expect(() => events.waitSync(condition(fail, { handOffWakeup: handOffWakeup }), never)).toThrow('corrupt')
    expect(passed).toEqual([
      [true, 0],
      [false, 0],
      [false, 0],
    ])
  })

  test('EventCount.waitSync on a real waiter ends at its deadline, and not before', () => {
    const region = HeapRegion.create(words(2))
    const events = new EventCount(region, region.root.byteOffset)
    const deadline = deadlineAfter(60)
    expect(
      events.waitSync(
        condition(() => false),
        deadline,
      ),
    ).toBe(false)
    expect(performance.now()).toBeGreaterThanOrEqual(deadline)
  })

  test('EventCount.waitSync in the place of its own event loop arms that again', () => {
    const { events, memory, self } = setUp()
    events.arm()
    events.waitSync(
      condition(() => false),
      deadlineAfter(2),
    )
    expect(memory[SLEEPER]).toBe(self | ON_EVENT_LOOP)
  })
})

describe('EventCount.arm and disarm', () => {
  test('EventCount.arm listens first, then marks its event loop as the sleeper; the last disarm takes the mark back', () => {
    const { events, memory, calls, self } = setUp()
    events.arm()
    expect([calls, memory[SLEEPER]]).toEqual([['hear with 0'], self | ON_EVENT_LOOP])
    events.arm()
    events.disarm()
    expect(memory[SLEEPER]).toBe(self | ON_EVENT_LOOP)
    events.disarm()
    expect(memory[SLEEPER]).toBe(0)
  })

  test('EventCount.wait is woken by notify', async () => {
    const region = HeapRegion.create(words(2))
    const other = HeapRegion.attach(region.handle, words(2))
    const events = new EventCount(region, region.root.byteOffset)
    let isReady = false
    const waiting = events.wait(
      condition(() => isReady),
      never,
      undefined,
    )
    await until(() => events.isAwaited)
    expect(events.sleeper).toEqual(other.peers.describe(region.peers.self))
    isReady = true
    new EventCount(other, other.root.byteOffset).notify()
    expect(await waiting).toBe(true)
    expect([events.isAwaited, events.sleeper]).toEqual([false, undefined])
  })
})

describe('EventCount.notify', () => {
  test('EventCount.notify makes no call if no agent waits', () => {
    const { events, memory, wakes, rings } = setUp()
    events.notify()
    expect([memory[SEQUENCE], wakes, rings]).toEqual([0, [], []])
  })

  test('EventCount.notify changes the sequence and wakes one thread if a thread waits', () => {
    const { events, memory, wakes, rings, self } = setUp()
    memory[SLEEPER] = self
    events.notify()
    expect([memory[SEQUENCE], wakes, rings]).toEqual([1, [1], []])
  })

  test('EventCount.notify wakes the event loop if it waits', () => {
    const { events, memory, wakes, rings, self } = setUp()
    memory[SLEEPER] = self | ON_EVENT_LOOP
    events.notify()
    expect([memory[SEQUENCE], wakes, rings]).toEqual([1, [], [self]])
  })

  test('EventCount.notify wakes a sleeper once, and again when it has registered again', () => {
    const { events, memory, rings, self } = setUp()
    events.arm()
    for (let times = 0; times < 3; times++) events.notify()
    expect(rings).toEqual([self])
    events.renew()
    for (let times = 0; times < 3; times++) events.notify()
    expect(rings).toEqual([self, self])
    events.disarm()
    events.arm()
    events.notify()
    expect([memory[SLEEPER], rings]).toEqual([self | ON_EVENT_LOOP, [self, self, self]])
  })

  test('EventCount.notify wakes a thread once for each of its sleeps', () => {
    const notified: number[] = []
    const { events, wakes } = setUp((sleeping) => {
      for (let times = 0; times < 3; times++) sleeping.notify()
      notified.push(wakes.length)
    })
    let polls = 0
    events.waitSync(
      condition(() => notified.length === 2 || polls++ < 0),
      never,
    )
    expect(notified).toEqual([1, 2])
  })

  test('EventCount.notify of another agent does not rely on a wake-up that it did not make', () => {
    const { events, successor, rings, self } = setUp()
    events.arm()
    events.notify()
    successor.notify()
    expect(rings).toEqual([self, self])
  })

  test('EventCount.notify tries again if the wake-up has failed', () => {
    const { events, rings, self, failNext } = setUp()
    events.arm()
    failNext()
    expect(() => events.notify()).toThrow('no room')
    events.notify()
    events.notify()
    expect(rings).toEqual([self])
  })

  test('EventCount.isAwaited says whether an agent waits, and reset forgets it', () => {
    const { events, memory } = setUp()
    expect(events.isAwaited).toBe(false)
    memory[SLEEPER] = 1
    expect(events.isAwaited).toBe(true)
    events.reset()
    expect([events.isAwaited, memory[SLEEPER]]).toEqual([false, 0])
  })
})
