import {
  IsthmusError,
  IsthmusRangeError,
  IsthmusTypeError,
  PeerDiedError,
  type Signal,
  type TimeoutOptions,
  type UntimedOptions,
  type Waitable,
  type WaitOptions,
} from '@isthmus/sync'
import {
  Awaitable,
  assertOptions,
  assertStackRoom,
  type Condition,
  closedError,
  deadlineOf,
  type EventCount,
  heldSpace,
  inWords,
  isUint8Array,
  nowMs,
  type SpaceHolder,
  signalOf,
  TurnQueue,
  throwIfAborted,
  WAITABLE,
  type WaitFor,
} from '@isthmus/sync/internal'
import type { Codec } from '../codec.js'
import { corruptError, type IncompleteMessageError } from '../errors.js'
import {
  DUE,
  EMPTY,
  type ForEachOptions,
  forEachOf,
  isPromiseLike,
  OVER,
  type RoundEnd,
  type Slice,
} from '../messages/for-each.js'
import { MessageIterator, type MessageSource, type MessagesOptions } from '../messages/message-iterator.js'
import { LargeMessagePolling } from '../record/large-message-polling.js'
import {
  advance,
  DATA,
  distance,
  FIRST,
  fitsRecord,
  kindOf,
  PADDING,
  RECORD_HEADER_BYTES,
  readTotalLength,
  recordBytesOf,
  TOTAL_LENGTH_BYTES,
} from '../record/layout.js'
import { type Fragment, MessageAssembly } from '../record/message-assembly.js'
import { privateBytes } from '../record/private-bytes.js'
import { isWorthRun, PrivateRun } from '../record/private-run.js'
import { type Counterpart, type EndedEpoch, nameOf } from '../role/counterpart.js'
import { CLOSED } from '../role/layout.js'
import type { AcquiredRole, Role } from '../role/role.js'
import { arePositionsValid, READ_POSITION_OFFSET, RECORDS_OFFSET, WRITE_POSITION_OFFSET } from './layout.js'
import type { RingSide } from './ring-side.js'

export interface DrainOptions {
  /** How many messages one call shows at most; all that are there if not given. */
  readonly limit?: number
}

export interface BatchOptions {
  /** How many messages a batch has at most, from 1 on; 256 if not given. */
  readonly maxMessages?: number
}

export interface IntoOptions {
  /**
   * Where to copy the message, instead of into new memory. If the call ends before a large message is whole, what has come
   * stands there, and the next call goes on in the same array: leave it unchanged until then. With another array, or none,
   * the next call copies it from there.
   */
  readonly into: Uint8Array
}

export interface ChunkOptions {
  /**
   * Where to copy the chunk, instead of into a new array: at least maxRecordBytes long, to fit any chunk. The next call
   * with the same array overwrites the chunk.
   */
  readonly into?: Uint8Array
}

/** A part of a message, in the order of its bytes. A message that fits into one record comes as one chunk. */
export interface MessageChunk {
  /** A private copy; with `into`, the part of it that was written. */
  readonly bytes: Uint8Array
  /** Where the chunk begins in its message, in bytes. */
  readonly messageOffset: number
  /** The length of the whole message. */
  readonly messageByteLength: number
  /** Whether the message ends with this chunk. */
  readonly isLast: boolean
}

/**
 * How many records that complete no message one call takes. A call that does not wait must end soon, even if fragments of
 * a large message come in as fast as it reads them, or the memory is full of padding.
 */
const EMPTY_RECORDS_MAX = 1024

/** From here on, memory that is not filled with zeros first saves more than it costs to ask for it. */
const UNZEROED_BYTES_MIN = 8192

/** A batch of these takes less than a millisecond, and fills no more than a quarter of a ring of 1 MiB if they have 1 KiB. */
const BATCH_MESSAGES = 256

/**
 * For how many calls a batch counts, when the event loop is to have its turn after so many of them: a message in a batch costs
 * a fraction of a call, a large one as much as a call.
 */
const BATCH_MESSAGES_PER_COMPLETION = 16
const BATCH_BYTES_PER_COMPLETION = 4096

/** Called by drain for each message: `byteLength` bytes from `byteOffset` on in `bytes`. */
export type DrainCallback = (bytes: Uint8Array, byteOffset: number, byteLength: number) => void

/** Called by forEachInPlace, as a DrainCallback. A promise that it returns is awaited before the next message. */
export type InPlaceCallback = (bytes: Uint8Array, byteOffset: number, byteLength: number) => unknown

/**
 * The receiving side of an SPSC ring. It gives private copies (`tryReceive`, `receiveSync`, `receive`), or shows messages
 * in place (`drain`). `undefined` means that there is nothing yet, or that the time is up; `null` means that the producer
 * closed and everything was received.
 *
 * A private copy never changes, whatever the producer's process does. One of up to 4 KiB may be a view of a block of 64 KiB
 * that it shares with other messages and unused memory: read `message.buffer` from `message.byteOffset` on, a multiple of 8;
 * keep `message.slice()` if you keep few of many messages, or transfer one to another thread. A larger one has its own buffer.
 *
 * In place means bytes: `drain` and chunks bypass the codec. They show what the codec of the ring has encoded.
 *
 * If the producer dies, or ends without closing, every message that it committed is received first; then a call throws
 * `ERR_ISTHMUS_PEER_DIED`, once for each producer that died, and the handle waits for a successor. If a successor takes
 * over before this consumer noticed the end, no error is thrown; the messages of the successor follow.
 *
 * @example
 * ```ts
 * for (const message of consumer) handle(message)
 * ```
 */
export class Consumer<T = Uint8Array> extends Awaitable implements Waitable {
  /** The whole region as bytes. If `drain` passes this very array, its `byteOffset` is an index of the three views below, too. */
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
  /** How most error messages begin. */
  readonly #attempt: string
  readonly #codec: Codec<T> | undefined
  /** What a codec makes of the outcome of a receive; undefined for a ring without codec. */
  readonly #decodeTaken: ((taken: Uint8Array | undefined | null) => T | undefined | null) | undefined
  readonly #capacityBytes: number
  readonly #indexMask: number
  readonly #returnStepBytes: number
  readonly #recordsByteOffset: number
  readonly #recordsWord: number
  readonly #writePositionWord: number
  readonly #readPositionWord: number

  /** Where the next record begins. */
  #position: number
  /** The read position as the producer sees it. From there to #position lies the space that is not returned yet. */
  #returnedPosition: number
  /** The read position at the last notification of the producer. If it is another one, the producer may sleep beside free space. */
  #notifiedPosition: number
  /** The write position as last seen. It may be old; the current one is never before it. */
  #writePosition: number
  #isClosed = false
  /** Whether `close` has done everything: an earlier call may have thrown half-way. */
  #isCloseOver = false
  /** A nested call from a drain callback would return space that the callback still reads. */
  #isDraining = false
  /** Size of the record at #position, if the callback of forEachInPlace is being shown it; 0 if not. */
  #shownBytes = 0

