import type { BroadcastRingOptions, Publisher, SubscriberOptions } from '@isthmus/ring'
import { manyKindsLayout, watchedBroadcast } from '../harness/broadcast-layout.js'
import { type BroadcastNotes, NoteTaker, type Way } from '../harness/broadcast-notes.js'
import { scrambled } from '../harness/messages.js'
import { attachTo, type RegionReference } from '../harness/regions.js'
import { serve } from '../harness/serve.js'
import { StampedMessages } from '../harness/stamped-messages.js'

/** An agent that publishes to a broadcast ring, or subscribes to it, until it is killed or stopped, or the publisher closes. */

interface Place {
  readonly region: RegionReference
  readonly options: BroadcastRingOptions
}

export interface SubscribeTask extends Place {
  readonly subscription: SubscriberOptions
  readonly way: Way
  /** Its place in the words of the layout. */
  readonly index: number
}

/** How a publisher waits for space. */
export type Wait = 'publishSync' | 'publish' | 'tryPublish'

export interface PublishTask extends Place {
  readonly byteLength: number
  readonly wait: Wait
}

const open = ({ region, options }: Place) => attachTo(region, watchedBroadcast(options)).root

/** Attachments and handles that stay until the agent ends. */
const kept: unknown[] = []

/** In milliseconds, by the clock that all processes have in common. */
const monotonicMs = () => Number(process.hrtime.bigint() / 1000n) / 1000

async function publishWaiting(publisher: Publisher, message: Uint8Array, wait: Wait): Promise<void> {
  if (wait === 'publishSync') publisher.publishSync(message)
  else if (wait === 'publish') await publisher.publish(message)
  else while (!publisher.tryPublish(message));
}

serve({
  /** Takes a gate, or none, and receives nothing. */
  hold({ subscription, index, ...place }: SubscribeTask): void {
    const root = open(place)
    kept.push(root, root.ring.subscriber(subscription))
    root.begun[index].value = 1
  },

  async receive({ subscription, way, index, ...place }: SubscribeTask): Promise<BroadcastNotes> {
    const { ring, next, begun } = open(place)
    const subscriber = ring.subscriber(subscription)
    const taker = new NoteTaker(subscriber, ring.maxMessageBytes, (notes) => {
      next[index].value = notes.next
    })
    begun[index].value = 1
    return taker.receive(way)
  },

  /** Sends so many messages, each to one of the kinds, with pauses now and then. Returns how many each has got. */
  async sendToAll({ region, count }: { region: RegionReference; count: number }): Promise<number[]> {
    const attached = attachTo(region, manyKindsLayout)
    const { broadcast, queue, ring } = attached.root
    const [publisher, sender, producer] = [broadcast.publisher(), queue.sender(), ring.producer()]
    const messages = new StampedMessages()
    const sent = [0, 0, 0]
    for (let at = 0; at < count; at++) {
      const which = scrambled(at) % 3
      const message = messages.at(sent[which]++, 100)
      if (which === 0) await publisher.publish(message)
      else if (which === 1) await sender.send(message)
      else await producer.send(message)
      if (at % 20 === 0) await new Promise((resolve) => setTimeout(resolve, 2))
    }
    // The ends of these handles are not what the receiver waits for.
    kept.push(attached, publisher, sender, producer)
    return sent
  },

  /** Publishes until the ring is full, and then one message more. Returns when that was published. */
  async publishBeyond({ byteLength, wait, ...place }: PublishTask): Promise<number> {
    const { ring, published } = open(place)
    const publisher = ring.publisher()
    const messages = new StampedMessages()
    while (publisher.tryPublish(messages.at(published.value, byteLength))) published.value++
    await publishWaiting(publisher, messages.at(published.value, byteLength), wait)
    const endMs = monotonicMs()
    published.value++
    publisher.close()
    return endMs
  },
})
