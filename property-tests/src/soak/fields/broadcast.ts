import {
  type BroadcastRing,
  broadcastRing,
  IncompleteMessageError,
  OverrunError,
  type Publisher,
  type Subscriber,
} from '@isthmus/ring'
import { PeerDiedError, struct, words } from '@isthmus/sync'
import type { Random } from '../../hostile/random.js'
import { beat, OWN_WORDS, segmentField } from '../field.js'

const PUBLISHERS = 2
const ROLES = 7
const CAPACITY_BYTES = 2048
const LARGE_BYTES = 1500
/** How many messages were published by calls that have returned. */
const PUBLISHED = OWN_WORDS
const LEDGER_WORDS = OWN_WORDS + 1

// Fewer gates than subscribers that want one: they take turns.
const layout = struct({
  ledger: words(LEDGER_WORDS),
  ring: broadcastRing({ capacityBytes: CAPACITY_BYTES, gates: 2, maxMessageBytes: 4096 }),
})
type Root = { readonly ledger: Int32Array; readonly ring: BroadcastRing }

/**
 * Publishers succeed each other and are killed, inside a message as well; subscribers join, read in all ways, with and without a
 * gate, and are killed or demoted. Each message is whole and the one that comes next, and what is missing is counted.
 */
export const broadcastField = segmentField({
  name: 'broadcast',
  roles: ROLES,
  layout,
  ledgerWords: LEDGER_WORDS,
  begin(root, { role, random, isRehearsal = false }) {
    if (role < PUBLISHERS) {
      let publisher: Publisher | undefined
      return () => {
        publisher ??= root.ring.tryPublisher()
        if (publisher !== undefined) {
          publishSomehow(root, publisher, random, isRehearsal)
          if (random.isOneIn(20)) {
            publisher.close()
            publisher = undefined
          }
        }
        beat(root.ledger, role)
      }
    }
    let reading: Reading | undefined
    return () => {
      reading ??= Reading.begin(root.ring, random)
      reading.readSomehow(random, isRehearsal)
      if (random.isOneIn(30)) {
        reading.close()
        reading = undefined
      }
      beat(root.ledger, role)
    }
  },
  audit({ ledger, ring }, isSwept) {
    const { publisher, publishedMessages, gates, waitingSubscribers } = ring.describe()
    if (isSwept && (publisher.state === 'held' || gates.length > 0 || waitingSubscribers.length > 0)) {
      throw new Error(
        `Dead peers publish, wait or have gates: ${JSON.stringify({ publisher, gates, waitingSubscribers })}`,
      )
    }
    const published = ledger[PUBLISHED]
    if (publishedMessages < published) throw new Error(`${publishedMessages} are published, and ${published} were`)
    const reading = new Reading(ring.subscriber({ gate: true, onOverrun: 'skip' }), publishedMessages)
    const next = ring.publisher()
    for (let number = publishedMessages; number < publishedMessages + 100; number++) {
      // A dead subscriber that was not swept may have a gate: the publisher finds that out when it waits.
      const isPublished = next.publishSync(messageOf(number, 50), { timeoutMs: 10_000 })
      if (!isPublished) throw new Error(`Message ${number} finds no space`)
      reading.readAll()
    }
    next.close()
    if (reading.lost > 0) throw new Error(`A subscriber with a gate has lost ${reading.lost}`)
    if (reading.count !== publishedMessages + 100) throw new Error(`${reading.count} were received`)
    reading.close()
  },
})

/** All bytes of a message tell its number. */
function messageOf(number: number, byteLength: number): Uint8Array {
  return new Uint8Array(byteLength).fill(number & 0xff)
}

