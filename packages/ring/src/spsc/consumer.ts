import { IsthmusError, IsthmusRangeError } from '@isthmus/sync'
import {
  assertStackRoom,
  closedError,
  type EventCount,
  heldSpace,
  type SpaceHolder,
  WAITABLE,
  type WaitFor,
} from '@isthmus/sync/internal'
import type { Codec } from '../codec.js'
import { corruptError } from '../errors.js'
import { DUE, EMPTY, isPromiseLike, OVER, type RoundEnd, type Slice } from '../messages/for-each.js'
import type { MessageChunk } from '../messages/message-chunk.js'
import type { DrainCallback, DrainOptions, InPlaceCallback } from '../messages/message-receiver.js'
import { type ReaderWords, RecordReader } from '../messages/record-reader.js'
import { ownCopyOf, partOf } from '../record/large-message.js'
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
import { type Fragment, isLastOf } from '../record/message-assembly.js'
import { isWorthRun, PrivateRun } from '../record/private-run.js'
import type { AcquiredRole, Role } from '../role/role.js'
import { arePositionsValid, READ_POSITION_OFFSET, RECORDS_OFFSET, WRITE_POSITION_OFFSET } from './layout.js'
import type { RingSide } from './ring-side.js'

/**
 * How many records that complete no message one call takes. A call that does not wait must end soon, even if fragments of
 * a large message come in as fast as it reads them, or the memory is full of padding.
 */
const EMPTY_RECORDS_MAX = 1024

const WORDS: ReaderWords = {
  sender: 'producer',
  blockedSender: 'cannot send while the thread blocks. Send first',
}

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
export class Consumer<T = Uint8Array> extends RecordReader<T> {
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

  readonly #role: Role
  readonly #roleWord: number
  readonly #producerEvents: EventCount
  readonly #dataEvents: EventCount
  readonly #forgetClose: () => void

