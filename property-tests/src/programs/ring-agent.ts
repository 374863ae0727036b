import { readFileSync } from 'node:fs'
import { type SpscRing, type SpscRingOptions, spscRing } from '@isthmus/ring'
import { type AttachedRegion, slotOf } from '@isthmus/sync/internal'
import { type Digest, numberOf } from '../harness/messages.js'
import { attachTo, type RegionReference } from '../harness/regions.js'
import { playReceives, playSends, type ReceiveStep, type SendStep } from '../harness/ring-scripts.js'
import { serve } from '../harness/serve.js'

/** One side of an SPSC ring, which follows a test's script. */

interface RingPlace {
  readonly region: RegionReference
  readonly ring: SpscRingOptions
}

interface Stream {
  readonly messages: number
  readonly byteLength: number
}

/** How many write calls this process has made, as the kernel counts them. Waking another event loop is one. */
function writeCalls(): number {
  return Number(/^syscw: (\d+)$/m.exec(readFileSync('/proc/self/io', 'utf8'))?.[1])
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

  /** Sends numbered messages on the event loop. Returns how many write calls this process made meanwhile. */
  async stream({ region, ring, messages, byteLength }: RingPlace & Stream): Promise<number> {
    using attached = attachTo(region, spscRing(ring))
    const producer = attached.root.producer()
    const message = new Uint32Array(byteLength / 4)
    const before = writeCalls()
    for (let number = 0; number < messages; number++) {
      message[0] = number
      await producer.send(new Uint8Array(message.buffer))
    }
    return writeCalls() - before
  },

  /** Receives them. Returns the same. */
  async receiveStream({ region, ring, messages, byteLength }: RingPlace & Stream): Promise<number> {
    using attached = attachTo(region, spscRing(ring))
    const before = writeCalls()
    let number = 0
    for await (const message of attached.root.consumer()) {
      const found = numberOf(message)
      if (message.byteLength !== byteLength || found !== number) throw new Error(`Got ${found} instead of ${number}`)
      if (++number === messages) break
    }
    return writeCalls() - before
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
