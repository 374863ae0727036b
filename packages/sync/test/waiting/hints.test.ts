import { expect, test } from 'vitest'
import { Segment } from '../../../shm-posix/src/index.js'
import { HeapRegion, type Region, words } from '../../src/index.js'
import { EVENT_COUNT_BYTES, EventCount, pendingWaits } from '../../src/internal.js'
import { withoutSafetyNet } from '../support/safety-net.js'
import { soon } from '../support/waiting.js'

withoutSafetyNet()

const WAITS = 1000
const layout = words((WAITS * EVENT_COUNT_BYTES) / 4)

type Attachment = Region & { readonly root: Int32Array; close(): void }

/** Two attachments of this thread; the second one wakes the first. */
const kinds: [string, number, () => [Attachment, Attachment]][] = [
  [
    'a heap region',
    // 128 hints for a thousand points, and a handful of points may share one by accident.
    WAITS / 10,
    () => {
      const region = HeapRegion.create(layout)
      return [region, HeapRegion.attach(region.handle, layout)]
    },
  ],
  [
    'a segment',
    1,
    () => {
      const segment = Segment.createAnonymous(layout)
      return [segment, Segment.attach(segment.handle, layout)]
    },
  ],
]

test.each(kinds)(
  'A wake-up in %s polls the waits of its wait point, and not all waits',
  async (_, polledMax, attach) => {
    const [region, other] = attach()
    try {
      const pollsOf = new Int32Array(WAITS)
      const isReady = new Uint8Array(WAITS)
      const pending = Array.from({ length: WAITS }, (_, index) => {
        const condition = {
          poll: () => {
            pollsOf[index]++
            return isReady[index] === 1
          },
          reapDead() {},
          dependsOn: () => [],
        }
        const point = new EventCount(
          region,
          region.root.byteOffset - region.words.byteOffset + index * EVENT_COUNT_BYTES,
        )
        return pendingWaits.wait([{ point, condition }], Number.POSITIVE_INFINITY, undefined)
      })
      const armed = (index: number) => Atomics.load(region.root, index * 2) !== 0
      await expect.poll(() => pending.every((_, index) => armed(index))).toBe(true)
      for (const index of [0, 1, WAITS / 2, WAITS - 1]) {
        pollsOf.fill(0)
        isReady[index] = 1
        const byteOffset = other.root.byteOffset - other.words.byteOffset + index * EVENT_COUNT_BYTES
        new EventCount(other, byteOffset).notify()
        expect(await soon(pending[index])).toBe(true)
        const polled = pollsOf.filter((polls) => polls > 0).length
        expect(polled).toBeGreaterThan(0)
        expect(polled).toBeLessThanOrEqual(polledMax)
      }
      for (const wait of pending) wait.catch(() => undefined)
    } finally {
      region.close()
      other.close()
    }
  },
)
