import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { host } from '../../src/host/host.js'
import { HeapRegion, words } from '../../src/index.js'
import { type Condition, EVENT_COUNT_BYTES, EventCount, fallbackPolling, pendingWaits } from '../../src/internal.js'
import type { EventLoopDriver } from '../../src/waiting/event-loop-driver.js'
import { PendingWaits } from '../../src/waiting/pending-waits.js'
import { withoutSafetyNet } from '../support/safety-net.js'
import { sleep, soon, until } from '../support/waiting.js'

const layout = words(EVENT_COUNT_BYTES / 4)
let region: HeapRegion<Int32Array>
let point: EventCount

beforeEach(() => {
  region = HeapRegion.create(layout)
  point = new EventCount(region, region.root.byteOffset - region.words.byteOffset)
})

afterEach(() => {
  vi.restoreAllMocks()
  region.close()
})

/** A condition that the test makes true, without a notification. */
class TestCondition implements Condition {
  isThere = false
  /** Polls since it was armed, including the first one. */
  polls = 0
  readonly handOffWakeup: (isReady: boolean) => void

  constructor(handOffWakeup: (isReady: boolean) => void = () => {}) {
    this.handOffWakeup = handOffWakeup
  }

  poll(): boolean {
    return this.isThere
  }

  pollArmed(): boolean {
    this.polls++
    return this.isThere
  }

  reapDead(): void {}

  dependsOn(): readonly (typeof region.peers.self)[] {
    return [region.peers.self]
  }
}

function wait(condition: Condition): Promise<boolean> {
  return pendingWaits.wait([{ point, condition }], Number.POSITIVE_INFINITY, undefined)
}

/** A driver whose turns, ticks and time the test decides. */
class TestDriver implements EventLoopDriver {
  hasImmediateTurns = true
  now = 1_000_000
  readonly asked: (string | number | boolean)[] = []

  nowMs(): number {
    return this.now
  }

  requestTurn(): void {
    this.asked.push('turn')
  }

  requestTick(dueMs: number): void {
    this.asked.push('tick', dueMs - this.now)
  }

  keepAlive(isRef: boolean): void {
    this.asked.push(isRef)
  }

  callAt(deadline: number, callback: () => void): () => void {
    this.onDeadline = callback
    this.asked.push('deadline', deadline - this.now)
    return () => void this.asked.push('no deadline')
  }

  onDeadline = () => {}

  /** What the pending waits have asked for since the last call. */
  takeAsked(): (string | number | boolean)[] {
    return this.asked.splice(0)
  }
}

describe('PendingWaits with a driver that the test steps', () => {
  const POLL_MS = 1
  let driver: TestDriver
  let waits: PendingWaits

  beforeEach(() => {
    driver = new TestDriver()
    waits = new PendingWaits(driver)
    vi.spyOn(point.pollBudget, 'for').mockReturnValue(POLL_MS)
  })

  it('polls in each turn until the poll budget is used up, then arms and asks for a tick', async () => {
    const condition = new TestCondition()
    const pending = waits.wait([{ point, condition }], Number.POSITIVE_INFINITY, undefined)
    expect(driver.takeAsked()).toEqual(['turn'])
    waits.turn()
    expect([driver.takeAsked(), condition.polls, point.isAwaited]).toEqual([['turn'], 0, false])
    driver.now += POLL_MS
    waits.turn()
    expect(driver.takeAsked()).toEqual(['tick', fallbackPolling.tickMs, true])
    expect([condition.polls, point.sleeper?.peer]).toEqual([1, region.peers.self])
    condition.isThere = true
    waits.repoll(point.hint + 1)
    expect([condition.polls, point.isAwaited]).toEqual([1, true])
    waits.repoll(point.hint)
    expect([driver.takeAsked(), point.isAwaited]).toEqual([[false], false])
    expect(await soon(pending)).toBe(true)
  })

  it('asks for one turn only, however many waits need it, and for an earlier tick in place of a later one', async () => {
    const conditions = [new TestCondition(), new TestCondition()]
    const pending = conditions.map((condition) => {
      return waits.wait([{ point, condition }], Number.POSITIVE_INFINITY, undefined)
    })
    expect(driver.takeAsked()).toEqual(['turn'])
    driver.now += POLL_MS
    waits.turn()
    expect(driver.takeAsked()).toEqual(['tick', fallbackPolling.tickMs, true, true])
    conditions[0].isThere = true
    waits.repoll()
    expect([driver.takeAsked(), point.isAwaited]).toEqual([[true], true])
    // The tick that was requested comes for the wait that is left.
    driver.now += fallbackPolling.tickMs
    conditions[1].isThere = true
    waits.tick()
    expect([driver.takeAsked(), point.isAwaited]).toEqual([[false, false], false])
    expect(await soon(Promise.all(pending))).toEqual([true, true])
  })

  it('lets ticks of a wait lie as far apart as a tenth of its time', async () => {
    const condition = new TestCondition()
    const pending = waits.wait([{ point, condition }], Number.POSITIVE_INFINITY, undefined)
    driver.now += 1_000
    waits.turn()
    expect(driver.takeAsked()).toEqual(['turn', 'tick', 100, true])
    driver.now += 100
    waits.tick()
    expect([driver.takeAsked(), condition.polls]).toEqual([['tick', 110, true], 2])
    condition.isThere = true
    waits.repoll()
    expect(await soon(pending)).toBe(true)
  })

  it('tells the driver whether a wait keeps the process running, and ends a wait at its deadline', async () => {
    vi.mocked(point.pollBudget.for).mockReturnValue(0)
    const pending = waits.wait([{ point, condition: new TestCondition() }], driver.now + 50, undefined)
    expect(driver.takeAsked()).toEqual(['deadline', 50, 'tick', fallbackPolling.tickMs, true])
    point.setRef(false)
    waits.updateKeepAlive()
    expect(driver.takeAsked()).toEqual([false])
    driver.onDeadline()
    expect([driver.takeAsked(), point.isAwaited]).toEqual([[false, 'no deadline'], false])
    expect(await soon(pending)).toBe(false)
  })

  it('rejects a wait whose turn cannot be requested, and asks for a turn again for the next one', async () => {
    const requestTurn = vi.spyOn(driver, 'requestTurn').mockImplementationOnce(() => {
      throw new RangeError('the stack is full')
    })
    const condition = new TestCondition()
    const wait = () => waits.wait([{ point, condition }], Number.POSITIVE_INFINITY, undefined)
    await expect(soon(wait())).rejects.toThrow('the stack is full')
    const pending = wait()
    expect(requestTurn).toHaveBeenCalledTimes(2)
    condition.isThere = true
    waits.turn()
    expect(await soon(pending)).toBe(true)
  })

  it('rejects a wait whose tick cannot be requested, and asks for a tick again for the next one', async () => {
    driver.hasImmediateTurns = false
    vi.spyOn(driver, 'requestTick').mockImplementationOnce(() => {
      throw new Error('the stack is full')
    })
    const condition = new TestCondition()
    const wait = () => waits.wait([{ point, condition }], Number.POSITIVE_INFINITY, undefined)
    await expect(soon(wait())).rejects.toThrow('the stack is full')
    expect([driver.takeAsked(), point.isAwaited]).toEqual([[false], false])
    const pending = wait()
    expect(driver.takeAsked()).toEqual(['tick', fallbackPolling.tickMs, true])
    condition.isThere = true
    waits.repoll()
    expect(await soon(pending)).toBe(true)
  })

  it('arms at once if turns would come late', async () => {
    driver.hasImmediateTurns = false
    const condition = new TestCondition()
    const pending = waits.wait([{ point, condition }], Number.POSITIVE_INFINITY, undefined)
    expect([driver.takeAsked(), point.isAwaited]).toEqual([['tick', fallbackPolling.tickMs, true], true])
    condition.isThere = true
    waits.repoll()
    expect(await soon(pending)).toBe(true)
  })
})

