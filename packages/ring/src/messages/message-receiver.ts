import {
  IsthmusError,
  IsthmusRangeError,
  IsthmusTypeError,
  type Signal,
  type TimeoutOptions,
  type UntimedOptions,
  type Waitable,
  type WaitOptions,
} from '@isthmus/sync'
import {
  Awaitable,
  assertOptions,
  deadlineOf,
  inWords,
  isUint8Array,
  nowMs,
  signalOf,
  TurnQueue,
  throwIfAborted,
  WAITABLE,
  type WaitFor,
} from '@isthmus/sync/internal'
import type { Codec } from '../codec.js'
import {
  DUE,
  EMPTY,
  type ForEachOptions,
  forEachOf,
  isPromiseLike,
  OVER,
  type RoundEnd,
  type Slice,
} from './for-each.js'
import type { ChunkOptions, MessageChunk } from './message-chunk.js'
import { MessageIterator, type MessageSource, type MessagesOptions } from './message-iterator.js'
import { Taking } from './taking.js'

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
   * may stand there, and the next call goes on in the same array: leave it unchanged until then. With another array, or none,
   * the next call copies it from there.
   */
  readonly into: Uint8Array
}

/** Called by drain for each message: `byteLength` bytes from `byteOffset` on in `bytes`. */
export type DrainCallback = (bytes: Uint8Array, byteOffset: number, byteLength: number) => void

/** Called by forEachInPlace, as a DrainCallback. A promise that it returns is awaited before the next message. */
export type InPlaceCallback = (bytes: Uint8Array, byteOffset: number, byteLength: number) => unknown

/** A batch of these takes less than a millisecond, and fills no more than a quarter of a ring of 1 MiB if they have 1 KiB. */
const BATCH_MESSAGES = 256

/**
 * For how many calls a batch counts, when the event loop is to have its turn after so many of them: a message in a batch costs
 * a fraction of a call, a large one as much as a call.
 */
const BATCH_MESSAGES_PER_COMPLETION = 16
const BATCH_BYTES_PER_COMPLETION = 4096

/** The memory of a region, as its receivers show it to programs. */
export interface MemoryViews {
  readonly bytes: Uint8Array
  readonly words: Int32Array
  readonly doubles: Float64Array
  readonly view: DataView
}

/**
 * What receives messages: the consumer of an SPSC ring, a receiver of an MPMC queue, a subscriber of a broadcast ring. Here stand
 * the calls that all of them have: one message, a batch or a chunk at a time, at once, blocking or awaiting; the iterations; the callbacks. What a message
 * is, where the next one stands and what ends the waiting is theirs.
 *
 * `undefined` means that there is nothing yet, or that the time is up; `null` means the end: there is nothing more, and nothing
 * more will come.
 */
export abstract class MessageReceiver<T = Uint8Array> extends Awaitable implements Waitable {
  /** The whole region as bytes. If `drain` passes this very array, its `byteOffset` is an index of the three views below, too. */
  readonly bytes: Uint8Array
  /** The same as 32-bit words; the index is `byteOffset / 4`. */
  readonly words: Int32Array
  /** The same as 64-bit numbers; the index is `byteOffset / 8`. */
  readonly doubles: Float64Array
  /** The same for mixed records. */
  readonly view: DataView

  /** @internal */
  protected readonly subject: string
  /** @internal How most error messages begin. */
  protected readonly attempt: string
  /** @internal */
  protected readonly codec: Codec<T> | undefined
  /** @internal The order of the calls that wait. */
  protected readonly receives = new TurnQueue()
  /** What a codec makes of the outcome of a receive; undefined without a codec. */
  readonly #decodeTaken: ((taken: Uint8Array | undefined | null) => T | undefined | null) | undefined

  /** @internal */
  constructor({ bytes, words, doubles, view }: MemoryViews, subject: string, codec: Codec<T> | undefined) {
    super()
    this.bytes = bytes
    this.words = words
    this.doubles = doubles
    this.view = view
    this.subject = subject
    this.attempt = `Receiving from ${subject}`
    this.codec = codec
    this.#decodeTaken = codec === undefined ? undefined : (taken) => this.decoded(taken)
  }

