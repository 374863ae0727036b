import { afterEach, describe, expect, test } from 'vitest'
import { HeapRegion, type PeerId, type Region, words } from '../../src/index.js'
import { WAITER_SET_BYTES, WaiterSet } from '../../src/internal.js'
import { fallbackPolling } from '../../src/waiting/fallback-polling.js'
import { until } from '../support/waiting.js'

const layout = words(WAITER_SET_BYTES / 4)
const { handOffMs } = fallbackPolling
afterEach(() => {
  fallbackPolling.handOffMs = handOffMs
})

/** A waiter set as some attachments see it; it is noted which event loops they wake. */
function setUp() {
  const first = HeapRegion.create(layout)
  const rings: PeerId[] = []
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
          wakeThreads: () => 0,
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
  return { loop, notifier, other, rings }
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
