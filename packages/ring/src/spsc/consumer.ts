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
  assertOptions,
  assertStackRoom,
  beforeSleep,
  type Condition,
  closedError,
  deadlineOf,
  EventCount,
  inWords,
  isUint8Array,
  LivenessCheckThrottle,
  nowMs,
  pendingWaits,
  type SpaceHolder,
  signalOf,
  TurnQueue,
  throwIfAborted,
  WAITABLE,
  type WaitFor,
} from '@isthmus/sync/internal'
import type { Codec } from '../codec.js'
import { corruptError, type IncompleteMessageError } from '../errors.js'
import { CLOSED, DIED, epochOfRole, HELD, type RoleState, stateOfRole, VACANT } from '../role/layout.js'
import { Role } from '../role/role.js'
import { Counterpart, nameOf } from './counterpart.js'
import {
  arePositionsValid,
  CONSUMER_EVENTS_OFFSET,
  CONSUMER_ROLE_OFFSET,
  DATA,
  FIRST,
  kindOf,
  PADDING,
  PRODUCER_EVENTS_OFFSET,
  PRODUCER_ROLE_OFFSET,
  READ_POSITION_OFFSET,
  RECORD_HEADER_BYTES,
  RECORDS_OFFSET,
  REPORTED_EPOCH_OFFSET,
  readTotalLength,
  recordBytesOf,
  TOTAL_LENGTH_BYTES,
  WRITE_POSITION_OFFSET,
} from './layout.js'
import { type Fragment, MessageAssembly } from './message-assembly.js'
import { MessageIterator, type MessageSource, type MessagesOptions } from './message-iterator.js'
import type { RingGeometry } from './spsc-ring.js'

export interface ChunkOptions {
  /**
   * Where to copy the chunk, instead of into a new array: at least maxRecordBytes long, to fit any chunk. Its next use
   * overwrites the chunk before.
   */
  readonly into?: Uint8Array
}

/** Keeps options with a timeout out of an overload that never times out, also when they come in a variable. */
interface Untimed {
  readonly timeoutMs?: never
}

/** A part of a message, in the order of its bytes. A message that fits into one record comes as one chunk. */
export interface MessageChunk {
  /** A private copy; with `into`, the part of it that was written. */
  readonly bytes: Uint8Array
  /** Where the chunk stands in its message, in bytes. */
  readonly messageOffset: number
  /** The length of the whole message. */
  readonly messageByteLength: number
  /** Whether the message ends with this chunk. */
  readonly isLast: boolean
}

/**
 * How many records in a row that bring no message one call takes. A call that does not wait must end soon, also when a
 * large message comes in as fast as it is read, or when the memory is full of nothing.
 */
const EMPTY_RECORDS_MAX = 1024

/** What drain calls for each message: `byteLength` bytes from `byteOffset` on in `bytes`. */
export type DrainCallback = (bytes: Uint8Array, byteOffset: number, byteLength: number) => void

/**
 * The receiving side of an SPSC ring: gives private copies (`tryReceive`, `receiveSync`, `receive`), or shows messages in place
 * (`drain`). `undefined` means nothing yet, or timed out; `null` means that the producer closed and everything was
 * received. If the producer dies, or ends without closing, every message it committed is received first; then a call throws
 * `ERR_ISTHMUS_PEER_DIED`, once for each producer that died, and the handle waits for a successor. Of an end after which a
 * successor came before anybody looked, nothing is told: its messages follow those before.
 *
 * @example
 * ```ts
 * for (const message of consumer) handle(message)
 * ```
 */
export class Consumer<T = Uint8Array> implements Waitable {
  /** The whole region as bytes: what drain shows. Where its `bytes` is this array, its offset is good for the three below, too. */
  readonly bytes: Uint8Array
  /** The same as 32-bit words; the index is `byteOffset / 4`. */
  readonly words: Int32Array
  /** The same as 64-bit numbers; the index is `byteOffset / 8`. */
  readonly doubles: Float64Array
  /** The same for mixed records. */
  readonly view: DataView
  /** The largest message that comes in one record, and the largest chunk, in bytes. */
  readonly maxRecordBytes: number

  readonly #subject: string
  /** How most messages begin. */
  readonly #attempt: string
  readonly #codec: Codec<T> | undefined
  readonly #capacityBytes: number
  readonly #indexMask: number
  readonly #returnStepBytes: number
  readonly #recordsByteOffset: number
  readonly #recordsWord: number
  readonly #writePositionWord: number
  readonly #readPositionWord: number
  readonly #reportedEpochIndex: number