  /** @internal A private copy of the next message, if it is there now. */
  protected abstract tryTakeMessage(): Uint8Array | undefined | null
  /** @internal The same, into an array of the program. */
  protected abstract tryTakeMessageInto(into: Uint8Array): Uint8Array | undefined | null
  /** @internal The next part of a message. */
  protected abstract tryTakeChunk(into: Uint8Array | undefined): MessageChunk | undefined | null
  /**
   * @internal Adds to a batch what follows its first message, and returns the bytes of that. It may throw whatever it meets, if
   * the next call meets it again.
   */
  protected abstract takeMore(batch: T[], limit: number): number
  /** @internal Blocks until the take has something, or the time is up. */
  protected abstract blockFor<R>(tryTake: () => R | undefined, deadline: number): R | undefined
  /**
   * @internal Waits until the take may have something. The wait may poll the take: what that takes while this thread is
   * registered as a waiter is taken. After the deadline it may resolve without a turn of the event loop.
   */
  protected abstract waitToTake(taking: Taking<unknown>, deadline: number, signal: Signal | undefined): Promise<unknown>
  /** @internal Shows messages in place until the slice is over. */
  protected abstract showInPlace(callback: InPlaceCallback, slice: Slice): RoundEnd
  /** @internal The callback of forEachInPlace is done with its message. */
  protected abstract endShowing(): void
  /** @internal For forEach: whether a round may find something now, and waiting until it may. */
  protected abstract newsFor(): { hasNews(): boolean; wait(signal: Signal | undefined): Promise<unknown> }
  /** @internal Whether `close` was called. */
  protected abstract get isClosed(): boolean
  /** @internal Throws if there must be no call now. */
  protected abstract assertUsable(attempt: string): void

  /** For waitAny: ready when a receive would not have to wait. */
  abstract [WAITABLE](): WaitFor
  abstract close(): void

  [Symbol.dispose](): void {
    this.close()
  }

  /**
   * Receives one message into memory that the program has, if it is there now: for large messages, of which new memory costs
   * more than the copy. The codec is not used.
   * @returns the part of `into` that was written, `into.subarray(0, n)`
   * @throws IsthmusRangeError `ERR_ISTHMUS_MESSAGE_TOO_LARGE` if the message is longer than `into`; it was not received
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
   * @throws PeerDiedError `ERR_ISTHMUS_PEER_DIED` if there is nothing and the only sender died; never through a receiver of a queue,
   * which has many senders
   * @throws OverrunError `ERR_ISTHMUS_OVERRUN`, through a subscriber alone, if messages were overwritten unread: see its `onOverrun`
   * @throws IncompleteMessageError `ERR_ISTHMUS_MESSAGE_INCOMPLETE` if a large message breaks off
   * @throws IsthmusError `ERR_ISTHMUS_CLOSED`; `ERR_ISTHMUS_CORRUPT`; and what the codec throws
   *
   * @example
   * ```ts
   * consumer.tryReceive()[0] // 1
   * ```
   */
  tryReceive(): T | undefined | null
  tryReceive(options?: IntoOptions): T | Uint8Array | undefined | null {
    if (options !== undefined) return this.#tryReceiveInto(options)
    if (this.receives.isBusy) return undefined
    const message = this.tryTakeMessage()
    return message === undefined || message === null || this.codec === undefined
      ? (message as T | undefined | null)
      : this.codec.decode(message)
  }

  /**
   * Receives one message, and blocks the thread until it is there.
   * @returns as tryReceive; `undefined` after `timeoutMs`, also in the midst of a large message, which the next call
   * continues. With `into` as tryReceive with `into`
   * @throws as tryReceive
   * @throws IsthmusError `EDEADLK` if it would wait for a sender of this very thread that alone can send what comes next
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
      return this.blockFor(() => this.tryTakeMessageInto(into), deadlineOf(options, this.attempt))
    }
    return this.decoded(this.blockForMessage(deadlineOf(options, this.attempt)))
  }

  /**
   * As receiveSync, without blocking the event loop. Concurrent calls of one handle get their messages in the order of the calls;
   * while one waits, `tryReceive` returns undefined. The codec decodes a message when it has arrived, so the promise also
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
        if (into !== undefined) return this.#take(() => this.tryTakeMessageInto(into), undefined, options)
      } catch (error) {
        return Promise.reject(error)
      }
    }
    return this.#take<Uint8Array | null, T | null>(this.#takeMessage, this.#decodeTaken, options)
  }

  /**
   * Receives one message after the other, blocking the thread, until the end. Throws as receiveSync.
   *
   * @example
   * ```ts
   * for (const message of consumer) handle(message)
   * ```
   */
  *[Symbol.iterator](): Generator<T, void, undefined> {
    for (;;) {
      const bytes = this.blockForMessage(Number.POSITIVE_INFINITY)
      if (bytes === null || bytes === undefined) return
      yield this.decoded(bytes) as T
    }
  }

