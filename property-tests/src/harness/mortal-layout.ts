import { spscRing } from '@isthmus/ring'
import { struct, u32 } from '@isthmus/sync'

/** A ring, and what its users say about themselves before they are killed. */
export function mortalLayout(capacityBytes: number) {
  return struct({
    ring: spscRing({ capacityBytes }),
    /** Written by the producer: how many messages it has committed. */
    committed: u32(),
    /** Written by the consumer: how many messages it has received. */
    received: u32(),
    /** Written by the consumer: how many of them had a wrong content. */
    damaged: u32(),
    /** A race begins when this word becomes its number. */
    start: u32(),
  })
}
