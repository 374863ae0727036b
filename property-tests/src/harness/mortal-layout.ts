import { spscRing } from '@isthmus/ring'
import { struct, u32 } from '@isthmus/sync'

/** A ring, and what its mortal users tell about themselves. */
export function mortalLayout(capacityBytes: number) {
  return struct({
    ring: spscRing({ capacityBytes }),
    /** Producer: so many messages have been committed. */
    committed: u32(),
    /** Consumer: so many messages have been received. */
    received: u32(),
    /** Consumer: so many of them were not what they should have been. */
    damaged: u32(),
    /** A race begins when this becomes its number. */
    start: u32(),
  })
}