  /**
   * Receives one message after the other, without blocking the event loop, until the end. Throws as receive.
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
   * receiver, that it has failed or was aborted: give it `Readable.from(consumer)`, or this with its own signal, as in
   * `pipeline(consumer.messages({ signal }), sink, { signal })`.
   * @throws IsthmusTypeError `ERR_ISTHMUS_INVALID_ARGUMENT` for a signal that is no AbortSignal
   *
   * @example
   * ```ts
   * for await (const message of consumer.messages({ signal })) handle(message)
   * ```
   */
  messages(options: MessagesOptions = {}): MessageIterator<T> {
    return new MessageIterator(this.#source, signalOf(options, `Iterating over ${this.subject}`))
  }

  /**
   * Receives what is there now: at least one message, and at most `maxMessages`. Each message costs less than with a call of
   * its own. The memory of the whole batch stays taken until the next call, which also acknowledges it. A message that came in parts is the
   * first of its batch. An error that is met after some messages, such as one of the codec, comes with the next call, which then
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
    if (this.receives.isBusy) return undefined
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
    return this.blockFor(() => this.#tryTakeBatch(limit), deadlineOf(options, this.attempt))
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
   * Receives one batch after the other (see tryReceiveBatch), without blocking the event loop, until the end.
   * Otherwise as `messages`.
   *
   * @example
   * ```ts
   * for await (const batch of consumer.batches({ maxMessages: 64, signal })) for (const message of batch) handle(message)
   * ```
   */
  batches(options: BatchOptions & MessagesOptions = {}): MessageIterator<T[]> {
    const limit = this.#batchLimitOf(options)
    const tryNext = (): IteratorResult<T[], void> | undefined => resultOf(this.#tryTakeBatch(limit))
    const signal = signalOf(options, `Iterating over ${this.subject}`)
    return new MessageIterator({ ...this.#source, tryNext }, signal)
  }

  /**
   * Calls back for one message after the other, on the event loop, until the end: the way with the least cost
   * for each message, without a promise for each of them. The value is what `receive` would give. If the callback returns a
   * promise, it is awaited before the next message.
   *
   * One turn of the event loop gives messages for about 1 ms; then timers and sockets have their turn. The callback is first
   * called after this call has returned. Other calls that await something of this handle have their turn when this one is
   * over: do not await one in the callback.
   *
   * If the callback throws, or its promise rejects, its message counts as received, and the promise of this call rejects with
   * the same error. After an error, call again to go on.
   * @throws PeerDiedError `ERR_ISTHMUS_PEER_DIED` if the only sender died, after all that it had committed: see tryReceive
   * @throws OverrunError `ERR_ISTHMUS_OVERRUN`, through a subscriber alone: see tryReceive
   * @throws IncompleteMessageError `ERR_ISTHMUS_MESSAGE_INCOMPLETE` if a large message breaks off
   * @throws IsthmusError `ERR_ISTHMUS_CLOSED` if the handle, or its region, is closed, also by the callback
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
   * memory of the message stays taken as long. A message that came in parts is shown in a private array.
   * @throws OverrunError `ERR_ISTHMUS_OVERRUN` also if bytes that a subscriber was showing were overwritten: see its `drain`
   *
   * @example
   * ```ts
   * await consumer.forEachInPlace((bytes, byteOffset, byteLength) => handle(byteLength), { signal })
   * ```
   */
  async forEachInPlace(callback: InPlaceCallback, options?: ForEachOptions): Promise<void> {
    return this.#forEach(callback, options, (slice) => this.showInPlace(callback, slice))
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
    if (this.receives.isBusy) return undefined
    return this.tryTakeChunk(into)
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
    return this.blockFor(() => this.tryTakeChunk(into), deadlineOf(options, this.attempt))
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
      return this.#take<MessageChunk | null>(() => this.tryTakeChunk(into), undefined, options)
    } catch (error) {
      return Promise.reject(error)
    }
  }

  /** @internal Blocks until a whole message is there. */
  protected blockForMessage(deadline: number): Uint8Array | undefined | null {
    return this.blockFor(this.#takeMessage, deadline)
  }

  /** @internal */
  protected decoded(message: Uint8Array | undefined | null): T | undefined | null {
    if (message === undefined || message === null || this.codec === undefined) return message as T | undefined | null
    return this.codec.decode(message)
  }

  /** @internal Before a call blocks this thread. */
  protected assertOurTurn(): void {
    if (!this.receives.isBusy) return
    throw new IsthmusError(
      'EDEADLK',
      `Waiting for a message from ${this.subject}: a receive of this very thread has its turn first, and blocking would keep it from ending. Await it first.`,
    )
  }

  /** @internal */
  protected assertCallback(callback: unknown): void {
    if (typeof callback === 'function') return
    throw new IsthmusTypeError(
      'ERR_ISTHMUS_INVALID_ARGUMENT',
      `${this.attempt}: got ${inWords(callback)} instead of the callback. Give a function.`,
    )
  }

  /** @internal */
  protected drainLimitOf(options: DrainOptions): number {
    assertOptions(options, this.attempt)
    const { limit = Number.POSITIVE_INFINITY } = options
    if (typeof limit === 'number' && limit >= 0) return limit
    throw new IsthmusRangeError(
      'ERR_ISTHMUS_INVALID_ARGUMENT',
      `Draining ${this.subject}: limit is ${inWords(limit)}. Give a number of messages, or leave it out.`,
    )
  }

  #tryReceiveInto(options: IntoOptions): Uint8Array | undefined | null {
    const into = this.#targetOf(options)
    if (this.receives.isBusy) return undefined
    return into === undefined ? this.tryTakeMessage() : this.tryTakeMessageInto(into)
  }

  readonly #takeMessage = (): Uint8Array | undefined | null => this.tryTakeMessage()
  readonly #source: MessageSource<T> = {
    tryNext: () => {
      const message = this.tryTakeMessage()
      if (message === undefined) return undefined
      if (message === null) return { done: true, value: undefined }
      return { done: false, value: this.decoded(message) as T }
    },
    canCompleteSynchronously: () => {
      this.assertUsable('Receiving')
      return this.receives.canCompleteSynchronously()
    },
    inTurn: (tryTake, signal, hasTried) => this.#takeInTurn(tryTake, Number.POSITIVE_INFINITY, signal, hasTried),
  }

  #tryTakeBatch(limit: number): T[] | undefined | null {
    const message = this.tryTakeMessage()
    if (message === undefined || message === null) return message
    const batch = [this.codec === undefined ? (message as T) : this.codec.decode(message)]
    if (limit === 1) return batch
    try {
      // The codec may have closed it.
      if (this.isClosed) return batch
      const byteCount = this.takeMore(batch, limit)
      this.receives.countMore(batch.length / BATCH_MESSAGES_PER_COMPLETION + byteCount / BATCH_BYTES_PER_COMPLETION)
    } catch {
      // What was taken must not be lost. Whatever it is, the message that caused it is still first: the next call meets it again.
    }
    return batch
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
      const deadline = deadlineOf(options, this.attempt)
      const signal = signalOf(options, this.attempt)
      throwIfAborted(signal)
      this.assertUsable('Receiving')
      const hasTried = this.receives.canCompleteSynchronously()
      const taken = hasTried ? tryTake() : undefined
      if (taken !== undefined) return Promise.resolve(decode === undefined ? (taken as unknown as V) : decode(taken))
      const taking = this.#takeInTurn(tryTake, deadline, signal, hasTried)
      return decode === undefined ? (taking as Promise<unknown> as Promise<V | undefined>) : taking.then(decode)
    } catch (error) {
      return Promise.reject(error)
    }
  }

