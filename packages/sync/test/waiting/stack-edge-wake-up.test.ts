import { describe, expect, test } from 'vitest'
import type * as sources from '../../src/index.js'
import type * as internal from '../../src/internal.js'
import { asOfAnotherThread } from '../support/other-thread.js'
import { withoutSafetyNet } from '../support/safety-net.js'
import { atStackEdge } from '../support/stack-edge.js'
import { stateOf } from '../support/waiting.js'

const built = (await import('../../dist/index.js')) as unknown as typeof sources
const builtInternal = (await import('../../dist/internal.js')) as unknown as typeof internal
const { futex, HeapRegion, semaphore, struct } = built

withoutSafetyNet(builtInternal.fallbackPolling)

/** First with very much room: compiling a function takes much stack. */
const ROOMS = [2000, 2000, ...Array.from({ length: 150 }, (_, frames) => frames)]

const layout = struct({ word: futex(), permits: semaphore({ permits: 2 }) })

describe('A notification at the edge of the stack', () => {
  test('Futex.notifyAll that threw does not hold back the next one', async () => {
    const lost: number[] = []
    for (const frames of ROOMS) {
      const region = asOfAnotherThread(HeapRegion.create(layout))
      const other = asOfAnotherThread(HeapRegion.attach(region.handle, layout))
      const third = asOfAnotherThread(HeapRegion.attach(region.handle, layout))
      const { word } = other.root
      const waiting = region.root.word.waitWhile(0)
      await new Promise((resolve) => setTimeout(resolve, 5))
      atStackEdge(frames, () => word.notifyAll())
      await new Promise((resolve) => setTimeout(resolve, 2))
      // Another notifier, with all the stack it needs.
      third.root.word.value = 1
      third.root.word.notifyAll()
      if ((await stateOf(waiting)) === 'pending') lost.push(frames)
      waiting.catch(() => {})
      region.close()
      other.close()
      third.close()
    }
    expect(lost).toEqual([])
  })

  test('Semaphore.release that threw does not hold back the next one', async () => {
    const lost: number[] = []
    for (const frames of ROOMS) {
      const region = asOfAnotherThread(HeapRegion.create(layout))
      const other = asOfAnotherThread(HeapRegion.attach(region.handle, layout))
      const third = asOfAnotherThread(HeapRegion.attach(region.handle, layout))
      const one = other.root.permits.acquireSync()
      const two = third.root.permits.acquireSync()
      const waiting = region.root.permits.acquire()
      await new Promise((resolve) => setTimeout(resolve, 5))
      atStackEdge(frames, () => one.release())
      // Taken by a call that does not wait.
      if (!one.isHeld) other.root.permits.tryAcquire()
      await new Promise((resolve) => setTimeout(resolve, 2))
      two.release()
      if ((await stateOf(waiting)) === 'pending') lost.push(frames)
      waiting.catch(() => {})
      region.close()
      other.close()
      third.close()
    }
    expect(lost).toEqual([])
  })
})
