import { randomUUID } from 'node:crypto'
import { setImmediate } from 'node:timers/promises'
import { type Consumer, type Producer, Segment, type SpscRing, spscRing } from 'isthmus'
import type { Incoming, Outgoing } from './transport.js'

export const RING_CAPACITY_BYTES = 1024 * 1024
const layout = spscRing({ capacityBytes: RING_CAPACITY_BYTES })

/** The first message, with nothing in it: the sender is there. */
const HELLO = new Uint8Array(0)

/** A blocking call holds up the event loop; after this time the loop has its turn, for Ctrl-C and the progress bar. */
const SLICE_MS = 20

export class RingOutgoing implements Outgoing {
  readonly #segment: Segment<SpscRing>
  readonly #producer: Producer

  constructor(segmentName: string) {
    this.#segment = Segment.open(segmentName, layout)
    this.#producer = this.#segment.root.producer()
    this.#producer.sendSync(HELLO)
  }

  async send(block: Uint8Array): Promise<void> {
    this.#producer.sendSync(block)
  }

  async close(): Promise<void> {
    this.#segment.close()
  }
}

export class RingIncoming implements Incoming {
  readonly address = `/isthmus-demo-${process.pid}-${randomUUID().slice(0, 8)}`
  readonly #segment: Segment<SpscRing>
  readonly #consumer: Consumer
  readonly #chunk: Uint8Array

  constructor() {
    this.#segment = Segment.create(this.address, layout)
    this.#consumer = this.#segment.root.consumer()
    this.#chunk = new Uint8Array(this.#consumer.maxRecordBytes)
  }

  async connected(signal: AbortSignal): Promise<void> {
    while (this.#consumer.receiveChunkSync({ timeoutMs: SLICE_MS }) === undefined) {
      await setImmediate()
      signal.throwIfAborted()
    }
  }

  async receive(take: (chunk: Uint8Array) => void, signal: AbortSignal): Promise<void> {
    for (;;) {
      const sliceEndMs = performance.now() + SLICE_MS
      while (performance.now() < sliceEndMs) {
        const chunk = this.#consumer.receiveChunkSync({ into: this.#chunk, timeoutMs: SLICE_MS })
        if (chunk === null) return
        if (chunk !== undefined) take(chunk.bytes)
      }
      await setImmediate()
      signal.throwIfAborted()
    }
  }

  close(): void {
    this.#segment.close()
    Segment.unlink(this.address)
  }
}
