import { describe, expect, test } from 'vitest'
import { type Futex, futex, type HeapRegion, waitAny } from '../../src/index.js'
import { expectCode } from '../support/expect-code.js'
import { attach, leftovers, rootWord } from '../support/regions.js'
import { withoutSafetyNet } from '../support/safety-net.js'
import { describeWait } from '../support/wait-contract.js'
import { sleep, soon, stateOf, until } from '../support/waiting.js'
import { startAgent } from '../support/workers.js'

withoutSafetyNet()

const layout = futex()
const VALUE = 0
const SEQUENCE = 1
const REGISTRATIONS = 10
const WAITING = 2

/** How many peers wait: the bits in the bitmap. */
function waitersOf(region: HeapRegion<Futex>): number {
  let count = 0
  for (let word = 0; word < 4; word++) {
    for (let bits = rootWord(region, layout, WAITING + word); bits !== 0; bits &= bits - 1) count++
  }
  return count
}

function setUp() {
  const regions = attach(layout)
  const [own, other, third] = regions.map(({ root }) => root)
  return { regions, own, other, third, waiters: () => waitersOf(regions[0]) }
}

describeWait<Futex>({
  name: 'Futex.waitWhile',
  layout,
  layoutText: '(sync) => sync.futex()',
  block: (root) => {
    root.value = 0
    return () => {
      root.value = 1
      root.notifyAll()
    }
  },
  wait: (root, options) => root.waitWhile(0, options),
  waitSync: (root, options) => root.waitWhileSync(0, options),
  timedOut: false,
  waiters: (_root, region) => waitersOf(region),
  ignored: [VALUE, SEQUENCE, REGISTRATIONS],
})

describe('Futex', () => {
  test('Futex.waitWhile and waitWhileSync return at once if the value is another', async () => {
    const { own, other } = setUp()
    own.value = 3
    expect(other.waitWhileSync(4)).toBe(true)
    expect(await other.waitWhile(4)).toBe(true)
    expect(other.waitWhileSync(3, { timeoutMs: 0 })).toBe(false)
  })

  test('Futex is an Int32Field', () => {
    const { own, other } = setUp()
    own.value = -1
    expect([other.value, other.add(2), other.compareExchange(1, 5), other.exchange(6), own.value]).toEqual([
      -1, -1, 1, 5, 6,
    ])
  })

  test('Futex.notifyOne wakes one of several threads, and the next with the next call', async () => {
    const { regions, own, waiters } = setUp()
    let woken = 0
    const start = () => startAgent(regions[0], '(sync) => sync.futex()', '(root) => root.waitWhileSync(0)')
    const agents = [await start(), await start()]
    for (const { result } of agents) result.then(() => woken++)
    await until(() => waiters() === 2)
    await sleep(10)
    own.value = 1
    own.notifyOne()
    await until(() => woken === 1)
    await sleep(20)
    expect([woken, waiters()]).toEqual([1, 1])
    own.notifyOne()
    expect(await Promise.all(agents.map(({ result }) => result))).toEqual([true, true])
  })

  test('Futex.notifyOne without a change of the value ends no wait', async () => {
    const { own, other, waiters } = setUp()
    const waiting = other.waitWhile(0)
    await until(() => waiters() === 1)
    own.notifyOne()
    own.notifyAll()
    expect(await stateOf(waiting)).toBe('pending')
    expect(waiters()).toBe(1)
    own.value = 1
    own.notifyOne()
    expect(await soon(waiting)).toBe(true)
  })

  test('Futex.notifyOne that reached a waiter that gave up wakes another one', async () => {
    const { regions, own, other, third, waiters } = setUp()
    const controller = new AbortController()
    const aborted = other.waitWhile(0, { signal: controller.signal })
    aborted.catch(() => {})
    const waiting = third.waitWhile(0)
    await until(() => waiters() === 2)
    own.value = 1
    own.notifyOne()
    controller.abort()
    await aborted.catch(() => {})
    expect(await soon(waiting)).toBe(true)
    expect(leftovers(regions[0], layout, [VALUE, SEQUENCE, REGISTRATIONS])).toEqual([])
  })

  test('Futex.notifyOne without a waiter leaves the sequence as it is', () => {
    const { regions, own } = setUp()
    own.notifyOne()
    own.notifyAll()
    expect(rootWord(regions[0], layout, SEQUENCE)).toBe(0)
  })

  test('Futex: the death of a waiter takes its bits back', async () => {
    const { regions, other, waiters } = setUp()
    other.waitWhile(0).catch(() => {})
    await until(() => waiters() === 1)
    regions[0].declareDead(regions[1].peers.self)
    expect(leftovers(regions[0], layout, [SEQUENCE, REGISTRATIONS])).toEqual([])
  })

  test('Futex.notifyOne and notifyAll after close are refused', () => {
    const { regions, own } = setUp()
    regions[0].close()
    expectCode('ERR_ISTHMUS_CLOSED', () => own.notifyOne())
    expectCode('ERR_ISTHMUS_CLOSED', () => own.notifyAll())
    expectCode('ERR_ISTHMUS_CLOSED', () => own.value)
  })

  test('Futex.otherThan is ready for waitAny once the value is another', async () => {
    const { regions, own, other, third } = setUp()
    const [first, second] = [other.otherThan(0), third.otherThan(7)]
    expect(await waitAny([first, second])).toEqual([second])
    own.value = 7
    expect(await waitAny([first, second])).toEqual([first])
    own.value = 0
    const waiting = waitAny([first])
    await sleep(5)
    own.value = 1
    own.notifyOne()
    expect(await soon(waiting)).toEqual([first])
    expect(leftovers(regions[0], layout, [VALUE, SEQUENCE, REGISTRATIONS])).toEqual([])
  })

  test('Futex.ref and unref return the futex', () => {
    const { own } = setUp()
    expect([own.unref(), own.ref()]).toEqual([own, own])
  })
})
