import { IsthmusError, IsthmusRangeError, type Signal } from '@isthmus/sync'
import {
  assertRoomToCompile,
  assertStackRoom,
  type Condition,
  closedError,
  type EventCount,
  nowMs,
  slotOf,
  throwIfAborted,
  WAITABLE,
  type WaiterSet,
  type WaitFor,
} from '@isthmus/sync/internal'
import type { Codec } from '../codec.js'
import { corruptError } from '../errors.js'
import { DUE, isPromiseLike, EMPTY as NOTHING, OVER, type RoundEnd, type Slice } from '../messages/for-each.js'
import type { MessageChunk } from '../messages/message-chunk.js'
import {
  type DrainCallback,
  type DrainOptions,
  type InPlaceCallback,
  MessageReceiver,
} from '../messages/message-receiver.js'
import { Taking } from '../messages/taking.js'
import { partOf } from '../record/large-message.js'
import { LargeMessagePolling } from '../record/large-message-polling.js'
import { privateCopyOf } from '../record/private-run.js'
import { NO_BLOCK } from './block-table.js'
import {
  BLOCK_HEADER_BYTES,
  DATA,
  DELIVERIES_MAX,
  DELIVERY,
  deliveriesIn,
  HELD,
  HOLD_MASK,
  KIND_WORD,
  kindIn,
  LENGTH_WORD,
  laneIn,
  nextInstance,
  ORPHAN,
  PACKED,
  PIPE,
  POSITION_WORD,
  RECEIVER_DONE,
  RECEIVER_LEFT,
  RETURNING,
  slotOfCell,
  stateOfCell,
  UNDELIVERED,
} from './layout.js'
import { TakenHold, TakenLoan } from './loan.js'
import { Pack } from './pack.js'
import { PipeHold, PipeReceiver } from './pipe-receiver.js'
import type { QueueSide } from './queue-side.js'
import { EMPTY, ENDED, type Slots } from './slots.js'

export interface ReceiverOptions {
  /**
   * After so many messages of higher priorities in a row, one of the lowest priority that has any is received. Without it, a message
   * waits as long as there are any of a higher priority.
   */
  readonly fairness?: number
}

/** More than what lies on the stack between `close` and the end of a large message. */
const CLOSING_FRAMES = 32

/** There is a message: in the pack that is open, in the block that was taken, or come through the pipe that was taken. */
const FOUND = 0

/**
 * Receives from an MPMC queue. A queue has any number of receivers, in any threads and processes, and each message goes to one of
 * them. It gives private copies (`tryReceive`, `receiveSync`, `receive`), shows messages in place (`drain`, `forEachInPlace`), or
 * lends them (`tryTake`). `undefined` means that there is nothing yet, or that the time is up; `null` means that the queue has
 * ended and everything was received.
 *
 * Messages come in the order in which they were sent, each priority for itself, the highest first. A call that found nothing
 * proves that there was nothing at one moment of the call.
 *
 * If a receiver dies, its message is lost, if the queue delivers at most once. At least once, a message belongs to its receiver
 * until that acknowledges it, by its next call that receives, or by `acknowledge`; if the receiver dies or is closed before, the
 * message comes again, at the end of the queue. No call throws because a peer died, but in the midst of a large message.
 *
 * A message that is larger than a block comes in parts, while its sender sends it: whole (every call that receives), or in chunks
 * (`receiveChunk`). Until it is there, this receiver waits for its sender alone, and other messages for other receivers. If the
 * sender dies or gives up, a call throws `ERR_ISTHMUS_MESSAGE_INCOMPLETE`, and the next one goes on with the next message; such a
 * message of which nothing was received yet is passed over silently. `skipMessage` gives up one that does not go on.
 *
 * A private copy never changes. One of up to 4 KiB may be a view of a block of 64 KiB that it shares with other messages: read
 * `message.buffer` from `message.byteOffset` on, a multiple of 8; keep `message.slice()` if you keep few of many messages, or
 * transfer one to another thread.
 *
 * @example
 * ```ts
 * sender.trySend(order)
 * queue.end()
 * for (const message of receiver) handle(message)
 * ```
 */
export class Receiver<T = Uint8Array> extends MessageReceiver<T> {
  /** The largest chunk, in bytes. */
  readonly maxChunkBytes: number

  readonly #side: QueueSide
  readonly #waiters: WaiterSet
  readonly #space: WaiterSet
  /** The lanes that it receives from: the highest priority last. */
  readonly #lanes: readonly Slots[]
  readonly #highest: Slots
  readonly #held: number
  readonly #isAtLeastOnce: boolean
  readonly #blockBytes: number
  readonly #reservedFrom: number
  readonly #firstCell: number
  readonly #stride: number
  readonly #fairness: number
  /** How many messages of higher priorities were received in a row. */
  #streak = 0

  /** Turns the hot path off: something of an earlier call has to be looked at first, or the receiver is closed. */
  #isSlow = false
  /** A block that was taken and of which the program has got nothing yet. */
  #block = NO_BLOCK
  #cell = 0
  /** The packed block whose messages are being given. */
  #pack: Pack | undefined
  /** The large message that is being received. */
  #pipe: PipeReceiver | undefined
  #isReadingChunks = false
  /** What the program has got and not acknowledged: blocks with their cells, and messages of packs. */
  readonly #givenBlocks: number[] = []
  readonly #givenCells: number[] = []
  readonly #givenPacks: Pack[] = []
  readonly #givenIndexes: number[] = []
  readonly #givenPipes: PipeReceiver[] = []
  /** A callback of drain, or the codec in a batch, is at work: other calls would take what it is to get next. */
  #isInside = false
  /** Length of the message that a callback is being shown in place; -1 if there is none. */
  #shownBytes = -1
  #hasToldEnd = false
  #isClosed = false

