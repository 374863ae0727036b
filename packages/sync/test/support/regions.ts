import { HeapRegion, type Layout } from '../../src/index.js'
import { planHeader } from '../../src/internal.js'
import { asOfAnotherThread } from './other-thread.js'

/** Several attachments to one region, as several threads have them. */
export function attach<T>(layout: Layout<T>, count = 3): HeapRegion<T>[] {
  const first = asOfAnotherThread(HeapRegion.create(layout))
  return [first, ...Array.from({ length: count - 1 }, () => asOfAnotherThread(HeapRegion.attach(first.handle, layout)))]
}

/** The words of the root that are not 0, by index; without those whose value means nothing, such as sequences. */
export function leftovers<T>(region: HeapRegion<T>, layout: Layout<T>, ignored: readonly number[] = []): number[] {
  const first = planHeader(layout).rootByteOffset / 4
  const words = region.words.subarray(first, first + layout.byteLength / 4)
  return [...words.keys()].filter((index) => words[index] !== 0 && !ignored.includes(index))
}

/** A word of the root. */
export function rootWord<T>(region: HeapRegion<T>, layout: Layout<T>, index: number): number {
  return region.words[planHeader(layout).rootByteOffset / 4 + index]
}