  /** Where the next record begins. */
  #position: number
  /** The read position as the producer can see it: behind #position by what has not been returned yet. */
  #returnedPosition: number
  /** The write position as last seen. It may be old; the true one is never behind it. */
  #writePosition: number
  #isClosed = false
  /** Whether nothing of closing is left to do: it may have thrown half-way. */
  #isCloseOver = false
  /** Nested calls from a drain callback would return space that is still being read. */
  #isDraining = false

  /** How the space of what was received comes back before this thread sleeps. */
  readonly #debtor: SpaceHolder = { settle: () => this.#settle() }
  readonly #debtorReference = new WeakRef(this.#debtor)
  /** Whether the thread's list has us. */
  #isListed = false

  readonly #assembly: MessageAssembly
  /** The large message under way, when it is received whole. */
  #message: Uint8Array | undefined
  #isReadingChunks = false
  #chunkTarget: Uint8Array | undefined

  readonly #role: Role
  readonly #roleWord: number
  readonly #producerRole: Role
  readonly #producer: Counterpart
  readonly #producerEvents: EventCount
  readonly #dataEvents: EventCount
  readonly #producerCheck = new LivenessCheckThrottle()
  /** The producer's role as the last look at an empty ring found it. */
  #judgedRoleWord = 0
  readonly #receives = new TurnQueue()
  readonly #dataCondition: Condition
  /** The epoch whose end was told through this handle; 0 for none. */
  #toldEpoch = 0
  /** The epoch whose end was told to the consumer before this one. */
  readonly #inheritedEpoch: number
  readonly #forgetClose: () => void