function publishSomehow({ ledger, ring }: Root, publisher: Publisher, random: Random, isRehearsal: boolean): void {
  // Only the publisher changes it, and its predecessors are dead.
  const next = ring.describe().publishedMessages
  const timeoutMs = isRehearsal ? 0 : random.below(20)
  let count = 0
  switch (random.below(6)) {
    case 0:
      count = publisher.tryPublishBatch([0, 1, 2].map((at) => messageOf(next + at, 1 + random.below(100))))
      break
    case 1:
      publisher.cork()
      while (count < 3 && publisher.tryPublish(messageOf(next + count, 1 + random.below(100)))) count++
      publisher.uncork()
      break
    case 2: {
      const byteOffset = publisher.tryClaim(60)
      if (byteOffset === -1) break
      publisher.bytes.fill(next & 0xff, byteOffset, byteOffset + 60)
      publisher.commit()
      count = 1
      break
    }
    case 3:
      count = Number(publisher.publishSync(messageOf(next, 1 + random.below(LARGE_BYTES)), { timeoutMs }))
      break
    default:
      count = Number(publisher.publishSync(messageOf(next, 1 + random.below(100)), { timeoutMs }))
  }
  Atomics.store(ledger, PUBLISHED, next + count)
  if (random.isOneIn(30)) for (const gate of publisher.gates()) if (gate.behindBytes > 1000) publisher.demote(gate)
}

/** A subscriber, and the number of the message that comes next. */
class Reading {
  readonly #subscriber: Subscriber
  /** How many were published before its first message; undefined until that is known. */
  #first: number | undefined
  #received = 0
  readonly #inChunks: boolean
  /** Of the message that is being received in chunks. */
  #chunkBytes = 0

  constructor(subscriber: Subscriber, first?: number, inChunks = false) {
    this.#subscriber = subscriber
    this.#first = first
    this.#inChunks = inChunks
  }

  /** From anywhere: its first message tells the number only as far as its bytes do. */
  static begin(ring: BroadcastRing, random: Random): Reading {
    const from = random.of(['latest', 'oldest'] as const)
    const subscriber = ring.subscriber({ from, onOverrun: random.of(['skip', 'throw'] as const) })
    if (random.isOneIn(2)) subscriber.tryTakeGate()
    return new Reading(subscriber, undefined, random.isOneIn(4))
  }

  get lost(): number {
    return this.#subscriber.lost
  }

  get count(): number {
    return (this.#first ?? 0) + this.#received + this.lost
  }

  close(): void {
    this.#subscriber.close()
  }

  readAll(): void {
    for (;;) {
      const message = this.#subscriber.tryReceive()
      if (!message) return
      this.#note(message)
    }
  }

  readSomehow(random: Random, isRehearsal: boolean): void {
    const subscriber = this.#subscriber
    const timeoutMs = isRehearsal ? 0 : random.below(10)
    try {
      if (this.#inChunks) {
        this.#readChunk(timeoutMs)
        return
      }
      switch (random.below(6)) {
        case 0:
          // How much was lost between two messages of a batch is not told, so it is one message.
          for (const message of subscriber.receiveBatchSync({ maxMessages: 1, timeoutMs }) ?? []) this.#note(message)
          break
        case 1: {
          const shown: Uint8Array[] = []
          subscriber.drain((bytes, from, byteLength) => shown.push(bytes.slice(from, from + byteLength)), { limit: 1 })
          for (const message of shown) this.#note(message)
          break
        }
        case 2: {
          const into = new Uint8Array(4096)
          const message = subscriber.receiveSync({ into, timeoutMs })
          if (message) this.#note(message)
          break
        }
        case 3:
          if (random.isOneIn(3)) subscriber.tryTakeGate()
          break
        default: {
          const message = subscriber.receiveSync({ timeoutMs })
          if (message) this.#note(message)
        }
      }
    } catch (error) {
      const isTold = error instanceof OverrunError || error instanceof IncompleteMessageError
      if (!isTold && !(error instanceof PeerDiedError)) throw error
      if (isTold) this.#chunkBytes = 0
    }
  }

  #readChunk(timeoutMs: number): void {
    const chunk = this.#subscriber.receiveChunkSync({ timeoutMs })
    if (!chunk) return
    if (chunk.messageOffset !== 0 && chunk.messageOffset !== this.#chunkBytes) {
      throw new Error(`A chunk begins at ${chunk.messageOffset}, after ${this.#chunkBytes} bytes`)
    }
    this.#chunkBytes = chunk.isLast ? 0 : chunk.messageOffset + chunk.bytes.length
    if (chunk.isLast) this.#note(chunk.bytes)
  }

  #note(message: Uint8Array): void {
    const [byte] = message
    if (message.some((other) => other !== byte)) throw new Error(`A message of ${message.length} bytes is torn`)
    this.#first ??= byte - this.lost
    if (byte !== (this.count & 0xff)) throw new Error(`Message ${byte} comes in place of ${this.count & 0xff}`)
    this.#received++
  }
}
