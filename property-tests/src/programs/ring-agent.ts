import { type SpscRing, type SpscRingOptions, spscRing } from '@isthmus/ring'
import { type AttachedRegion, slotOf } from '@isthmus/sync/internal'
import type { Digest } from '../harness/messages.js'
import { attachTo, type RegionReference } from '../harness/regions.js'
import { playReceives, playSends, type ReceiveStep, type SendStep } from '../harness/ring-scripts.js'
import { serve } from '../harness/serve.js'

/** One side of an SPSC ring, which follows a test's script. */

interface RingPlace {
  readonly region: RegionReference
  readonly ring: SpscRingOptions
}

/** Attachments that stay open between two requests. */
const held: AttachedRegion<SpscRing>[] = []

serve({
  send({ region, ring, steps, seed }: RingPlace & { steps: SendStep[]; seed: number }): void {
    using attached = attachTo(region, spscRing(ring))
    playSends(attached.root.producer(), steps, seed)
  },

  receive({ region, ring, steps }: RingPlace & { steps: ReceiveStep[] }): Digest[] {
    using attached = attachTo(region, spscRing(ring))
    return playReceives(attached.root.consumer(), steps)
  },

  /** Takes a role and keeps it. */
  hold({ region, ring, role }: RingPlace & { role: 'producer' | 'consumer' }): number {
    const attached = attachTo(region, spscRing(ring))
    held.push(attached)
    attached.root[role]()
    return slotOf(attached.peers.self)
  },

  release(): void {
    for (const attached of held.splice(0)) attached.close()
  },
})
