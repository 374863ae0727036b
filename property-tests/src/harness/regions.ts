import { Segment, type SegmentHandle } from '@isthmus/shm-posix'
import { HeapRegion, type HeapRegionHandle, type Layout } from '@isthmus/sync'
import type { AttachedRegion } from '@isthmus/sync/internal'

/** What an agent gets to find the shared memory. */
export type RegionReference =
  | { readonly name: string; readonly mapper?: 'overlay' | 'view' }
  | SegmentHandle
  | HeapRegionHandle

export function attachTo<T>(reference: RegionReference, layout: Layout<T>): AttachedRegion<T> {
  if ('name' in reference) {
    const { name, mapper } = reference
    return Segment.open(name, layout, mapper === undefined ? {} : { mapper })
  }
  return reference.isthmus === 'segment' ? Segment.attach(reference, layout) : HeapRegion.attach(reference, layout)
}