  /** Returns the space of received messages before this thread sleeps. */
  readonly #spaceHolder: SpaceHolder = { returnSpace: () => this.#settle() }
  readonly #spaceHolderReference = new WeakRef(this.#spaceHolder)
  /** Whether the thread's list of space holders contains this consumer. */
  #isListed = false

  /** Private copies of the messages from #position on. */
  readonly #run = new PrivateRun()
  readonly #assembly: MessageAssembly
  /** The large message under way, if it is received whole. */
  #message: Uint8Array | undefined
  #isReadingChunks = false
  /** The array of the program in which #message lies; undefined if it has its own. */
  #messageInto: Uint8Array | undefined
  /** Where the call under way copies what it takes, if the program has given an array. */
  #target: Uint8Array | undefined

  readonly #role: Role
  readonly #roleWord: number
  readonly #producer: Counterpart
  readonly #producerEvents: EventCount
  readonly #dataEvents: EventCount
  readonly #receives = new TurnQueue()
  readonly #dataCondition: Condition
  readonly #forgetClose: () => void

  /** @internal Use `ring.consumer()`. */
  constructor(side: RingSide, codec: Codec<T> | undefined, { word }: AcquiredRole) {
    super()
    const { region, byteOffset, subject, capacityBytes, maxRecordBytes, maxMessageBytes } = side.geometry
    this.#subject = subject
    this.#attempt = `Receiving from ${subject}`
    this.#codec = codec
    this.#decodeTaken = codec === undefined ? undefined : (taken) => this.#decoded(taken)
    this.#capacityBytes = capacityBytes
    this.#indexMask = capacityBytes - 1
    this.#returnStepBytes = capacityBytes / 4
    this.#recordsByteOffset = byteOffset + RECORDS_OFFSET
    this.#recordsWord = this.#recordsByteOffset >>> 2
    this.#writePositionWord = (byteOffset + WRITE_POSITION_OFFSET) >>> 2
    this.#readPositionWord = (byteOffset + READ_POSITION_OFFSET) >>> 2
    this.maxRecordBytes = maxRecordBytes
    this.#assembly = new MessageAssembly(maxMessageBytes, subject)
    this.bytes = side.bytes
    this.words = side.words
    this.doubles = side.doubles
    this.view = side.view

    this.#role = side.role
    this.#roleWord = word
    this.#producer = side.counterpart
    this.#producerEvents = side.counterpartEvents
    this.#dataEvents = side.events

    // Only the consumer writes these two words, so we continue where our predecessor returned space, and tell nothing twice.
    this.#producer.inheritTold()
    this.#position = Atomics.load(this.words, this.#readPositionWord)
    this.#returnedPosition = this.#position
    this.#notifiedPosition = this.#position
    this.#writePosition = this.#position
    try {
      this.#refill()
    } catch (error) {
      this.#role.close(word)
      throw error
    }
    this.#dataEvents.reset()
    this.#forgetClose = region.onClose(() => this.close())
    this.#dataCondition = {
      poll: () => this.#hasNews(),
      reapDead: () => this.#producer.reapDead(),
      dependsOn: () => this.#producer.holders(),
    }
    // Wake a producer that sleeps until there is space: it must now watch this consumer.
    this.#producerEvents.notify()
  }

  /**
   * Calls back for every message that is there now, up to `limit`, in place: without a copy, if the message came in one
   * record. Those bytes are shared memory, which the producer's process can still change: do arithmetic with them, or
   * trust it; do not decode text from them. They are valid until the callback returns. A message that came in fragments
   * is shown in a private array instead, from its byte 0 on: `bytes` is then not `consumer.bytes`. The codec is not used.
   *
   * If a callback throws, its message counts as received: drain throws the same, and the next call continues after it.
   * Exception: if drain is called when the stack is full, the message is shown again.
   * @returns how many messages; `null` if the producer closed and everything was received
   * @throws PeerDiedError `ERR_ISTHMUS_PEER_DIED` if there is nothing and the producer died
   * @throws IncompleteMessageError `ERR_ISTHMUS_MESSAGE_INCOMPLETE` if a large message breaks off
   *
   * @example
   * ```ts
   * let sum = 0
   * const add = (bytes, byteOffset) => (sum += bytes[byteOffset])
   * consumer.drain(add, { limit: 2 }) // 2
   * ```
   */
  drain(callback: DrainCallback, options?: DrainOptions): number | null {
    // First: a getter of the options may do anything with this consumer.
    const limit = options === undefined ? Number.POSITIVE_INFINITY : this.#limitOf(options)
    this.#beginReading(false)
    if (typeof callback !== 'function') throw this.#callbackError(callback)
    if (this.#receives.isBusy) return 0
    this.#run.drop()
    // The program is done with what earlier calls gave it.
    if (distance(this.#position, this.#notifiedPosition) >= this.#returnStepBytes) this.#returnSpace()
    if (!this.#refill() && this.#isEnded()) return null
    if (!this.#isListed && this.#position !== this.#writePosition) this.#list()
    // Locals: after every callback, V8 reads the fields of `this` again.
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
      // #writePosition changes if the callback closes the consumer.
      while (count < limit && position !== this.#writePosition) {
        const index = position & indexMask
        const headerIndex = recordsWord + (index >> 2)
        // Read once, then checked, then used: the producer's process may change the memory at any time.
        const byteLength = words[headerIndex]
        const kind = words[headerIndex + 1]
        if (
          kind === DATA &&
          fitsRecord(byteLength, distance(this.#writePosition, position), capacityBytes - index) &&
          assembly.takeWhole(byteLength)
        ) {
          shownPosition = position
          position = advance(position, recordBytesOf(byteLength))
          this.#position = position
          callback(bytes, payloadsByteOffset + index, byteLength)
          // It has received the message: what throws from here on does not show it again.
          shownPosition = position
          count++
        } else {
          // A message in fragments cannot be shown again.
          assertStackRoom()
          // This throws for a record that does not end within the published bytes.
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
        if (distance(position, this.#notifiedPosition) >= returnStepBytes) this.#returnSpace()
      }
    } catch (error) {
      // No other call here: if the stack is full, it would fail.
      if (!this.#isClosed && (error as Error | undefined)?.name === 'RangeError') {
        try {
          assertStackRoom()
        } catch {
          // There was no room for the callback to run: it did not receive this message.
          this.#position = shownPosition
        }
      }
      throw error
    } finally {
      this.#isDraining = false
    }
    if (this.#producerEvents.isAwaited) {
      // A program that has seen everything may come back only after the next message.
      if (position === this.#writePosition) this.#returnSpace()
      else this.#showSpace()
    }
    return count
  }

  /**
   * Receives one message into memory that the program has, if it is there now: for large messages, of which new memory costs
   * more than the copy. The codec is not used.
   * @returns the part of `into` that was written, `into.subarray(0, n)`
   * @throws IsthmusRangeError `ERR_ISTHMUS_MESSAGE_TOO_LARGE` if the message is longer than `into`; it stays in the ring
   *
   * @example
   * ```ts
   * const into = new Uint8Array(64)
   * consumer.tryReceive({ into }).byteLength // 1
   * ```
   */
  tryReceive(options: IntoOptions): Uint8Array | undefined | null
  /**
   * Receives one message, if it is there now.
   * @returns a private copy, or what the codec made of it; `undefined` if there is none yet; `null` at the end
   * @throws PeerDiedError `ERR_ISTHMUS_PEER_DIED` if there is nothing and the producer died
   * @throws IncompleteMessageError `ERR_ISTHMUS_MESSAGE_INCOMPLETE` if a large message breaks off
   *
   * @example
   * ```ts
   * consumer.tryReceive()[0] // 1
   * ```
   */
  tryReceive(): T | undefined | null
  tryReceive(options?: IntoOptions): T | Uint8Array | undefined | null {
    if (options !== undefined) return this.#tryReceiveInto(options)
    if (this.#receives.isBusy) return undefined
    const message = this.#tryTake(false, this.#assemble)
    return message === undefined || message === null || this.#codec === undefined
      ? (message as T | undefined | null)
      : this.#codec.decode(message)
  }

  /**
   * Receives one message, and blocks the thread until it is there.
   * @returns as tryReceive; `undefined` after `timeoutMs`, also in the midst of a large message, which the next call
   * continues. With `into` as tryReceive with `into`
   * @throws as tryReceive
   * @throws IsthmusError `EDEADLK` if it would wait for a producer of this very thread
   *
   * @example
   * ```ts
   * consumer.receiveSync({ timeoutMs: 1000 })[0] // 1
   * ```
   */
  receiveSync(options: IntoOptions & UntimedOptions): Uint8Array | null
  receiveSync(options: IntoOptions & TimeoutOptions): Uint8Array | undefined | null
  receiveSync(options?: UntimedOptions): T | null
  receiveSync(options: TimeoutOptions): T | undefined | null
  receiveSync(options?: TimeoutOptions & Partial<IntoOptions>): T | Uint8Array | undefined | null {
    const into = options === undefined ? undefined : this.#targetOf(options)
    if (into !== undefined) {
      return this.#blockFor(() => this.#tryTakeInto(into), deadlineOf(options, this.#attempt))
    }
    return this.#decoded(this.#receiveBytesSync(deadlineOf(options, this.#attempt)))
  }

  /**
   * As receiveSync, without blocking the event loop. Concurrent calls get their messages in the order of the calls; while
   * one waits, `tryReceive` returns undefined. The codec decodes a message when it has arrived, so the promise also
   * rejects with what the codec throws.
   * With `into` as tryReceive with `into`.
   * @throws AbortError when the signal aborts; no message is lost
   *
   * @example
   * ```ts
   * const message = await consumer.receive({ signal })
   * message[0] // 1
   * ```
   */
  receive(options: IntoOptions & UntimedOptions): Promise<Uint8Array | null>
  receive(options: IntoOptions & WaitOptions): Promise<Uint8Array | undefined | null>
  receive(options?: UntimedOptions): Promise<T | null>
  receive(options: WaitOptions): Promise<T | undefined | null>
  receive(options?: WaitOptions & Partial<IntoOptions>): Promise<T | Uint8Array | undefined | null> {
    if (options !== undefined) {
      try {
        const into = this.#targetOf(options)
        if (into !== undefined) return this.#take(() => this.#tryTakeInto(into), undefined, options)
      } catch (error) {
        return Promise.reject(error)
      }
    }
    return this.#take<Uint8Array | null, T | null>(this.#takeMessage, this.#decodeTaken, options)
  }

  /**
   * Receives one message after the other, blocking the thread, until the producer closes. Throws as receiveSync.
   *
   * @example
   * ```ts
   * for (const message of consumer) handle(message)
   * ```
   */
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
   * no message.
   *
   * @example
   * ```ts
   * for await (const message of consumer) handle(message)
   * ```
   */
  [Symbol.asyncIterator](): MessageIterator<T> {
    return new MessageIterator(this.#source, undefined)
  }

  /**
   * The same, until a signal ends it with an AbortError. `pipeline` of `node:stream` tells a stream, but not a
   * consumer, that it has failed or was aborted: give it `Readable.from(consumer)`, or this with its own signal, as in
   * `pipeline(consumer.messages({ signal }), sink, { signal })`.
   * @throws IsthmusTypeError `ERR_ISTHMUS_INVALID_ARGUMENT` for a signal that is no AbortSignal
   *
   * @example
   * ```ts
   * for await (const message of consumer.messages({ signal })) handle(message)
   * ```
   */
  messages(options: MessagesOptions = {}): MessageIterator<T> {
    return new MessageIterator(this.#source, signalOf(options, `Iterating over ${this.#subject}`))
  }

  /**
   * Receives what is there now: at least one message, and at most `maxMessages`. Each message costs less than with a call of
   * its own. The space of the whole batch stays taken until the next call. A message that came in fragments is the first of
   * its batch. An error that is met after some messages, such as one of the codec, comes with the next call, which then
   * meets it first; the codec decodes that message again.
   * @returns `undefined` if there is nothing yet; `null` at the end
   * @throws as tryReceive
   * @throws IsthmusRangeError `ERR_ISTHMUS_INVALID_ARGUMENT` for a number below 1, or no whole one
   *
   * @example
   * ```ts
   * const batch = consumer.tryReceiveBatch(2)
   * batch.length // 2
   * ```
   */
  tryReceiveBatch(maxMessages: number = BATCH_MESSAGES): T[] | undefined | null {
    const limit = this.#batchLimitOf(maxMessages)
    if (this.#receives.isBusy) return undefined
    return this.#tryTakeBatch(limit)
  }

  /**
   * As tryReceiveBatch, and blocks the thread until a message is there.
   * @returns as tryReceiveBatch; `undefined` after `timeoutMs`
   * @throws as receiveSync
   *
   * @example
   * ```ts
   * const batch = consumer.receiveBatchSync({ timeoutMs: 1000 })
   * batch.length // 3
   * ```
   */
  receiveBatchSync(options?: BatchOptions & UntimedOptions): T[] | null
  receiveBatchSync(options: BatchOptions & TimeoutOptions): T[] | undefined | null
  receiveBatchSync(options: BatchOptions & TimeoutOptions = {}): T[] | undefined | null {
    const limit = this.#batchLimitOf(options)
    return this.#blockFor(() => this.#tryTakeBatch(limit), deadlineOf(options, this.#attempt))
  }

  /**
   * As receiveBatchSync, without blocking the event loop. Takes its turn among the calls of `receive`.
   * @throws AbortError when the signal aborts; no message is lost
   *
   * @example
   * ```ts
   * const batch = await consumer.receiveBatch({ maxMessages: 64, signal })
   * batch.length // 3
   * ```
   */
  receiveBatch(options?: BatchOptions & UntimedOptions): Promise<T[] | null>
  receiveBatch(options: BatchOptions & WaitOptions): Promise<T[] | undefined | null>
  receiveBatch(options: BatchOptions & WaitOptions = {}): Promise<T[] | undefined | null> {
    try {
      const limit = this.#batchLimitOf(options)
      return this.#take<T[] | null>(() => this.#tryTakeBatch(limit), undefined, options)
    } catch (error) {
      return Promise.reject(error)
    }
  }

  /**
   * Receives one batch after the other (see tryReceiveBatch), without blocking the event loop, until the producer closes.
   * Otherwise as `messages`.
   *
   * @example
   * ```ts
   * for await (const batch of consumer.batches({ maxMessages: 64, signal })) for (const message of batch) handle(message)
   * ```
   */
  batches(options: BatchOptions & MessagesOptions = {}): MessageIterator<T[]> {
    const limit = this.#batchLimitOf(options)
    const tryNext = (): IteratorResult<T[], void> | undefined => {
      const value = this.#tryTakeBatch(limit)
      if (value === undefined) return undefined
      return value === null ? { done: true, value: undefined } : { done: false, value }
    }
    const signal = signalOf(options, `Iterating over ${this.#subject}`)
    return new MessageIterator({ ...this.#source, tryNext }, signal)
  }

  /**
   * Calls back for one message after the other, on the event loop, until the producer closes: the way with the least cost
   * for each message, without a promise for each of them. The value is what `receive` would give. If the callback returns a
   * promise, it is awaited before the next message.
   *
   * One turn of the event loop gives messages for about 1 ms; then timers and sockets have their turn. The callback is first
   * called after this call has returned. Other calls that await something of this consumer have their turn when this one is
   * over: do not await one in the callback.
   *
   * If the callback throws, or its promise rejects, its message counts as received, and the promise of this call rejects with
   * the same error. After an error, call again to go on.
   * @throws PeerDiedError `ERR_ISTHMUS_PEER_DIED` if the producer died, after all that it had committed
   * @throws IncompleteMessageError `ERR_ISTHMUS_MESSAGE_INCOMPLETE` if a large message breaks off
   * @throws IsthmusError `ERR_ISTHMUS_CLOSED` if the consumer, or its region, is closed, also by the callback
   * @throws AbortError when the signal aborts; no message is lost. A promise of the callback is awaited first
   *
   * @example
   * ```ts
   * await consumer.forEach((message) => handle(message), { signal })
   * ```
   */
  async forEach(callback: (value: T) => unknown, options?: ForEachOptions): Promise<void> {
    return this.#forEach(callback, options, (slice) => this.#giveCopies(callback, slice))
  }

  /**
   * As forEach, with messages in place as `drain` shows them: without a copy and without the codec, `byteLength` bytes from
   * `byteOffset` on in `bytes`. They are valid until the callback returns, or until the promise that it returns settles; the
   * space of the message stays taken as long. A message that came in fragments is shown in a private array.
   *
   * @example
   * ```ts
   * await consumer.forEachInPlace((bytes, byteOffset, byteLength) => handle(byteLength), { signal })
   * ```
   */
  async forEachInPlace(callback: InPlaceCallback, options?: ForEachOptions): Promise<void> {
    return this.#forEach(callback, options, (slice) => this.#showInPlace(callback, slice))
  }

  /**
   * Receives the next part of a message, if it is there now: for messages that are too large to be held in memory, and to
   * show progress. A message is received either whole or in chunks. The codec is not used.
   * @returns `undefined` if there is none yet; `null` at the end
   * @throws as tryReceive
   * @throws IsthmusRangeError `ERR_ISTHMUS_INVALID_ARGUMENT` if the chunk does not fit into `into`; nothing was received
   *
   * @example
   * ```ts
   * const chunk = consumer.tryReceiveChunk()
   * chunk.isLast // true
   * ```
   */
  tryReceiveChunk(options: ChunkOptions = {}): MessageChunk | undefined | null {
    const into = this.#targetOf(options)
    if (this.#receives.isBusy) return undefined
    return this.#tryTakeChunk(into)
  }

  /**
   * As tryReceiveChunk, and blocks the thread until a part is there, or `timeoutMs` is over.
   *
   * @example
   * ```ts
   * const into = new Uint8Array(consumer.maxRecordBytes)
   * consumer.receiveChunkSync({ into, timeoutMs: 1000 }).messageByteLength // 1
   * ```
   */
  receiveChunkSync(options?: ChunkOptions & UntimedOptions): MessageChunk | null
  receiveChunkSync(options: ChunkOptions & TimeoutOptions): MessageChunk | undefined | null
  receiveChunkSync(options: ChunkOptions & TimeoutOptions = {}): MessageChunk | undefined | null {
    const into = this.#targetOf(options)
    return this.#blockFor(() => this.#tryTakeChunk(into), deadlineOf(options, this.#attempt))
  }

  /**
   * As receiveChunkSync, without blocking the event loop.
   *
   * @example
   * ```ts
   * const chunk = await consumer.receiveChunk({ signal })
   * chunk.messageOffset // 0
   * ```
   */
  receiveChunk(options?: ChunkOptions & UntimedOptions): Promise<MessageChunk | null>
  receiveChunk(options: ChunkOptions & WaitOptions): Promise<MessageChunk | undefined | null>
  receiveChunk(options: ChunkOptions & WaitOptions = {}): Promise<MessageChunk | undefined | null> {
    try {
      const into = this.#targetOf(options)
      return this.#take<MessageChunk | null>(() => this.#tryTakeChunk(into), undefined, options)
    } catch (error) {
      return Promise.reject(error)
    }
  }

  /** For waitAny: ready when a receive would not have to wait, because of a record, an end, or a reason to throw. */
  [WAITABLE](): WaitFor {
    this.#producer.judgeBeforeWait()
    // A program that waits is done with the messages it received, and the next one may need their space.
    if (!this.#isClosed && !this.#isDraining) this.#returnSpace()
    const isReady = () => this.#hasNews() || this.#producer.hasClosedForGood()
    const pollArmed = () => {
      // Other calls of this thread may have received more meanwhile.
      if (this.#producerEvents.isAwaited && !this.#isClosed && !this.#isDraining) this.#returnSpace()
      return isReady()
    }
    return { point: this.#dataEvents, condition: { ...this.#dataCondition, poll: isReady, pollArmed } }
  }

  /**
   * Returns the space of everything received so far, now: a successor will not see it again. Without this call, space is
   * returned in steps of a quarter of the ring, whenever the ring was found empty, and before this thread waits for
   * anything else of isthmus.
   *
   * @example
   * ```ts
   * handle(consumer.tryReceive())
   * consumer.acknowledge()
   * ```
   */
  acknowledge(): void {
    this.#assertUsable('Acknowledging')
    this.#returnSpace()
  }

  /**
   * Returns the space of everything received, and gives the role back. Messages that were not received stay for the next
   * consumer. In a drain callback it ends the drain, and invalidates the bytes that the callback was shown.
   *
   * @example
   * ```ts
   * consumer.close()
   * ```
   */
  close(): void {
    if (this.#isCloseOver) return
    if (!this.#isClosed) {
      this.#endShowing()
      this.#returnSpace()
      this.#producer.recordTold()
      this.#isClosed = true
      this.#message = undefined
      this.#messageInto = undefined
    }
    // Our own waits must end before a successor begins its own.
    this.#dataEvents.pollOwnWaits()
    this.#role.close(this.#roleWord)
    this.#producerEvents.notify()
    // Ends a drain that is under way.
    this.#writePosition = this.#position
    heldSpace.remove(this.#spaceHolderReference)
    this.#forgetClose()
    this.#isCloseOver = true
  }

  [Symbol.dispose](): void {
    this.close()
  }

  protected override waitPoints(): readonly EventCount[] {
    return [this.#dataEvents]
  }

  /** Blocks until `tryTake` gives something. A single message takes a way of its own: it is the hot one. */
  #blockFor<R>(tryTake: () => R | undefined, deadline: number): R | undefined {
    this.#assertOurTurn()
    for (;;) {
      const taken = tryTake()
      if (taken !== undefined || !this.#waitForDataSync(deadline)) return taken
    }
  }

  /** Blocks until a whole message is there. */
  #receiveBytesSync(deadline: number): Uint8Array | undefined | null {
    this.#assertOurTurn()
    if (this.#position === this.#writePosition && !this.#isDraining && this.#producer.isHeld && !this.#hasNews()) {
      // Without a proof that the producer lives: most waits end with a message, and one that lasts asks for the proof.
      this.#returnSpace()
      this.#waitForDataSync(deadline)
    }
    for (;;) {
      const message = this.#tryTake(false, this.#assemble)
      if (message !== undefined || !this.#waitForDataSync(deadline)) return message
    }
  }

  /**
   * What `tryTake` gives, as soon as it gives something. If it does so now, the promise is resolved already: no chain of
   * promises for each message. `decode` makes of it what the caller gets.
   */
  #take<R, V = R>(
    tryTake: () => R | undefined,
    decode: ((taken: R | undefined) => V | undefined) | undefined,
    options: WaitOptions | undefined,
  ): Promise<V | undefined> {
    try {
      const deadline = deadlineOf(options, this.#attempt)
      const signal = signalOf(options, this.#attempt)
      throwIfAborted(signal)
      this.#assertUsable('Receiving')
      const hasTried = this.#receives.canCompleteSynchronously()
      const taken = hasTried ? tryTake() : undefined
      if (taken !== undefined) return Promise.resolve(decode === undefined ? (taken as unknown as V) : decode(taken))
      const taking = this.#takeInTurn(tryTake, deadline, signal, hasTried)
      return decode === undefined ? (taking as Promise<unknown> as Promise<V | undefined>) : taking.then(decode)
    } catch (error) {
      return Promise.reject(error)
    }
  }

  /**
   * The slow path of receive, receiveChunk and the iterators, for a call that could not complete at once: tries again and
   * again, without blocking, after all earlier calls are over.
   *
   * 1. Wait for this call's turn, and let the event loop have its own, if that is due.
   * 2. Try. If there is nothing: mark this consumer as a sleeper, poll once more, and let the event loop wait. But in the
   *    midst of a large message, poll for the next fragment first (see LargeMessagePolling).
   * 3. Woken by the producer, by its death, or by a timer: try again. A retry may find only fragments, and waits again.
   *
   * Unlike a send, a receive keeps no state between two tries, so its drivers share a loop and not a generator.
   */
  async #takeInTurn<R>(
    tryTake: () => R | undefined,
    deadline: number,
    signal: Signal | undefined,
    hasTried: boolean,
  ): Promise<R | undefined> {
    if (!this.#receives.tryEnter() && !(await this.#receives.enter(deadline, signal))) return undefined
    try {
      let taken: R | undefined
      if (!hasTried) {
        await this.#receives.yieldToEventLoop()
        taken = tryTake()
      }
      let polling: LargeMessagePolling | undefined
      while (taken === undefined) {
        // If records arrive as fast as they are taken and complete no message, no wait ever sleeps or times out.
        if (nowMs() >= deadline && this.#hasNews()) return undefined
        if (this.#assembly.isInsideMessage) {
          polling ??= new LargeMessagePolling(this.#receives)
          if (polling.until(this.#dataCondition)) {
            taken = tryTake()
            continue
          }
          if (polling.isTurnDue) await polling.yieldToEventLoop()
        }
        if (!(await this.#dataEvents.wait(this.#dataCondition, deadline, signal))) return undefined
        taken = tryTake()
      }
      return taken
    } finally {
      this.#receives.leave()
    }
  }

  #tryTakeChunk(target: Uint8Array | undefined): MessageChunk | undefined | null {
    this.#target = target
    this.#run.drop()
    return this.#tryTake(true, this.#takeChunk)
  }

  #tryReceiveInto(options: IntoOptions): Uint8Array | undefined | null {
    const into = this.#targetOf(options)
    if (this.#receives.isBusy) return undefined
    return into === undefined ? this.#tryTake(false, this.#assemble) : this.#tryTakeInto(into)
  }

  #tryTakeInto(into: Uint8Array): Uint8Array | undefined | null {
    this.#target = into
    this.#run.drop()
    try {
      return this.#tryTake(false, this.#assembleInto)
    } finally {
      this.#target = undefined
    }
  }

  readonly #takeMessage = (): Uint8Array | undefined | null => this.#tryTake(false, this.#assemble)
  readonly #source: MessageSource<T> = {
    tryNext: () => {
      const message = this.#tryTake(false, this.#assemble)
      if (message === undefined) return undefined
      if (message === null) return { done: true, value: undefined }
      return { done: false, value: this.#decoded(message) as T }
    },
    canCompleteSynchronously: () => {
      this.#assertUsable('Receiving')
      return this.#receives.canCompleteSynchronously()
    },
    inTurn: (tryTake, signal, hasTried) => this.#takeInTurn(tryTake, Number.POSITIVE_INFINITY, signal, hasTried),
  }

  #tryTakeBatch(limit: number): T[] | undefined | null {
    const message = this.#tryTake(false, this.#assemble)
    if (message === undefined || message === null) return message
    const batch = [this.#codec === undefined ? (message as T) : this.#codec.decode(message)]
    if (limit === 1 || this.#isClosed) return batch
    try {
      this.#takeMore(batch, limit)
    } catch {
      // The stack is full. The batch has been taken, and must not be lost.
    }
    return batch
  }

  /**
   * Takes what follows the first message of a batch, and returns no space. An error is left to the next call: the record that
   * causes it is not taken. For that reason this takes whole messages alone, which can be read again.
   */
  #takeMore(batch: T[], limit: number): void {
    const start = this.#position
    let position = start
    // A codec that calls this consumer would move it. It may close it.
    this.#isDraining = true
    try {
      for (let emptyRecords = 0; batch.length < limit && emptyRecords < EMPTY_RECORDS_MAX; ) {
        if (position === this.#writePosition && !this.#refill()) break
        const index = position & this.#indexMask
        const headerIndex = this.#recordsWord + (index >> 2)
        const kind = this.words[headerIndex + 1]
        if (kind !== DATA && kindOf(kind) !== PADDING) break
        const message = this.#assemble(kind, this.words[headerIndex], index)
        const nextPosition = this.#position
        if (message === undefined) {
          position = nextPosition
          emptyRecords++
          continue
        }
        this.#position = position
        const value = this.#decoded(message) as T
        if (this.#isClosed) break
        batch.push(value)
        this.#position = nextPosition
        position = nextPosition
      }
    } catch {
      // Whatever it is, #position stands before the record that caused it: the next call meets it again.
    } finally {
      this.#isDraining = false
    }
    const bytes = distance(position, start)
    this.#receives.countMore(batch.length / BATCH_MESSAGES_PER_COMPLETION + bytes / BATCH_BYTES_PER_COMPLETION)
  }

  async #forEach(
    callback: unknown,
    options: ForEachOptions | undefined,
    round: (slice: Slice) => RoundEnd,
  ): Promise<void> {
    const signal = signalOf(options, this.#attempt)
    if (typeof callback !== 'function') throw this.#callbackError(callback)
    throwIfAborted(signal)
    this.#assertUsable('Receiving')
    if (!this.#receives.tryEnter()) await this.#receives.enter(Number.POSITIVE_INFINITY, signal)
    try {
      // The callback is not called from within this call, whose caller may hold anything.
      await this.#receives.yieldToEventLoop()
      await forEachOf(
        {
          round,
          endCallback: () => this.#endShowing(),
          hasNews: () => this.#hasNews(),
          wait: (signal) => this.#dataEvents.wait(this.#dataCondition, Number.POSITIVE_INFINITY, signal),
          yieldToEventLoop: () => this.#receives.yieldNow(),
        },
        signal,
      )
    } finally {
      this.#receives.leave()
    }
  }

  #giveCopies(callback: (value: T) => unknown, slice: Slice): RoundEnd {
    do {
      const message = this.#tryTake(false, this.#assemble)
      if (message === undefined) return EMPTY
      if (message === null) return OVER
      const result = callback(this.#decoded(message) as T)
      if (isPromiseLike(result)) return result
    } while (slice.goesOn())
    return DUE
  }

  /** A record is stepped over after the callback is done with it: whatever returns space meanwhile returns what lies before it. */
  #showInPlace(callback: InPlaceCallback, slice: Slice): RoundEnd {
    this.#beginReading(false)
    this.#run.drop()
    const { words, bytes } = this
    try {
      do {
        if (distance(this.#position, this.#notifiedPosition) >= this.#returnStepBytes) this.#returnSpace()
        if (this.#position === this.#writePosition && !this.#refill()) {
          if (this.#isEnded()) return OVER
          if (this.#position === this.#writePosition) return EMPTY
        }
        if (!this.#isListed) this.#list()
        const index = this.#position & this.#indexMask
        const headerIndex = this.#recordsWord + (index >> 2)
        // Read once, then checked, then used.
        const byteLength = words[headerIndex]
        const kind = words[headerIndex + 1]
        let result: unknown
        if (
          kind === DATA &&
          fitsRecord(byteLength, distance(this.#writePosition, this.#position), this.#capacityBytes - index) &&
          this.#assembly.takeWhole(byteLength)
        ) {
          this.#shownBytes = recordBytesOf(byteLength)
          result = callback(bytes, this.#recordsByteOffset + index + RECORD_HEADER_BYTES, byteLength)
          if (isPromiseLike(result)) return result
          this.#endShowing()
        } else {
          // This throws for a record that does not end within the published bytes.
          const message = this.#assemble(kind, byteLength, index)
          if (message !== undefined) result = callback(message, 0, message.byteLength)
          if (isPromiseLike(result)) return result
        }
        if (this.#isClosed) throw closedError(this.#attempt)
      } while (slice.goesOn())
      return DUE
    } catch (error) {
      this.#endShowing()
      throw error
    } finally {
      if (this.#producerEvents.isAwaited && !this.#isClosed) this.#showSpace()
    }
  }

  /** The callback of forEachInPlace is done with its record. Its space is kept until the next one, as that of any message. */
  #endShowing(): void {
    if (this.#shownBytes === 0) return
    const position = advance(this.#position, this.#shownBytes)
    this.#shownBytes = 0
    this.#position = position
    // A wait in the callback may have ended that.
    if (!this.#isListed) this.#list()
  }

  #decoded(message: Uint8Array | undefined | null): T | undefined | null {
    if (message === undefined || message === null || this.#codec === undefined) return message as T | undefined | null
    return this.#codec.decode(message)
  }

  /**
   * Takes records until one of them gives a result, or none is left, or EMPTY_RECORDS_MAX gave none. `take` is a method of
   * this class without `this`: binding it would make garbage in every call.
   */
  #tryTake<R>(
    inChunks: boolean,
    take: (kind: number, byteLength: number, index: number) => R | undefined,
  ): R | undefined | null {
    this.#beginReading(inChunks)
    for (let emptyRecords = 0; emptyRecords < EMPTY_RECORDS_MAX; emptyRecords++) {
      // Before the next record is taken and not after this one: a program that calls again is done with the last message.
      // If it is killed before, its successor receives that message again.
      if (distance(this.#position, this.#notifiedPosition) >= this.#returnStepBytes) this.#returnSpace()
      else if (this.#producerEvents.isAwaited || this.#assembly.isInsideMessage) this.#showSpace()
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
   * Takes one record; returns the message that it completes. Copy first, then step over the record: if there is no memory
   * or no stack for the copy, nothing was received.
   */
  #assemble(kind: number, byteLength: number, index: number): Uint8Array | undefined {
    const copiedByteLength = this.#run.byteLengthAt(this.#position)
    if (copiedByteLength >= 0 && this.#assembly.takeWhole(copiedByteLength)) return this.#takeCopied(copiedByteLength)
    const recordBytes = this.#checkedRecordBytes(byteLength, index)
    if (kind === DATA && this.#assembly.takeWhole(byteLength)) {
      if (isWorthRun(byteLength, distance(this.#writePosition, this.#position)))
        return this.#copyRun(recordBytes, index)
      const start = this.#recordsByteOffset + index + RECORD_HEADER_BYTES
      const copy = this.#copyOf(start, byteLength)
      this.#position = advance(this.#position, recordBytes)
      return copy
    }
    return this.#assembleFragment(kind, byteLength, index, recordBytes, undefined)
  }

  /** The same, for a call that has an array of the program. */
  #assembleInto(kind: number, byteLength: number, index: number): Uint8Array | undefined {
    const into = this.#target as Uint8Array
    const recordBytes = this.#checkedRecordBytes(byteLength, index)
    if (kind !== DATA || !this.#assembly.takeWhole(byteLength)) {
      return this.#assembleFragment(kind, byteLength, index, recordBytes, into)
    }
    const start = this.#recordsByteOffset + index + RECORD_HEADER_BYTES
    const message = this.#partOf(into, byteLength)
    message.set(this.bytes.subarray(start, start + byteLength))
    this.#position = advance(this.#position, recordBytes)
    return message
  }

  #assembleFragment(
    kind: number,
    byteLength: number,
    index: number,
    recordBytes: number,
    into: Uint8Array | undefined,
  ): Uint8Array | undefined {
    const fragment = this.#look(kind, byteLength, index, recordBytes)
    if (fragment === undefined) return undefined
    const from = this.#recordsByteOffset + index + RECORD_HEADER_BYTES + fragment.prefixBytes
    const isLast = isLastOf(fragment)
    const message = this.#messageFor(fragment, into)
    message.set(this.bytes.subarray(from, from + fragment.byteLength), fragment.messageOffset)
    this.#step(recordBytes)
    // A complete message is the program's: keep no reference, it may be large.
    this.#message = isLast ? undefined : message
    this.#messageInto = isLast ? undefined : into
    return isLast ? message : undefined
  }

  /** The array of the message that this fragment belongs to. If an earlier call began it elsewhere, that part is copied. */
  #messageFor({ messageOffset, messageByteLength }: Fragment, into: Uint8Array | undefined): Uint8Array {
    const begun = messageOffset === 0 ? undefined : this.#message
    // Its array may have been transferred to another thread meanwhile, or cut off.
    if (begun !== undefined && begun.byteLength !== messageByteLength) throw this.#lostArray()
    if (begun !== undefined && into === this.#messageInto) return begun
    const message = into === undefined ? this.#allocate(messageByteLength) : this.#partOf(into, messageByteLength)
    if (begun !== undefined) message.set(begun.subarray(0, messageOffset))
    return message
  }

  #partOf(into: Uint8Array, byteLength: number): Uint8Array {
    if (byteLength <= into.byteLength) return into.subarray(0, byteLength)
    throw new IsthmusRangeError(
      'ERR_ISTHMUS_MESSAGE_TOO_LARGE',
      `${this.#attempt}: the message has ${byteLength} bytes, and the array to copy it into has ${into.byteLength}. It was not received; give a longer array, or receive it in chunks (receiveChunk).`,
    )
  }

  /** The message under way cannot become whole any more: its remaining fragments will be dropped. */
  #lostArray(): IncompleteMessageError {
    const lost = this.#assembly.giveUp('array-lost')
    this.#message = undefined
    this.#messageInto = undefined
    return lost
  }

  /** Copies the message at #position, together with small ones that follow it, and takes it. */
  #copyRun(recordBytes: number, index: number): Uint8Array | undefined {
    const availableBytes = Math.min(distance(this.#writePosition, this.#position), this.#capacityBytes - index)
    this.#run.copy(this.bytes, this.words, this.#recordsByteOffset + index, recordBytes, availableBytes, this.#position)
    const byteLength = this.#run.byteLengthAt(this.#position)
    // Changed since it was checked: the next attempt reads it anew.
    if (byteLength < 0 || !this.#assembly.takeWhole(byteLength)) return undefined
    return this.#takeCopied(byteLength)
  }

  #takeCopied(byteLength: number): Uint8Array {
    const message = this.#run.take(byteLength)
    this.#position = this.#run.position
    return message
  }

  #copyOf(start: number, byteLength: number): Uint8Array {
    if (byteLength < UNZEROED_BYTES_MIN) return this.bytes.slice(start, start + byteLength)
    const copy = this.#allocate(byteLength)
    copy.set(this.bytes.subarray(start, start + byteLength))
    return copy
  }

  #allocate(byteLength: number): Uint8Array {
    try {
      return privateBytes(byteLength)
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
    const target = this.#target
    if (target !== undefined && byteLength > target.byteLength && kindOf(kind) !== PADDING) {
      throw new IsthmusRangeError(
        'ERR_ISTHMUS_INVALID_ARGUMENT',
        `Receiving a chunk: it may have ${byteLength} bytes, and the array to copy it into has ${target.byteLength}. Give one of maxRecordBytes.`,
      )
    }
    const fragment = this.#look(kind, byteLength, index, recordBytes)
    if (fragment === undefined) return undefined
    const from = this.#recordsByteOffset + index + RECORD_HEADER_BYTES + fragment.prefixBytes
    const to = from + fragment.byteLength
    target?.set(this.bytes.subarray(from, to))
    const chunk = {
      bytes: target === undefined ? this.bytes.slice(from, to) : target.subarray(0, fragment.byteLength),
      messageOffset: fragment.messageOffset,
      messageByteLength: fragment.messageByteLength,
      isLast: isLastOf(fragment),
    }
    this.#step(recordBytes)
    return chunk
  }

  /**
   * Reads a record whose length was checked: what it brings, to be copied before `#step`. A record that brings nothing is
   * stepped over here, also if it tells that a message stays incomplete. If this throws for a corrupt record, nothing has
   * moved.
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
    this.#messageInto = undefined
    throw found
  }

  /** Both stores, or none: no call stands between them that could fail at the edge of the stack. */
  #step(recordBytes: number): void {
    const position = advance(this.#position, recordBytes)
    this.#assembly.step()
    this.#position = position
  }

  /** The bytes of the record at #position. It must end within the published bytes, whatever `byteLength` says. */
  #checkedRecordBytes(byteLength: number, index: number): number {
    const publishedBytes = distance(this.#writePosition, this.#position)
    if (fitsRecord(byteLength, publishedBytes, this.#capacityBytes - index)) return recordBytesOf(byteLength)
    throw corruptError(this.#subject, `a record of ${byteLength} bytes stands where ${publishedBytes} are published`)
  }

  /** Refreshes #writePosition; returns false if everything has been read. */
  #refill(): boolean {
    // SYNC records visible to consumer: everything before this position, with all its bytes
    const writePosition = Atomics.load(this.words, this.#writePositionWord)
    // Checked when it was seen first. A consumer that polls an empty ring comes this way each time.
    if (writePosition === this.#writePosition) return writePosition !== this.#position
    const isBehindUs = distance(writePosition, this.#position) < 0
    if (isBehindUs || !arePositionsValid(writePosition, this.#returnedPosition, this.#capacityBytes)) {
      throw corruptError(this.#subject, `the write position is ${writePosition}, and ${this.#position} has been read`)
    }
    this.#writePosition = writePosition
    return writePosition !== this.#position
  }

  /** Returns all space and wakes a producer that waits for it: at each quarter of the ring, and before this thread rests. */
  #returnSpace(): void {
    if (this.#notifiedPosition === this.#position) return
    // SYNC space visible to producer: the consumer no longer reads anything before this position
    Atomics.store(this.words, this.#readPositionWord, this.#position)
    this.#returnedPosition = this.#position
    this.#producerEvents.notify()
    // Last: if waking the producer failed, the next call tries again.
    this.#notifiedPosition = this.#position
  }

  /**
   * Returns all space, for a producer that waits or sends a large message, without waking it: a wake-up costs as much as
   * hundreds of messages, so it comes when there is space for many. A producer that polls, or whose time is up, finds the
   * space before.
   */
  #showSpace(): void {
    if (this.#returnedPosition === this.#position) return
    // SYNC space visible to producer: the consumer no longer reads anything before this position
    Atomics.store(this.words, this.#readPositionWord, this.#position)
    this.#returnedPosition = this.#position
  }

  /** From now on this consumer keeps the space of a received message. */
  #list(): void {
    heldSpace.add(this.#spaceHolderReference)
    this.#isListed = true
  }

  /** This thread is about to sleep. A message that a drain callback is shown keeps its space. */
  #settle(): boolean {
    if (this.#isDraining) return false
    if (!this.#isClosed) this.#returnSpace()
    this.#isListed = false
    return true
  }

  /**
   * For a ring that was found empty: whether its producer has ended. If not, or if something came after all, #writePosition
   * tells which.
   *
   * 1. Return all space: the producer may need it before it can send.
   * 2. Look at the producer's role, with a liveness check if one is due. If the epoch goes on, there is no end.
   * 3. It has ended: load the write position once more, since it published everything before it ended. Receive that first.
   * 4. Judge the end: told to an earlier consumer (wait for a successor), told by this handle (a close is told again, a
   *    death is not), or new.
   * 5. Tell it: `null` for a close, an error for a death or a message that broke off. Remember that it was told.
   */
  #isEnded(): boolean {
    this.#returnSpace()
    const end = this.#producer.findEnd()
    return end !== undefined && this.#isOver(end)
  }

  /** The rest of #isEnded, apart from it: a program that polls an empty ring takes its steps 1 and 2 each time. */
  #isOver(end: EndedEpoch): boolean {
    if (this.#refill()) return false
    const told = this.#producer.judge(end)
    if (told !== 'untold') return told === 'told' && end.state === CLOSED
    const news = this.#newsOfEnd(end)
    this.#assembly.endEpoch()
    this.#message = undefined
    this.#messageInto = undefined
    // Nothing after this can fail: an end counts as told only if it is told.
    this.#producer.markTold(end.epoch)
    if (news !== undefined) throw news
    return true
  }

  /** What to throw for the end of an epoch; undefined if it was closed between two messages. */
  #newsOfEnd({ epoch, state }: EndedEpoch): PeerDiedError | IncompleteMessageError | undefined {
    const { incomplete } = this.#assembly
    if (state === CLOSED) return incomplete
    const lost =
      incomplete === undefined
        ? ''
        : `, except for a large message of which ${incomplete.receivedBytes} of ${incomplete.messageByteLength} bytes had come`
    const producer = this.#producer.agentIn(epoch)
    return new PeerDiedError(
      `${this.#attempt}: its producer${nameOf(producer)} died, or ended without closing. Everything that it had committed was received${lost}. Receive again to wait for the next producer.`,
      producer,
    )
  }

  /** Whether a receive may find something: records, or a change in the producer's role. */
  #hasNews(): boolean {
    return (
      this.#isClosed ||
      Atomics.load(this.words, this.#writePositionWord) !== this.#position ||
      this.#producer.hasChanged()
    )
  }

  /** Blocks until a receive may find something; false if the time is up. */
  #waitForDataSync(deadline: number): boolean {
    if (nowMs() >= deadline) return false
    if (this.#hasNews()) return true
    if (this.#producer.isOwnThread()) {
      throw new IsthmusError(
        'EDEADLK',
        `Waiting for a message from ${this.#subject}: its producer belongs to this very thread and cannot send while the thread blocks. Send first.`,
      )
    }
    return this.#dataEvents.waitSync(this.#dataCondition, deadline)
  }

  #assertOurTurn(): void {
    if (!this.#receives.isBusy) return
    throw new IsthmusError(
      'EDEADLK',
      `Waiting for a message from ${this.#subject}: a receive of this very thread has its turn first, and blocking would keep it from ending. Await it first.`,
    )
  }

  /** Checked before anything is received. */
  #targetOf(options: ChunkOptions): Uint8Array | undefined {
    assertOptions(options, this.#attempt)
    const { into } = options
    if (into === undefined || isUint8Array(into)) return into
    throw new IsthmusTypeError(
      'ERR_ISTHMUS_INVALID_ARGUMENT',
      `${this.#attempt}: into is ${inWords(into)}. Give a Uint8Array that is long enough, or leave it out.`,
    )
  }

  #batchLimitOf(maxMessagesOrOptions: number | BatchOptions): number {
    let maxMessages: unknown = maxMessagesOrOptions
    if (typeof maxMessages === 'object') {
      assertOptions(maxMessages, this.#attempt)
      maxMessages = (maxMessages as BatchOptions).maxMessages ?? BATCH_MESSAGES
    }
    if (typeof maxMessages === 'number' && maxMessages >= 1) {
      if (Number.isInteger(maxMessages) || maxMessages === Number.POSITIVE_INFINITY) return maxMessages
    }
    throw new IsthmusRangeError(
      'ERR_ISTHMUS_INVALID_ARGUMENT',
      `${this.#attempt}: maxMessages is ${inWords(maxMessages)}. Give a whole number from 1 on, or leave it out.`,
    )
  }

  #limitOf(options: DrainOptions): number {
    assertOptions(options, this.#attempt)
    const { limit = Number.POSITIVE_INFINITY } = options
    if (typeof limit === 'number' && limit >= 0) return limit
    throw new IsthmusRangeError(
      'ERR_ISTHMUS_INVALID_ARGUMENT',
      `Draining ${this.#subject}: limit is ${inWords(limit)}. Give a number of messages, or leave it out.`,
    )
  }

  #callbackError(callback: unknown): Error {
    return new IsthmusTypeError(
      'ERR_ISTHMUS_INVALID_ARGUMENT',
      `${this.#attempt}: got ${inWords(callback)} instead of the callback. Give a function.`,
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
      `${attempt} through the consumer of ${this.#subject} from within a drain callback: the callback still reads its message. Return from the callback first.`,
    )
  }
}

function isLastOf({ messageOffset, byteLength, messageByteLength }: Fragment): boolean {
  return messageOffset + byteLength === messageByteLength
}
