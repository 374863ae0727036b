import { describe, expect, test } from 'vitest'
import {
  deadlineAfter,
  EVENT_COUNT_BYTES,
  EventCount,
  HeapRegion,
  type Region,
  type Waiter,
  words,
} from '../../src/index.js'

const WAITING = 0
const SEQUENCE = 1

/** An event count whose waiter does not sleep but writes down how it was called. */
function setUp(onSleep: (events: EventCount) => void = () => {}) {
  const heap = HeapRegion.create(words(EVENT_COUNT_BYTES / 4))
  const sleeps: { isStillExpected: boolean; waiting: number; timeoutMs: number }[] = []
  const wakes: number[] = []
  const waiter: Waiter = {
    waitSync(index, expected, timeoutMs) {
      sleeps.push({ isStillExpected: heap.words[index] === expected, waiting: heap.root[WAITING], timeoutMs })
      onSleep(events)
    },
    wake(_index, count) {
      wakes.push(count)
      return 0
    },
  }
  const region: Region = {
    words: heap.words,
    bytes: heap.bytes,
    waiter,
    peers: heap.peers,
    isClosed: false,
    onClose: () => () => {},
  }
  const events = new EventCount(region, heap.root.byteOffset)
  return { events, memory: heap.root, sleeps, wakes }
}

const never = Number.POSITIVE_INFINITY

describe('EventCount.waitSync', () => {
  test('EventCount.waitSync returns at once where it is ready, without a sleep', () => {
    const { events, sleeps } = setUp()
    expect(
      events.waitSync(
        () => true,
        never,
        () => {},
      ),
    ).toBe(true)
    expect(sleeps).toEqual([])
  })

  test('EventCount.waitSync does not sleep once the deadline has passed', () => {
    const { events, sleeps } = setUp()
    expect(
      events.waitSync(
        () => false,
        deadlineAfter(0),
        () => {},
      ),
    ).toBe(false)
    expect(sleeps).toEqual([])
  })

  test('EventCount.waitSync sees what became ready after the deadline was reached', () => {
    const { events } = setUp()
    let isReady = false
    const becomeReady = () => {
      isReady = true
    }
    expect(events.waitSync(() => isReady, deadlineAfter(0), becomeReady)).toBe(true)
  })

  test('EventCount.waitSync sleeps with its waiting word set and takes it back', () => {
    let isReady = false
    const { events, memory, sleeps } = setUp(() => {
      isReady = true
    })
    expect(
      events.waitSync(
        () => isReady,
        never,
        () => {},
      ),
    ).toBe(true)
    expect(sleeps).toEqual([{ isStillExpected: true, waiting: 1, timeoutMs: never }])
    expect(memory[WAITING]).toBe(0)
  })

  test('EventCount.waitSync looks around before every sleep', () => {
    let looks = 0
    let sleepCount = 0
    const { events } = setUp(() => {
      sleepCount++
    })
    events.waitSync(
      () => sleepCount === 3,
      never,
      () => {
        looks++
        expect(looks).toBe(sleepCount + 1)
      },
    )
    expect(looks).toBe(3)
  })

  test('EventCount.waitSync does not sleep through a notify between its last look and the sleep', () => {
    const { events, memory, sleeps } = setUp()
    let isNotified = false
    const isReady = () => {
      if (memory[WAITING] === 1 && !isNotified) {
        isNotified = true
        events.notify()
        return false
      }
      return isNotified
    }
    events.waitSync(isReady, never, () => {})
    expect(sleeps.map(({ isStillExpected }) => isStillExpected)).toEqual([false])
  })

  test('EventCount.waitSync passes on what the look around throws, and is not waiting', () => {
    const { events, memory, sleeps } = setUp()
    const failure = new Error('the other side died')
    const lookAround = () => {
      throw failure
    }
    expect(() => events.waitSync(() => false, never, lookAround)).toThrow(failure)
    expect([memory[WAITING], sleeps.length]).toEqual([0, 0])
  })

  test('EventCount.waitSync is not waiting any more after its condition threw', () => {
    const { events, memory } = setUp()
    const isReady = () => {
      if (memory[WAITING] === 1) throw new Error('corrupt')
      return false
    }
    expect(() => events.waitSync(isReady, never, () => {})).toThrow('corrupt')
    expect(memory[WAITING]).toBe(0)
  })

  test('EventCount.waitSync on a real waiter ends at its deadline, and not before', () => {
    const region = HeapRegion.create(words(2))
    const events = new EventCount(region, region.root.byteOffset)
    const deadline = deadlineAfter(60)
    expect(
      events.waitSync(
        () => false,
        deadline,
        () => {},
      ),
    ).toBe(false)
    expect(performance.now()).toBeGreaterThanOrEqual(deadline)
  })
})

describe('EventCount.notify', () => {
  test('EventCount.notify costs nothing where nobody waits', () => {
    const { events, memory, wakes } = setUp()
    events.notify()
    expect([memory[SEQUENCE], wakes]).toEqual([0, []])
  })

  test('EventCount.notify changes the sequence and wakes one where somebody waits', () => {
    const { events, memory, wakes } = setUp()
    memory[WAITING] = 1
    events.notify()
    expect([memory[SEQUENCE], wakes]).toEqual([1, [1]])
  })

  test('EventCount.isAwaited tells whether somebody waits, and reset forgets it', () => {
    const { events, memory } = setUp()
    expect(events.isAwaited).toBe(false)
    memory[WAITING] = 1
    expect(events.isAwaited).toBe(true)
    events.reset()
    expect([events.isAwaited, memory[WAITING]]).toEqual([false, 0])
  })
})
