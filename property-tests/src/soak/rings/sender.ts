import type { Producer, SpscRing } from '@isthmus/ring'
import { PeerDiedError } from '@isthmus/sync'
import type { Random } from '../../hostile/random.js'
import { isAlive, ownPid } from '../process-life.js'
import {
  CONSUMER_COMING,
  CONSUMER_DEATHS,
  CONSUMER_PID,
  CONSUMER_THERE,
  CONSUMER_TOLD,
  NUMBERS_MAX,
  PRODUCER_COMING,
  PRODUCER_PID,
  PRODUCER_THERE,
  type RingLedger,
} from './ring-ledger.js'
import { byteLengthOf, messageOf, type Series } from './ring-message.js'

const BATCH_MAX = 5

/** Sends numbered messages in every way there is, and notes which numbers it has begun and completed. */
export class Sender {
  readonly #ring: SpscRing
  readonly #ledger: RingLedger
  readonly #series: Series
  readonly #incarnation: number
  readonly #random: Random
  #producer: Producer
  #next = 0
  #toldConsumer = 0

  constructor(ring: SpscRing, ledger: RingLedger, series: Series, incarnation: number, random: Random) {
    this.#ring = ring
    this.#ledger = ledger
    this.#series = series
    this.#incarnation = incarnation
    this.#random = random
    ledger.set(PRODUCER_COMING, incarnation)
    this.#producer = ring.producer()
    ledger.set(PRODUCER_PID, ownPid())
    ledger.set(PRODUCER_THERE, incarnation)
  }

  /** Sends once. Returns how many messages it sent, or how many deaths were reported: above 0, it got on. */
  step(): number {
    if (this.#next >= NUMBERS_MAX) throw new Error('More messages than the ledger has numbers for')
    if (this.#random.isOneIn(400)) this.#beginAnew()
    const consumer = this.#consumerForSure()
    try {
      const sent = this.#sendSomehow()
      this.#next += sent
      this.#ledger.noteCompleted(this.#incarnation, this.#next)
      return sent
    } catch (error) {
      if (!(error instanceof PeerDiedError)) throw error
      this.#noteTold(consumer)
      return 1
    }
  }

  /** Begins a new epoch of the same producer, to which a consumer's death is reported as to any new one. */
  #beginAnew(): void {
    this.#toldConsumer = 0
    this.#producer.close()
    this.#producer = this.#ring.producer()
  }

  #sendSomehow(): number {
    switch (this.#random.below(6)) {
      case 0:
        return this.#sendBatch()
      case 1:
        return this.#sendCorked()
      case 2:
        return this.#sendInPlace()
      case 3:
        return this.#send({ timeoutMs: this.#random.below(30) / 10 })
      default:
        return this.#send({})
    }
  }

  #message(number: number): Uint8Array {
    return messageOf(this.#series, { incarnation: this.#incarnation, number })
  }

  #begin(count: number): void {
    this.#ledger.noteBegun(this.#incarnation, this.#next + count)
  }

  /** Sends a message of any size. If it times out, the next try has the same number. */
  #send(options: { timeoutMs?: number }): number {
    const message = this.#message(this.#next)
    this.#begin(1)
    return this.#producer.sendSync(message, options) ? 1 : 0
  }

  #sendInPlace(): number {
    const message = this.#message(this.#next)
    if (message.byteLength > this.#producer.maxRecordBytes) return this.#send({})
    this.#begin(1)
    return this.#claimAndCommit(message) ? 1 : 0
  }

  #claimAndCommit(message: Uint8Array): boolean {
    const byteOffset = this.#producer.tryClaim(message.byteLength)
    if (byteOffset === -1) return false
    this.#producer.bytes.set(message, byteOffset)
    if (this.#random.isOneIn(8)) {
      this.#producer.abort()
      return this.#claimAndCommit(message)
    }
    this.#producer.commit()
    return true
  }

  /** The next messages, up to the first that does not fit into one record. */
  #nextSmall(): Uint8Array[] {
    const messages: Uint8Array[] = []
    for (let number = this.#next; messages.length < BATCH_MAX; number++) {
      const byteLength = byteLengthOf(this.#series, { incarnation: this.#incarnation, number })
      if (byteLength > this.#producer.maxRecordBytes) break
      messages.push(this.#message(number))
    }
    return messages
  }

  #sendBatch(): number {
    const messages = this.#nextSmall()
    this.#begin(messages.length)
    return this.#producer.trySendBatch(messages)
  }

  /** Sends a batch. If the ring becomes full, the messages before that are sent. */
  #sendCorked(): number {
    const messages = this.#nextSmall()
    this.#begin(messages.length)
    let sent = 0
    const before = this.#consumerForSure()
    this.#producer.cork()
    try {
      while (sent < messages.length && this.#claimAndCommit(messages[sent])) sent++
    } catch (error) {
      // The error concerns the next claim; uncork publishes the messages before it.
      if (!(error instanceof PeerDiedError) || sent === 0) throw error
      this.#noteTold(before)
    } finally {
      this.#producer.uncork()
    }
    return sent
  }

  /** The consumer that has the role, or had it last; 0 while another one may be taking it. */
  #consumerForSure(): number {
    const there = this.#ledger.get(CONSUMER_THERE)
    return this.#ledger.get(CONSUMER_COMING) === there ? there : 0
  }

  /**
   * Checks a report. It is certain which consumer died only if it was known before the call and no other has come
   * since.
   */
  #noteTold(consumer: number): void {
    this.#ledger.add(CONSUMER_DEATHS, 1)
    // Read before the consumer is checked: if the consumer is still the same, this is its process.
    const pid = this.#ledger.get(CONSUMER_PID)
    if (consumer === 0 || consumer !== this.#consumerForSure()) return
    if (isAlive(pid)) throw new Error(`Consumer ${consumer} (process ${pid}) is reported dead, and is alive`)
    if (consumer === this.#toldConsumer) throw new Error(`The death of consumer ${consumer} was reported twice`)
    this.#toldConsumer = consumer
    this.#ledger.set(CONSUMER_TOLD, consumer)
  }
}
