import {
  IsthmusError,
  IsthmusRangeError,
  IsthmusTypeError,
  PeerDiedError,
  type TimeoutOptions,
  type Waitable,
  type WaitOptions,
} from '@isthmus/sync'
import {
  Awaitable,
  assertStackRoom,
  type Condition,
  closedError,
  deadlineOf,
  type EventCount,
  inWords,
  nowMs,
  signalOf,
  TurnQueue,
  throwIfAborted,
  WAITABLE,
  type WaitFor,
} from '@isthmus/sync/internal'
import type { Codec } from '../codec.js'
import { corruptError } from '../errors.js'
import { Batch } from '../messages/batch.js'
import { assertLength, bytesOf } from '../messages/message-bytes.js'
import { LargeMessagePolling } from '../record/large-message-polling.js'
import {
  ABORT,
  advance,
  DATA,
  distance,
  FIRST,
  kindWord,
  LAST,
  MIDDLE,
  maxFragmentRecordBytesOf,
  nextMessageId,
  PADDING,
  RECORD_HEADER_BYTES,
  recordBytesOf,
  TOTAL_LENGTH_BYTES,
  writeTotalLength,
} from '../record/layout.js'
import { type Counterpart, nameOf } from '../role/counterpart.js'
import { DIED, HELD, stateOfRole } from '../role/layout.js'
import type { AcquiredRole, Role } from '../role/role.js'
import { arePositionsValid, READ_POSITION_OFFSET, RECORDS_OFFSET, WRITE_POSITION_OFFSET } from './layout.js'
import { MessageSpace, type SpaceSource } from './message-space.js'
import type { RingSide } from './ring-side.js'

/** What of a batch counts as much as one call that completed at once: sending it takes a few microseconds. */
const MESSAGES_PER_COMPLETION = 64
const BYTES_PER_COMPLETION = 32 * 1024
const WAITING = 'Waiting for space'
const settled = Promise.resolve()
/** What `send` returns if it sent its message at once: one promise for all of them. */
const sentAtOnce = Promise.resolve(true)

/** What a message that is being sent waits for: space for a record, and bytes that stay free after it. */
interface SpaceNeeded {
  readonly recordBytes: number
  readonly reserveBytes: number
}

/** A send that may have to wait: it yields the space that it needs, and goes on when there is some. */
type Sending = Generator<SpaceNeeded, void, void>

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
export class Producer<T = Uint8Array> extends Awaitable implements Waitable {
  /** The whole region as bytes, to write claims into. An index is a byte offset as tryClaim returns it. */
  readonly bytes: Uint8Array
  /** The same as 32-bit words; the index is `byteOffset / 4`. */
  readonly words: Int32Array
  /** The same as 64-bit numbers; the index is `byteOffset / 8`. */
  readonly doubles: Float64Array
  /** The same for mixed records. */
  readonly view: DataView
  /** The largest message for tryClaim and trySend, in bytes. */
  readonly maxRecordBytes: number
  /** The largest message for sendSync and send, in bytes. */
  readonly maxMessageBytes: number

  readonly #subject: string
  /** How most error messages begin. */
  readonly #attempt: string
  readonly #codec: Codec<T> | undefined
  readonly #capacityBytes: number
  readonly #indexMask: number
  readonly #recordsByteOffset: number
  readonly #recordsWord: number
  readonly #writePositionWord: number
  readonly #readPositionWord: number

  /** Where the next record begins: the end of the last committed one. */
  #position: number
  /** The end of the open claim; equal to #position if none is open. */
  #claimEnd: number
  /** Where the open claim begins: after the padding that it may need. */
  #claimStart: number
  /** A claim up to here needs no further check: it overwrites no unread record and does not cross the end of the ring. */
  #writableUntil: number
  /** The read position as last seen. It may be old; the current one is never before it. */
  #readPosition: number
  #publishedPosition: number
  #corkDepth = 0
  #messageId = 0
  #isClosed = false
  /** Whether `close` has done everything: an earlier call may have thrown half-way. */
  #isCloseOver = false

  readonly #role: Role
  readonly #roleWord: number
  readonly #consumer: Counterpart
  readonly #consumerEvents: EventCount
  readonly #spaceEvents: EventCount
  readonly #sends = new TurnQueue()
  /** Whether fragments of a message are published and its last one is not. */
  #isMessageUnderWay = false
  #awaitedSpace: SpaceNeeded = { recordBytes: RECORD_HEADER_BYTES, reserveBytes: 0 }
  readonly #spaceCondition: Condition
  readonly #spaceSource: SpaceSource
  readonly #forgetClose: () => void

