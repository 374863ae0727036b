import { once } from 'node:events'
import { Segment } from '@isthmus/shm-posix'
import { HeapRegion, type Layout, type Region } from '@isthmus/sync'
import type { Line, Role } from '../harness/assignment.js'
import type { Place } from '../harness/place.js'

export interface SharedRegion<T> extends Region {
  readonly root: T
  close(): void
}

/** Between threads a HeapRegion, between processes a Segment. The first side makes it. */
export async function openSharedRegion<T>(
  { role, place, line: { port } }: { readonly role: Role; readonly place: Place; readonly line: Line },
  layout: Layout<T>,
): Promise<SharedRegion<T>> {
  if (port === undefined) {
    const name = `${place.segmentPrefix}shared`
    return role === 'first' ? Segment.create(name, layout) : Segment.open(name, layout)
  }
  if (role === 'second') {
    const [handle] = await once(port, 'message')
    return HeapRegion.attach(handle, layout)
  }
  const region = HeapRegion.create(layout)
  port.postMessage(region.handle)
  return region
}
