import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { host } from '../../src/host/host.js'
import { HeapRegion, words } from '../../src/index.js'
import { type Condition, EVENT_COUNT_BYTES, EventCount, fallbackPolling, pendingWaits } from '../../src/internal.js'
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

/** Something to wait for that the test itself brings about, without a word to anybody. */
class TestCondition implements Condition {
  isThere = false
  /** Looks since it was armed, the one of the arming included. */
  looks = 0
  readonly handOffWakeup: (isReady: boolean) => void

  constructor(handOffWakeup: (isReady: boolean) => void = () => {}) {
    this.handOffWakeup = handOffWakeup
  }

  poll(): boolean {
    return this.isThere
  }

  pollArmed(): boolean {
    this.looks++
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

describe('Ticks', () => {
  it('come to each of many waits that no bell reaches', async () => {
    vi.spyOn(region.waiter, 'isUnreachable', 'get').mockReturnValue(true)
    const conditions = Array.from({ length: 400 }, () => new TestCondition())
    const pending = conditions.map(wait)
    await until(() => conditions.every(({ looks }) => looks >= 1))
    for (const condition of conditions) condition.looks = 0
    await until(() => conditions.every(({ looks }) => looks >= 2))
    // Each had its turn before any had many.
    expect(Math.max(...conditions.map(({ looks }) => looks))).toBeLessThanOrEqual(4)
    for (const condition of conditions) condition.isThere = true
    expect(await soon(Promise.all(pending), 'the last tick')).toEqual(conditions.map(() => true))
  })
})

describe('A look within the turn of the loop', () => {
  withoutSafetyNet()

  it.each([
    ['everything', 'everything', false, false],
    ['everything', 'a wait point', false, true],
    ['a wait point', 'everything', true, false],
    ['a wait point', 'the same wait point', true, true],
  ])('that looks at %s is not the last one if it asks for a look at %s', async (_, __, hasHint, asksWithHint) => {
    const late = new TestCondition()
    // It leaves something to the other one, which this turn has looked at already, and tells its own thread.
    const handsOver = new TestCondition((isReady) => {
      late.isThere = isReady
      pendingWaits.schedulePoll(asksWithHint ? point.hint : undefined)
    })
    const pending = [late, handsOver].map(wait)
    await until(() => late.looks > 0 && handsOver.looks > 0)
    handsOver.isThere = true
    pendingWaits.schedulePoll(hasHint ? point.hint : undefined)
    expect(await soon(Promise.all(pending), 'the second look')).toEqual([true, true])
  })
})

describe('A death that the system could not tell', () => {
  const usual = { ...fallbackPolling }
  afterEach(() => {
    Object.assign(fallbackPolling, usual)
  })

  it('is watched for again at each tick, until it can; then the ticks are as rare as usual', async () => {
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
    condition.looks = 0
    await sleep(60)
    expect([watch.mock.calls.length, condition.looks]).toEqual([length + 1, expect.toSatisfy((looks) => looks <= 1)])
    condition.isThere = true
    pendingWaits.repoll()
    expect(await soon(pending)).toBe(true)
  })
})