  /** @internal Use `queue.receiver()`. */
  constructor(
    side: QueueSide,
    codec: Codec<T> | undefined,
    lanes: readonly Slots[],
    waiters: WaiterSet,
    fairness: number,
  ) {
    const { geometry, subject } = side
    super(side, subject, codec)
    this.#side = side
    this.#waiters = waiters
    this.#space = side.space
    this.#lanes = lanes
    this.#highest = lanes[lanes.length - 1]
    this.#held = side.held
    this.#isAtLeastOnce = geometry.isAtLeastOnce
    this.#blockBytes = geometry.blockBytes
    this.#reservedFrom = geometry.blocks - geometry.reserved
    this.#firstCell = side.cellWordOf(0)
    this.#stride = geometry.strideBytes >>> 2
    this.#fairness = fairness
    this.#isSlow = geometry.isAtLeastOnce || fairness > 0
    this.maxChunkBytes = geometry.blockBytes
  }

  /**
   * Calls back for every message that is there now, up to `limit`, in place: without a copy. Those bytes are shared memory, which
   * the sender's process can still change: do arithmetic with them, or trust it; do not decode text from them. They are valid
   * until the callback returns, which also acknowledges the message. The codec is not used. A message that is larger than a block
   * is shown in a private array instead, from its byte 0 on: `bytes` is then not `receiver.bytes`.
   *
   * If a callback throws, its message counts as received: drain throws the same, and the next call continues after it.
   * @returns how many messages; `null` if the queue has ended and everything was received
   * @throws IsthmusError `ERR_ISTHMUS_CALL_ORDER` for a call of this receiver from within the callback
   *
   * @example
   * ```ts
   * sender.trySendBatch([order, order])
   * let sum = 0
   * const add = (bytes, byteOffset) => (sum += bytes[byteOffset])
   * receiver.drain(add) // 2
   * ```
   */
  drain(callback: DrainCallback, options?: DrainOptions): number | null {
    const limit = options === undefined ? Number.POSITIVE_INFINITY : this.drainLimitOf(options)
    this.assertUsable('Draining')
    this.assertCallback(callback)
    if (this.receives.isBusy) return 0
    // There must be room to end each showing.
    assertStackRoom()
    if (this.#shownBytes >= 0) this.endShowing()
    if (this.#hasGiven) this.#acknowledgeGiven()
    let count = 0
    if (this.#pipe !== undefined || this.#isReadingChunks) this.#setReadingChunks(false)
    this.#isInside = true
    try {
      while (count < limit) {
        const found = this.#findNext()
        if (found !== FOUND) return found === ENDED && count === 0 ? null : count
        this.#showNext(callback)
        this.endShowing()
        count++
        if (this.#isClosed || this.#side.isClosed) return count
      }
      return count
    } catch (error) {
      this.endShowing(true)
      throw error
    } finally {
      this.#isInside = false
    }
  }

  /**
   * Takes one message, if it is there now, to be read in place, and kept as long as the program wants. Other calls of this
   * receiver neither acknowledge nor release it. The codec is not used.
   * @returns `undefined` if there is none yet; `null` at the end
   * @throws as tryReceive
   *
   * @example
   * ```ts
   * sender.trySend(order)
   * const loan = receiver.tryTake()
   * loan.bytes[0] // 4
   * loan.release()
   * ```
   */
  tryTake(): TakenLoan | undefined | null {
    if (this.receives.isBusy) return undefined
    const found = this.#find()
    if (found !== FOUND) return found === ENDED ? null : undefined
    const { words } = this
    const pipe = this.#pipe
    if (pipe !== undefined) {
      const { message, deliveries } = pipe
      const loan = new TakenLoan(
        new PipeHold(this.#side, pipe),
        message,
        this.#isAtLeastOnce ? deliveries : deliveries + 1,
      )
      if (!this.#isAtLeastOnce) pipe.leave(RECEIVER_DONE)
      this.#pipe = undefined
      return loan
    }
    const pack = this.#pack
    if (pack !== undefined) {
      const message = this.#copyOfNext(pack)
      const hold = new TakenHold(this.#side, pack.block, pack.cell, pack, pack.next)
      const loan = new TakenLoan(hold, message, this.#isAtLeastOnce ? pack.deliveries : pack.deliveries + 1)
      const index = this.#step(pack, message.length)
      if (!this.#isAtLeastOnce) this.#settle(pack, index)
      return loan
    }
    const cellWord = this.#firstCell + this.#block * this.#stride
    const start = (cellWord << 2) + BLOCK_HEADER_BYTES
    const message = this.bytes.subarray(start, start + this.#byteLengthIn(cellWord))
    const hold = new TakenHold(this.#side, this.#block, this.#cell)
    if (!this.#isAtLeastOnce) this.#countDelivery(cellWord)
    const loan = new TakenLoan(hold, message, deliveriesIn(words[cellWord + KIND_WORD]))
    this.#block = NO_BLOCK
    return loan
  }

  /**
   * Gives up the large message that is being received: for one whose sender is stopped, or too slow. At most once, its sender's
   * call throws; at least once, the message comes again when its sender goes on.
   * @returns whether one was being received
   *
   * @example
   * ```ts
   * receiver.skipMessage() // false: no large message has begun
   * ```
   *
   * @throws IsthmusError `ERR_ISTHMUS_CLOSED`
   */
  skipMessage(): boolean {
    this.assertUsable('Giving up a message')
    const pipe = this.#pipe
    if (pipe === undefined) return false
    this.#leavePipe(pipe)
    // A call of this receiver that waits for the rest waits for the next message now.
    pipe.events.pollOwnWaits()
    return true
  }

  /**
   * At least once: the messages that this receiver has given so far are done with, and will not come again. The next call that
   * receives does the same first. Loans are not affected.
   *
   * @example
   * ```ts
   * sender.trySend(order)
   * handle(receiver.tryReceive())
   * receiver.acknowledge()
   * ```
   */
  acknowledge(): void {
    this.assertUsable('Acknowledging')
    if (this.#hasGiven) this.#acknowledgeGiven()
  }

  /** For waitAny: ready when a receive would not have to wait, because of a message or the end. */
  [WAITABLE](): WaitFor {
    const isReady = () => this.#isReady()
    const pipe = this.#pipe
    if (pipe !== undefined) return { point: pipe.events, condition: { ...pipe.condition, poll: isReady } }
    return { point: this.#waiters, condition: { ...this.#conditionFor(isReady), poll: isReady } }
  }

  /**
   * Puts back into the queue what was not acknowledged (at least once), and what was not given to the program. Loans go on.
   *
   * @example
   * ```ts
   * receiver.close()
   * ```
   */
  close(): void {
    if (this.#isClosed) return
    // If it throws, nothing is closed.
    assertRoomToCompile(CLOSING_FRAMES)
    this.#isClosed = true
    this.#isSlow = true
    if (this.#side.isClosed) return
    this.endShowing()
    const pipe = this.#pipe
    this.#giveBack()
    pipe?.events.pollOwnWaits()
    this.#waiters.pollOwnWaits()
  }

  protected override waitPoints(): readonly (WaiterSet | EventCount)[] {
    return this.#pipe === undefined ? [this.#waiters] : [this.#waiters, this.#pipe.events]
  }

  /** @internal */
  protected override get isClosed(): boolean {
    return this.#isClosed
  }

  /** @internal */
  protected override tryTakeMessage(): Uint8Array | undefined | null {
    // The hot path, in one function: a queue that delivers at most once, and a block with one message.
    if (this.#isSlow || this.#side.isClosed) return this.#tryTakeSlowly()
    const slots = this.#highest
    const block = slots.take(this.#held)
    if (block < 0) return block === EMPTY && this.#isVain() ? undefined : this.#tryTakeSlowly()
    const cell = slots.takenCell
    const { words } = this
    const cellWord = this.#firstCell + block * this.#stride
    const byteLength = words[cellWord + LENGTH_WORD]
    // No call before the block is noted, or freed, but within the try: at the edge of the stack it would throw. The kind is
    // DATA, without any flag.
    if ((words[cellWord + KIND_WORD] & 0xff) !== DATA || byteLength >>> 0 > this.#blockBytes) {
      this.#side.table.kept[block] = 1
      this.#block = block
      this.#cell = cell
      this.#isSlow = true
      // As #noteTaken: from here on the message is this receiver's, and is lost with it.
      words[cellWord + KIND_WORD] &= ~UNDELIVERED
      return this.#tryTakeSlowly()
    }
    let copy: Uint8Array
    try {
      copy = privateCopyOf(this.bytes, words, (cellWord << 2) + BLOCK_HEADER_BYTES, byteLength)
    } catch (error) {
      // The next call goes on with it.
      this.#side.table.kept[block] = 1
      this.#block = block
      this.#cell = cell
      this.#isSlow = true
      throw error
    }
    // SYNC position away: before the block is free
    words[cellWord + POSITION_WORD] = slots.takenPosition ^ -0x80000000
    // SYNC block handed over
    Atomics.compareExchange(words, cellWord, cell, cell & ~HOLD_MASK)
    try {
      if (block >= this.#reservedFrom) this.#space.notifyAll()
      else this.#space.notifyOne()
    } catch {
      try {
        this.#side.notifyLater(this.#space)
      } catch {
        // No room even for that. The message is taken, and must not be lost: the next one wakes the sender.
      }
    }
    return copy
  }

  /** The lane of the highest priority is empty: whether that is all there is to say. */
  #isVain(): boolean {
    if (this.#lanes.length > 1 || this.#side.hasOrphans) return false
    if (!this.#side.isCheckDue()) return true
    this.#side.lookThrough(true)
    return false
  }

  /** @internal */
  protected override tryTakeMessageInto(into: Uint8Array): Uint8Array | undefined | null {
    const found = this.#find()
    if (found !== FOUND) return found === ENDED ? null : undefined
    const part = this.#copyNextInto(into)
    this.#passNext(part.length)
    return part
  }

  #tryTakeSlowly(): Uint8Array | undefined | null {
    const found = this.#find()
    if (found !== FOUND) return found === ENDED ? null : undefined
    const message = this.#copyNext()
    this.#passNext(message.length)
    return message
  }

  /** What `#findNext` finds, for a call of the program: it is done with what it was given before. */
  #find(): number {
    this.assertUsable('Receiving')
    if (this.#shownBytes >= 0) this.endShowing()
    if (this.#hasGiven) this.#acknowledgeGiven()
    if (this.#isReadingChunks) this.#setReadingChunks(false)
    return this.#findNext()
  }

  /**
   * Sees to it that there is a message to give, in #pack, #block or #pipe. Returns FOUND, EMPTY or ENDED.
   * @param mayBreakOff whether the call may tell of a large message that breaks off
   */
  #findNext(mayBreakOff = true): number {
    for (;;) {
      if (this.#pack !== undefined) return FOUND
      if (this.#pipe !== undefined) {
        // As in #takeBlock.
        assertStackRoom()
        return this.#isReadingChunks || this.#assemble(this.#pipe) ? FOUND : EMPTY
      }
      if (this.#block === NO_BLOCK) {
        const found = this.#takeBlock()
        if (found !== FOUND) {
          if (!this.#isClosed) this.#isSlow = this.#isAtLeastOnce || this.#fairness > 0
          return found
        }
      }
      const cellWord = this.#firstCell + this.#block * this.#stride
      const kind = kindIn(this.words[cellWord + KIND_WORD])
      if (kind === DATA && this.words[cellWord + LENGTH_WORD] >>> 0 <= this.#blockBytes) return FOUND
      if (kind === PACKED) this.#openPack()
      else if (kind !== PIPE || this.#side.geometry.maxMessageBytes <= this.#blockBytes) throw this.#dropCorrupt()
      else if (this.#openPipe() && !mayBreakOff) return EMPTY
    }
  }

  /** Begins to receive a large message. Returns false for one that its sender has given up before. */
  #openPipe(): boolean {
    // What is noted below must not break off half-way.
    assertStackRoom()
    const pipe = new PipeReceiver(this.#side, this.#block, this.#cell)
    this.#pipe = pipe
    this.#block = NO_BLOCK
    let isUnderWay = false
    try {
      isUnderWay = pipe.begin()
    } finally {
      if (!isUnderWay) this.#leavePipe(pipe)
    }
    if (!this.#waiters.isRef) pipe.events.setRef(false)
    return isUnderWay
  }

  /** Receives what has come of a large message. Returns whether it is whole. */
  #assemble(pipe: PipeReceiver): boolean {
    try {
      return pipe.assemble()
    } catch (error) {
      this.#dropBroken(pipe, error)
      throw error
    }
  }

  /** Without memory for it, a message is not lost: the program may receive it in chunks. */
  #dropBroken(pipe: PipeReceiver, error: unknown): void {
    const { code } = error as { code?: unknown }
    if (code === 'ERR_ISTHMUS_MESSAGE_INCOMPLETE' || code === 'ERR_ISTHMUS_CORRUPT') this.#leavePipe(pipe)
  }

  #leavePipe(pipe: PipeReceiver): void {
    pipe.leave(RECEIVER_LEFT)
    this.#pipe = undefined
  }

  /** @internal */
  protected override tryTakeChunk(into: Uint8Array | undefined): MessageChunk | undefined | null {
    this.assertUsable('Receiving')
    if (this.#shownBytes >= 0) this.endShowing()
    if (this.#hasGiven) this.#acknowledgeGiven()
    if (!this.#isReadingChunks) this.#setReadingChunks(true)
    const found = this.#findNext()
    if (found !== FOUND) return found === ENDED ? null : undefined
    const pipe = this.#pipe
    if (pipe === undefined) return this.#takeWholeAsChunk(into)
    try {
      const chunk = pipe.takeChunk(into)
      if (chunk?.isLast) this.#passNext(0)
      return chunk
    } catch (error) {
      this.#dropBroken(pipe, error)
      throw error
    }
  }

  #takeWholeAsChunk(into: Uint8Array | undefined): MessageChunk {
    const message = this.#copyNext()
    const { length } = message
    if (into !== undefined && length > into.length) {
      throw new IsthmusRangeError(
        'ERR_ISTHMUS_INVALID_ARGUMENT',
        `${this.attempt}: the next chunk has ${length} bytes, and the array to copy it into has ${into.length}. Give one of maxChunkBytes.`,
      )
    }
    into?.set(message)
    const bytes = into === undefined ? message : into.subarray(0, length)
    this.#passNext(length)
    return { bytes, messageOffset: 0, messageByteLength: length, isLast: true }
  }

  /** A message of which something was received is received to its end in the same way. */
  #setReadingChunks(inChunks: boolean): void {
    if (this.#isReadingChunks === inChunks) return
    if (this.#pipe !== undefined && this.#pipe.receivedBytes > 0) {
      throw new IsthmusError(
        'ERR_ISTHMUS_CALL_ORDER',
        `${this.attempt}: the message under way is being received ${inChunks ? 'whole' : 'in chunks'}. Receive the rest of it in the same way, or give it up with skipMessage.`,
      )
    }
    this.#isReadingChunks = inChunks
  }

  /** A pack that has nothing to give is freed, and not opened. */
  #openPack(): void {
    // What is noted below must not break off half-way.
    assertStackRoom()
    let pack: Pack
    try {
      pack = new Pack(this.#side, this.#block, this.#cell)
    } catch (error) {
      if (isCorrupt(error)) this.#dropBlock()
      throw error
    }
    this.#block = NO_BLOCK
    if (pack.hasNext) this.#pack = pack
    else pack.freeIfSettled()
  }

  /** As #dropBlock, if the error says that the pack is damaged: what is left of it cannot be read. Returns the error. */
  #dropPackIf(error: unknown, pack: Pack): unknown {
    if (!isCorrupt(error)) return error
    this.#pack = undefined
    pack.drop()
    return error
  }

  #copyOfNext(pack: Pack): Uint8Array {
    try {
      return pack.copyOfNext()
    } catch (error) {
      throw this.#dropPackIf(error, pack)
    }
  }

  #byteLengthOfNext(pack: Pack): number {
    try {
      return pack.byteLengthOfNext()
    } catch (error) {
      throw this.#dropPackIf(error, pack)
    }
  }

  /** A private copy of the message that was found. If this throws, the next call finds the same message. */
  #copyNext(): Uint8Array {
    if (this.#pack !== undefined) return this.#copyOfNext(this.#pack)
    if (this.#pipe !== undefined) return this.#pipe.message
    const cellWord = this.#firstCell + this.#block * this.#stride
    const byteLength = this.#byteLengthIn(cellWord)
    return privateCopyOf(this.bytes, this.words, (cellWord << 2) + BLOCK_HEADER_BYTES, byteLength)
  }

  /** The same, into an array of the program. */
  #copyNextInto(into: Uint8Array): Uint8Array {
    if (this.#pack !== undefined || this.#pipe !== undefined) {
      const message = this.#copyNext()
      const part = partOf(into, message.length, this.attempt)
      part.set(message)
      return part
    }
    const cellWord = this.#firstCell + this.#block * this.#stride
    const part = partOf(into, this.#byteLengthIn(cellWord), this.attempt)
    const start = (cellWord << 2) + BLOCK_HEADER_BYTES
    part.set(this.bytes.subarray(start, start + part.length))
    return part
  }

  /** The message that was found, and has this length, is the program's now. */
  #passNext(byteLength: number): void {
    const pack = this.#pack
    if (pack !== undefined) {
      if (this.#isAtLeastOnce) {
        this.#givenIndexes[this.#givenPacks.length] = pack.next
        this.#givenPacks.push(pack)
      }
      const index = this.#step(pack, byteLength)
      if (!this.#isAtLeastOnce) this.#settle(pack, index)
      return
    }
    const pipe = this.#pipe
    if (pipe !== undefined) {
      // If this throws, the next call finds the same message.
      if (this.#isAtLeastOnce) this.#givenPipes.push(pipe)
      else pipe.leave(RECEIVER_DONE)
      this.#pipe = undefined
      return
    }
    const block = this.#block
    const cell = this.#cell
    if (this.#isAtLeastOnce) {
      this.#givenCells[this.#givenBlocks.length] = cell
      this.#givenBlocks.push(block)
      this.#block = NO_BLOCK
      return
    }
    this.#block = NO_BLOCK
    try {
      this.#side.release(block, cell)
    } catch {
      // The stack is full. The message is taken, and must not be lost: the next call frees its block.
      this.#givenCells[this.#givenBlocks.length] = cell
      this.#givenBlocks[this.#givenBlocks.length] = block
      this.#isSlow = true
    }
  }

  #step(pack: Pack, byteLength: number): number {
    const index = pack.step(byteLength)
    if (pack.next === pack.count) this.#pack = undefined
    return index
  }

  #settle(pack: Pack, index: number): void {
    try {
      pack.settle(index)
    } catch {
      // As above: the next call settles it.
      this.#givenIndexes[this.#givenPacks.length] = index
      this.#givenPacks[this.#givenPacks.length] = pack
      this.#isSlow = true
    }
  }

  /** Calls back with the message that was found, in place. `#endShowing` ends that. */
  #showNext(callback: InPlaceCallback): unknown {
    const pack = this.#pack
    if (pack !== undefined) {
      const byteLength = this.#byteLengthOfNext(pack)
      // At most once: if we are killed in the callback, it is not delivered again.
      if (!this.#isAtLeastOnce) pack.settle(pack.next, true)
      this.#shownBytes = byteLength
      return callback(pack.bytes, pack.byteOffsetOfNext, byteLength)
    }
    if (this.#pipe !== undefined) {
      const { message } = this.#pipe
      this.#shownBytes = message.length
      return callback(message, 0, message.length)
    }
    const cellWord = this.#firstCell + this.#block * this.#stride
    const byteLength = this.#byteLengthIn(cellWord)
    this.#shownBytes = byteLength
    return callback(this.bytes, (cellWord << 2) + BLOCK_HEADER_BYTES, byteLength)
  }

  /**
   * @internal The callback is done with its message, if it is being shown one. If it has failed, the message counts as one that was given:
   * at least once, the next call acknowledges it.
   */
  protected override endShowing(hasFailed = false): void {
    const byteLength = this.#shownBytes
    if (byteLength < 0) return
    const pack = this.#pack
    const pipe = this.#pipe
    if (hasFailed && this.#isAtLeastOnce) {
      this.#passNext(byteLength)
      this.#shownBytes = -1
    } else if (pipe !== undefined) {
      pipe.leave(RECEIVER_DONE)
      this.#shownBytes = -1
      this.#pipe = undefined
    } else if (pack === undefined) {
      this.#dropBlock()
      this.#shownBytes = -1
    } else {
      // If the stack is full, it throws before anything is noted, and the next call comes here first; or not at all.
      const index = pack.step(byteLength)
      this.#shownBytes = -1
      if (pack.next === pack.count) this.#pack = undefined
      this.#settle(pack, index)
    }
  }

  /**
   * Takes the next block of all lanes into #block.
   *
   * 1. From the highest priority down; or, if fairness says so, from the lowest up.
   * 2. Nothing: if orphans were left, or a check is due, look through all blocks. Then once more.
   * 3. All lanes have ended: take what was left behind the end.
   */
  #takeBlock(): number {
    // What is taken below is given, settled and noted in several calls: none of them may be the first that finds the stack full.
    assertStackRoom()
    let found = this.#takeFromLanes()
    if (found === FOUND) return FOUND
    const side = this.#side
    const isCheckDue = side.isCheckDue()
    if (isCheckDue || side.hasOrphans) {
      side.lookThrough(isCheckDue)
      found = this.#takeFromLanes()
    }
    return found === ENDED ? this.#takeAtEnd() : found
  }

  #takeFromLanes(): number {
    const lanes = this.#lanes
    const top = lanes.length - 1
    const isLowestFirst = this.#fairness > 0 && this.#streak >= this.#fairness
    let ended = 0
    for (let step = 0; step <= top; step++) {
      const lane = isLowestFirst ? step : top - step
      const block = lanes[lane].take(this.#held)
      if (block >= 0) {
        this.#side.table.kept[block] = 1
        this.#block = block
        this.#cell = lanes[lane].takenCell
        this.#isSlow = true
        this.#streak = isLowestFirst || lane === 0 ? 0 : this.#streak + 1
        this.#noteTaken(block)
        return FOUND
      }
      if (block === ENDED) ended++
    }
    return ended > top ? ENDED : EMPTY
  }

  /**
   * Every lane has ended. Nothing is pushed behind an end: what dead peers had, and what was put back, are orphans, which are
   * taken here. If there are none, and no other peer has a message that may become one, it is over.
   */
  #takeAtEnd(): number {
    const side = this.#side
    const { table } = side
    const state = new StateAtEnd(side, this.#lanes)
    for (let orphan = state.nextOrphan(); orphan !== NO_BLOCK; orphan = state.nextOrphan()) {
      const cell = nextInstance(state.orphanCell, this.#held)
      // SYNC block handed over
      if (Atomics.compareExchange(this.words, side.cellWordOf(orphan), state.orphanCell, cell) !== state.orphanCell) {
        continue
      }
      table.kept[orphan] = 1
      this.#block = orphan
      this.#cell = cell
      this.#isSlow = true
      if (side.isDeliverable(orphan)) {
        this.#noteTaken(orphan)
        return FOUND
      }
      this.#block = NO_BLOCK
      side.drop(orphan, cell)
    }
    if (!state.isOver) return EMPTY
    if (!this.#hasToldEnd) {
      this.#hasToldEnd = true
      this.#waiters.notifyAll()
    }
    return ENDED
  }

  /** A block was taken, and its program will get it. */
  #noteTaken(block: number): void {
    const cellWord = this.#firstCell + block * this.#stride
    if (this.#isAtLeastOnce) this.#countDelivery(cellWord)
    else this.words[cellWord + KIND_WORD] &= ~UNDELIVERED
  }

  get #hasGiven(): boolean {
    return this.#givenBlocks.length > 0 || this.#givenPacks.length > 0 || this.#givenPipes.length > 0
  }

  #acknowledgeGiven(): void {
    const packs = this.#givenPacks
    for (; packs.length > 0; packs.pop()) packs[packs.length - 1].settle(this.#givenIndexes[packs.length - 1])
    const blocks = this.#givenBlocks
    for (let last = blocks.length - 1; last >= 0; last--) {
      // If this throws, the block is still kept, and the next call releases it.
      if (this.#side.table.kept[blocks[last]] !== 0) this.#side.release(blocks[last], this.#givenCells[last])
      blocks.length = last
    }
    const pipes = this.#givenPipes
    for (; pipes.length > 0; pipes.pop()) pipes[pipes.length - 1].leave(RECEIVER_DONE)
  }

  /** Puts back into the queue what the program has not acknowledged, and what it was not given. */
  #giveBack(): void {
    const side = this.#side
    const packs = new Set(this.#givenPacks)
    const blocks = [...this.#givenBlocks]
    if (this.#pack !== undefined) packs.add(this.#pack)
    this.#givenPacks.length = 0
    this.#givenBlocks.length = 0
    this.#pack = undefined
    const block = this.#block
    this.#block = NO_BLOCK
    for (const [at, given] of blocks.entries()) side.pushAgain(given, this.#givenCells[at])
    for (const pack of packs) pack.giveBack()
    if (block !== NO_BLOCK) this.#giveBackUnread(block)
    const pipes = this.#givenPipes.splice(0)
    if (this.#pipe !== undefined) pipes.push(this.#pipe)
    this.#pipe = undefined
    for (const pipe of pipes) pipe.leave(RECEIVER_LEFT)
  }

  /** A block of which it is not known yet what is in it: a pipe goes back to its sender. */
  #giveBackUnread(block: number): void {
    const cellWord = this.#firstCell + block * this.#stride
    if (kindIn(this.words[cellWord + KIND_WORD]) !== PIPE) this.#side.pushAgain(block, this.#cell)
    else new PipeReceiver(this.#side, block, this.#cell).leave(RECEIVER_LEFT)
  }

  #countDelivery(cellWord: number): void {
    const word = this.words[cellWord + KIND_WORD]
    if (deliveriesIn(word) < DELIVERIES_MAX) this.words[cellWord + KIND_WORD] = word + DELIVERY
  }

  #byteLengthIn(cellWord: number): number {
    const byteLength = this.words[cellWord + LENGTH_WORD]
    if (byteLength >>> 0 > this.#blockBytes) throw this.#dropCorrupt()
    return byteLength
  }

  #dropBlock(): void {
    const block = this.#block
    this.#block = NO_BLOCK
    try {
      this.#side.release(block, this.#cell)
    } catch {
      // The stack is full. The message is done with, and must not be shown again: the next call frees its block.
      this.#givenCells[this.#givenBlocks.length] = this.#cell
      this.#givenBlocks[this.#givenBlocks.length] = block
      this.#isSlow = true
    }
  }

  /** The block that was taken contains what no correct sender writes: it is freed. */
  #dropCorrupt(): Error {
    const cellWord = this.#firstCell + this.#block * this.#stride
    const kind = kindIn(this.words[cellWord + KIND_WORD])
    const byteLength = this.words[cellWord + LENGTH_WORD]
    this.#dropBlock()
    return corruptError(
      this.subject,
      `a message of kind ${kind} has ${byteLength} bytes, and a block has ${this.#blockBytes}`,
    )
  }

  /** @internal */
  protected override takeMore(batch: T[], limit: number): number {
    let byteCount = 0
    this.#isInside = true
    try {
      // A large message may break off: the call that begins with it tells that.
      while (batch.length < limit && this.#pipe === undefined && this.#findNext(false) === FOUND) {
        const message = this.#copyNext()
        const value = this.decoded(message) as T
        // The codec may have closed it.
        if (this.#isClosed) break
        this.#passNext(message.length)
        batch.push(value)
        byteCount += message.length
      }
      return byteCount
    } finally {
      this.#isInside = false
    }
  }

  /** @internal */
  protected override blockFor<R>(tryTake: () => R | undefined, deadline: number): R | undefined {
    this.assertOurTurn()
    const taken = tryTake()
    if (taken !== undefined) return taken
    if (nowMs() >= deadline) return this.#tryAfterProof(tryTake)
    for (;;) {
      const taken =
        this.#pipe === undefined ? this.#blockForBlock(tryTake, deadline) : this.#blockInPipe(tryTake, deadline)
      if (taken !== undefined || nowMs() >= deadline) return taken
    }
  }

  #blockForBlock<R>(tryTake: () => R | undefined, deadline: number): R | undefined {
    const wait = new Taking(tryTake)
    const poll = () => wait.poll() || this.#pipe !== undefined
    try {
      this.#waiters.waitSync({ ...this.#conditionFor(() => false), poll }, deadline)
    } catch (error) {
      // What was taken must not be lost.
      if (wait.taken === undefined) throw error
    }
    return wait.taken
  }

  /** In the midst of a large message: waits for its sender, and tries once. */
  #blockInPipe<R>(tryTake: () => R | undefined, deadline: number): R | undefined {
    const pipe = this.#pipe as PipeReceiver
    if (!pipe.hasNews()) {
      if (pipe.isOwnThread()) {
        throw new IsthmusError(
          'EDEADLK',
          `${this.attempt}: the sender of the large message under way belongs to this very thread and cannot send while the thread blocks. Use receive, or give it up with skipMessage.`,
        )
      }
      if (!pipe.events.waitSync(pipe.condition, deadline)) return undefined
    }
    return tryTake()
  }

  /** The time is up already: one thorough attempt. */
  #tryAfterProof<R>(tryTake: () => R | undefined): R | undefined {
    this.#side.lookThrough(true)
    this.#pipe?.proveSender()
    return tryTake()
  }

  /** @internal */
  protected override waitToTake(
    taking: Taking<unknown>,
    deadline: number,
    signal: Signal | undefined,
  ): Promise<unknown> {
    if (this.#pipe !== undefined) return this.#waitInPipe(taking, deadline, signal)
    const poll = () => taking.poll() || this.#pipe !== undefined
    return this.#waiters.wait({ ...this.#conditionFor(() => false), poll }, deadline, signal)
  }

  /** In the midst of a large message, polls for the next part first (see LargeMessagePolling). */
  async #waitInPipe(taking: Taking<unknown>, deadline: number, signal: Signal | undefined): Promise<void> {
    const polling = new LargeMessagePolling(this.receives)
    do {
      const pipe = this.#pipe
      if (pipe === undefined) return
      while (polling.until(pipe.condition)) {
        if (taking.poll() || nowMs() >= deadline || this.#pipe !== pipe) return
      }
      if (polling.isTurnDue) {
        await polling.yieldToEventLoop()
        throwIfAborted(signal)
      }
      await pipe.wait(deadline, signal)
    } while (!taking.poll() && nowMs() < deadline)
  }

  /** @internal */
  protected override newsFor(): { hasNews(): boolean; wait(signal: Signal | undefined): Promise<unknown> } {
    const isReady = () => this.#isReady()
    const condition = { ...this.#conditionFor(isReady), poll: isReady }
    return {
      hasNews: isReady,
      wait: (signal) =>
        this.#pipe === undefined
          ? this.#waiters.wait(condition, Number.POSITIVE_INFINITY, signal)
          : this.#pipe.wait(Number.POSITIVE_INFINITY, signal),
    }
  }

  /** @internal */
  protected override showInPlace(callback: InPlaceCallback, slice: Slice): RoundEnd {
    try {
      do {
        const found = this.#find()
        if (found !== FOUND) return found === ENDED ? OVER : NOTHING
        const result = this.#showNext(callback)
        if (isPromiseLike(result)) return result
        this.endShowing()
        if (this.#isClosed || this.#side.isClosed) throw closedError(this.attempt)
      } while (slice.goesOn())
      return DUE
    } catch (error) {
      this.endShowing(true)
      throw error
    }
  }

  #conditionFor(poll: () => boolean): Condition {
    const side = this.#side
    return {
      poll,
      reapDead: () => side.lookThrough(true),
      dependsOn: () => side.region.peers.others(),
      handOffWakeup: () => {
        // A closed region has swept this waiter.
        if (side.isClosed) return
        let isMoreThere = true
        try {
          isMoreThere = this.#lanes.some((lane) => lane.look() >= 0)
        } catch {
          // Corrupt: the next call throws. What ends here is a wait that has its outcome, perhaps in a callback of the event loop.
        }
        if (isMoreThere) this.#waiters.notifyOne()
      },
    }
  }

  /** Whether a receive may find something. It takes nothing, and throws nothing. */
  #isReady(): boolean {
    if (this.#isClosed || this.#side.isClosed || this.#pack !== undefined || this.#block !== NO_BLOCK) return true
    if (this.receives.isBusy && this.#shownBytes >= 0) return false
    if (this.#pipe !== undefined) return this.#pipe.hasNews()
    try {
      if (this.#side.hasOrphans) return true
      let ended = 0
      for (const lane of this.#lanes) {
        const found = lane.look()
        if (found >= 0) return true
        if (found === ENDED) ended++
      }
      if (ended < this.#lanes.length) return false
      const state = new StateAtEnd(this.#side, this.#lanes)
      return state.nextOrphan() !== NO_BLOCK || state.isOver
    } catch {
      // Corrupt: its next call throws, and the waits for others go on.
      return true
    }
  }

  /** @internal */
  protected override assertUsable(attempt: string): void {
    if (this.#isClosed || this.#side.isClosed) throw closedError(`${attempt} through a receiver of ${this.subject}`)
    if (!this.#isInside) return
    throw new IsthmusError(
      'ERR_ISTHMUS_CALL_ORDER',
      `${attempt} through a receiver of ${this.subject} from within a callback that it has called: that still reads its message. Return from the callback first.`,
    )
  }
}

/**
 * A look through all blocks of a queue that has ended, for orphans to take. If it has found none, it tells whether it is over: no
 * other peer has a message that may be put back.
 *
 * A message may move to another block meanwhile, one that the look has passed: one of several in a block that is put back. Then
 * it becomes an orphan before its old block is freed, and `orphansLeft` changes. If the queue was reopened meanwhile and has
 * ended again, END stands at another position.
 */
class StateAtEnd {
  readonly #side: QueueSide
  readonly #lanes: readonly Slots[]
  readonly #endPositions: readonly (number | undefined)[]
  readonly #orphansLeft: number
  #block = -1
  #isAnyHeld = false
  orphanCell = 0

  constructor(side: QueueSide, lanes: readonly Slots[]) {
    this.#side = side
    this.#lanes = lanes
    this.#orphansLeft = side.orphansLeft
    this.#endPositions = lanes.map((lane) => lane.endPosition)
  }

  /** The next orphan, for the caller to take from `orphanCell`; NO_BLOCK if there are no more. */
  nextOrphan(): number {
    const { table, self, geometry, words, lanes } = this.#side
    const ownSlot = slotOf(self)
    while (++this.#block < geometry.blocks) {
      const block = this.#block
      const cell = table.cellOf(block)
      const kindWord = words[this.#side.cellWordOf(block) + KIND_WORD]
      const lane = laneIn(kindWord)
      // A dead letter does not come back here; nor does a pipe, whose sender is told of the end.
      if (lane === geometry.deadLane || kindIn(kindWord) === PIPE) continue
      if ((cell & HOLD_MASK) === ORPHAN) {
        this.orphanCell = cell
        this.#isAnyHeld = true
        return block
      }
      const state = stateOfCell(cell)
      if (state === HELD && slotOfCell(cell) !== ownSlot) this.#isAnyHeld = true
      if (state === RETURNING && lanes[lane]?.isPushed(block) !== true) this.#isAnyHeld = true
    }
    return NO_BLOCK
  }

  /** After nextOrphan has found no more. At most once, nothing that a peer has comes again while it lives. */
  get isOver(): boolean {
    if (!this.#side.geometry.isAtLeastOnce) return true
    if (this.#isAnyHeld || this.#side.orphansLeft !== this.#orphansLeft) return false
    return this.#lanes.every((lane, index) => {
      const position = lane.endPosition
      return position !== undefined && position === this.#endPositions[index]
    })
  }
}

function isCorrupt(error: unknown): boolean {
  return (error as { code?: unknown } | null)?.code === 'ERR_ISTHMUS_CORRUPT'
}
