import { IsthmusError, PeerDiedError, type PeerId, type TimeoutOptions, type WaitOptions } from '@isthmus/sync'
import { deadlineOf } from '@isthmus/sync/internal'
import type { Codec } from '../codec.js'
import { corruptError } from '../errors.js'
import { Batch } from '../messages/batch.js'
import { bytesOf } from '../messages/message-bytes.js'
import { RecordWriter, type WriterWords } from '../messages/record-writer.js'
import { RECORD_HEADER_BYTES } from '../record/layout.js'
import { type Counterpart, nameOf } from '../role/counterpart.js'
import { DIED, HELD, stateOfRole } from '../role/layout.js'
import type { AcquiredRole } from '../role/role.js'
import { arePositionsValid, READ_POSITION_OFFSET, RECORDS_OFFSET, WRITE_POSITION_OFFSET } from './layout.js'
import type { RingSide } from './ring-side.js'

const WORDS: WriterWords = {
  writer: 'producer',
  doing: 'Sending',
  waitingCalls: 'send or sendSync',
  waitingCall: 'send',
}

/**
 * The sending side of an SPSC ring. It copies messages in (`trySend`, `sendSync`, `send`), or lets the program write them
 * in place (`tryClaim` … `commit`). Messages arrive in the order in which they were sent.
 *
 * In place means bytes: `tryClaim` and `commit` bypass the codec. Write what the codec of the ring decodes.
 *
 * If the consumer dies, messages stay for its successor; a call that finds the ring full then throws
 * `ERR_ISTHMUS_PEER_DIED`, once for each consumer that died, unless there is a successor by then. If the consumer closes,
 * they stay as well, and a call that finds the ring full waits for the successor.
 *
 * @example
 * ```ts
 * const byteOffset = producer.tryClaim(8)
 * if (byteOffset >= 0) {
 *   producer.doubles[byteOffset / 8] = 42.5
 *   producer.commit()
 * }
 * ```
 */
export class Producer<T = Uint8Array> extends RecordWriter<T> {
  readonly #subject: string
  readonly #attempt: string
  readonly #codec: Codec<T> | undefined
  readonly #capacityBytes: number
  readonly #writePositionWord: number
  readonly #readPositionWord: number
  readonly #consumer: Counterpart

  /** @internal Use `ring.producer()`. */
  constructor(side: RingSide, codec: Codec<T> | undefined, { previous, word }: AcquiredRole) {
    const { byteOffset, subject, capacityBytes } = side.geometry
    const writePositionWord = (byteOffset + WRITE_POSITION_OFFSET) >>> 2
    super(
      {
        geometry: side.geometry,
        bytes: side.bytes,
        words: side.words,
        doubles: side.doubles,
        view: side.view,
        recordsByteOffset: byteOffset + RECORDS_OFFSET,
        // Only the producer writes this word, so we continue where our predecessor stopped.
        position: Atomics.load(side.words, writePositionWord),
        prefixBytes: 0,
        heldBackBytesMax: capacityBytes,
        codec,
        role: side.role,
        roleWord: word,
        space: side.events,
        readers: side.counterpartEvents,
      },
      WORDS,
    )
    this.#subject = subject
    this.#attempt = `Sending to ${subject}`
    this.#codec = codec
    this.#capacityBytes = capacityBytes
    this.#writePositionWord = writePositionWord
    this.#readPositionWord = (byteOffset + READ_POSITION_OFFSET) >>> 2
    this.#consumer = side.counterpart
    const predecessorDied = stateOfRole(previous) === HELD || stateOfRole(previous) === DIED
    // A predecessor that left a message half sent left 8 free bytes as well. If they are not free, it did not.
    this.begin((freeBytes) => predecessorDied && freeBytes >= RECORD_HEADER_BYTES)
  }

