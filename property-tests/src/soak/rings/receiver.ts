import { type Consumer, IncompleteMessageError, type SpscRing } from '@isthmus/ring'
import { IsthmusError, PeerDiedError } from '@isthmus/sync'
import type { Random } from '../../hostile/random.js'
import { isAlive, ownPid } from '../process-life.js'
import { Inspector } from './inspector.js'
import {
  CONSUMER_COMING,
  CONSUMER_PID,
  CONSUMER_THERE,
  PRODUCER_COMING,
  PRODUCER_DEATHS,
  PRODUCER_PID,
  PRODUCER_THERE,
  type RingLedger,
  TOLD,
  TOLD_FOR_GOOD,
} from './ring-ledger.js'
import type { Series } from './ring-message.js'

const CHUNK_PATIENCE_MS = 1

/** Receives in every way there is, has each message inspected, and notes the deaths that are reported to it. */
export class Receiver {
  readonly inspector: Inspector
  readonly #ring: SpscRing
  readonly #ledger: RingLedger
  readonly #random: Random
  #consumer: Consumer
  /** The chunks of the message that is being received. */
  #chunks: Uint8Array[] = []
  #toldProducer = 0

  constructor(ring: SpscRing, ledger: RingLedger, series: Series, incarnation: number, random: Random) {
    this.#ring = ring
    this.#ledger = ledger
    this.#random = random
    ledger.set(CONSUMER_COMING, incarnation)
    this.#consumer = ring.consumer()
    ledger.set(CONSUMER_PID, ownPid())
    ledger.set(CONSUMER_THERE, incarnation)
    this.inspector = new Inspector(ledger, series, this.#consumer.maxRecordBytes)
  }

  /** Receives once. Returns how many messages came, or deaths were reported. */
  step(): number {
    if (this.#random.isOneIn(400)) this.#beginAnew()
    return this.#attempt(() => this.#receiveSomehow()).got
  }

  /** Receives all that is there, without waiting. Returns whether a death was reported. */
  receiveRest(): boolean {
    for (let isTold = false; ; ) {
      let isEmpty = false
      const outcome = this.#attempt(() => {
        const message = this.#consumer.tryReceive()
        isEmpty = message === undefined || message === null
        return message ? this.#take(message) : 0
      })
      if (outcome.isTold && isTold) throw new Error('A death was reported twice')
      isTold ||= outcome.isTold
      if (isEmpty) return isTold
    }
  }

  close(): void {
    this.#consumer.close()
  }

  #attempt(receive: () => number): { got: number; isTold: boolean } {
    const producer = this.#producerForSure()
    const toldBefore = this.#toldProducer
    try {
      const got = receive()
      // The call after the report has returned, so no later consumer may get the report again.
      if (toldBefore !== 0) this.#ledger.set(TOLD_FOR_GOOD, toldBefore)
      return { got, isTold: false }
    } catch (error) {
      this.#chunks = []
      if (error instanceof IncompleteMessageError) {
        if (error.reason === 'joined-midway') this.inspector.noteJoinedMidway()
        return { got: 0, isTold: false }
      }
      if (!(error instanceof PeerDiedError)) throw error
      this.#noteTold(producer)
      return { got: 1, isTold: true }
    }
  }

  #beginAnew(): void {
    this.#consumer.close()
    this.#chunks = []
    this.#consumer = this.#ring.consumer()
  }

  #receiveSomehow(): number {
    if (this.#chunks.length > 0) return this.#receiveChunks()
    switch (this.#random.below(6)) {
      case 0:
        return this.#take(this.#consumer.tryReceive())
      case 1:
        return this.#take(this.#consumer.receiveSync({ timeoutMs: this.#random.below(30) / 10 }))
      case 2:
        return this.#receiveChunks()
      case 3:
        return this.#drain()
      case 4:
        return this.#receiveAndAcknowledge()
      default:
        return this.#take(this.#consumer.receiveSync())
    }
  }

  #take(message: Uint8Array | undefined | null): number {
    if (message === undefined || message === null) return 0
    this.inspector.inspect(message)
    return 1
  }

  #receiveAndAcknowledge(): number {
    const got = this.#take(this.#consumer.receiveSync())
    if (got > 0) {
      this.#consumer.acknowledge()
      this.inspector.noteAcknowledged()
    }
    return got
  }

  #drain(): number {
    const count = this.#consumer.drain(
      (bytes, byteOffset, byteLength) => this.inspector.inspect(bytes.subarray(byteOffset, byteOffset + byteLength)),
      { limit: 1 + this.#random.below(10) },
    )
    return count ?? 0
  }

  #receiveChunks(): number {
    for (;;) {
      const chunk = this.#tryChunk()
      if (chunk === undefined || chunk === null) return 0
      this.#chunks.push(chunk.bytes)
      if (!chunk.isLast) continue
      const message = Buffer.concat(this.#chunks)
      this.#chunks = []
      return this.#take(message)
    }
  }

  #tryChunk() {
    try {
      return this.#consumer.receiveChunkSync({ timeoutMs: CHUNK_PATIENCE_MS })
    } catch (error) {
      // A receive that timed out has taken the beginning of a whole message, which cannot be continued in chunks.
      const isBegunWhole = error instanceof IsthmusError && error.code === 'ERR_ISTHMUS_CALL_ORDER'
      if (!isBegunWhole || this.#chunks.length > 0) throw error
      return undefined
    }
  }

  /** The producer that has the role, or had it last; 0 while another one may be taking it. */
  #producerForSure(): number {
    const there = this.#ledger.get(PRODUCER_THERE)
    return this.#ledger.get(PRODUCER_COMING) === there ? there : 0
  }

  /**
   * Checks a report. It is certain which producer died only if it was known before the call and no other has come
   * since.
   */
  #noteTold(producer: number): void {
    this.#ledger.add(PRODUCER_DEATHS, 1)
    // Read before the producer is checked: if the producer is still the same, this is its process.
    const pid = this.#ledger.get(PRODUCER_PID)
    if (producer === 0 || producer !== this.#producerForSure()) return
    if (isAlive(pid)) throw new Error(`Producer ${producer} (process ${pid}) is reported dead, and is alive`)
    if (this.#ledger.get(TOLD_FOR_GOOD) === producer || this.#toldProducer === producer) {
      throw new Error(`The death of producer ${producer} was reported twice`)
    }
    this.#toldProducer = producer
    this.#ledger.set(TOLD, producer)
  }
}