  /** @internal Use `ring.producer()`. */
  constructor(side: RingSide, codec: Codec<T> | undefined, { previous, word }: AcquiredRole) {
    super()
    const { region, byteOffset, subject, capacityBytes, maxRecordBytes, maxMessageBytes } = side.geometry
    this.#subject = subject
    this.#attempt = `Sending to ${subject}`
    this.#codec = codec
    this.#capacityBytes = capacityBytes
    this.#indexMask = capacityBytes - 1
    this.#recordsByteOffset = byteOffset + RECORDS_OFFSET
    this.#recordsWord = this.#recordsByteOffset >>> 2
    this.#writePositionWord = (byteOffset + WRITE_POSITION_OFFSET) >>> 2
    this.#readPositionWord = (byteOffset + READ_POSITION_OFFSET) >>> 2
    this.maxRecordBytes = maxRecordBytes
    this.maxMessageBytes = maxMessageBytes
    this.bytes = side.bytes
    this.words = side.words
    this.doubles = side.doubles
    this.view = side.view

    this.#role = side.role
    this.#roleWord = word
    this.#consumer = side.counterpart
    this.#consumerEvents = side.counterpartEvents
    this.#spaceEvents = side.events

    // Only the producer writes this word, so we continue where our predecessor stopped.
    this.#position = Atomics.load(this.words, this.#writePositionWord)
    this.#publishedPosition = this.#position
    this.#claimEnd = this.#position
    this.#claimStart = this.#position
    this.#writableUntil = this.#position
    this.#readPosition = this.#position
    try {
      this.#refreshReadPosition()
    } catch (error) {
      this.#role.close(word)
      throw error
    }
    this.#spaceEvents.reset()
    this.#forgetClose = region.onClose(() => this.close())
    this.#spaceCondition = {
      poll: () => this.#hasAwaitedSpace(),
      pollArmed: () => this.#hasAwaitedSpace() || this.#askForSpace(),
      reapDead: () => this.#reportDeadConsumer(),
      dependsOn: () => this.#consumer.holders(),
    }
    this.#spaceSource = {
      attempt: `Waiting for space in ${subject}`,
      waitFor: (byteLength) => this.#waitForSpaceOf(byteLength),
      wait: (byteLength, deadline, signal) => this.#awaitSpaceOf(byteLength, deadline, signal),
      waitSync: (byteLength, deadline) => this.#blockUntilSpaceOf(byteLength, deadline),
    }
    // Wake a sleeping consumer: it must now watch this producer.
    this.#consumerEvents.notify()
    const predecessorDied = stateOfRole(previous) === HELD || stateOfRole(previous) === DIED
    // A predecessor that left a message half sent left 8 free bytes as well. If they are not free, it did not.
    if (predecessorDied && this.#freeBytes() >= RECORD_HEADER_BYTES) this.#publishAbort()
  }

  /**
   * Claims space for one message of exactly `byteLength` bytes, to be written in place and then committed or aborted.
   * @returns the byte offset of the payload, a multiple of 8; -1 if the ring is full
   * @throws IsthmusRangeError `ERR_ISTHMUS_MESSAGE_TOO_LARGE` above maxRecordBytes
   * @throws IsthmusError `ERR_ISTHMUS_CALL_ORDER` while another claim is open, `ERR_ISTHMUS_CLOSED`
   * @throws PeerDiedError `ERR_ISTHMUS_PEER_DIED` if the ring is full and its consumer dead
   *
   * @example
   * ```ts
   * const byteOffset = producer.tryClaim(8)
   * producer.words.set([1, 2], byteOffset / 4)
   * producer.commit()
   * ```
   */
  tryClaim(byteLength: number): number {
    if (typeof byteLength !== 'number' || byteLength >>> 0 !== byteLength || byteLength > this.maxRecordBytes) {
      throw this.#lengthError(byteLength)
    }
    const recordBytes = recordBytesOf(byteLength)
    let start = this.#position
    const isClaimOpen = this.#claimEnd !== start
    if (isClaimOpen || distance(this.#writableUntil, start) < recordBytes) {
      if (!this.#makeRoom(recordBytes)) return -1
      start = this.#claimStart
    }
    const index = start & this.#indexMask
    const headerWord = this.#recordsWord + (index >> 2)
    // Written here as in #writeHeader, without its message id. Plain stores: the consumer reads nothing here before the
    // write position covers it.
    this.words[headerWord] = byteLength
    this.words[headerWord + 1] = DATA
    this.#claimEnd = advance(start, recordBytes)
    return this.#recordsByteOffset + index + RECORD_HEADER_BYTES
  }

  /**
   * Ends the open claim: its message is sent, at once or, between cork and uncork, together with the others.
   * @throws IsthmusError `ERR_ISTHMUS_CALL_ORDER` if no claim is open
   *
   * @example
   * ```ts
   * producer.bytes[producer.tryClaim(1)] = 7
   * producer.commit()
   * ```
   */
  commit(): void {
    const claimEnd = this.#claimEnd
    if (claimEnd === this.#position) throw this.#noClaimError('Committing')
    if (this.#corkDepth === 0) this.#publish(claimEnd)
    else this.#position = claimEnd
  }

  /**
   * Drops the open claim: the next one uses its space.
   * @throws IsthmusError `ERR_ISTHMUS_CALL_ORDER` if no claim is open
   *
   * @example
   * ```ts
   * producer.tryClaim(8)
   * producer.abort()
   * ```
   */
  abort(): void {
    if (this.#claimEnd === this.#position) throw this.#noClaimError('Aborting')
    // The claim may have begun after a padding, and #writableUntil counts from there. Called before the claim is given up:
    // at the edge of the stack this throws.
    this.#forceSlowPath()
    this.#claimEnd = this.#position
  }

  /**
   * Holds messages back until uncork, which makes them visible all at once. Calls nest. A full ring, a wait and close
   * publish as well.
   * @throws IsthmusError `ERR_ISTHMUS_CLOSED`
   *
   * @example
   * ```ts
   * producer.cork()
   * producer.trySend(order)
   * producer.trySend(order)
   * producer.uncork()
   * ```
   */
  cork(): void {
    this.#assertOpen('Corking')
    this.#corkDepth++
  }

  /**
   * Ends the last cork; the outermost one publishes what was held back.
   * @throws IsthmusError `ERR_ISTHMUS_CALL_ORDER` without a cork, `ERR_ISTHMUS_CLOSED`
   *
   * @example
   * ```ts
   * producer.cork()
   * for (const value of [1, 2, 3]) producer.trySend(Uint8Array.of(value))
   * producer.uncork()
   * ```
   */
  uncork(): void {
    this.#assertOpen('Uncorking')
    if (this.#corkDepth === 0) {
      throw new IsthmusError('ERR_ISTHMUS_CALL_ORDER', 'Uncorking a producer: it is not corked. Call cork before.')
    }
    if (this.#corkDepth === 1) this.#publishHeldBack()
    this.#corkDepth--
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
    return this.#trySendBytes(bytesOf(value, this.#codec, this.#attempt))
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
      const next = this.#sendWhatFits(batch, false)
      if (next !== undefined && next.byteLength > this.maxRecordBytes) throw this.#lengthError(next.byteLength)
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
    this.#assertNoTurn()
    if (bytes.length <= this.maxRecordBytes && this.#trySendBytes(bytes)) return true
    return this.#sendBlocking(this.#sending(bytes), deadline)
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
    const deadline = deadlineOf(options, this.#attempt)
    const batch = new Batch(values, this.#attempt)
    try {
      this.#assertNoTurn()
      if (this.#sendWhatFits(batch, true) !== undefined) this.#sendBlocking(this.#sendingBatch(batch), deadline)
      return batch.sentCount
    } catch (error) {
      throw batch.failure(error)
    }
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
    // No async function: most messages find space, and a promise of their own would cost more than sending them.
    try {
      const deadline = deadlineOf(options, this.#attempt)
      const signal = signalOf(options, this.#attempt)
      throwIfAborted(signal)
      const bytes = bytesOf(value, this.#codec, this.#attempt)
      const canCompleteSynchronously = bytes.length <= this.maxRecordBytes && this.#sends.canCompleteSynchronously()
      if (canCompleteSynchronously && this.#trySendBytes(bytes)) return sentAtOnce
      return this.#sendInTurn(this.#sending(bytes), deadline, signal)
    } catch (error) {
      return Promise.reject(error)
    }
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
    let batch: Batch<T> | undefined
    try {
      const deadline = deadlineOf(options, this.#attempt)
      const signal = signalOf(options, this.#attempt)
      batch = new Batch(values, this.#attempt)
      throwIfAborted(signal)
      const start = this.#position
      if (this.#sends.canCompleteSynchronously() && this.#sendWhatFits(batch, false) === undefined) {
        const bytes = distance(this.#position, start)
        this.#sends.countMore(batch.sentCount / MESSAGES_PER_COMPLETION + bytes / BYTES_PER_COMPLETION)
        return Promise.resolve(batch.sentCount)
      }
      return this.#sendBatchInTurn(batch, deadline, signal)
    } catch (error) {
      return Promise.reject(batch === undefined ? error : batch.failure(error))
    }
  }

  /**
   * Space for a message of `byteLength` bytes, to be waited for: alone, or among others with waitAny. It reserves nothing:
   * a send that is made meanwhile may take the space. The producer itself, given to waitAny, waits for half of
   * maxRecordBytes.
   * @throws IsthmusRangeError `ERR_ISTHMUS_MESSAGE_TOO_LARGE` above maxRecordBytes
   *
   * @example
   * ```ts
   * await producer.spaceFor(100).wait({ signal }) // true
   * producer.trySend(new Uint8Array(100)) // true
   * ```
   */
  spaceFor(byteLength: number): MessageSpace {
    if (typeof byteLength !== 'number' || byteLength >>> 0 !== byteLength || byteLength > this.maxRecordBytes) {
      throw this.#lengthError(byteLength)
    }
    return new MessageSpace(this.#spaceSource, byteLength)
  }

  /** For waitAny: ready when there is space for half of maxRecordBytes, or a reason to throw. */
  [WAITABLE](): WaitFor {
    return this.#waitForSpaceOf(this.maxRecordBytes >> 1)
  }

  /**
   * Publishes what is held back, drops an open claim, and ends this epoch: the consumer gets `null` after the last message.
   *
   * @example
   * ```ts
   * producer.close()
   * ```
   */
  close(): void {
    if (this.#isCloseOver) return
    if (!this.#isClosed) {
      this.#claimEnd = this.#position
      if (this.#isMessageUnderWay) this.#publishAbort()
      if (this.#publishedPosition !== this.#position) this.#publish(this.#position)
      this.#isClosed = true
    }
    // Our own waits must end before a successor begins its own.
    this.#spaceEvents.pollOwnWaits()
    this.#role.close(this.#roleWord)
    this.#consumerEvents.notify()
    this.#forceSlowPath()
    this.#forgetClose()
    this.#isCloseOver = true
  }

  [Symbol.dispose](): void {
    this.close()
  }

  protected override waitPoints(): readonly EventCount[] {
    return [this.#spaceEvents]
  }

  #trySendBytes(bytes: Uint8Array): boolean {
    const byteOffset = this.tryClaim(bytes.length)
    if (byteOffset === -1) return false
    try {
      this.bytes.set(bytes, byteOffset)
      this.commit()
    } catch (error) {
      // As abort, and without a call: if the stack is full, a call would fail as well.
      this.#claimEnd = this.#position
      this.#writableUntil = this.#position
      throw error
    }
    return true
  }

  /** The blocking driver of a sending. Returns false after the deadline. */
  #sendBlocking(sending: Sending, deadline: number): boolean {
    try {
      for (let step = sending.next(); step.done !== true; step = sending.next()) {
        this.#awaitedSpace = step.value
        if (!this.#blockUntil(this.#spaceCondition, deadline)) return false
      }
      return true
    } finally {
      sending.return()
    }
  }

  /** The awaiting driver: it waits for its turn, and keeps it until the sending is over. Resolves to false after the deadline. */
  async #sendInTurn(sending: Sending, deadline: number, signal: WaitOptions['signal']): Promise<boolean> {
    this.#forceSlowPath()
    if (!this.#sends.tryEnter() && !(await this.#sends.enter(deadline, signal))) return false
    try {
      await this.#sends.yieldToEventLoop()
      let polling: LargeMessagePolling | undefined
      for (let step = sending.next(); step.done !== true; step = sending.next()) {
        this.#forceSlowPath()
        this.#awaitedSpace = step.value
        if (this.#isMessageUnderWay) {
          polling ??= new LargeMessagePolling(this.#sends)
          if (polling.until(this.#spaceCondition)) continue
          if (polling.isTurnDue) await polling.yieldToEventLoop()
        }
        if (!(await this.#spaceEvents.wait(this.#spaceCondition, deadline, signal))) return false
      }
      return true
    } finally {
      sending.return()
      this.#forceSlowPath()
      this.#sends.leave()
      if (!this.#sends.isBusy) this.#spaceEvents.pollOwnWaits()
    }
  }

  async #sendBatchInTurn(batch: Batch<T>, deadline: number, signal: WaitOptions['signal']): Promise<number> {
    try {
      await this.#sendInTurn(this.#sendingBatch(batch), deadline, signal)
      return batch.sentCount
    } catch (error) {
      throw batch.failure(error)
    }
  }

  /**
   * Sends the messages of a batch up to the first one for which there is no space, or which no record can carry, and then
   * makes them visible. Returns the bytes of that one; undefined if the whole batch is sent.
   * @param hasTurn whether no other send can be pending, or this batch has its turn before it
   */
  #sendWhatFits(batch: Batch<T>, hasTurn: boolean): Uint8Array | undefined {
    // Whatever the codec throws, what was sent before is published: there must be room on the stack for that call.
    assertStackRoom()
    this.#assertOpen('Sending')
    // Locals: after every call, V8 reads the fields of `this` again.
    const { values } = batch
    const { bytes: target, words, maxRecordBytes } = this
    const codec = this.#codec
    const attempt = this.#attempt
    const indexMask = this.#indexMask
    const recordsWord = this.#recordsWord
    const payloadsByteOffset = this.#recordsByteOffset + RECORD_HEADER_BYTES
    let at = batch.sentCount
    try {
      while (at < values.length) {
        const bytes = batch.nextBytes ?? bytesOf(values[at], codec, attempt)
        batch.nextBytes = bytes
        const { length } = bytes
        if (length > maxRecordBytes) return bytes
        const recordBytes = recordBytesOf(length)
        // As in tryClaim. The codec may have sent messages of its own, or have left a claim open.
        let start = this.#position
        if (this.#claimEnd !== start || distance(this.#writableUntil, start) < recordBytes) {
          if (!(hasTurn ? this.#findRoom(recordBytes, 0) : this.#makeRoom(recordBytes))) return bytes
          start = this.#claimStart
        }
        const index = start & indexMask
        words[recordsWord + (index >> 2)] = length
        words[recordsWord + (index >> 2) + 1] = DATA
        target.set(bytes, payloadsByteOffset + index)
        const end = advance(start, recordBytes)
        this.#position = end
        this.#claimEnd = end
        at++
        batch.sentCount = at
        batch.nextBytes = undefined
      }
      return undefined
    } catch (error) {
      // As #forceSlowPath, without a call: there may be a padding between #position and the record that failed.
      this.#writableUntil = this.#position
      throw error
    } finally {
      if (this.#corkDepth === 0) this.#publishHeldBack()
    }
  }

  /**
   * One protocol for two drivers, #sendBlocking and #sendInTurn: it yields the space it needs whenever the ring is full, its
   * driver waits, blocking or awaiting, and resumes it.
   *
   * 1. Find room for the record: refresh the read position if the ring looks full.
   * 2. If it is full: publish what is corked, report a dead consumer, and yield.
   * 3. The driver marks this producer as a sleeper, polls once more, asks the consumer to return space, and sleeps.
   * 4. With room: write the header, copy the payload, and publish both with one store of the write position.
   * 5. Wake the consumer if it sleeps.
   *
   * If the driver gives up (timeout, abort, error), it ends the generator: then nothing was sent, or an ABORT tells the
   * receiver that the message stays incomplete.
   */
  *#sending(bytes: Uint8Array): Sending {
    if (bytes.byteLength > this.maxRecordBytes) {
      yield* this.#sendingFragments(bytes)
      return
    }
    const { byteLength } = bytes
    const recordBytes = recordBytesOf(byteLength)
    while (!this.#findRoom(recordBytes, 0)) {
      yield { recordBytes, reserveBytes: 0 }
      assertLength(bytes, byteLength)
    }
    this.bytes.set(bytes, this.#writeHeader(this.#claimStart, byteLength, DATA))
    const end = advance(this.#claimStart, recordBytes)
    if (this.#corkDepth === 0) return this.#publish(end)
    this.#position = end
    this.#claimEnd = end
  }

  /**
   * A message in fragments. After each but the last, space for an ABORT stays free: if we stop, for whatever reason, we or
   * our successor can publish it.
   */
  *#sendingFragments(bytes: Uint8Array): Sending {
    const total = bytes.byteLength
    if (total > this.maxMessageBytes) throw this.#lengthError(total)
    // Once the message is under way, there must be room on the stack for the calls that end it.
    assertStackRoom()
    const fragmentRecordBytes = maxFragmentRecordBytesOf(this.#capacityBytes)
    this.#messageId = nextMessageId(this.#messageId)
    let sent = 0
    try {
      while (sent < total) {
        const prefixBytes = sent === 0 ? TOTAL_LENGTH_BYTES : 0
        const fragmentBytes = Math.min(total - sent, fragmentRecordBytes - RECORD_HEADER_BYTES - prefixBytes)
        const recordBytes = recordBytesOf(prefixBytes + fragmentBytes)
        while (!this.#findRoom(recordBytes, RECORD_HEADER_BYTES)) {
          yield { recordBytes, reserveBytes: RECORD_HEADER_BYTES }
          assertLength(bytes, total)
        }
        const kind = sent === 0 ? FIRST : sent + fragmentBytes < total ? MIDDLE : LAST
        const byteOffset = this.#writeHeader(this.#claimStart, prefixBytes + fragmentBytes, kind)
        if (kind === FIRST) writeTotalLength(this.words, byteOffset >>> 2, total)
        this.bytes.set(bytes.subarray(sent, sent + fragmentBytes), byteOffset + prefixBytes)
        sent += fragmentBytes
        // Before the publication: a superfluous ABORT says nothing, a missing one leaves half a message.
        this.#isMessageUnderWay = true
        this.#publish(advance(this.#claimStart, recordBytes))
        this.#isMessageUnderWay = sent < total
      }
    } finally {
      if (this.#isMessageUnderWay) this.#publishAbort()
    }
  }

  /** A batch, for the same drivers: what fits goes out at once, then it waits for space for the next message. */
  *#sendingBatch(batch: Batch<T>): Sending {
    for (let next = this.#sendWhatFits(batch, true); next !== undefined; next = this.#sendWhatFits(batch, true)) {
      const { byteLength } = next
      if (byteLength > this.maxRecordBytes) {
        yield* this.#sendingFragments(next)
        batch.nextBytes = undefined
        batch.sentCount++
      } else {
        yield { recordBytes: recordBytesOf(byteLength), reserveBytes: 0 }
        assertLength(next, byteLength)
      }
    }
  }

  /** Needs 8 free bytes; the caller knows that they are free. */
  #publishAbort(): void {
    this.#writeHeader(this.#position, 0, ABORT)
    this.#publish(advance(this.#position, RECORD_HEADER_BYTES))
    this.#isMessageUnderWay = false
  }

  /** Returns the byte offset of the payload. */
  #writeHeader(position: number, byteLength: number, kind: number): number {
    const index = position & this.#indexMask
    const messageId = kind === DATA ? 0 : this.#messageId
    this.words[this.#recordsWord + (index >> 2)] = byteLength
    this.words[this.#recordsWord + (index >> 2) + 1] = kindWord(kind, messageId)
    return this.#recordsByteOffset + index + RECORD_HEADER_BYTES
  }

  /** Publishes everything before this position. It throws before that or not at all: a message that failed was not sent. */
  #publish(position: number): void {
    // SYNC records visible to consumer: everything before this position, with all its bytes
    Atomics.store(this.words, this.#writePositionWord, position)
    this.#position = position
    this.#claimEnd = position
    this.#publishedPosition = position
    try {
      this.#consumerEvents.notify()
    } catch {
      try {
        // The stack is full. Notify again when it is empty; an error of that is reported as an unhandled rejection.
        settled.then(this.#notifyConsumer)
      } catch {
        // No room even for that. The message is sent, so this must not throw: the next message wakes the consumer, or
        // its own polling finds it.
      }
    }
  }

  readonly #notifyConsumer = (): void => {
    if (!this.#isClosed) this.#consumerEvents.notify()
  }

  /**
   * Turns off the fast path of tryClaim: the next claim enters #makeRoom, which checks for a pending send, an open claim
   * and a closed producer. So the fast path needs no check of its own.
   */
  #forceSlowPath(): void {
    this.#writableUntil = this.#position
  }

  /** The slow path of a claim. A pending send has its turn first. */
  #makeRoom(recordBytes: number): boolean {
    if (this.#sends.isBusy && !this.#isClosed) return false
    return this.#findRoom(recordBytes, 0)
  }

  /**
   * Finds space for a record, and for `reserveBytes` after it. If this returns true, #claimStart is where the record goes.
   * If it returns false, the ring is full and everything is published.
   *
   * 1. Full, as far as we have seen: load the read position, which the consumer may have moved.
   * 2. Still full: publish what is corked, so that the consumer can make space, and report its death if it died.
   * 3. If the record would cross the end of the ring, fill the rest with a PADDING record and begin at index 0.
   * 4. Remember how far claims may go without coming here again.
   */
  #findRoom(recordBytes: number, reserveBytes: number): boolean {
    this.#assertOpen('Sending')
    if (this.#claimEnd !== this.#position) {
      throw new IsthmusError(
        'ERR_ISTHMUS_CALL_ORDER',
        `Claiming space in ${this.#subject}: the last claim is still open. Commit or abort it first.`,
      )
    }
    const neededBytes = this.#neededBytes(recordBytes, reserveBytes)
    if (this.#freeBytes() < neededBytes) this.#refreshReadPosition()
    if (this.#freeBytes() < neededBytes) {
      if (this.#publishedPosition !== this.#position) this.#publish(this.#position)
      if (this.#consumer.hasUntoldDeath() || this.#consumer.isCheckDue()) this.#reportDeadConsumer()
      return false
    }
    const bytesUntilEnd = this.#bytesUntilEnd(this.#position)
    this.#claimStart = this.#position
    if (recordBytes > bytesUntilEnd) {
      this.#writeHeader(this.#position, bytesUntilEnd - RECORD_HEADER_BYTES, PADDING)
      this.#claimStart = advance(this.#position, bytesUntilEnd)
    }
    const unreadLimit = advance(this.#readPosition, this.#capacityBytes)
    const ringEnd = advance(this.#claimStart, this.#bytesUntilEnd(this.#claimStart))
    this.#writableUntil = distance(unreadLimit, ringEnd) < 0 ? unreadLimit : ringEnd
    return true
  }

  /** Includes the padding up to the end of the ring, if the record does not fit before it. */
  #neededBytes(recordBytes: number, reserveBytes: number): number {
    const bytesUntilEnd = this.#bytesUntilEnd(this.#position)
    return recordBytes + reserveBytes + (recordBytes > bytesUntilEnd ? bytesUntilEnd : 0)
  }

  #bytesUntilEnd(position: number): number {
    return this.#capacityBytes - (position & this.#indexMask)
  }

  #freeBytes(): number {
    return this.#capacityBytes - distance(this.#position, this.#readPosition)
  }

  #refreshReadPosition(): void {
    // SYNC space visible to producer: the consumer no longer reads anything before this position
    const readPosition = Atomics.load(this.words, this.#readPositionWord)
    if (!arePositionsValid(this.#position, readPosition, this.#capacityBytes)) {
      throw corruptError(this.#subject, `the write position is ${this.#position}, the read position ${readPosition}`)
    }
    this.#readPosition = readPosition
  }

  #hasSpace(recordBytes: number, reserveBytes: number): boolean {
    this.#refreshReadPosition()
    return this.#freeBytes() >= this.#neededBytes(recordBytes, reserveBytes)
  }

  /** Before a sleep: wakes a sleeping consumer, which may keep the space of what it has received. */
  #askForSpace(): false {
    this.#consumerEvents.notify()
    return false
  }

  #hasAwaitedSpace(): boolean {
    this.#assertOpen('Sending')
    if (this.#hasSpace(this.#awaitedSpace.recordBytes, this.#awaitedSpace.reserveBytes)) return true
    if (this.#consumer.hasUntoldDeath()) this.#reportDeadConsumer()
    return false
  }

  /** Blocks the thread. Returns false after the deadline. */
  #blockUntil(condition: Condition, deadline: number): boolean {
    if (nowMs() >= deadline) return false
    if (this.#consumer.isOwnThread()) {
      throw new IsthmusError(
        'EDEADLK',
        `Waiting for space in ${this.#subject}: its consumer belongs to this very thread and cannot receive while the thread blocks. Receive first.`,
      )
    }
    return this.#spaceEvents.waitSync(condition, deadline)
  }

  /** For waitAny: ready also if there is a reason to throw. Nothing that it polls throws. */
  #waitForSpaceOf(byteLength: number): WaitFor {
    const recordBytes = recordBytesOf(byteLength)
    // The consumer can make space only if it sees everything.
    this.#publishHeldBack()
    // While a send waits, other calls of this thread have to wait for it.
    const hasTurn = () => !this.#sends.isBusy && this.#isReadyFor(recordBytes)
    const isReady = () => this.#isClosed || this.#consumer.hasUntoldDeath() || hasTurn()
    return {
      point: this.#spaceEvents,
      condition: {
        poll: isReady,
        pollArmed: () => isReady() || this.#askForSpace(),
        reapDead: () => this.#consumer.reapDead(),
        dependsOn: () => this.#consumer.holders(),
      },
    }
  }

  /** For a wait of its own: it throws what a send would throw. */
  #spaceConditionOf(byteLength: number): Condition {
    const recordBytes = recordBytesOf(byteLength)
    const isReady = () => {
      this.#assertOpen(WAITING)
      if (this.#sends.isBusy) return false
      if (this.#hasSpace(recordBytes, 0)) return true
      if (this.#consumer.hasUntoldDeath()) this.#reportDeadConsumer()
      return false
    }
    return {
      poll: isReady,
      pollArmed: () => isReady() || this.#askForSpace(),
      // The send that has its turn is told of the death.
      reapDead: () => (this.#sends.isBusy ? this.#consumer.reapDead() : this.#reportDeadConsumer()),
      dependsOn: () => this.#consumer.holders(),
    }
  }

  #awaitSpaceOf(byteLength: number, deadline: number, signal: WaitOptions['signal']): Promise<boolean> {
    this.#assertOpen(WAITING)
    this.#publishHeldBack()
    return this.#spaceEvents.wait(this.#spaceConditionOf(byteLength), deadline, signal)
  }

  #blockUntilSpaceOf(byteLength: number, deadline: number): boolean {
    this.#assertOpen(WAITING)
    this.#assertNoTurn()
    this.#publishHeldBack()
    const condition = this.#spaceConditionOf(byteLength)
    if (condition.poll()) return true
    if (this.#consumer.isCheckDue()) this.#reportDeadConsumer()
    return this.#blockUntil(condition, deadline)
  }

  /** Makes visible what was committed. An open claim stays open. (A closed producer has published everything.) */
  #publishHeldBack(): void {
    if (this.#publishedPosition === this.#position) return
    const claimEnd = this.#claimEnd
    this.#publish(this.#position)
    this.#claimEnd = claimEnd
  }

  /** A corrupt ring is ready: its next call throws, and the waits for others go on. */
  #isReadyFor(recordBytes: number): boolean {
    try {
      return this.#hasSpace(recordBytes, 0)
    } catch {
      return true
    }
  }

  #reportDeadConsumer(): void {
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

  /** For calls that block the thread. */
  #assertNoTurn(): void {
    if (!this.#sends.isBusy) return
    throw new IsthmusError(
      'EDEADLK',
      `${this.#attempt}: a send of this very thread has its turn first, and blocking would keep it from ending. Await it first.`,
    )
  }

  #assertOpen(attempt: string): void {
    if (this.#isClosed) throw closedError(`${attempt} through the producer of ${this.#subject}`)
  }

  #noClaimError(attempt: string): IsthmusError {
    if (this.#isClosed) return closedError(`${attempt} through the producer of ${this.#subject}`)
    return new IsthmusError('ERR_ISTHMUS_CALL_ORDER', `${attempt} a claim: none is open. Call tryClaim first.`)
  }

  #lengthError(byteLength: number): Error {
    if (typeof byteLength !== 'number') {
      return new IsthmusTypeError(
        'ERR_ISTHMUS_INVALID_ARGUMENT',
        `Claiming space in ${this.#subject}: byteLength is ${inWords(byteLength)}. Give a number of bytes from 0 on.`,
      )
    }
    if (!Number.isInteger(byteLength) || byteLength < 0) {
      return new IsthmusRangeError(
        'ERR_ISTHMUS_INVALID_ARGUMENT',
        `Claiming space in ${this.#subject}: byteLength is ${byteLength}. Give a number of bytes from 0 on.`,
      )
    }
    const advice =
      byteLength <= this.maxMessageBytes
        ? `in one record this ring carries at most ${this.maxRecordBytes}. Use send or sendSync, which send it in fragments`
        : `this ring carries at most ${this.maxMessageBytes}. Make it with a larger maxMessageBytes, or send parts`
    return new IsthmusRangeError(
      'ERR_ISTHMUS_MESSAGE_TOO_LARGE',
      `Sending a message of ${byteLength} bytes to ${this.#subject}: ${advice}.`,
    )
  }
}
