import {
  barrier,
  bytes,
  condvar,
  f64,
  futex,
  HeapRegion,
  i32,
  i64,
  type Layout,
  mutex,
  rwLock,
  semaphore,
  struct,
  u32,
  words,
} from '@isthmus/sync'
import { planHeader } from '@isthmus/sync/internal'
import { describe, expect, test } from 'vitest'
import { type SpscRing, spscRing } from '../../src/index.js'
import { payload } from '../support/ring-memory.js'

const REGION_BYTES = 2 ** 32
const ALIGNMENT = 128

/** What every field can do, wherever it lies. Memory that is not touched is not allocated: 4 GiB cost nothing here. */
const fields: Record<string, { readonly layout: Layout<unknown>; use(own: never, other: never): void }> = {
  ring: {
    layout: spscRing({ capacityBytes: 256 }),
    use(own: SpscRing, other: SpscRing) {
      const producer = own.producer()
      const consumer = other.consumer()
      expect(producer.bytes.byteLength).toBe(REGION_BYTES)
      expect(producer.doubles.byteLength).toBe(REGION_BYTES)
      expect(consumer.doubles.length).toBe(REGION_BYTES / 8)
      expect([producer.view.byteLength, consumer.view.byteLength]).toEqual([REGION_BYTES, REGION_BYTES])
      // More than once around, in place, copied, and in fragments.
      for (let number = 0; number < 20; number++) {
        const byteOffset = producer.tryClaim(16)
        producer.doubles[byteOffset / 8] = number + 0.5
        producer.words[byteOffset / 4 + 2] = number
        producer.view.setInt32(byteOffset + 12, number, true)
        producer.commit()
        producer.trySend(payload(40, number))
        consumer.drain(
          (_bytes, at) => {
            expect([
              consumer.doubles[at / 8],
              consumer.words[at / 4 + 2],
              consumer.view.getInt32(at + 12, true),
            ]).toEqual([number + 0.5, number, number])
          },
          { limit: 1 },
        )
        expect(consumer.tryReceive()).toEqual(payload(40, number))
      }
      expect(producer.sendSync(payload(150))).toBe(true)
      expect(consumer.tryReceive()).toEqual(payload(150))
      expect(own.describe()).toMatchObject({ usedBytes: expect.any(Number), producer: { state: 'held' } })
    },
  } as never,
  mutex: lock(mutex(), (root: never) => (root as ReturnType<ReturnType<typeof mutex>['attach']>).tryLock()),
  rwLock: lock(rwLock(), (root: never) => (root as ReturnType<ReturnType<typeof rwLock>['attach']>).tryWriteLock()),
  semaphore: lock(semaphore({ permits: 1 }), (root: never) =>
    (root as ReturnType<ReturnType<typeof semaphore>['attach']>).tryAcquire(),
  ),
  condvar: { layout: condvar(), use: (own: { notifyAll(): void }) => own.notifyAll() } as never,
  barrier: {
    layout: barrier({ parties: 2 }),
    use(own: ReturnType<ReturnType<typeof barrier>['attach']>, other: typeof own) {
      const [first, second] = [own.join(), other.join()]
      expect([first.arrive(), second.arrive(), first.arrive()]).toEqual([false, true, true])
    },
  } as never,
  futex: cell(futex(), 7, -7),
  i32: cell(i32(), 7, -7),
  u32: cell(u32(), 7, 2 ** 32 - 1),
  i64: cell(i64(), 7n, -(2n ** 63n)),
  f64: cell(f64(), 0.5, -0.25),
  bytes: array(bytes(24)),
  words: array(words(6)),
}

function lock<T>(layout: Layout<T>, take: (root: never) => object | undefined) {
  return {
    layout,
    use(own: never, other: never) {
      expect(take(own)).toBeDefined()
      expect(take(other)).toBeUndefined()
    },
  }
}

function cell<V>(layout: Layout<{ value: V }>, ...values: NoInfer<V>[]) {
  const use = (own: { value: V }, other: { value: V }) => {
    for (const value of values) {
      own.value = value
      expect(other.value).toBe(value)
    }
  }
  return { layout, use } as never
}

function array(layout: Layout<Uint8Array | Int32Array>) {
  const use = (own: Uint8Array, other: Uint8Array) => {
    own.fill(5)
    expect([...other]).toEqual(Array(own.length).fill(5))
  }
  return { layout, use } as never
}

/** Undefined for a region that would be too large: the header took more than was thought. */
function rootOf(layout: Layout<unknown>): number | undefined {
  try {
    return planHeader(layout).rootByteOffset
  } catch {
    return undefined
  }
}

/** A layout that makes a region of 4 GiB in which the field begins at this byte. */
function placed(layout: Layout<unknown>, byteOffset: number) {
  const behindBytes = REGION_BYTES - byteOffset - layout.byteLength
  // Where the root begins depends on the length of the signature, and so on the numbers in it.
  for (let rootByteOffset = ALIGNMENT; rootByteOffset < 2 ** 16; rootByteOffset += ALIGNMENT) {
    const before = bytes(byteOffset - rootByteOffset)
    const whole =
      behindBytes >= layout.byteAlignment
        ? struct({ before, field: layout, behind: bytes(Math.floor(behindBytes / ALIGNMENT) * ALIGNMENT || 8) })
        : struct({ before, field: layout })
    if (rootByteOffset + whole.byteLength > REGION_BYTES) continue
    if (rootOf(whole) === rootByteOffset) return whole
  }
  throw new Error(`no struct has a field at ${byteOffset}`)
}

describe('at the limits of a region', () => {
  for (const [name, { layout, use }] of Object.entries(fields)) {
    const { byteLength, byteAlignment } = layout
    const last = Math.floor((REGION_BYTES - byteLength) / byteAlignment) * byteAlignment
    const across = byteAlignment < byteLength ? 2 ** 31 - byteAlignment : 2 ** 31
    test.each([
      ['ends 4 GiB', last],
      ['lies across 2 ** 31, or begins there', across],
      ['ends before 2 ** 31', Math.floor((2 ** 31 - byteLength) / byteAlignment) * byteAlignment],
    ])(`${name} that %s`, (_where, byteOffset) => {
      const whole = placed(layout, byteOffset)
      const own = HeapRegion.create(whole)
      const other = HeapRegion.attach(own.handle, whole)
      expect(own.bytes.byteLength).toBe(REGION_BYTES)
      use(own.root.field as never, other.root.field as never)
      own.close()
      other.close()
    })
  }
})