  /** @internal Use `ring.consumer()`. */
  constructor(side: RingSide, codec: Codec<T> | undefined, { word }: AcquiredRole) {
    const { geometry, bytes, words, doubles, view, counterpart } = side
    super({ geometry, bytes, words, doubles, view, codec, sender: counterpart, data: side.events }, WORDS)
    const { region, byteOffset, capacityBytes } = geometry
    this.#capacityBytes = capacityBytes
    this.#indexMask = capacityBytes - 1
    this.#returnStepBytes = capacityBytes / 4
    this.#recordsByteOffset = byteOffset + RECORDS_OFFSET
    this.#recordsWord = this.#recordsByteOffset >>> 2
    this.#writePositionWord = (byteOffset + WRITE_POSITION_OFFSET) >>> 2
    this.#readPositionWord = (byteOffset + READ_POSITION_OFFSET) >>> 2
    this.#role = side.role
    this.#roleWord = word
    this.#producerEvents = side.counterpartEvents
    this.#dataEvents = side.events

    // Only the consumer writes these two words, so we continue where our predecessor returned space, and tell nothing twice.
    this.sender.inheritTold()
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
    const limit = options === undefined ? Number.POSITIVE_INFINITY : this.drainLimitOf(options)
    this.beginReading(false)
    this.assertCallback(callback)
    if (this.receives.isBusy) return 0
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
    const assembly = this.assembly
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

  /** For waitAny: ready when a receive would not have to wait, because of a record, an end, or a reason to throw. */
  [WAITABLE](): WaitFor {
    this.sender.judgeBeforeWait()
    // A program that waits is done with the messages it received, and the next one may need their space.
    if (!this.#isClosed && !this.#isDraining) this.#returnSpace()
    const isReady = () => this.hasNews() || this.sender.hasClosedForGood()
    const pollArmed = () => {
      // Other calls of this thread may have received more meanwhile.
      if (this.#producerEvents.isAwaited && !this.#isClosed && !this.#isDraining) this.#returnSpace()
      return isReady()
    }
    return { point: this.#dataEvents, condition: { ...this.condition, poll: isReady, pollArmed } }
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
    this.assertUsable('Acknowledging')
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
      this.endShowing()
      this.#returnSpace()
      this.sender.recordTold()
      this.#isClosed = true
      this.large.drop()
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

  /** @internal */
  protected override get isClosed(): boolean {
    return this.#isClosed
  }

  /** @internal */
  protected override blockForMessage(deadline: number): Uint8Array | undefined | null {
    this.assertOurTurn()
    if (this.#position === this.#writePosition && !this.#isDraining && this.sender.isHeld && !this.hasNews()) {
      // Without a proof that the producer lives: most waits end with a message, and one that lasts asks for the proof.
      this.#returnSpace()
      this.waitForDataSync(deadline)
    }
    for (;;) {
      const message = this.#takeRecords(false, this.#assemble)
      if (message !== undefined || !this.waitForDataSync(deadline)) return message
    }
  }

  /** @internal */
  protected override tryTakeChunk(target: Uint8Array | undefined): MessageChunk | undefined | null {
    this.target = target
    this.#run.drop()
    return this.#takeRecords(true, this.#takeChunk)
  }

  /** @internal */
  protected override tryTakeMessageInto(into: Uint8Array): Uint8Array | undefined | null {
    this.target = into
    this.#run.drop()
    try {
      return this.#takeRecords(false, this.#assembleInto)
    } finally {
      this.target = undefined
    }
  }

  /** @internal */
  protected override tryTakeMessage(): Uint8Array | undefined | null {
    return this.#takeRecords(false, this.#assemble)
  }

  /**
   * @internal Takes what follows the first message of a batch, and returns no space. An error is left to the next call: the record that
   * causes it is not taken. For that reason this takes whole messages alone, which can be read again.
   */
  protected override takeMore(batch: T[], limit: number): number {
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
        const value = this.decoded(message) as T
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
    return distance(position, start)
  }

  /** @internal A record is stepped over after the callback is done with it: whatever returns space meanwhile returns what lies before it. */
  protected override showInPlace(callback: InPlaceCallback, slice: Slice): RoundEnd {
    this.beginReading(false)
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
          this.assembly.takeWhole(byteLength)
        ) {
          this.#shownBytes = recordBytesOf(byteLength)
          result = callback(bytes, this.#recordsByteOffset + index + RECORD_HEADER_BYTES, byteLength)
          if (isPromiseLike(result)) return result
          this.endShowing()
        } else {
          // This throws for a record that does not end within the published bytes.
          const message = this.#assemble(kind, byteLength, index)
          if (message !== undefined) result = callback(message, 0, message.byteLength)
          if (isPromiseLike(result)) return result
        }
        if (this.#isClosed) throw closedError(this.attempt)
      } while (slice.goesOn())
      return DUE
    } catch (error) {
      this.endShowing()
      throw error
    } finally {
      if (this.#producerEvents.isAwaited && !this.#isClosed) this.#showSpace()
    }
  }

  /** @internal The callback of forEachInPlace is done with its record. Its space is kept until the next one, as that of any message. */
  protected override endShowing(): void {
    if (this.#shownBytes === 0) return
    const position = advance(this.#position, this.#shownBytes)
    this.#shownBytes = 0
    this.#position = position
    // A wait in the callback may have ended that.
    if (!this.#isListed) this.#list()
  }

  /**
   * Takes records until one of them gives a result, or none is left, or EMPTY_RECORDS_MAX gave none. `take` is a method of
   * this class without `this`: binding it would make garbage in every call.
   */
  #takeRecords<R>(
    inChunks: boolean,
    take: (kind: number, byteLength: number, index: number) => R | undefined,
  ): R | undefined | null {
    this.beginReading(inChunks)
    for (let emptyRecords = 0; emptyRecords < EMPTY_RECORDS_MAX; emptyRecords++) {
      // Before the next record is taken and not after this one: a program that calls again is done with the last message.
      // If it is killed before, its successor receives that message again.
      if (distance(this.#position, this.#notifiedPosition) >= this.#returnStepBytes) this.#returnSpace()
      else if (this.#producerEvents.isAwaited || this.assembly.isInsideMessage) this.#showSpace()
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
    if (copiedByteLength >= 0 && this.assembly.takeWhole(copiedByteLength)) return this.#takeCopied(copiedByteLength)
    const recordBytes = this.#checkedRecordBytes(byteLength, index)
    if (kind === DATA && this.assembly.takeWhole(byteLength)) {
      if (isWorthRun(byteLength, distance(this.#writePosition, this.#position)))
        return this.#copyRun(recordBytes, index)
      const start = this.#recordsByteOffset + index + RECORD_HEADER_BYTES
      const copy = ownCopyOf(this.bytes, start, byteLength, this.attempt)
      this.#position = advance(this.#position, recordBytes)
      return copy
    }
    return this.#assembleFragment(kind, byteLength, index, recordBytes, undefined)
  }

  /** The same, for a call that has an array of the program. */
  #assembleInto(kind: number, byteLength: number, index: number): Uint8Array | undefined {
    const into = this.target as Uint8Array
    const recordBytes = this.#checkedRecordBytes(byteLength, index)
    if (kind !== DATA || !this.assembly.takeWhole(byteLength)) {
      return this.#assembleFragment(kind, byteLength, index, recordBytes, into)
    }
    const start = this.#recordsByteOffset + index + RECORD_HEADER_BYTES
    const message = partOf(into, byteLength, this.attempt)
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
    const message = this.large.arrayFor(fragment, into)
    message.set(this.bytes.subarray(from, from + fragment.byteLength), fragment.messageOffset)
    this.#step(recordBytes)
    // A complete message is the program's: keep no reference, it may be large.
    this.large.array = isLast ? undefined : message
    this.large.into = isLast ? undefined : into
    return isLast ? message : undefined
  }

  /** Copies the message at #position, together with small ones that follow it, and takes it. */
  #copyRun(recordBytes: number, index: number): Uint8Array | undefined {
    const availableBytes = Math.min(distance(this.#writePosition, this.#position), this.#capacityBytes - index)
    this.#run.copy(this.bytes, this.words, this.#recordsByteOffset + index, recordBytes, availableBytes, this.#position)
    const byteLength = this.#run.byteLengthAt(this.#position)
    // Changed since it was checked: the next attempt reads it anew.
    if (byteLength < 0 || !this.assembly.takeWhole(byteLength)) return undefined
    return this.#takeCopied(byteLength)
  }

  #takeCopied(byteLength: number): Uint8Array {
    const message = this.#run.take(byteLength)
    this.#position = this.#run.position
    return message
  }

  /** Takes one record; returns a copy of what it brings. */
  #takeChunk(kind: number, byteLength: number, index: number): MessageChunk | undefined {
    const recordBytes = this.#checkedRecordBytes(byteLength, index)
    const target = this.target
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
    const found = this.assembly.look(
      kind,
      byteLength,
      hasTotal ? readTotalLength(this.words, this.#recordsWord + ((index + RECORD_HEADER_BYTES) >> 2)) : 0,
    )
    if (found !== undefined && !('code' in found)) return found
    this.#step(recordBytes)
    if (found === undefined) return undefined
    this.large.array = undefined
    this.large.into = undefined
    throw found
  }

  /** Both stores, or none: no call stands between them that could fail at the edge of the stack. */
  #step(recordBytes: number): void {
    const position = advance(this.#position, recordBytes)
    this.assembly.step()
    this.#position = position
  }

  /** The bytes of the record at #position. It must end within the published bytes, whatever `byteLength` says. */
  #checkedRecordBytes(byteLength: number, index: number): number {
    const publishedBytes = distance(this.#writePosition, this.#position)
    if (fitsRecord(byteLength, publishedBytes, this.#capacityBytes - index)) return recordBytesOf(byteLength)
    throw corruptError(this.subject, `a record of ${byteLength} bytes stands where ${publishedBytes} are published`)
  }

  /** Refreshes #writePosition; returns false if everything has been read. */
  #refill(): boolean {
    // SYNC records visible to consumer: everything before this position, with all its bytes
    const writePosition = Atomics.load(this.words, this.#writePositionWord)
    // Checked when it was seen first. A consumer that polls an empty ring comes this way each time.
    if (writePosition === this.#writePosition) return writePosition !== this.#position
    const isBehindUs = distance(writePosition, this.#position) < 0
    if (isBehindUs || !arePositionsValid(writePosition, this.#returnedPosition, this.#capacityBytes)) {
      throw corruptError(this.subject, `the write position is ${writePosition}, and ${this.#position} has been read`)
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
   * 3. It has ended: see `isOver`, apart from this. A program that polls an empty ring takes steps 1 and 2 each time.
   */
  #isEnded(): boolean {
    this.#returnSpace()
    const end = this.sender.findEnd()
    return end !== undefined && this.isOver(end)
  }

  /** @internal */
  protected override hasMore(): boolean {
    return this.#refill()
  }

  /** @internal */
  protected override hasNews(): boolean {
    return (
      this.#isClosed || Atomics.load(this.words, this.#writePositionWord) !== this.#position || this.sender.hasChanged()
    )
  }

  /** @internal */
  protected override assertUsable(attempt: string): void {
    if (this.#isClosed) throw closedError(`${attempt} through the consumer of ${this.subject}`)
    if (!this.#isDraining) return
    throw new IsthmusError(
      'ERR_ISTHMUS_CALL_ORDER',
      `${attempt} through the consumer of ${this.subject} from within a drain callback: the callback still reads its message. Return from the callback first.`,
    )
  }
}