  /** @internal Use `ring.consumer()`. */
  constructor(place: RingGeometry, codec: Codec<T> | undefined) {
    const { region, byteOffset, subject, capacityBytes, maxRecordBytes, maxMessageBytes } = place
    this.#subject = subject
    this.#attempt = `Receiving from ${subject}`
    this.#codec = codec
    this.#capacityBytes = capacityBytes
    this.#indexMask = capacityBytes - 1
    this.#returnStepBytes = capacityBytes / 4
    this.#recordsByteOffset = byteOffset + RECORDS_OFFSET
    this.#recordsWord = this.#recordsByteOffset >>> 2
    this.#writePositionWord = (byteOffset + WRITE_POSITION_OFFSET) >>> 2
    this.#readPositionWord = (byteOffset + READ_POSITION_OFFSET) >>> 2
    this.#reportedEpochIndex = (byteOffset + REPORTED_EPOCH_OFFSET) >>> 2
    this.maxRecordBytes = maxRecordBytes
    this.#assembly = new MessageAssembly(maxMessageBytes, subject)
    this.bytes = region.bytes
    const { buffer, byteOffset: start, byteLength } = region.bytes
    // Not region.words: these may be at another address, and using one cache line at two of them by turns costs time.
    this.words = new Int32Array(buffer, start, byteLength / 4)
    this.doubles = new Float64Array(buffer, start, Math.floor(byteLength / 8))
    this.view = new DataView(buffer, start, byteLength)

    this.#producerRole = new Role(region, byteOffset + PRODUCER_ROLE_OFFSET, 'producer', subject)
    this.#producer = new Counterpart(region, this.#producerRole)
    this.#producerEvents = new EventCount(region, byteOffset + PRODUCER_EVENTS_OFFSET)
    this.#dataEvents = new EventCount(region, byteOffset + CONSUMER_EVENTS_OFFSET)
    this.#role = new Role(region, byteOffset + CONSUMER_ROLE_OFFSET, 'consumer', subject)
    this.#roleWord = this.#role.acquire().word

    // Only the consumer writes these two, and that is we.
    this.#position = Atomics.load(this.words, this.#readPositionWord)
    this.#returnedPosition = this.#position
    this.#inheritedEpoch = Atomics.load(this.words, this.#reportedEpochIndex)
    this.#writePosition = this.#position
    try {
      this.#refill()
    } catch (error) {
      this.#role.close(this.#roleWord)
      throw error
    }
    this.#dataEvents.reset()
    this.#forgetClose = region.onClose(() => this.close())
    this.#dataCondition = {
      poll: () => this.#isWorthALook(),
      reapDead: () => this.#proveProducer(),
      dependsOn: () => this.#producerRole.holders(),
    }
    // Whoever sleeps until there is space now depends on us, and on our life.
    this.#producerEvents.notify()
  }

  /**
   * Calls back for every message that is there now, up to `limit`, in place: without a copy, where a message came in one
   * record. Those bytes are shared memory: the producer's process can still change them, so do arithmetic with them, or
   * trust it; do not decode text from them. They are good until the callback returns. A message that came in fragments
   * is shown in a private array instead, from its byte 0 on: `bytes` is then not `consumer.bytes`.
   *
   * A callback that throws has received its message; drain throws the same, and the next call goes on behind it. Only if
   * drain is called where the stack is full, the message is shown again.
   * @returns how many messages; `null` where the producer closed and everything was received
   * @throws PeerDiedError `ERR_ISTHMUS_PEER_DIED` where there is nothing and the producer died
   * @throws IncompleteMessageError `ERR_ISTHMUS_MESSAGE_INCOMPLETE` where a large message breaks off
   */
  drain(callback: DrainCallback, limit = Number.POSITIVE_INFINITY): number | null {
    this.#beginReading(false)
    if (typeof callback !== 'function' || typeof limit !== 'number' || !(limit >= 0)) {
      throw this.#drainArgumentError(callback, limit)
    }
    if (this.#receives.isBusy) return 0
    if (!this.#refill() && this.#isEnded()) return null
    if (!this.#isListed && this.#position !== this.#writePosition) this.#list()
    // Locals, since whatever is read from `this` is read again after every callback.
    const { words, bytes } = this
    const indexMask = this.#indexMask
    const recordsWord = this.#recordsWord
    const payloadsByteOffset = this.#recordsByteOffset + RECORD_HEADER_BYTES
    const capacityBytes = this.#capacityBytes
    const returnStepBytes = this.#returnStepBytes
    const assembly = this.#assembly
    let position = this.#position
    let shownPosition = position
    let count = 0
    let emptyRecords = 0
    this.#isDraining = true
    try {
      // The write position changes where the callback closes the consumer.
      while (count < limit && position !== this.#writePosition) {
        const index = position & indexMask
        const headerIndex = recordsWord + (index >> 2)
        // Read once, then checked, then used: the memory may change under us.
        const byteLength = words[headerIndex]
        const kind = words[headerIndex + 1]
        const recordBytes = recordBytesOf(byteLength)
        if (
          kind === DATA &&
          byteLength >>> 0 <= ((this.#writePosition - position) | 0) - RECORD_HEADER_BYTES &&
          index + recordBytes <= capacityBytes &&
          assembly.takeWhole(byteLength)
        ) {
          shownPosition = position
          position = (position + recordBytes) | 0
          this.#position = position
          callback(bytes, payloadsByteOffset + index, byteLength)
          count++
        } else {
          // A message in fragments cannot be shown again.
          assertStackRoom()
          // Or it throws, for a record that does not end within what is published.
          const message = this.#assemble(kind, byteLength, index)
          position = this.#position
          shownPosition = position
          if (message !== undefined) {
            callback(message, 0, message.byteLength)
            count++
          } else if (++emptyRecords === EMPTY_RECORDS_MAX) {
            break
          }
        }
        if (((position - this.#returnedPosition) | 0) >= returnStepBytes) this.#returnSpace()
      }
    } catch (error) {
      // No calls of ours but this one: where the stack is full, they fail.
      if (!this.#isClosed && (error as Error | undefined)?.name === 'RangeError') {
        try {
          assertStackRoom()
        } catch {
          // The callback had no room to run in: it did not receive this message.
          this.#position = shownPosition
        }
      }
      throw error
    } finally {
      this.#isDraining = false
    }
    if (this.#producerEvents.isAwaited) this.#returnSpace()
    return count
  }

  /**
   * Receives one message, if it is there now.
   * @returns a private copy, or what the decoder made of it; `undefined` for nothing yet; `null` at the end
   * @throws PeerDiedError `ERR_ISTHMUS_PEER_DIED` where there is nothing and the producer died
   * @throws IncompleteMessageError `ERR_ISTHMUS_MESSAGE_INCOMPLETE` where a large message breaks off
   */
  tryReceive(): T | undefined | null {
    if (this.#receives.isBusy) return undefined
    const message = this.#tryTake(false, this.#assemble)
    return message === undefined || message === null || this.#codec === undefined
      ? (message as T | undefined | null)
      : this.#codec.decode(message)
  }

  /**
   * Receives one message, and blocks the thread until it is there.
   * @returns as tryReceive; `undefined` after `timeoutMs`, also in the midst of a large message, which then goes on with
   * the next call
   * @throws as tryReceive
   * @throws IsthmusError `EDEADLK` where it would wait for a producer of this very thread
   */
  receiveSync(): T | null
  receiveSync(options: TimeoutOptions): T | undefined | null
  receiveSync(options: TimeoutOptions = {}): T | undefined | null {
    return this.#decoded(this.#receiveBytesSync(deadlineOf(options, this.#attempt)))
  }

  /**
   * As receiveSync, without blocking the event loop. Several calls get their messages in order; while one waits,
   * `tryReceive` returns undefined. A message is decoded when it is there, so the promise also rejects with what the
   * decoder throws.
   * @throws AbortError when the signal aborts; no message is lost
   */
  receive(): Promise<T | null>
  receive(options: WaitOptions): Promise<T | undefined | null>
  receive(options?: WaitOptions): Promise<T | undefined | null> {
    const taken = this.#takeInTurn(this.#takeMessage, options)
    return this.#codec === undefined ? (taken as Promise<T | undefined | null>) : taken.then(this.#decodeTaken)
  }

  /** Receives one message after the other, blocking the thread, until the producer closes. Throws as receiveSync. */
  *[Symbol.iterator](): Generator<T, void, undefined> {
    for (;;) {
      const bytes = this.#receiveBytesSync(Number.POSITIVE_INFINITY)
      if (bytes === null || bytes === undefined) return
      yield this.#decoded(bytes) as T
    }
  }

  /**
   * Receives one message after the other, without blocking the event loop, until the producer closes. Throws as receive.
   * Leaving the loop, or destroying a stream such as `Readable.from(consumer)`, ends a pending receive at once, and takes
   * no message for it.
   */
  [Symbol.asyncIterator](): MessageIterator<T> {
    return new MessageIterator(this.#source, undefined)
  }

  /**
   * The same, until a signal ends it with an AbortError. `pipeline` of `node:stream` tells a stream that it has failed or
   * was aborted, and not a consumer: give it `Readable.from(consumer)`, or this with its own signal, as in
   * `pipeline(consumer.messages({ signal }), sink, { signal })`.
   *
   * @throws IsthmusTypeError `ERR_ISTHMUS_INVALID_ARGUMENT` for a signal that is no AbortSignal
   */
  messages(options: MessagesOptions = {}): MessageIterator<T> {
    return new MessageIterator(this.#source, signalOf(options, `Iterating over ${this.#subject}`))
  }

  /**
   * Receives the next part of a message, as soon as it is there: for messages that are too large to be held in memory, and
   * for showing progress. A message is received either whole or in chunks.
   * @returns `undefined` for nothing yet; `null` at the end
   * @throws as tryReceive
   * @throws IsthmusRangeError `ERR_ISTHMUS_INVALID_ARGUMENT` where the chunk does not fit into `into`; nothing was received
   */
  tryReceiveChunk(options: ChunkOptions = {}): MessageChunk | undefined | null {
    const into = this.#chunkTargetOf(options)
    if (this.#receives.isBusy) return undefined
    return this.#tryTakeChunk(into)
  }

  /** As tryReceiveChunk, and blocks the thread until a part is there, or until `timeoutMs` is over. */
  receiveChunkSync(options?: ChunkOptions & Untimed): MessageChunk | null
  receiveChunkSync(options: ChunkOptions & TimeoutOptions): MessageChunk | undefined | null
  receiveChunkSync(options: ChunkOptions & TimeoutOptions = {}): MessageChunk | undefined | null {
    const into = this.#chunkTargetOf(options)
    const deadline = deadlineOf(options, this.#attempt)
    this.#assertOurTurn()
    for (;;) {
      const chunk = this.#tryTakeChunk(into)
      if (chunk !== undefined || !this.#waitForDataSync(deadline)) return chunk
    }
  }

  /** As receiveChunkSync, without blocking the event loop. */
  receiveChunk(options?: ChunkOptions & Untimed): Promise<MessageChunk | null>
  receiveChunk(options: ChunkOptions & WaitOptions): Promise<MessageChunk | undefined | null>
  receiveChunk(options: ChunkOptions & WaitOptions = {}): Promise<MessageChunk | undefined | null> {
    try {
      const into = this.#chunkTargetOf(options)
      return this.#takeInTurn(() => this.#tryTakeChunk(into), options)
    } catch (error) {
      return Promise.reject(error)
    }
  }

  /** Pending receives keep the process running; this is the default. */
  ref(): this {
    this.#dataEvents.setRef(true)
    return this
  }

  /** Pending receives no longer keep the process running. */
  unref(): this {
    this.#dataEvents.setRef(false)
    return this
  }

  /** For waitAny: ready when a receive would not have to wait, whether for a record, an end, or a reason to throw. */
  [WAITABLE](): WaitFor {
    const { word } = this.#producerRole
    this.#producer.note(word)
    const state = stateOfRole(word)
    const isTold = epochOfRole(word) === this.#toldEpoch
    // What was told to the consumer before us is not told again; what was told to us is, if it is a close.
    const isEndOld = isTold ? state === DIED : epochOfRole(word) === this.#inheritedEpoch
    if (state === HELD || state === VACANT || isEndOld) this.#judgedRoleWord = word
    // Whoever waits is done with what it was given; the next message may not fit before its space is free.
    if (!this.#isClosed && !this.#isDraining) this.#returnSpace()
    const isReady = () => this.#isWorthALook() || this.#hasEndedForGood()
    const pollArmed = () => {
      // The same where others of this thread have received meanwhile.
      if (this.#producerEvents.isAwaited && !this.#isClosed && !this.#isDraining) this.#returnSpace()
      return isReady()
    }
    return { point: this.#dataEvents, condition: { ...this.#dataCondition, poll: isReady, pollArmed: pollArmed } }
  }

  /**
   * Returns the space of everything received so far, now: a successor will not see it again. Without it, space is returned
   * in steps of a quarter of the ring, whenever the ring was found empty, and before this thread waits for anything else
   * of isthmus.
   */
  acknowledge(): void {
    this.#assertUsable('Acknowledging')
    this.#returnSpace()
  }

  /**
   * Returns the space of everything received, and gives the role back. What was not received stays for the next consumer.
   * From within a drain callback it ends the drain, and with it what the callback was shown.
   */
  close(): void {
    if (this.#isCloseOver) return
    if (!this.#isClosed) {
      this.#returnSpace()
      this.#noteTold()
      this.#isClosed = true
      this.#message = undefined
    }
    // Our own waits end before a successor can have its own.
    this.#dataEvents.pollOwnWaits()
    this.#role.close(this.#roleWord)
    this.#producerEvents.notify()
    // Ends a drain that is under way.
    this.#writePosition = this.#position
    beforeSleep.remove(this.#debtorReference)
    this.#forgetClose()
    this.#isCloseOver = true
  }

  [Symbol.dispose](): void {
    this.close()
  }

  /** Blocks until a whole message is there. */
  #receiveBytesSync(deadline: number): Uint8Array | undefined | null {
    this.#assertOurTurn()
    for (;;) {
      const message = this.#tryTake(false, this.#assemble)
      if (message !== undefined || !this.#waitForDataSync(deadline)) return message
    }
  }

  /** Tries again and again, without blocking, when all receives before this one are over. */
  async #takeInTurn<R>(tryTake: () => R | undefined, options: WaitOptions | undefined): Promise<R | undefined> {
    const deadline = deadlineOf(options, this.#attempt)
    const signal = signalOf(options, this.#attempt)
    throwIfAborted(signal)
    this.#assertUsable('Receiving')
    const canCompleteSynchronously = this.#receives.canCompleteSynchronously()
    let taken = canCompleteSynchronously ? tryTake() : undefined
    if (taken !== undefined) return taken
    if (!this.#receives.tryEnter() && !(await this.#receives.enter(deadline, signal))) return undefined
    try {
      if (!canCompleteSynchronously) {
        await this.#receives.yieldToEventLoop()
        taken = tryTake()
      }
      while (taken === undefined) {
        // Where records come in as fast as they are taken, and bring no message, no wait would ever have to sleep.
        if (nowMs() >= deadline && this.#isWorthALook()) return undefined
        if (!(await this.#dataEvents.wait(this.#dataCondition, deadline, signal))) return undefined
        taken = tryTake()
      }
      return taken
    } finally {
      this.#receives.leave()
    }
  }

  #tryTakeChunk(target: Uint8Array | undefined): MessageChunk | undefined | null {
    this.#chunkTarget = target
    return this.#tryTake(true, this.#takeChunk)
  }

  readonly #takeMessage = (): Uint8Array | undefined | null => this.#tryTake(false, this.#assemble)
  readonly #source: MessageSource<T> = {
    tryNext: () => {
      const message = this.#tryTake(false, this.#assemble)
      if (message === undefined) return undefined
      if (message === null) return { done: true, value: undefined }
      return { done: false, value: this.#decoded(message) as T }
    },
    inTurn: (tryTake, options) => this.#takeInTurn(tryTake, options),
  }
  readonly #decodeTaken = (message: Uint8Array | undefined | null): T | undefined | null => this.#decoded(message)

  #decoded(message: Uint8Array | undefined | null): T | undefined | null {
    if (message === undefined || message === null || this.#codec === undefined) return message as T | undefined | null
    return this.#codec.decode(message)
  }

  /** Takes records until `take` makes something of one, or none is left, or it has been at it for long enough. */
  #tryTake<R>(
    inChunks: boolean,
    take: (kind: number, byteLength: number, index: number) => R | undefined,
  ): R | undefined | null {
    this.#beginReading(inChunks)
    for (let emptyRecords = 0; emptyRecords < EMPTY_RECORDS_MAX; emptyRecords++) {
      // Before the next record is taken, not after: whoever calls again is done with what it was given. Killed before
      // that, a consumer leaves the message to its successor.
      const unreturnedBytes = (this.#position - this.#returnedPosition) | 0
      if (unreturnedBytes >= this.#returnStepBytes || this.#producerEvents.isAwaited) this.#returnSpace()
      if (this.#position === this.#writePosition && !this.#refill()) {
        if (this.#isEnded()) return null
        if (this.#position === this.#writePosition) return undefined
      }
      if (!this.#isListed) this.#list()
      const index = this.#position & this.#indexMask
      const headerIndex = this.#recordsWord + (index >> 2)
      const taken = take.call(this, this.words[headerIndex + 1], this.words[headerIndex], index)
      if (taken !== undefined) return taken
    }
    return undefined
  }

  /**
   * Takes one record; returns the message that is complete with it. First the copy, then the step behind the record: where
   * there is no memory, or no stack, for the copy, nothing was received.
   */
  #assemble(kind: number, byteLength: number, index: number): Uint8Array | undefined {
    const recordBytes = this.#checkedRecordBytes(byteLength, index)
    if (kind === DATA && this.#assembly.takeWhole(byteLength)) {
      const start = this.#recordsByteOffset + index + RECORD_HEADER_BYTES
      const copy = this.bytes.slice(start, start + byteLength)
      this.#position = (this.#position + recordBytes) | 0
      return copy
    }
    const piece = this.#look(kind, byteLength, index, recordBytes)
    if (piece === undefined) return undefined
    const from = this.#recordsByteOffset + index + RECORD_HEADER_BYTES + piece.prefixBytes
    const isLast = isLastOf(piece)
    const message = piece.messageOffset === 0 ? this.#allocate(piece.messageByteLength) : this.#message
    message?.set(this.bytes.subarray(from, from + piece.byteLength), piece.messageOffset)
    this.#step(recordBytes)
    // When it is complete, it is the program's, and may be large.
    this.#message = isLast ? undefined : message
    return isLast ? message : undefined
  }

  #allocate(byteLength: number): Uint8Array {
    try {
      return new Uint8Array(byteLength)
    } catch (cause) {
      throw new IsthmusError(
        'ERR_ISTHMUS_MESSAGE_TOO_LARGE',
        `${this.#attempt}: no memory for a message of ${byteLength} bytes. It was not received; receive it in chunks (receiveChunk), or free memory and try again.`,
        { cause },
      )
    }
  }

  /** Takes one record; returns a copy of what it brings. */
  #takeChunk(kind: number, byteLength: number, index: number): MessageChunk | undefined {
    const recordBytes = this.#checkedRecordBytes(byteLength, index)
    const target = this.#chunkTarget
    if (target !== undefined && byteLength > target.byteLength && kindOf(kind) !== PADDING) {
      throw new IsthmusRangeError(
        'ERR_ISTHMUS_INVALID_ARGUMENT',
        `Receiving a chunk: it may have ${byteLength} bytes, and the array to copy it into has ${target.byteLength}. Give one of maxRecordBytes.`,
      )
    }
    const piece = this.#look(kind, byteLength, index, recordBytes)
    if (piece === undefined) return undefined
    const from = this.#recordsByteOffset + index + RECORD_HEADER_BYTES + piece.prefixBytes
    const to = from + piece.byteLength
    target?.set(this.bytes.subarray(from, to))
    const chunk = {
      bytes: target === undefined ? this.bytes.slice(from, to) : target.subarray(0, piece.byteLength),
      messageOffset: piece.messageOffset,
      messageByteLength: piece.messageByteLength,
      isLast: isLastOf(piece),
    }
    this.#step(recordBytes)
    return chunk
  }

  /**
   * Looks at a record whose length was checked: what it brings, to be copied before `#step`. A record that brings nothing
   * is taken here, also where it tells of a message that stays incomplete. Nothing has moved where this throws for a
   * corrupt one.
   */
  #look(kind: number, byteLength: number, index: number, recordBytes: number): Fragment | undefined {
    const hasTotal = kindOf(kind) === FIRST && byteLength >= TOTAL_LENGTH_BYTES
    const found = this.#assembly.look(
      kind,
      byteLength,
      hasTotal ? readTotalLength(this.words, this.#recordsWord + ((index + RECORD_HEADER_BYTES) >> 2)) : 0,
    )
    if (found !== undefined && !('code' in found)) return found
    this.#step(recordBytes)
    if (found === undefined) return undefined
    this.#message = undefined
    throw found
  }

  #step(recordBytes: number): void {
    this.#assembly.step()
    this.#position = (this.#position + recordBytes) | 0
  }

  /** The record at #position, with a byteLength that was read from memory: it has to end within what is published. */
  #checkedRecordBytes(byteLength: number, index: number): number {
    const availableBytes = (this.#writePosition - this.#position) | 0
    const recordBytes = recordBytesOf(byteLength)
    const isWithin =
      byteLength >>> 0 <= availableBytes - RECORD_HEADER_BYTES && index + recordBytes <= this.#capacityBytes
    if (isWithin) return recordBytes
    throw corruptError(this.#subject, `a record of ${byteLength} bytes stands where ${availableBytes} are published`)
  }

  /** Looks how far the producer has come; false where everything has been read. */
  #refill(): boolean {
    // SYNC records visible to consumer: everything before this position, with all its bytes
    const writePosition = Atomics.load(this.words, this.#writePositionWord)
    const isBehindUs = ((writePosition - this.#position) | 0) < 0
    if (isBehindUs || !arePositionsValid(writePosition, this.#returnedPosition, this.#capacityBytes)) {
      throw corruptError(this.#subject, `the write position is ${writePosition}, and ${this.#position} has been read`)
    }
    this.#writePosition = writePosition
    return writePosition !== this.#position
  }

  #returnSpace(): void {
    if (this.#returnedPosition === this.#position) return
    // SYNC space visible to producer: we no longer read anything before this position
    Atomics.store(this.words, this.#readPositionWord, this.#position)
    this.#producerEvents.notify()
    // Last: if the producer could not be woken, it is tried again.
    this.#returnedPosition = this.#position
  }

  /** From now on we have received something whose space is not returned. */
  #list(): void {
    beforeSleep.add(this.#debtorReference, pendingWaits.isAsleep)
    this.#isListed = true
  }

  /** This thread is about to sleep. What a drain callback is shown stays. */
  #settle(): boolean {
    if (this.#isDraining) return false
    if (!this.#isClosed) this.#returnSpace()
    this.#isListed = false
    return true
  }

  /**
   * For a ring that was found empty: whether its producer has ended. Where it has not, or something came after all,
   * #writePosition tells which.
   */
  #isEnded(): boolean {
    this.#returnSpace()
    const { word } = this.#producerRole
    if (word !== this.#judgedRoleWord) this.#producer.note(word)
    if (stateOfRole(word) === HELD && !this.#producerCheck.isDue()) {
      this.#judgedRoleWord = word
      return false
    }
    const { state, epoch } = this.#producerRole.observe()
    // Whatever this epoch published, it published before it ended. Its end is not judged before all of it is received.
    if (state !== HELD && state !== VACANT && this.#refill()) return false
    this.#judgedRoleWord = word
    if (state === HELD || state === VACANT) return false
    if (epoch === this.#inheritedEpoch) return false
    if (epoch === this.#toldEpoch) {
      this.#noteTold()
      return state === CLOSED
    }
    const news = this.#newsOfEnd(state, epoch)
    this.#assembly.endEpoch()
    this.#message = undefined
    // What follows cannot fail: an end counts as told only when it is.
    this.#toldEpoch = epoch
    if (news !== undefined) throw news
    return true
  }

  /** What there is to say about the end of an epoch; nothing, if it was closed between two messages. */
  #newsOfEnd(state: RoleState, epoch: number): PeerDiedError | IncompleteMessageError | undefined {
    const { incomplete } = this.#assembly
    if (state === CLOSED) return incomplete
    const lost =
      incomplete === undefined
        ? ''
        : `, but for a large message of which ${incomplete.receivedBytes} of ${incomplete.messageByteLength} bytes had come`
    const producer = this.#producer.in(epoch)
    return new PeerDiedError(
      `${this.#attempt}: its producer${nameOf(producer)} died, or ended without closing. Everything that it had committed was received${lost}. Receive again to wait for the next producer.`,
      producer,
    )
  }

  #proveProducer(): void {
    this.#producer.note(this.#producerRole.word)
    this.#producerRole.observe()
  }

  /** Only when the program comes back: killed before that, it has not been told, and its successor will be. */
  #noteTold(): void {
    if (this.#toldEpoch === 0) return
    Atomics.store(this.words, this.#reportedEpochIndex, this.#toldEpoch)
  }

  /** Whether there is something to look at: data, or another word in the producer's role. */
  #isWorthALook(): boolean {
    return (
      this.#isClosed ||
      Atomics.load(this.words, this.#writePositionWord) !== this.#position ||
      // Compared with the role as it was judged, not as it is now: the producer may have closed in between.
      this.#producerRole.word !== this.#judgedRoleWord
    )
  }

  /** Whether every receive returns null, until there is a new producer. */
  #hasEndedForGood(): boolean {
    const { word } = this.#producerRole
    return stateOfRole(word) === CLOSED && epochOfRole(word) === this.#toldEpoch
  }

  /** Blocks until there is something to look at. */
  #waitForDataSync(deadline: number): boolean {
    if (nowMs() >= deadline) return false
    if (this.#isWorthALook()) return true
    if (this.#producerRole.isHeldBySelf()) {
      throw new IsthmusError(
        'EDEADLK',
        `Waiting for a message from ${this.#subject}: its producer belongs to this very thread, which would block for ever. Send first.`,
      )
    }
    return this.#dataEvents.waitSync(this.#dataCondition, deadline)
  }

  #assertOurTurn(): void {
    if (!this.#receives.isBusy) return
    throw new IsthmusError(
      'EDEADLK',
      `Waiting for a message from ${this.#subject}: a receive of this very thread waits for one before this, which would block for ever. Await it first.`,
    )
  }

  /** Checked before anything is received. */
  #chunkTargetOf(options: ChunkOptions): Uint8Array | undefined {
    assertOptions(options, this.#attempt)
    const { into } = options
    if (into === undefined || isUint8Array(into)) return into
    throw new IsthmusTypeError(
      'ERR_ISTHMUS_INVALID_ARGUMENT',
      `${this.#attempt}: into is ${inWords(into)}. Give a Uint8Array of maxRecordBytes, or leave it out.`,
    )
  }

  #drainArgumentError(callback: unknown, limit: unknown): Error {
    if (typeof callback !== 'function') {
      return new IsthmusTypeError(
        'ERR_ISTHMUS_INVALID_ARGUMENT',
        `Draining ${this.#subject}: got ${inWords(callback)} instead of the callback. Give a function.`,
      )
    }
    return new IsthmusRangeError(
      'ERR_ISTHMUS_INVALID_ARGUMENT',
      `Draining ${this.#subject}: limit is ${inWords(limit)}. Give a number of messages, or leave it out.`,
    )
  }

  #beginReading(inChunks: boolean): void {
    this.#assertUsable('Receiving')
    if (this.#isReadingChunks === inChunks) return
    if (this.#assembly.isInsideMessage) {
      throw new IsthmusError(
        'ERR_ISTHMUS_CALL_ORDER',
        `${this.#attempt}: the message under way is being received ${inChunks ? 'whole' : 'in chunks'}. Receive the rest of it in the same way.`,
      )
    }
    this.#isReadingChunks = inChunks
  }

  #assertUsable(attempt: string): void {
    if (this.#isClosed) throw closedError(`${attempt} through the consumer of ${this.#subject}`)
    if (!this.#isDraining) return
    throw new IsthmusError(
      'ERR_ISTHMUS_CALL_ORDER',
      `${attempt} through the consumer of ${this.#subject} from within a drain callback: the message that it shows is still in use. Return from the callback first.`,
    )
  }
}

function isLastOf({ messageOffset, byteLength, messageByteLength }: Fragment): boolean {
  return messageOffset + byteLength === messageByteLength
}
