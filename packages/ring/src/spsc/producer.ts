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
  assertStackRoom,
  type Condition,
  closedError,
  deadlineOf,
  EventCount,
  inWords,
  isUint8Array,
  LivenessCheckThrottle,
  nowMs,
  signalOf,
  TurnQueue,
  throwIfAborted,
  WAITABLE,
  type WaitFor,
} from '@isthmus/sync/internal'
import type { Codec } from '../codec.js'
import { corruptError } from '../errors.js'
import { DIED, epochOfRole, HELD, stateOfRole } from '../role/layout.js'
import { Role } from '../role/role.js'
import { Counterpart, nameOf } from './counterpart.js'
import {
  ABORT,
  arePositionsValid,
  CONSUMER_EVENTS_OFFSET,
  CONSUMER_ROLE_OFFSET,
  DATA,
  FIRST,
  kindWord,
  LAST,
  MIDDLE,
  maxFragmentRecordBytesOf,
  nextMessageId,
  PADDING,
  PRODUCER_EVENTS_OFFSET,
  PRODUCER_ROLE_OFFSET,
  READ_POSITION_OFFSET,
  RECORD_HEADER_BYTES,
  RECORDS_OFFSET,
  recordBytesOf,
  TOTAL_LENGTH_BYTES,
  WRITE_POSITION_OFFSET,
  writeTotalLength,
} from './layout.js'
import type { RingGeometry } from './spsc-ring.js'

const nothing = new Uint8Array(0)
const settled = Promise.resolve()

/** What a message that is being sent waits for: this many bytes for a record, and free ones behind it. */
interface SpaceNeeded {
  readonly recordBytes: number
  readonly reserveBytes: number
}