  /**
   * The slow path of the calls that await and of the iterators, for a call that could not complete at once: tries again and
   * again, without blocking, after all earlier calls are over.
   *
   * 1. Wait for this call's turn, and let the event loop have its own, if that is due.
   * 2. Try. If there is nothing: register this agent as a sleeper, look once more, and let the event loop wait.
   * 3. Woken by a message, by a death, or by a timer: try again. A retry may find only a part of a large message, and waits again.
   *
   * Unlike a send, a receive keeps no state between two tries, so it is a loop and no generator.
   */
  async #takeInTurn<R>(
    tryTake: () => R | undefined,
    deadline: number,
    signal: Signal | undefined,
    hasTried: boolean,
  ): Promise<R | undefined> {
    if (!this.receives.tryEnter() && !(await this.receives.enter(deadline, signal))) return undefined
    try {
      if (!hasTried) {
        await this.receives.yieldToEventLoop()
        const taken = tryTake()
        if (taken !== undefined) return taken
      }
      const taking = new Taking(tryTake)
      for (;;) {
        try {
          await this.waitToTake(taking, deadline, signal)
        } catch (error) {
          if (taking.taken === undefined) throw error
        }
        // If records arrive as fast as they are taken and complete no message, no wait ever sleeps or times out.
        if (taking.poll() || nowMs() >= deadline) return taking.taken
      }
    } finally {
      this.receives.leave()
    }
  }

  async #forEach(
    callback: unknown,
    options: ForEachOptions | undefined,
    round: (slice: Slice) => RoundEnd,
  ): Promise<void> {
    const signal = signalOf(options, this.attempt)
    this.assertCallback(callback)
    throwIfAborted(signal)
    this.assertUsable('Receiving')
    if (!this.receives.tryEnter()) await this.receives.enter(Number.POSITIVE_INFINITY, signal)
    try {
      // The callback is not called from within this call, whose caller may hold anything.
      await this.receives.yieldToEventLoop()
      const endCallback = () => this.endShowing()
      const yieldToEventLoop = () => this.receives.yieldNow()
      await forEachOf({ ...this.newsFor(), round, endCallback, yieldToEventLoop }, signal)
    } finally {
      this.receives.leave()
    }
  }

  #giveCopies(callback: (value: T) => unknown, slice: Slice): RoundEnd {
    do {
      const message = this.tryTakeMessage()
      if (message === undefined) return EMPTY
      if (message === null) return OVER
      const result = callback(this.decoded(message) as T)
      if (isPromiseLike(result)) return result
    } while (slice.goesOn())
    return DUE
  }

  /** Checked before anything is received. */
  #targetOf(options: ChunkOptions): Uint8Array | undefined {
    assertOptions(options, this.attempt)
    const { into } = options
    if (into === undefined || isUint8Array(into)) return into
    throw new IsthmusTypeError(
      'ERR_ISTHMUS_INVALID_ARGUMENT',
      `${this.attempt}: into is ${inWords(into)}. Give a Uint8Array that is long enough, or leave it out.`,
    )
  }

  #batchLimitOf(maxMessagesOrOptions: number | BatchOptions): number {
    let maxMessages: unknown = maxMessagesOrOptions
    if (typeof maxMessages === 'object') {
      assertOptions(maxMessages, this.attempt)
      maxMessages = (maxMessages as BatchOptions).maxMessages ?? BATCH_MESSAGES
    }
    if (typeof maxMessages === 'number' && maxMessages >= 1) {
      if (Number.isInteger(maxMessages) || maxMessages === Number.POSITIVE_INFINITY) return maxMessages
    }
    throw new IsthmusRangeError(
      'ERR_ISTHMUS_INVALID_ARGUMENT',
      `${this.attempt}: maxMessages is ${inWords(maxMessages)}. Give a whole number from 1 on, or leave it out.`,
    )
  }
}

function resultOf<R>(taken: R | undefined | null): IteratorResult<R, void> | undefined {
  if (taken === undefined) return undefined
  return taken === null ? { done: true, value: undefined } : { done: false, value: taken }
}