describe('Ticks', () => {
  it('come to each of many waits that no wake-up can reach', async () => {
    vi.spyOn(region.waiter, 'isUnreachable', 'get').mockReturnValue(true)
    const conditions = Array.from({ length: 400 }, () => new TestCondition())
    const pending = conditions.map(wait)
    await until(() => conditions.every(({ polls }) => polls >= 1))
    for (const condition of conditions) condition.polls = 0
    await until(() => conditions.every(({ polls }) => polls >= 2))
    // Each wait had its tick before any had many.
    expect(Math.max(...conditions.map(({ polls }) => polls))).toBeLessThanOrEqual(4)
    for (const condition of conditions) condition.isThere = true
    expect(await soon(Promise.all(pending), 'the last tick')).toEqual(conditions.map(() => true))
  })
})

describe('A poll in a turn of the loop', () => {
  withoutSafetyNet()

  it.each([
    ['everything', 'everything', false, false],
    ['everything', 'a wait point', false, true],
    ['a wait point', 'everything', true, false],
    ['a wait point', 'the same wait point', true, true],
  ])('that polls %s is not the last one if it asks for a poll of %s', async (_, __, hasHint, asksWithHint) => {
    const late = new TestCondition()
    // It makes the other one ready, which this turn has polled already, and notifies its own thread.
    const handsOver = new TestCondition((isReady) => {
      late.isThere = isReady
      pendingWaits.schedulePoll(asksWithHint ? point.hint : undefined)
    })
    const pending = [late, handsOver].map(wait)
    await until(() => late.polls > 0 && handsOver.polls > 0)
    handsOver.isThere = true
    pendingWaits.schedulePoll(hasHint ? point.hint : undefined)
    expect(await soon(Promise.all(pending), 'the second poll')).toEqual([true, true])
  })
})

describe('A death of which the system cannot tell', () => {
  const usual = { ...fallbackPolling }
  afterEach(() => {
    Object.assign(fallbackPolling, usual)
  })

  it('is watched for again at each tick, until the system can tell; then the ticks are as rare as usual', async () => {
    const { now } = host
    let passedMs = 0
    vi.spyOn(host, 'now').mockImplementation(() => now() + passedMs)
    Object.assign(fallbackPolling, { tickMs: 2, longestTickMs: 1e9 })
    const watch = vi.spyOn(region.waiter, 'watch').mockReturnValue('never')
    const condition = new TestCondition()
    const pending = wait(condition)
    await until(() => watch.mock.calls.length >= 5)
    passedMs = 3_600_000
    await until(() => watch.mock.calls.length >= 10)
    watch.mockReturnValue('from-now-on')
    const { length } = watch.mock.calls
    await until(() => watch.mock.calls.length > length)
    condition.polls = 0
    await sleep(60)
    expect([watch.mock.calls.length, condition.polls]).toEqual([length + 1, expect.toSatisfy((polls) => polls <= 1)])
    condition.isThere = true
    pendingWaits.repoll()
    expect(await soon(pending)).toBe(true)
  })
})