/**
 * The sending side of an SPSC ring: copies messages in (`trySend`, `sendSync`, `send`), or lets them be written in place
 * (`tryClaim` … `commit`). What is sent arrives in order. If the consumer dies, messages stay for its successor; a call
 * that finds the ring full then throws `ERR_ISTHMUS_PEER_DIED`, once for each consumer that died, unless a successor is there
 * by then. If the consumer closes, they stay likewise, and a call that finds the ring full waits for its successor.
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
export class Producer<T = Uint8Array> implements Waitable {
  /** The whole region as bytes: where claims are written. Indexes are byte offsets as tryClaim returns them. */
  readonly bytes: Uint8Array
  /** The same as 32-bit words; the index is `byteOffset / 4`. */
  readonly words: Int32Array
  /** The same as 64-bit numbers; the index is `byteOffset / 8`. */
  readonly doubles: Float64Array
  /** The same for mixed records. */
  readonly view: DataView
  /** The largest message for tryClaim and trySend, in bytes. */
  readonly maxRecordBytes: number
  /** The largest message for sendSync, in bytes. */
  readonly maxMessageBytes: number

  readonly #subject: string
  /** How most messages begin. */
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
  /** The end of the open claim; equal to #position where none is open. */
  #claimEnd: number
  /** Where the open claim begins: behind the padding that it may need. */
  #claimStart: number
  /** Up to here records can be written without a further look: neither over unread ones nor across the ring's end. */
  #writableUntil: number
  /** The read position as last seen. It may be old; the true one is never behind it. */
  #readPosition: number
  #publishedPosition: number
  #corkDepth = 0
  #messageId = 0
  #isClosed = false
  /** Whether nothing of closing is left to do: it may have thrown half-way. */
  #isCloseOver = false

  readonly #role: Role
  readonly #roleWord: number
  readonly #consumerRole: Role
  readonly #consumer: Counterpart
  readonly #consumerEvents: EventCount
  readonly #spaceEvents: EventCount
  readonly #consumerCheck = new LivenessCheckThrottle()
  #reportedConsumerEpoch = 0
  readonly #sends = new TurnQueue()
  /** Whether fragments of a message are published of which the last one is still to come. */
  #isMessageUnderWay = false
  #awaitedSpace: SpaceNeeded = { recordBytes: RECORD_HEADER_BYTES, reserveBytes: 0 }
  readonly #spaceCondition: Condition
  readonly #forgetClose: () => void

  /** @internal Use `ring.producer()`. */
  constructor(place: RingGeometry, codec: Codec<T> | undefined) {
    const { region, byteOffset, subject, capacityBytes, maxRecordBytes, maxMessageBytes } = place
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
    this.bytes = region.bytes
    const { buffer, byteOffset: start, byteLength } = region.bytes
    // Not region.words: these may be at another address, and using one cache line at two of them by turns costs time.
    this.words = new Int32Array(buffer, start, byteLength / 4)
    this.doubles = new Float64Array(buffer, start, Math.floor(byteLength / 8))
    this.view = new DataView(buffer, start, byteLength)

    this.#consumerRole = new Role(region, byteOffset + CONSUMER_ROLE_OFFSET, 'consumer', subject)
    this.#consumer = new Counterpart(region, this.#consumerRole)
    this.#consumerEvents = new EventCount(region, byteOffset + CONSUMER_EVENTS_OFFSET)
    this.#spaceEvents = new EventCount(region, byteOffset + PRODUCER_EVENTS_OFFSET)
    this.#role = new Role(region, byteOffset + PRODUCER_ROLE_OFFSET, 'producer', subject)
    const { previous, word } = this.#role.acquire()
    this.#roleWord = word

    // Only the producer writes this word, and that is we: the position of the last one is ours.
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
      dependsOn: () => this.#consumerRole.holders(),
    }
    // Whoever sleeps until there is a message now depends on us, and on our life.
    this.#consumerEvents.notify()
    const predecessorDied = stateOfRole(previous) === HELD || stateOfRole(previous) === DIED
    // It may have left a message half sent. Then 8 bytes are free; and if they are not, it has not.
    if (predecessorDied && this.#freeBytes() >= RECORD_HEADER_BYTES) this.#publishAbort()
  }

  /**
   * Claims space for one message of exactly `byteLength` bytes, to be written in place and then committed or aborted.
   * @returns the byte offset of the payload, a multiple of 8; -1 where the ring is full
   * @throws IsthmusRangeError `ERR_ISTHMUS_MESSAGE_TOO_LARGE` above maxRecordBytes
   * @throws IsthmusError `ERR_ISTHMUS_CALL_ORDER` while another claim is open, `ERR_ISTHMUS_CLOSED`
   * @throws PeerDiedError `ERR_ISTHMUS_PEER_DIED` where the ring is full and its consumer dead
   */
  tryClaim(byteLength: number): number {
    if (typeof byteLength !== 'number' || byteLength >>> 0 !== byteLength || byteLength > this.maxRecordBytes) {
      throw this.#lengthError(byteLength)
    }
    const recordBytes = recordBytesOf(byteLength)
    let start = this.#position
    const isClaimOpen = this.#claimEnd !== start
    if (isClaimOpen || ((this.#writableUntil - start) | 0) < recordBytes) {
      if (!this.#makeRoom(recordBytes)) return -1
      start = this.#claimStart
    }
    const index = start & this.#indexMask
    const headerIndex = this.#recordsWord + (index >> 2)
    // Plain stores: nobody reads here before the write position says so.
    this.words[headerIndex] = byteLength
    this.words[headerIndex + 1] = DATA
    this.#claimEnd = (start + recordBytes) | 0
    return this.#recordsByteOffset + index + RECORD_HEADER_BYTES
  }

  /**
   * Ends the open claim: its message is sent, at once or, between cork and uncork, with the others.
   * @throws IsthmusError `ERR_ISTHMUS_CALL_ORDER` where no claim is open
   */
  commit(): void {
    const claimEnd = this.#claimEnd
    if (claimEnd === this.#position) throw this.#noClaimError('Committing')
    if (this.#corkDepth === 0) this.#publish(claimEnd)
    else this.#position = claimEnd
  }

  /**
   * Drops the open claim: its space is used by the next one.
   * @throws IsthmusError `ERR_ISTHMUS_CALL_ORDER` where no claim is open
   */
  abort(): void {
    if (this.#claimEnd === this.#position) throw this.#noClaimError('Aborting')
    this.#claimEnd = this.#position
    // The claim may have begun behind a padding, and #writableUntil with it.
    this.#writableUntil = this.#position
  }

  /** Holds messages back until uncork, to make them visible all at once. Calls nest. A full ring, a wait and close publish too. Throws `ERR_ISTHMUS_CLOSED`. */
  cork(): void {
    this.#assertOpen('Corking')
    this.#corkDepth++
  }

  /** Publishes what was held back since the outermost cork. Throws `ERR_ISTHMUS_CALL_ORDER` without one, `ERR_ISTHMUS_CLOSED`. */
  uncork(): void {
    this.#assertOpen('Uncorking')
    if (this.#corkDepth === 0) {
      throw new IsthmusError('ERR_ISTHMUS_CALL_ORDER', 'Uncorking a producer: it is not corked. Call cork before.')
    }
    if (this.#corkDepth === 1 && this.#publishedPosition !== this.#position) this.#publish(this.#position)
    this.#corkDepth--
  }

  /**
   * Sends a copy of a message, if there is space now.
   * @returns false where the ring is full
   * @throws IsthmusRangeError `ERR_ISTHMUS_MESSAGE_TOO_LARGE` above maxRecordBytes: sendSync sends those
   * @throws IsthmusError `ERR_ISTHMUS_CLOSED`; `ERR_ISTHMUS_CALL_ORDER` while a claim is open
   * @throws IsthmusTypeError `ERR_ISTHMUS_INVALID_ARGUMENT` for what is no Uint8Array, without a codec
   * @throws PeerDiedError `ERR_ISTHMUS_PEER_DIED` where the ring is full and its consumer dead
   */
  trySend(value: T): boolean {
    return this.#trySendBytes(this.#toBytes(value))
  }

  /**
   * Sends copies of as many messages as there is space for, in order, and makes them visible all at once.
   * @returns how many were sent. Where one of them cannot be sent, those before it are; a call that begins with it throws
   */
  trySendBatch(values: readonly T[]): number {
    if (typeof values !== 'object' || values === null) {
      throw new IsthmusTypeError(
        'ERR_ISTHMUS_INVALID_ARGUMENT',
        `${this.#attempt}: got ${inWords(values)} instead of the messages. Give an array of them.`,
      )
    }
    // What is sent below is published at the end: there has to be room for that call.
    assertStackRoom()
    let sent = 0
    const toldEpoch = this.#reportedConsumerEpoch
    this.cork()
    try {
      while (sent < values.length && this.trySend(values[sent])) sent++
    } catch (error) {
      if (sent === 0) throw error
      // If it was a death, it is told by the next call, which sends nothing before it finds out.
      this.#reportedConsumerEpoch = toldEpoch
    } finally {
      // An encoder may have closed it, or uncorked it.
      if (!this.#isClosed && this.#corkDepth > 0) this.uncork()
    }
    return sent
  }

  /**
   * Sends a copy of a message of up to maxMessageBytes, and blocks the thread while there is no space. Above
   * maxRecordBytes it travels in fragments, through a ring of any size.
   * @returns false after `timeoutMs`; the receiver is told of a large message that was under way
   * @throws IsthmusRangeError `ERR_ISTHMUS_MESSAGE_TOO_LARGE` above maxMessageBytes
   * @throws PeerDiedError `ERR_ISTHMUS_PEER_DIED` where the ring is full and its consumer dead
   * @throws IsthmusError `EDEADLK` where it would wait for a consumer of this very thread; and as trySend
   */
  sendSync(value: T, options?: TimeoutOptions): boolean {
    const deadline = deadlineOf(options, this.#attempt)
    const bytes = this.#toBytes(value)
    if (this.#sends.isBusy) {
      throw new IsthmusError(
        'EDEADLK',
        `${this.#attempt}: a send of this very thread waits for its turn before this one, which would block for ever. Await it first.`,
      )
    }
    const sending = this.#sending(bytes)
    try {
      for (let step = sending.next(); step.done !== true; step = sending.next()) {
        if (!this.#waitForSpaceSync(step.value, deadline)) return false
      }
      return true
    } finally {
      sending.return()
    }
  }

  /**
   * As sendSync, without blocking the event loop. Sends of one producer go out in the order of the calls; while one waits,
   * `trySend` returns false and `tryClaim` -1. The bytes of the message may be changed again when the promise is settled.
   * @throws AbortError when the signal aborts; the receiver is told of a large message that was under way
   */
  async send(value: T, options?: WaitOptions): Promise<boolean> {
    const deadline = deadlineOf(options, this.#attempt)
    const signal = signalOf(options, this.#attempt)
    throwIfAborted(signal)
    const bytes = this.#toBytes(value)
    const canCompleteSynchronously = bytes.byteLength <= this.maxRecordBytes && this.#sends.canCompleteSynchronously()
    if (canCompleteSynchronously && this.#trySendBytes(bytes)) return true
    // Sends every claim of the meantime to the slow path, which looks whether a send is under way.
    this.#writableUntil = this.#position
    if (!this.#sends.tryEnter() && !(await this.#sends.enter(deadline, signal))) return false
    const sending = this.#sending(bytes)
    try {
      await this.#sends.yieldToEventLoop()
      for (let step = sending.next(); step.done !== true; step = sending.next()) {
        this.#writableUntil = this.#position
        this.#awaitedSpace = step.value
        if (!(await this.#spaceEvents.wait(this.#spaceCondition, deadline, signal))) return false
      }
      return true
    } finally {
      sending.return()
      this.#writableUntil = this.#position
      this.#sends.leave()
      if (!this.#sends.isBusy) this.#spaceEvents.pollOwnWaits()
    }
  }

  /** Pending sends keep the process running; this is the default. */
  ref(): this {
    this.#spaceEvents.setRef(true)
    return this
  }

  /** Pending sends no longer keep the process running. */
  unref(): this {
    this.#spaceEvents.setRef(false)
    return this
  }

  /** For waitAny: ready when there is space for a message of half of maxRecordBytes, or a reason to throw. */
  [WAITABLE](): WaitFor {
    const halfRecordBytes = recordBytesOf(this.maxRecordBytes >> 1)
    // Whoever is to make space has to see what there is.
    if (!this.#isClosed && this.#publishedPosition !== this.#position) this.#publish(this.#position)
    // While a send waits, others of this thread have to wait for it.
    const hasTurn = () => !this.#sends.isBusy && this.#isReadyFor(halfRecordBytes)
    const isReady = () => this.#isClosed || this.#hasDeathToTell() || hasTurn()
    return {
      point: this.#spaceEvents,
      condition: {
        poll: isReady,
        pollArmed: () => isReady() || this.#askForSpace(),
        reapDead: () => {
          this.#consumer.note(this.#consumerRole.word)
          this.#consumerRole.observe()
        },
        dependsOn: () => this.#consumerRole.holders(),
      },
    }
  }

  /** Publishes what is held back, drops an open claim, and ends this epoch: the consumer gets `null` after the last message. */
  close(): void {
    if (this.#isCloseOver) return
    if (!this.#isClosed) {
      this.#claimEnd = this.#position
      if (this.#isMessageUnderWay) this.#publishAbort()
      if (this.#publishedPosition !== this.#position) this.#publish(this.#position)
      this.#isClosed = true
    }
    // Our own waits end before a successor can have its own.
    this.#spaceEvents.pollOwnWaits()
    this.#role.close(this.#roleWord)
    this.#consumerEvents.notify()
    // Sends every later claim to the slow path, which looks at #isClosed.
    this.#writableUntil = this.#position
    this.#forgetClose()
    this.#isCloseOver = true
  }

  [Symbol.dispose](): void {
    this.close()
  }

  #trySendBytes(bytes: Uint8Array): boolean {
    const byteOffset = this.tryClaim(bytes.byteLength)
    if (byteOffset === -1) return false
    try {
      this.bytes.set(bytes, byteOffset)
      this.commit()
    } catch (error) {
      // As abort does, without a call: where the stack is full, it would fail as well.
      this.#claimEnd = this.#position
      this.#writableUntil = this.#position
      throw error
    }
    return true
  }

  /** Sends a message step by step; yields whenever it needs space. Ended before it is done, it has sent nothing, or an ABORT. */
  *#sending(bytes: Uint8Array): Generator<SpaceNeeded, void, void> {
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
    const end = (this.#claimStart + recordBytes) | 0
    if (this.#corkDepth === 0) return this.#publish(end)
    this.#position = end
    this.#claimEnd = end
  }

  /**
   * A message in fragments. Behind each but the last, space for an ABORT stays free: whenever we stop, however we stop, we
   * or our successor can say so.
   */
  *#sendingFragments(bytes: Uint8Array): Generator<SpaceNeeded, void, void> {
    const total = bytes.byteLength
    if (total > this.maxMessageBytes) throw this.#lengthError(total)
    // Once it is under way, there has to be room for the calls that end it.
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
        // Before: an ABORT too many says nothing, one that is missing leaves half a message.
        this.#isMessageUnderWay = true
        this.#publish((this.#claimStart + recordBytes) | 0)
        this.#isMessageUnderWay = sent < total
      }
    } finally {
      if (this.#isMessageUnderWay) this.#publishAbort()
    }
  }

  /** Needs 8 free bytes; the caller knows that they are. */
  #publishAbort(): void {
    this.#writeHeader(this.#position, 0, ABORT)
    this.#publish((this.#position + RECORD_HEADER_BYTES) | 0)
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

  /** Publishes everything before this position: throws before that, or not at all. What the program is told was not sent, was not. */
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
        // At the edge of the stack. Done again when the stack is empty; an error of that is reported as unhandled.
        settled.then(this.#notifyConsumer)
      } catch {
        // Not even room for that. The message is sent, so nothing may throw: the next one wakes the consumer, or its tick.
      }
    }
  }

  readonly #notifyConsumer = (): void => {
    if (!this.#isClosed) this.#consumerEvents.notify()
  }

  /** The slow part of a claim. */
  #makeRoom(recordBytes: number): boolean {
    // What waits for its turn goes first.
    if (this.#sends.isBusy && !this.#isClosed) return false
    return this.#findRoom(recordBytes, 0)
  }

  /**
   * Finds space for a record, and for `reserveBytes` behind it. On true, #claimStart is where
   * the record goes. On false the ring is full, and the consumer has been shown all there is.
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
    // Possibly full, as far as we have seen: look again. Really full: nothing to be done.
    if (this.#freeBytes() < neededBytes) this.#refreshReadPosition()
    if (this.#freeBytes() < neededBytes) {
      if (this.#publishedPosition !== this.#position) this.#publish(this.#position)
      if (this.#hasDeathToTell() || this.#consumerCheck.isDue()) this.#reportDeadConsumer()
      return false
    }
    const bytesUntilEnd = this.#bytesUntilEnd(this.#position)
    this.#claimStart = this.#position
    if (recordBytes > bytesUntilEnd) {
      this.#writeHeader(this.#position, bytesUntilEnd - RECORD_HEADER_BYTES, PADDING)
      this.#claimStart = (this.#position + bytesUntilEnd) | 0
    }
    const unreadLimit = (this.#readPosition + this.#capacityBytes) | 0
    const ringEnd = (this.#claimStart + this.#bytesUntilEnd(this.#claimStart)) | 0
    this.#writableUntil = ((unreadLimit - ringEnd) | 0) < 0 ? unreadLimit : ringEnd
    return true
  }

  /** Including the padding up to the end of the ring, where the record does not fit before it. */
  #neededBytes(recordBytes: number, reserveBytes: number): number {
    const bytesUntilEnd = this.#bytesUntilEnd(this.#position)
    return recordBytes + reserveBytes + (recordBytes > bytesUntilEnd ? bytesUntilEnd : 0)
  }

  #bytesUntilEnd(position: number): number {
    return this.#capacityBytes - (position & this.#indexMask)
  }

  #freeBytes(): number {
    return this.#capacityBytes - ((this.#position - this.#readPosition) | 0)
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

  /** Before we sleep: a consumer that sleeps may have space to return, of what was received since it fell asleep. */
  #askForSpace(): false {
    this.#consumerEvents.notify()
    return false
  }

  /** A ring that is corrupt is ready to say so, in the next call, and does not end a wait for others. */
  #isReadyFor(recordBytes: number): boolean {
    try {
      return this.#hasSpace(recordBytes, 0)
    } catch {
      return true
    }
  }

  #hasAwaitedSpace(): boolean {
    this.#assertOpen('Sending')
    if (this.#hasSpace(this.#awaitedSpace.recordBytes, this.#awaitedSpace.reserveBytes)) return true
    if (this.#hasDeathToTell()) this.#reportDeadConsumer()
    return false
  }

  #waitForSpaceSync(space: SpaceNeeded, deadline: number): boolean {
    if (nowMs() >= deadline) return false
    if (this.#consumerRole.isHeldBySelf()) {
      throw new IsthmusError(
        'EDEADLK',
        `Waiting for space in ${this.#subject}: its consumer belongs to this very thread, which would block for ever. Receive first.`,
      )
    }
    this.#awaitedSpace = space
    return this.#spaceEvents.waitSync(this.#spaceCondition, deadline)
  }

  /** As far as somebody has proven it. */
  #hasDeathToTell(): boolean {
    const { word } = this.#consumerRole
    this.#consumer.note(word)
    return stateOfRole(word) === DIED && epochOfRole(word) !== this.#reportedConsumerEpoch
  }

  #reportDeadConsumer(): void {
    this.#consumer.note(this.#consumerRole.word)
    const { state, epoch } = this.#consumerRole.observe()
    if (state !== DIED || epoch === this.#reportedConsumerEpoch) return
    const consumer = this.#consumer.in(epoch)
    const error = new PeerDiedError(
      `${this.#attempt}: it is full, and its consumer${nameOf(consumer)} died, or ended without closing. What was sent stays for the next consumer; send again to wait for it.`,
      consumer,
    )
    this.#reportedConsumerEpoch = epoch
    throw error
  }

  #toBytes(value: T): Uint8Array {
    const bytes: unknown = this.#codec === undefined ? value : this.#codec.encode(value)
    if (isUint8Array(bytes) && (bytes.byteLength > 0 || !isGone(bytes))) return bytes
    const found = isUint8Array(bytes) ? 'a Uint8Array whose buffer was detached or cut off' : inWords(bytes)
    throw new IsthmusTypeError(
      'ERR_ISTHMUS_INVALID_ARGUMENT',
      `${this.#attempt}: got ${found} instead of a Uint8Array. Give bytes, or a codec such as utf8 to spscRing().`,
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

/** Room was made for so many bytes, and a length was published. */
function assertLength(bytes: Uint8Array, byteLength: number): void {
  if (bytes.byteLength === byteLength && (byteLength > 0 || !isGone(bytes))) return
  throw new IsthmusTypeError(
    'ERR_ISTHMUS_INVALID_ARGUMENT',
    `Sending to a ring: the message had ${byteLength} bytes and has ${bytes.byteLength} now. Leave it alone, and its buffer, until it is sent.`,
  )
}

/** Whether an array without bytes has lost them: its buffer was transferred, or made shorter than where it begins. */
function isGone(bytes: Uint8Array): boolean {
  try {
    nothing.set(bytes)
    return false
  } catch {
    return true
  }
}