  /**
   * Sends a copy of a message, if there is space now.
   * @returns false if the ring is full
   * @throws IsthmusRangeError `ERR_ISTHMUS_MESSAGE_TOO_LARGE` above maxRecordBytes: sendSync sends those
   * @throws IsthmusError `ERR_ISTHMUS_CLOSED`; `ERR_ISTHMUS_CALL_ORDER` while a claim is open
   * @throws IsthmusTypeError `ERR_ISTHMUS_INVALID_ARGUMENT` for a value that is no Uint8Array, in a ring without a codec
   * @throws PeerDiedError `ERR_ISTHMUS_PEER_DIED` if the ring is full and its consumer dead
   *
   * @example
   * ```ts
   * producer.trySend(order) // true
   * ```
   */
  trySend(value: T): boolean {
    return this.trySendBytes(bytesOf(value, this.#codec, this.#attempt))
  }

  /**
   * Sends copies of as many messages as there is space for, in order, and makes them visible all at once.
   * @returns how many were sent. If one of them cannot be sent, those before it are; a call that begins with it throws
   * @throws as trySend
   *
   * @example
   * ```ts
   * producer.trySendBatch([order, order, order]) // 3
   * ```
   */
  trySendBatch(values: readonly T[]): number {
    const batch = new Batch(values, this.#attempt)
    const { toldEpoch } = this.#consumer
    try {
      this.sendBatchNow(batch)
    } catch (error) {
      if (batch.sentCount === 0) throw error
      // If it was a death, the next call reports it before it sends anything.
      this.#consumer.markTold(toldEpoch)
    }
    return batch.sentCount
  }

  /**
   * Sends a copy of a message of up to maxMessageBytes, and blocks the thread while there is no space. A message above
   * maxRecordBytes travels in fragments, through a ring of any size.
   * @returns false after `timeoutMs`; if a large message was under way, its receiver is told that it stays incomplete
   * @throws IsthmusRangeError `ERR_ISTHMUS_MESSAGE_TOO_LARGE` above maxMessageBytes
   * @throws PeerDiedError `ERR_ISTHMUS_PEER_DIED` if the ring is full and its consumer dead
   * @throws IsthmusError `EDEADLK` if it would wait for a consumer of this very thread; otherwise as trySend
   *
   * @example
   * ```ts
   * producer.sendSync(order, { timeoutMs: 1000 }) // true
   * ```
   */
  sendSync(value: T, options?: TimeoutOptions): boolean {
    const deadline = deadlineOf(options, this.#attempt)
    const bytes = bytesOf(value, this.#codec, this.#attempt)
    this.assertNoTurn()
    if (bytes.length <= this.maxRecordBytes && this.trySendBytes(bytes)) return true
    return this.sendBlocking(bytes, deadline)
  }

  /**
   * Sends copies of all these messages, in order, and blocks the thread while there is no space. They become visible all at
   * once as far as there is space, and may have any length, as in sendSync.
   * @returns how many were sent: fewer than all only after `timeoutMs`
   * @throws as sendSync. Those before the error are sent, and `error.sent` says how many they are: see BatchError
   *
   * @example
   * ```ts
   * producer.sendBatchSync([order, order], { timeoutMs: 1000 }) // 2
   * ```
   */
  sendBatchSync(values: readonly T[], options?: TimeoutOptions): number {
    return this.sendBatchBlocking(values, options)
  }

  /**
   * As sendSync, without blocking the event loop. Sends of one producer go out in the order of the calls; while one waits,
   * `trySend` returns false and `tryClaim` -1. Leave the bytes of the message as they are until the promise is settled.
   * @throws AbortError when the signal aborts; the receiver of a large message is told as after a timeout
   *
   * @example
   * ```ts
   * await producer.send(order, { signal }) // true
   * ```
   */
  send(value: T, options?: WaitOptions): Promise<boolean> {
    return this.sendAwaiting(value, options)
  }

  /**
   * As sendBatchSync, without blocking the event loop. It is one send among those of this producer: the batch goes out as a
   * whole before the next one. Leave the array and the bytes of the messages as they are until the promise is settled.
   * @returns how many were sent: fewer than all only after `timeoutMs`
   * @throws AbortError when the signal aborts; otherwise as send. Those before the error are sent, and `error.sent` says
   * how many they are: see BatchError
   *
   * @example
   * ```ts
   * await producer.sendBatch([order, order], { signal }) // 2
   * ```
   */
  sendBatch(values: readonly T[], options?: WaitOptions): Promise<number> {
    return this.sendBatchAwaiting(values, options)
  }

  /** @internal */
  protected override storePosition(position: number): void {
    // SYNC records visible to consumer: everything before this position, with all its bytes
    Atomics.store(this.words, this.#writePositionWord, position)
  }

  /** @internal */
  protected override keptFrom(position: number): number {
    // SYNC space visible to producer: the consumer no longer reads anything before this position
    const readPosition = Atomics.load(this.words, this.#readPositionWord)
    if (!arePositionsValid(position, readPosition, this.#capacityBytes)) {
      throw corruptError(this.#subject, `the write position is ${position}, the read position ${readPosition}`)
    }
    return readPosition
  }

  /** @internal The consumer reads nothing before the write position covers it. */
  protected override willWrite(_end: number, limit: number): number {
    return limit
  }

  /** @internal */
  protected override checkReaders(): void {
    if (this.#consumer.hasUntoldDeath() || this.#consumer.isCheckDue()) this.reportDeath()
  }

  /** @internal */
  protected override hasUntoldDeath(): boolean {
    return this.#consumer.hasUntoldDeath()
  }

  /** @internal */
  protected override reportDeath(): void {
    const death = this.#consumer.findUntoldDeath()
    if (death === undefined) return
    const consumer = this.#consumer.agentIn(death.epoch)
    const error = new PeerDiedError(
      `${this.#attempt}: it is full, and its consumer${nameOf(consumer)} died, or ended without closing. Messages that were sent stay for the next consumer; send again to wait for it.`,
      consumer,
    )
    this.#consumer.markTold(death.epoch)
    throw error
  }

  /** @internal */
  protected override reapDead(): void {
    this.#consumer.reapDead()
  }

  /** @internal */
  protected override holders(): readonly PeerId[] {
    return this.#consumer.holders()
  }

  /** @internal */
  protected override assertNotOwnReader(): void {
    if (!this.#consumer.isOwnThread()) return
    throw new IsthmusError(
      'EDEADLK',
      `Waiting for space in ${this.#subject}: its consumer belongs to this very thread and cannot receive while the thread blocks. Receive first.`,
    )
  }
}
