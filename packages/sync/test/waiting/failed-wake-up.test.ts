import { describe, expect, test } from 'vitest'
import { HeapRegion, type PeerId, type Region, words } from '../../src/index.js'
import { EVENT_COUNT_BYTES, EventCount, slotOf, WAITER_SET_BYTES, WaiterSet } from '../../src/internal.js'

import { withoutSafetyNet } from '../support/safety-net.js'

withoutSafetyNet()

type Wake = (peer: PeerId) => boolean

/** As an attachment sees the memory, with this way to wake event loops. */
function regionOf(heap: HeapRegion<unknown>, wakeLoop: Wake): Region {
  const { subject, words, bytes, peers } = heap
  return {
    subject,
    words,
    bytes,
    peers,
    waiter: {
      wakeLatencyMs: 0,
      waitSync: () => {},
      wakeThreads: () => 0,
      listen: () => {},
      wakeLoop,
      watch: () => 'already',
      hintOf: (word) => word,
      isUnreachable: false,
    },
    isClosed: false,
    onClose: () => () => {},
  }
}

/** The first wake-up fails in this way, as if this thread were out of descriptors or of stack for a moment. */
const failures: Record<string, () => boolean> = {
  'returned false': () => false,
  threw: () => {
    throw new RangeError('Maximum call stack size exceeded')
  },
}

function failingOnce(fail: () => boolean) {
  const rings: PeerId[] = []
  let hasFailed = false
  const wakeLoop: Wake = (peer) => {
    if (hasFailed) return rings.push(peer) > 0
    hasFailed = true
    return fail()
  }
  return { rings, wakeLoop }
}

function quietly(action: () => void): void {
  try {
    action()
  } catch {
    // As a program that goes on after a RangeError.
  }
}

describe('A wake-up that has failed', () => {
  test.each(Object.keys(failures))('EventCount.notify tries again after the waker %s', (how) => {
    const heap = HeapRegion.create(words(EVENT_COUNT_BYTES / 4))
    const { rings, wakeLoop } = failingOnce(failures[how])
    const events = new EventCount(regionOf(heap, wakeLoop), heap.root.byteOffset)
    events.arm()
    quietly(() => events.notify())
    events.notify()
    expect(rings).toEqual([heap.peers.self])
  })

  for (const call of ['notifyOne', 'notifyAll'] as const) {
    test.each(Object.keys(failures))(`WaiterSet.${call} tries again after the waker %s`, (how) => {
      const heap = HeapRegion.create(words(WAITER_SET_BYTES / 4))
      const { rings, wakeLoop } = failingOnce(failures[how])
      const set = new WaiterSet(regionOf(heap, wakeLoop), heap.root.byteOffset)
      set.arm()
      // The sequence is no multiple of 64 any more.
      heap.words[heap.root.byteOffset / 4] = 1
      quietly(() => set[call]())
      set[call]()
      expect(rings).toEqual([heap.peers.self])
    })

    test.each(Object.keys(failures))(
      `WaiterSet.${call} of another notifier is not held back after the waker %s`,
      (how) => {
        const heap = HeapRegion.create(words(WAITER_SET_BYTES / 4))
        const { rings, wakeLoop } = failingOnce(failures[how])
        const loop = new WaiterSet(regionOf(heap, wakeLoop), heap.root.byteOffset)
        const notifier = new WaiterSet(regionOf(heap, wakeLoop), heap.root.byteOffset)
        const other = new WaiterSet(regionOf(heap, wakeLoop), heap.root.byteOffset)
        loop.arm()
        heap.words[heap.root.byteOffset / 4] = 1
        quietly(() => notifier[call]())
        other[call]()
        expect(rings).toEqual([heap.peers.self])
      },
    )
  }
})

describe('A slot that changes hands', () => {
  test('WaiterSet.notifyOne, begun before the slot had its next holder, does not keep that from being woken', () => {
    const layout = words(WAITER_SET_BYTES / 4)
    const own = HeapRegion.create(layout)
    const first = HeapRegion.attach(own.handle, layout)
    const rings: PeerId[] = []
    /** As SegmentWaiter: a peer that is not in its slot any more cannot be woken. */
    const wakeLoop: Wake = (peer) => own.peers.at(slotOf(peer)) === peer && rings.push(peer) > 0
    const region = regionOf(own, wakeLoop)
    let meanwhile: (() => void) | undefined
    const peers = Object.create(region.peers) as Region['peers']
    Object.defineProperty(peers, 'at', {
      value: (slot: number) => {
        const peer = region.peers.at(slot)
        const act = meanwhile
        meanwhile = undefined
        act?.()
        return peer
      },
    })
    Object.defineProperty(peers, 'self', { value: region.peers.self })
    const notifier = new WaiterSet({ ...region, peers }, own.root.byteOffset)
    const other = new WaiterSet(region, own.root.byteOffset)

    new WaiterSet(regionOf(first, wakeLoop), own.root.byteOffset).arm()
    let successor: HeapRegion<unknown> | undefined
    meanwhile = () => {
      const { self } = first.peers
      new WaiterSet(regionOf(own, wakeLoop), own.root.byteOffset).sweep(self)
      first.close()
      successor = HeapRegion.attach(own.handle, layout)
      expect(slotOf(successor.peers.self)).toBe(slotOf(self))
      new WaiterSet(regionOf(successor, wakeLoop), own.root.byteOffset).arm()
    }
    own.words[own.root.byteOffset / 4] = 1
    notifier.notifyOne()
    other.notifyOne()
    notifier.notifyOne()
    expect(rings).toContain(successor?.peers.self)
  })
})

test('WaiterSet: a wake-up that fails does not swallow that of another notifier, which could have made it', () => {
  const heap = HeapRegion.create(words(WAITER_SET_BYTES / 4))
  const rings: PeerId[] = []
  const ring: Wake = (peer) => rings.push(peer) > 0
  const loop = new WaiterSet(regionOf(heap, ring), heap.root.byteOffset)
  const other = new WaiterSet(regionOf(heap, ring), heap.root.byteOffset)
  /** Out of descriptors; another process notifies before this one has noticed it. */
  const fail: Wake = () => {
    other.notifyAll()
    return false
  }
  const notifier = new WaiterSet(regionOf(heap, fail), heap.root.byteOffset)
  loop.arm()
  heap.words[heap.root.byteOffset / 4] = 1
  notifier.notifyAll()
  expect(rings).toEqual([heap.peers.self])
})
