import { type BroadcastRingOptions, broadcastRing, mpmcQueue, spscRing } from '@isthmus/ring'
import { array, struct, u32 } from '@isthmus/sync'

export const WATCHED_SUBSCRIBERS_MAX = 8

/** A broadcast ring, and how far its subscribers have come: they cannot say it while they block. */
export function watchedBroadcast(options: BroadcastRingOptions) {
  return struct({
    ring: broadcastRing(options),
    /** Written by each subscriber: the number after the last one that it has received; 0 before the first one. */
    next: array(u32(), WATCHED_SUBSCRIBERS_MAX),
    /** Written by each subscriber: 1 as soon as it has begun. */
    begun: array(u32(), WATCHED_SUBSCRIBERS_MAX),
    /** Written by a publisher of its own process: how many messages it has published. */
    published: u32(),
  })
}

/** One of each kind from which a program can receive. */
export const manyKindsLayout = struct({
  broadcast: broadcastRing({ capacityBytes: 65_536 }),
  queue: mpmcQueue({ blocks: 64, blockBytes: 256 }),
  ring: spscRing({ capacityBytes: 65_536 }),
})
