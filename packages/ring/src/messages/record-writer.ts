import {
  IsthmusError,
  IsthmusRangeError,
  IsthmusTypeError,
  type PeerId,
  type Region,
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
import type { Role } from '../role/role.js'
import { Batch } from './batch.js'
import { assertLength, bytesOf } from './message-bytes.js'
import { MessageSpace, type SpaceSource } from './message-space.js'

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

/** What error messages call a writer and its calls. */
export interface WriterWords {
  /** `producer` */
  readonly writer: string
  /** `Sending` */
  readonly doing: string
  /** The calls that wait, and send messages in fragments: `send or sendSync` */
  readonly waitingCalls: string
  /** A call that waits on the event loop: `send` */
  readonly waitingCall: string
}

/** The ring that a writer writes to, and the role that it has. */
export interface WriterPlace<T> {
  readonly geometry: {
    readonly region: Region
    readonly subject: string
    readonly capacityBytes: number
    readonly maxRecordBytes: number
    readonly maxMessageBytes: number
  }
  readonly bytes: Uint8Array
  readonly words: Int32Array
  readonly doubles: Float64Array
  readonly view: DataView
  /** Where the records begin in the region. */
  readonly recordsByteOffset: number
  /** Where the predecessor stopped. */
  readonly position: number
  /** What the records of a message have before its bytes, a multiple of 8. `storePosition` writes it. */
  readonly prefixBytes: number
  /** More than this is not held back by `cork`, nor by a batch. */
  readonly heldBackBytesMax: number
  readonly codec: Codec<T> | undefined
  readonly role: Role
  readonly roleWord: number
  /** Where the writer waits for space. */
  readonly space: EventCount
  /** Wakes the readers that sleep, after a publication. It may throw if the stack is full; then it is called once more. */
  readonly readers: { notify(): void }
}

/**
 * An agent that writes messages into a ring of bytes, as records that follow each other (record/layout.ts): the producer of an
 * SPSC ring, and the publisher of a broadcast ring. What is here is the same for both: claims in place, cork, padding, fragments,
 * batches, turns, and the two ways of waiting. What differs is how records become visible, which space is free, and on whose life
 * that depends: the abstract methods.
 */
export abstract class RecordWriter<T> extends Awaitable implements Waitable {
  /** The whole region as bytes, to write claims into. An index is a byte offset as tryClaim returns it. */
  readonly bytes: Uint8Array
  /** The same as 32-bit words; the index is `byteOffset / 4`. */
  readonly words: Int32Array
  /** The same as 64-bit numbers; the index is `byteOffset / 8`. */
  readonly doubles: Float64Array
  /** The same for mixed records. */
  readonly view: DataView
  /** The largest message that travels in one record, in bytes: for tryClaim, and the calls that do not wait. */
  readonly maxRecordBytes: number
  /** The largest message for the calls that wait, in bytes. */
  readonly maxMessageBytes: number

  readonly #subject: string
  readonly #says: WriterWords
  /** How most error messages begin. */
  readonly #attempt: string
  readonly #codec: Codec<T> | undefined
  readonly #region: Region
  readonly #capacityBytes: number
  readonly #indexMask: number
  readonly #recordsByteOffset: number
  readonly #recordsWord: number
  /** Of a message in one record, less the index of the record. */
  readonly #payloadsByteOffset: number
  readonly #prefixBytes: number

  /** Where the next record begins: the end of the last committed one. */
  #position: number
  /** The end of the open claim; equal to #position if none is open. */
  #claimEnd: number
  /** Where the open claim begins: after the padding that it may need. */
  #claimStart: number
  /** A claim up to here needs no further check: it overwrites nothing that must stay and does not cross the end of the ring. */
  #writableUntil: number
  /** From here on records must stay, as last seen. It may be old; the current position is never before it. */
  #keptFrom: number
  #publishedPosition: number
  readonly #heldBackBytesMax: number
  #corkDepth = 0
  #messageId = 0
  #isClosed = false
  /** Whether `close` has done everything: an earlier call may have thrown half-way. */
  #isCloseOver = false

  readonly #role: Role
  readonly #roleWord: number
  readonly #space: EventCount
  readonly #readers: { notify(): void }
  readonly #turns = new TurnQueue()
  /** Whether fragments of a message are published and its last one is not. */
  #isMessageUnderWay = false
  #awaitedSpace: SpaceNeeded = { recordBytes: RECORD_HEADER_BYTES, reserveBytes: 0 }
  readonly #spaceCondition: Condition
  readonly #spaceSource: SpaceSource
  #forgetClose: (() => void) | undefined

  /** @internal The subclass calls `begin` when it has its own fields. */
  protected constructor(place: WriterPlace<T>, says: WriterWords) {
    super()
    const { region, subject, capacityBytes, maxRecordBytes, maxMessageBytes } = place.geometry
    this.#subject = subject
    this.#says = says
    this.#attempt = `${says.doing} to ${subject}`
    this.#codec = place.codec
    this.#region = region
    this.#capacityBytes = capacityBytes
    this.#indexMask = capacityBytes - 1
    this.#recordsByteOffset = place.recordsByteOffset
    this.#recordsWord = this.#recordsByteOffset >>> 2
    this.#prefixBytes = place.prefixBytes
    this.#payloadsByteOffset = place.recordsByteOffset + RECORD_HEADER_BYTES + this.#prefixBytes
    this.maxRecordBytes = maxRecordBytes
    this.maxMessageBytes = maxMessageBytes
    this.bytes = place.bytes
    this.words = place.words
    this.doubles = place.doubles
    this.view = place.view

    this.#heldBackBytesMax = place.heldBackBytesMax
    this.#role = place.role
    this.#roleWord = place.roleWord
    this.#space = place.space
    this.#readers = place.readers

    this.#position = place.position
    this.#publishedPosition = place.position
    this.#claimEnd = place.position
    this.#claimStart = place.position
    this.#writableUntil = place.position
    this.#keptFrom = place.position
    this.#spaceCondition = {
      poll: () => this.#hasAwaitedSpace(),
      pollArmed: () => this.#hasAwaitedSpace() || this.#askForSpace(),
      reapDead: () => this.reportDeath(),
      dependsOn: () => this.holders(),
    }
    this.#spaceSource = {
      attempt: `Waiting for space in ${subject}`,
      waitFor: (byteLength) => this.#waitForSpaceOf(byteLength),
      wait: (byteLength, deadline, signal) => this.#awaitSpaceOf(byteLength, deadline, signal),
      waitSync: (byteLength, deadline) => this.#blockUntilSpaceOf(byteLength, deadline),
    }
  }

  /**
   * @internal Ends the construction: from here on this agent sends.
   * @param isAbortDue says, once it is known what is free, whether the predecessor left a message half sent
   */
  protected begin(isAbortDue: (freeBytes: number) => boolean): void {
    try {
      this.#refreshKept()
    } catch (error) {
      this.#role.close(this.#roleWord)
      throw error
    }
    this.#space.reset()
    this.#forgetClose = this.#region.onClose(() => this.close())
    // Wake sleeping readers: they must now watch this writer.
    this.#readers.notify()
    if (isAbortDue(this.#freeBytes())) this.#publishAbort()
  }

  /**
   * @internal Makes everything before this position visible. It throws before that or not at all: a message that failed was not
   * sent. From the position that it stored last, whole records follow each other up to this one, without their prefixes.
   */
  protected abstract storePosition(position: number): void

  /**
   * @internal The position from which on records must stay, at this moment.
   * @param position where the next record begins
   * @throws IsthmusError `ERR_ISTHMUS_CORRUPT`
   */
  protected abstract keptFrom(position: number): number

  /**
   * @internal Called before bytes up to `end` are written.
   * @param limit what is free ends here
   * @returns up to where may be written without asking again: from `end` to `limit`
   */
  protected abstract willWrite(end: number, limit: number): number

  /** @internal Called if the ring is full. At times it proves deaths, and reports one, which throws. */
  protected abstract checkReaders(): void

  /** @internal Whether there is a proven death that the program has to be told of. */
  protected abstract hasUntoldDeath(): boolean

  /** @internal Proves deaths, and tells the program of one, by throwing. */
  protected abstract reportDeath(): void

  /** @internal Proves deaths, and frees what the dead kept. */
  protected abstract reapDead(): void

  /** @internal The peers on whose acts or deaths the free space depends. */
  protected abstract holders(): readonly PeerId[]

  /** @internal Before the thread blocks: throws if only this very thread could free so many bytes. */
  protected abstract assertNotOwnReader(neededBytes: number): void

  /**
   * Claims space for one message of exactly `byteLength` bytes, to be written in place and then committed or aborted.
   * @returns the byte offset of the payload, a multiple of 8; -1 if the ring is full
   * @throws IsthmusRangeError `ERR_ISTHMUS_MESSAGE_TOO_LARGE` above maxRecordBytes
   * @throws IsthmusError `ERR_ISTHMUS_CALL_ORDER` while another claim is open, `ERR_ISTHMUS_CLOSED`
   * @throws PeerDiedError `ERR_ISTHMUS_PEER_DIED` if an SPSC ring is full and its consumer dead
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
    const prefixBytes = this.#prefixBytes
    const recordBytes = recordBytesOf(byteLength + prefixBytes)
    let start = this.#position
    const isClaimOpen = this.#claimEnd !== start
    if (isClaimOpen || distance(this.#writableUntil, start) < recordBytes) {
      if (!this.#makeRoom(recordBytes)) return -1
      start = this.#claimStart
    }
    const index = start & this.#indexMask
    const headerWord = this.#recordsWord + (index >> 2)
    // Written here as in #beginRecord, without its message id. Plain stores: readers read nothing here before the write
    // position covers it.
    this.words[headerWord] = byteLength + prefixBytes
    this.words[headerWord + 1] = DATA
    this.#claimEnd = advance(start, recordBytes)
    return this.#payloadsByteOffset + index
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
    this.assertOpen('Corking')
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
    this.assertOpen('Uncorking')
    if (this.#corkDepth === 0) {
      throw new IsthmusError(
        'ERR_ISTHMUS_CALL_ORDER',
        `Uncorking a ${this.#says.writer}: it is not corked. Call cork before.`,
      )
    }
    if (this.#corkDepth === 1) this.#publishHeldBack()
    this.#corkDepth--
  }

  /**
   * Space for a message of `byteLength` bytes, to be waited for: alone, or among others with waitAny. It reserves nothing:
   * a message that is sent meanwhile may take the space. The handle itself, given to waitAny, waits for half of
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
   * Publishes what is held back, drops an open claim, and ends this epoch: readers get `null` after the last message.
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
    this.#space.pollOwnWaits()
    this.#role.close(this.#roleWord)
    this.#readers.notify()
    this.#forceSlowPath()
    this.#forgetClose?.()
    this.#isCloseOver = true
  }

  [Symbol.dispose](): void {
    this.close()
  }

  protected override waitPoints(): readonly EventCount[] {
    return [this.#space]
  }

  /** @internal Returns false if the ring is full. */
  protected trySendBytes(bytes: Uint8Array): boolean {
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

  /** @internal Sends as many as there is space for; returns the error that has kept it from going on. */
  protected sendBatchNow(batch: Batch<T>): void {
    const next = this.#sendWhatFits(batch, false)
    if (next !== undefined && next.byteLength > this.maxRecordBytes) throw this.#lengthError(next.byteLength)
  }

  /** @internal Blocks the thread while there is no space. Returns false after the deadline. */
  protected sendBlocking(bytes: Uint8Array, deadline: number): boolean {
    return this.#driveBlocking(this.#sending(bytes), deadline)
  }

  /** @internal The same for a batch; returns how many were sent. */
  protected sendBatchBlocking(values: readonly T[], options: TimeoutOptions | undefined): number {
    const deadline = deadlineOf(options, this.#attempt)
    const batch = new Batch(values, this.#attempt)
    try {
      this.assertNoTurn()
      if (this.#sendWhatFits(batch, true) !== undefined) this.#driveBlocking(this.#sendingBatch(batch), deadline)
      return batch.sentCount
    } catch (error) {
      throw batch.failure(error)
    }
  }

  /** @internal The same without blocking the event loop, in turn. */
  protected sendAwaiting(value: T, options: WaitOptions | undefined): Promise<boolean> {
    // No async function: most messages find space, and a promise of their own would cost more than sending them.
    try {
      const deadline = deadlineOf(options, this.#attempt)
      const signal = signalOf(options, this.#attempt)
      throwIfAborted(signal)
      const bytes = bytesOf(value, this.#codec, this.#attempt)
      const canCompleteSynchronously = bytes.length <= this.maxRecordBytes && this.#turns.canCompleteSynchronously()
      if (canCompleteSynchronously && this.trySendBytes(bytes)) return sentAtOnce
      return this.#driveInTurn(this.#sending(bytes), deadline, signal)
    } catch (error) {
      return Promise.reject(error)
    }
  }

  /** @internal */
  protected sendBatchAwaiting(values: readonly T[], options: WaitOptions | undefined): Promise<number> {
    let batch: Batch<T> | undefined
    try {
      const deadline = deadlineOf(options, this.#attempt)
      const signal = signalOf(options, this.#attempt)
      batch = new Batch(values, this.#attempt)
      throwIfAborted(signal)
      const start = this.#position
      if (this.#turns.canCompleteSynchronously() && this.#sendWhatFits(batch, false) === undefined) {
        const bytes = distance(this.#position, start)
        this.#turns.countMore(batch.sentCount / MESSAGES_PER_COMPLETION + bytes / BYTES_PER_COMPLETION)
        return Promise.resolve(batch.sentCount)
      }
      return this.#driveBatchInTurn(batch, deadline, signal)
    } catch (error) {
      return Promise.reject(batch === undefined ? error : batch.failure(error))
    }
  }

  /** The blocking driver of a sending. Returns false after the deadline. */
  #driveBlocking(sending: Sending, deadline: number): boolean {
    try {
      for (let step = sending.next(); step.done !== true; step = sending.next()) {
        this.#awaitedSpace = step.value
        if (!this.#blockUntil(this.#spaceCondition, step.value, deadline)) return false
      }
      return true
    } finally {
      sending.return()
    }
  }

  /** The awaiting driver: it waits for its turn, and keeps it until the sending is over. Resolves to false after the deadline. */
  async #driveInTurn(sending: Sending, deadline: number, signal: WaitOptions['signal']): Promise<boolean> {
    this.#forceSlowPath()
    if (!this.#turns.tryEnter() && !(await this.#turns.enter(deadline, signal))) return false
    try {
      await this.#turns.yieldToEventLoop()
      let polling: LargeMessagePolling | undefined
      for (let step = sending.next(); step.done !== true; step = sending.next()) {
        this.#forceSlowPath()
        this.#awaitedSpace = step.value
        if (this.#isMessageUnderWay) {
          polling ??= new LargeMessagePolling(this.#turns)
          if (polling.until(this.#spaceCondition)) continue
          if (polling.isTurnDue) await polling.yieldToEventLoop()
        }
        if (!(await this.#space.wait(this.#spaceCondition, deadline, signal))) return false
      }
      return true
    } finally {
      sending.return()
      this.#forceSlowPath()
      this.#turns.leave()
      if (!this.#turns.isBusy) this.#space.pollOwnWaits()
    }
  }

  async #driveBatchInTurn(batch: Batch<T>, deadline: number, signal: WaitOptions['signal']): Promise<number> {
    try {
      await this.#driveInTurn(this.#sendingBatch(batch), deadline, signal)
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
    this.assertOpen('Sending')
    // Locals: after every call, V8 reads the fields of `this` again.
    const { values } = batch
    const { bytes: target, words, maxRecordBytes } = this
    const codec = this.#codec
    const attempt = this.#attempt
    const indexMask = this.#indexMask
    const recordsWord = this.#recordsWord
    const prefixBytes = this.#prefixBytes
    const payloadsByteOffset = this.#payloadsByteOffset
    let at = batch.sentCount
    try {
      while (at < values.length) {
        const bytes = batch.nextBytes ?? bytesOf(values[at], codec, attempt)
        batch.nextBytes = bytes
        const { length } = bytes
        if (length > maxRecordBytes) return bytes
        const recordBytes = recordBytesOf(length + prefixBytes)
        // As in tryClaim. The codec may have sent messages of its own, or have left a claim open.
        let start = this.#position
        if (this.#claimEnd !== start || distance(this.#writableUntil, start) < recordBytes) {
          if (!(hasTurn ? this.#findRoom(recordBytes, 0) : this.#makeRoom(recordBytes))) return bytes
          start = this.#claimStart
        }
        const index = start & indexMask
        words[recordsWord + (index >> 2)] = length + prefixBytes
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
   * One protocol for two drivers, #driveBlocking and #driveInTurn: it yields the space it needs whenever the ring is full, its
   * driver waits, blocking or awaiting, and resumes it.
   *
   * 1. Find room for the record: if the ring looks full, ask anew what must stay.
   * 2. If it is full: publish what is corked, report a dead reader, and yield.
   * 3. The driver marks this writer as a sleeper, polls once more, asks the readers to return space, and sleeps.
   * 4. With room: write the header, copy the payload, and publish both with one store of the write position.
   * 5. Wake the readers that sleep.
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
    const recordBytes = recordBytesOf(byteLength + this.#prefixBytes)
    while (!this.#findRoom(recordBytes, 0)) {
      yield { recordBytes, reserveBytes: 0 }
      assertLength(bytes, byteLength)
    }
    this.bytes.set(bytes, this.#beginRecord(this.#claimStart, byteLength, DATA))
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
        const headBytes = RECORD_HEADER_BYTES + this.#prefixBytes + prefixBytes
        const fragmentBytes = Math.min(total - sent, fragmentRecordBytes - headBytes)
        const recordBytes = recordBytesOf(this.#prefixBytes + prefixBytes + fragmentBytes)
        while (!this.#findRoom(recordBytes, RECORD_HEADER_BYTES)) {
          yield { recordBytes, reserveBytes: RECORD_HEADER_BYTES }
          assertLength(bytes, total)
        }
        const kind = sent === 0 ? FIRST : sent + fragmentBytes < total ? MIDDLE : LAST
        const byteOffset = this.#beginRecord(this.#claimStart, prefixBytes + fragmentBytes, kind)
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
        yield { recordBytes: recordBytesOf(byteLength + this.#prefixBytes), reserveBytes: 0 }
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

  /** A record of a message. Returns the byte offset of what comes after the prefix. */
  #beginRecord(position: number, byteLength: number, kind: number): number {
    return this.#writeHeader(position, byteLength + this.#prefixBytes, kind) + this.#prefixBytes
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
    this.storePosition(position)
    this.#position = position
    this.#claimEnd = position
    this.#publishedPosition = position
    try {
      this.#readers.notify()
    } catch {
      try {
        // The stack is full. Notify again when it is empty; an error of that is reported as an unhandled rejection.
        settled.then(this.#notifyLater)
      } catch {
        // No room even for that. The message is sent, so this must not throw: the next message wakes the readers, or
        // their own polling finds it.
      }
    }
  }

  readonly #notifyLater = (): void => {
    if (!this.#isClosed) this.#readers.notify()
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
    if (this.#turns.isBusy && !this.#isClosed) return false
    return this.#findRoom(recordBytes, 0)
  }

  /**
   * Finds space for a record, and for `reserveBytes` after it. If this returns true, #claimStart is where the record goes.
   * If it returns false, the ring is full and everything is published.
   *
   * 1. Full, as far as we have seen: ask anew from where on records must stay. Readers may have gone on.
   * 2. Still full: publish what is corked, so that readers can go on, and ask once more.
   * 3. Still full: report a dead reader, if one died.
   * 4. Say up to where bytes will be written.
   * 5. If the record would cross the end of the ring, fill the rest with a PADDING record and begin at index 0.
   * 6. Remember how far claims may go without coming here again.
   */
  #findRoom(recordBytes: number, reserveBytes: number): boolean {
    this.assertOpen(this.#says.doing)
    if (this.#claimEnd !== this.#position) {
      throw new IsthmusError(
        'ERR_ISTHMUS_CALL_ORDER',
        `Claiming space in ${this.#subject}: the last claim is still open. Commit or abort it first.`,
      )
    }
    if (distance(this.#position, this.#publishedPosition) > this.#heldBackBytesMax) this.#publish(this.#position)
    const neededBytes = this.#neededBytes(recordBytes, reserveBytes)
    if (this.#freeBytes() < neededBytes) this.#refreshKept()
    if (this.#freeBytes() < neededBytes && this.#publishedPosition !== this.#position) {
      this.#publish(this.#position)
      this.#refreshKept()
    }
    if (this.#freeBytes() < neededBytes) {
      this.checkReaders()
      return false
    }
    const limit = advance(this.#keptFrom, this.#capacityBytes)
    const writableUntil = this.willWrite(advance(this.#position, neededBytes), limit)
    const bytesUntilEnd = this.#bytesUntilEnd(this.#position)
    this.#claimStart = this.#position
    if (recordBytes > bytesUntilEnd) {
      this.#writeHeader(this.#position, bytesUntilEnd - RECORD_HEADER_BYTES, PADDING)
      this.#claimStart = advance(this.#position, bytesUntilEnd)
    }
    const ringEnd = advance(this.#claimStart, this.#bytesUntilEnd(this.#claimStart))
    this.#writableUntil = distance(writableUntil, ringEnd) < 0 ? writableUntil : ringEnd
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
    return this.#capacityBytes - distance(this.#position, this.#keptFrom)
  }

  #refreshKept(): void {
    this.#keptFrom = this.keptFrom(this.#position)
  }

  #hasSpace(recordBytes: number, reserveBytes: number): boolean {
    this.#refreshKept()
    return this.#freeBytes() >= this.#neededBytes(recordBytes, reserveBytes)
  }

  /** Before a sleep: wakes sleeping readers, which may keep the space of what they have received. */
  #askForSpace(): false {
    this.#readers.notify()
    return false
  }

  #hasAwaitedSpace(): boolean {
    this.assertOpen(this.#says.doing)
    if (this.#hasSpace(this.#awaitedSpace.recordBytes, this.#awaitedSpace.reserveBytes)) return true
    if (this.hasUntoldDeath()) this.reportDeath()
    return false
  }

  /** Blocks the thread. Returns false after the deadline. */
  #blockUntil(condition: Condition, { recordBytes, reserveBytes }: SpaceNeeded, deadline: number): boolean {
    if (nowMs() >= deadline) return false
    this.assertNotOwnReader(this.#neededBytes(recordBytes, reserveBytes))
    return this.#space.waitSync(condition, deadline)
  }

  /** For waitAny: ready also if there is a reason to throw. Nothing that it polls throws. */
  #waitForSpaceOf(byteLength: number): WaitFor {
    const recordBytes = recordBytesOf(byteLength + this.#prefixBytes)
    // Readers can make space only if they see everything.
    this.#publishHeldBack()
    // While a message waits for space, other calls of this thread have to wait for it.
    const hasTurn = () => !this.#turns.isBusy && this.#isReadyFor(recordBytes)
    const isReady = () => this.#isClosed || this.hasUntoldDeath() || hasTurn()
    return {
      point: this.#space,
      condition: {
        poll: isReady,
        pollArmed: () => isReady() || this.#askForSpace(),
        reapDead: () => this.reapDead(),
        dependsOn: () => this.holders(),
      },
    }
  }

  /** For a wait of its own: it throws what a send would throw. */
  #spaceConditionOf(byteLength: number): Condition {
    const recordBytes = recordBytesOf(byteLength + this.#prefixBytes)
    const isReady = () => {
      this.assertOpen(WAITING)
      if (this.#turns.isBusy) return false
      if (this.#hasSpace(recordBytes, 0)) return true
      if (this.hasUntoldDeath()) this.reportDeath()
      return false
    }
    return {
      poll: isReady,
      pollArmed: () => isReady() || this.#askForSpace(),
      // The call that has its turn is told of the death.
      reapDead: () => (this.#turns.isBusy ? this.reapDead() : this.reportDeath()),
      dependsOn: () => this.holders(),
    }
  }

  #awaitSpaceOf(byteLength: number, deadline: number, signal: WaitOptions['signal']): Promise<boolean> {
    this.assertOpen(WAITING)
    this.#publishHeldBack()
    return this.#space.wait(this.#spaceConditionOf(byteLength), deadline, signal)
  }

  #blockUntilSpaceOf(byteLength: number, deadline: number): boolean {
    this.assertOpen(WAITING)
    this.assertNoTurn()
    this.#publishHeldBack()
    const condition = this.#spaceConditionOf(byteLength)
    if (condition.poll()) return true
    this.checkReaders()
    const recordBytes = recordBytesOf(byteLength + this.#prefixBytes)
    return this.#blockUntil(condition, { recordBytes, reserveBytes: 0 }, deadline)
  }

  /** Makes visible what was committed. An open claim stays open. (A closed writer has published everything.) */
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

  /** @internal For calls that block the thread. */
  protected assertNoTurn(): void {
    if (!this.#turns.isBusy) return
    throw new IsthmusError(
      'EDEADLK',
      `${this.#attempt}: a ${this.#says.waitingCall} of this very thread has its turn first, and blocking would keep it from ending. Await it first.`,
    )
  }

  /** @internal */
  protected assertOpen(attempt: string): void {
    if (this.#isClosed) throw closedError(`${attempt} through the ${this.#says.writer} of ${this.#subject}`)
  }

  #noClaimError(attempt: string): IsthmusError {
    if (this.#isClosed) return closedError(`${attempt} through the ${this.#says.writer} of ${this.#subject}`)
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
        ? `in one record this ring carries at most ${this.maxRecordBytes}. Use ${this.#says.waitingCalls}, which send it in fragments`
        : `this ring carries at most ${this.maxMessageBytes}. Make it with a larger maxMessageBytes, or send parts`
    return new IsthmusRangeError(
      'ERR_ISTHMUS_MESSAGE_TOO_LARGE',
      `${this.#says.doing} a message of ${byteLength} bytes to ${this.#subject}: ${advice}.`,
    )
  }
}
