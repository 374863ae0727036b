import { IsthmusError, IsthmusRangeError, type TimeoutOptions, type Waitable, type WaitOptions } from '@isthmus/sync'
import {
  Awaitable,
  assertOptions,
  assertRoomToCompile,
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
  type WaiterSet,
  type WaitFor,
} from '@isthmus/sync/internal'
import type { Codec } from '../codec.js'
import { Batch } from '../messages/batch.js'
import { assertLength, bytesOf } from '../messages/message-bytes.js'
import { type BlockTable, NO_BLOCK } from './block-table.js'
import {
  BLOCK_HEADER_BYTES,
  DATA,
  HOLD_MASK,
  KIND_WORD,
  LENGTH_WORD,
  laneIn,
  OWNED,
  SENDER_WORD,
  slotOfCell,
  stateOfCell,
} from './layout.js'
import { SendLoan } from './loan.js'
import { Packing } from './packing.js'
import { PipeSender } from './pipe-sender.js'
import type { QueueSide } from './queue-side.js'
import type { Slots } from './slots.js'

/** Which messages are received first. */
export interface PriorityOptions {
  /** From 0, the lowest, to `lanes - 1`; 0 if not given. Messages of one priority are received in the order in which they were sent. */
  readonly priority?: number
}

/** More than what lies on the stack between `close` and the end of a large message. */
const CLOSING_FRAMES = 32

/** What of a batch counts as much as one call that completed at once: sending it takes a few microseconds. */
const MESSAGES_PER_COMPLETION = 64
/** What `send` returns if it sent its message at once: one promise for all of them. */
const sentAtOnce = Promise.resolve(true)

/**
 * Sends to an MPMC queue. A queue has any number of senders, in any threads and processes. It copies messages in (`trySend`,
 * `sendSync`, `send`), or lends a block to the program, which writes the message in place (`tryLoan`).
 *
 * A send that returned true is committed: it stays in the queue, whatever happens to its sender. If a sender is killed in
 * the midst of a send, that message was sent as a whole or not at all; nobody waits for it.
 *
 * A message above `blockBytes`, up to `maxMessageBytes`, goes through one block in parts, while a receiver takes it. It has its place
 * among the other messages, and its send lasts until all of it is on its way; at least once, until it is acknowledged. If its
 * receiver dies, it is sent again (at least once), or the send throws `ERR_ISTHMUS_PEER_DIED` (at most once).
 *
 * @example
 * ```ts
 * const { root } = HeapRegion.create(mpmcQueue({ blocks: 64, blockBytes: 1024, codec: utf8 }))
 * const sender = root.sender()
 * sender.trySend('espresso') // true
 * root.receiver().tryReceive() // 'espresso'
 * ```
 */
export class Sender<T = Uint8Array> extends Awaitable implements Waitable {
  /** The whole region as bytes, to write loans into. An index is a byte offset as `loan.byteOffset`. */
  readonly bytes: Uint8Array
  /** The same as 32-bit words; the index is `byteOffset / 4`. */
  readonly words: Int32Array
  /** The same as 64-bit numbers; the index is `byteOffset / 8`. */
  readonly doubles: Float64Array
  /** The same for mixed records. */
  readonly view: DataView
  /** The largest message for trySend, batches that do not wait, and loans, in bytes. */
  readonly blockBytes: number
  /** The largest message for sendSync and send, in bytes. */
  readonly maxMessageBytes: number

  readonly #side: QueueSide
  readonly #subject: string
  /** How most error messages begin. */
  readonly #attempt: string
  readonly #codec: Codec<T> | undefined
  readonly #table: BlockTable
  readonly #lanes: readonly Slots[]
  readonly #lowest: Slots
  readonly #messages: WaiterSet
  readonly #self: number
  readonly #blocksEnd: number
  readonly #firstCell: number
  readonly #stride: number
  readonly #packing: Packing
  /** Above 0, messages go into the block that is being packed. */
  #corkDepth = 0
  #isClosed = false
  readonly #sends = new TurnQueue()
  /** Large messages on their way. */
  readonly #pipes = new Set<PipeSender>()
  #forgetClose: (() => void) | undefined

  /** @internal Use `queue.sender()`. */
  constructor(side: QueueSide, codec: Codec<T> | undefined) {
    super()
    const { geometry, subject } = side
    this.#side = side
    this.#subject = subject
    this.#attempt = `Sending to ${subject}`
    this.#codec = codec
    this.#table = side.table
    this.#lanes = side.lanes
    this.#lowest = side.lanes[0]
    this.#messages = side.messages
    this.#self = side.self
    this.#blocksEnd = side.endOfBlocksFor(0)
    this.#firstCell = side.cellWordOf(0)
    this.#stride = geometry.strideBytes >>> 2
    this.#packing = new Packing(side)
    this.blockBytes = geometry.blockBytes
    this.maxMessageBytes = geometry.maxMessageBytes
    this.bytes = side.bytes
    this.words = side.words
    this.doubles = side.doubles
    this.view = side.view
  }

  /**
   * Sends a copy of a message, if there is a free block.
   * @returns false if it found none. Of a queue with more than 64 blocks, a single call may look at a part of them
   * @throws IsthmusRangeError `ERR_ISTHMUS_MESSAGE_TOO_LARGE` above blockBytes: sendSync and send send those
   * @throws IsthmusError `ERR_ISTHMUS_CLOSED` if the queue has ended, or the sender or its region was closed
   * @throws IsthmusTypeError `ERR_ISTHMUS_INVALID_ARGUMENT` for a value that is no Uint8Array, in a queue without a codec
   *
   * @example
   * ```ts
   * sender.trySend(order) // true
   * ```
   */
  trySend(value: T, options?: PriorityOptions): boolean {
    const bytes = bytesOf(value, this.#codec, this.#attempt)
    if (options !== undefined) return this.#trySendTo(this.#laneOf(options), bytes)
    // The hot path: the same as #trySendTo(0, bytes), in one function.
    const { length } = bytes
    if (
      this.#corkDepth !== 0 ||
      this.#sends.isBusy ||
      this.#isClosed ||
      this.#side.isClosed ||
      length > this.blockBytes ||
      this.#lanes.length > 1
    ) {
      return this.#trySendTo(0, bytes)
    }
    const table = this.#table
    const block = table.tryTake(this.#blocksEnd)
    if (block === NO_BLOCK) return this.#trySendTo(0, bytes)
    const cell = table.takenCell
    const { words } = this
    const cellWord = this.#firstCell + block * this.#stride
    try {
      this.bytes.set(bytes, (cellWord << 2) + BLOCK_HEADER_BYTES)
      words[cellWord + LENGTH_WORD] = length
      words[cellWord + KIND_WORD] = DATA
      words[cellWord + SENDER_WORD] = this.#self
      if (!this.#lowest.push(block)) throw this.#endedError()
    } catch (error) {
      // Without a call that could fail at the edge of the stack.
      Atomics.compareExchange(words, cellWord, cell, cell & ~HOLD_MASK)
      throw error
    }
    try {
      this.#messages.notifyOne()
    } catch {
      try {
        this.#side.notifyLater(this.#messages)
      } catch {
        // No room even for that. The message is sent, so this must not throw: the next one wakes the receiver.
      }
    }
    return true
  }

  /**
   * Sends copies of as many messages as there is space for, in order, several in each block. The messages of a block become
   * visible all at once, and one receiver gets them.
   * @returns how many were sent. If one of them cannot be sent, those before it are; a call that begins with it throws
   * @throws as trySend
   *
   * @example
   * ```ts
   * sender.trySendBatch([order, order, order]) // 3
   * ```
   */
  trySendBatch(values: readonly T[], options?: PriorityOptions): number {
    const lane = this.#laneOf(options)
    const batch = new Batch(values, this.#attempt)
    if (this.#sends.isBusy) return 0
    try {
      const next = this.#sendWhatFits(batch, lane)
      if (next !== undefined) this.#assertFitsBlock(next.length)
    } catch (error) {
      if (batch.sentCount === 0) throw error
    }
    return batch.sentCount
  }

  /**
   * Sends a copy of a message of up to maxMessageBytes, and blocks the thread while no block is free; and while a large message
   * is on its way. That is sent when all of it is in its block, or was received; at least once, when it is acknowledged.
   * @returns false after `timeoutMs`. If a large message was under way, its receiver is told that it stays incomplete; at least
   * once, a receiver may have it whole, and not have acknowledged it
   * @throws as trySend, but IsthmusRangeError `ERR_ISTHMUS_MESSAGE_TOO_LARGE` only above maxMessageBytes
   * @throws IsthmusError `EDEADLK` if this very thread has all blocks, in loans and unacknowledged messages, or a large message
   * would wait for a receiver of this very thread
   * @throws PeerDiedError `ERR_ISTHMUS_PEER_DIED` if the receiver of a large message dies: at most once, or after maxDeliveries
   * @throws IsthmusError `ERR_ISTHMUS_MESSAGE_INCOMPLETE` if it gives the message up, likewise
   *
   * @example
   * ```ts
   * sender.sendSync(order, { timeoutMs: 1000 }) // true
   * ```
   */
  sendSync(value: T, options?: TimeoutOptions & PriorityOptions): boolean {
    const deadline = deadlineOf(options, this.#attempt)
    const lane = this.#laneOf(options)
    const bytes = bytesOf(value, this.#codec, this.#attempt)
    this.#assertNoTurn()
    this.#assertFits(bytes.length)
    if (bytes.length <= this.blockBytes && this.#trySendTo(lane, bytes)) return true
    return this.#sendBlocking(bytes, lane, deadline)
  }

  /**
   * As sendSync, without blocking the event loop. Sends of one sender go out in the order of the calls; while one waits for a
   * block, `trySend` returns false. Several large messages may be on their way at a time, each in its block. Leave the bytes of the
   * message as they are until the promise is settled.
   * @throws AbortError when the signal aborts; nothing was sent, or the receiver of a large message is told as after a timeout
   *
   * @example
   * ```ts
   * await sender.send(order, { signal }) // true
   * ```
   */
  send(value: T, options?: WaitOptions & PriorityOptions): Promise<boolean> {
    // No async function: most messages find a block, and a promise of their own would cost more than sending them.
    try {
      const deadline = deadlineOf(options, this.#attempt)
      const signal = signalOf(options, this.#attempt)
      const lane = this.#laneOf(options)
      throwIfAborted(signal)
      const bytes = bytesOf(value, this.#codec, this.#attempt)
      this.#assertFits(bytes.length)
      const canCompleteSynchronously = bytes.length <= this.blockBytes && this.#sends.canCompleteSynchronously()
      if (canCompleteSynchronously && this.#trySendTo(lane, bytes)) return sentAtOnce
      return this.#sendInTurn(bytes, lane, deadline, signal)
    } catch (error) {
      return Promise.reject(error)
    }
  }

  /**
   * Sends copies of all these messages, in order, and blocks the thread while no block is free. See trySendBatch.
   * @returns how many were sent: fewer than all only after `timeoutMs`
   * @throws as sendSync. Those before the error are sent, and `error.sent` says how many they are: see BatchError
   *
   * @example
   * ```ts
   * sender.sendBatchSync([order, order], { timeoutMs: 1000 }) // 2
   * ```
   */
  sendBatchSync(values: readonly T[], options?: TimeoutOptions & PriorityOptions): number {
    const deadline = deadlineOf(options, this.#attempt)
    const lane = this.#laneOf(options)
    const batch = new Batch(values, this.#attempt)
    try {
      this.#assertNoTurn()
      for (;;) {
        const next = this.#sendWhatFits(batch, lane)
        if (next === undefined || !this.#sendBlocking(next, lane, deadline)) return batch.sentCount
        batch.nextBytes = undefined
        batch.sentCount++
      }
    } catch (error) {
      throw batch.failure(error)
    }
  }

  /**
   * As sendBatchSync, without blocking the event loop. It is one send among those of this sender: the batch goes out as a
   * whole before the next one. Leave the array and the bytes of the messages as they are until the promise is settled.
   * @returns how many were sent: fewer than all only after `timeoutMs`
   * @throws AbortError when the signal aborts; otherwise as send. Those before the error are sent, and `error.sent` says
   * how many they are: see BatchError
   *
   * @example
   * ```ts
   * await sender.sendBatch([order, order], { signal }) // 2
   * ```
   */
  sendBatch(values: readonly T[], options?: WaitOptions & PriorityOptions): Promise<number> {
    let batch: Batch<T> | undefined
    try {
      const deadline = deadlineOf(options, this.#attempt)
      const signal = signalOf(options, this.#attempt)
      const lane = this.#laneOf(options)
      batch = new Batch(values, this.#attempt)
      throwIfAborted(signal)
      if (this.#sends.canCompleteSynchronously()) {
        if (this.#sendWhatFits(batch, lane) === undefined) {
          this.#sends.countMore(batch.sentCount / MESSAGES_PER_COMPLETION)
          return Promise.resolve(batch.sentCount)
        }
      }
      return this.#sendBatchInTurn(batch, lane, deadline, signal)
    } catch (error) {
      return Promise.reject(batch === undefined ? error : batch.failure(error))
    }
  }

  /**
   * Packs the messages that follow into blocks, and holds each block back until it is full, or until uncork. Calls nest. A wait
   * and close push as well. If the sender is killed before that, these messages were not sent. (With a packLimit of 1, nothing is held back.)
   * @throws IsthmusError `ERR_ISTHMUS_CLOSED`
   *
   * @example
   * ```ts
   * sender.cork()
   * sender.trySend(order)
   * sender.trySend(order)
   * sender.uncork()
   * ```
   */
  cork(): void {
    this.#assertOpen('Corking')
    if (this.#corkDepth === 0) this.#forgetClose ??= this.#side.onClose(() => this.#pushPacked())
    this.#corkDepth++
  }

  /**
   * Ends the last cork; the outermost one pushes what was held back.
   * @throws IsthmusError `ERR_ISTHMUS_CALL_ORDER` without a cork; `ERR_ISTHMUS_CLOSED`, also if the queue has ended: then the
   * messages that were held back were not sent
   *
   * @example
   * ```ts
   * sender.cork()
   * for (const value of [1, 2, 3]) sender.trySend(Uint8Array.of(value))
   * sender.uncork()
   * ```
   */
  uncork(): void {
    this.#assertOpen('Uncorking')
    if (this.#corkDepth === 0) {
      throw new IsthmusError('ERR_ISTHMUS_CALL_ORDER', 'Uncorking a sender: it is not corked. Call cork before.')
    }
    if (this.#corkDepth > 1) {
      this.#corkDepth--
      return
    }
    try {
      this.#pushPacked()
    } finally {
      this.#corkDepth = 0
      this.#forgetClose?.()
      this.#forgetClose = undefined
    }
  }

  /**
   * Takes a free block, for the program to write a message in place: `blockBytes` bytes, which no other peer sees before
   * `loan.send`. The codec is not used. A loan that is dropped unsent goes back when it is garbage-collected, or when the region
   * is closed; the block of a killed holder comes back likewise.
   * @returns undefined if no block is free
   * @throws IsthmusError `ERR_ISTHMUS_CLOSED`
   *
   * @example
   * ```ts
   * const loan = sender.tryLoan()
   * loan.bytes[0] = 7
   * loan.send(1)
   * ```
   */
  tryLoan(options?: PriorityOptions): SendLoan | undefined {
    const lane = this.#laneOf(options)
    this.#assertOpen('Taking a loan')
    if (this.#sends.isBusy) return undefined
    // Before the block is taken: making it may fail for lack of memory.
    const loan = new SendLoan(this.#side, lane)
    const block = this.#tryTakeBlock(lane)
    if (block === NO_BLOCK) return undefined
    loan.begin(block, this.#table.takenCell)
    return loan
  }

  /** For waitAny: ready when a block is free, or if the queue has ended. */
  [WAITABLE](): WaitFor {
    this.#pushPackedBeforeWait()
    const isReady = () => this.#isReady(() => this.#table.findFree(this.#blocksEnd))
    const { poll: _, pollArmed: __, ...rest } = this.#conditionFor(0, () => false)
    return { point: this.#side.space, condition: { ...rest, poll: isReady } }
  }

  /**
   * Pushes what is held back, and ends the sends that wait, with their large messages. The queue goes on: `queue.end()` ends it.
   *
   * @example
   * ```ts
   * sender.close()
   * ```
   */
  close(): void {
    if (this.#isClosed) return
    // If it throws, nothing is closed.
    assertRoomToCompile(CLOSING_FRAMES)
    try {
      if (!this.#side.isClosed) this.#pushPacked()
    } finally {
      this.#isClosed = true
      for (const pipe of this.#pipes) pipe.close()
      this.#forgetClose?.()
      this.#forgetClose = undefined
      if (!this.#side.isClosed) this.#side.space.pollOwnWaits()
    }
  }

  [Symbol.dispose](): void {
    this.close()
  }

  protected override waitPoints(): readonly (WaiterSet | EventCount)[] {
    return [this.#side.space, ...[...this.#pipes].map(({ events }) => events)]
  }

  #trySendTo(lane: number, bytes: Uint8Array): boolean {
    this.#assertOpen('Sending')
    this.#assertFitsBlock(bytes.length)
    if (this.#sends.isBusy) return false
    if (this.#corkDepth > 0) return this.#tryPack(bytes, lane)
    const block = this.#tryTakeBlock(lane)
    if (block === NO_BLOCK) return false
    this.#fillAndPush(block, this.#table.takenCell, bytes, lane)
    return true
  }

  /**
   * A block for a message of this lane; NO_BLOCK if none was found. The caller notes it before it makes another call.
   *
   * 1. A quick look: A1, A2.
   * 2. Now and then, or if a sweep has left orphans: look through all blocks, and bring back what dead peers had.
   */
  #tryTakeBlock(lane: number): number {
    const end = this.#side.endOfBlocksFor(lane)
    const block = this.#table.tryTake(end)
    if (block !== NO_BLOCK) return block
    if (this.#lanes[lane].hasEnded) throw this.#endedError()
    const isCheckDue = this.#side.isCheckDue()
    if (!isCheckDue && !this.#side.hasOrphans && !this.#table.isWholeLookDue) return NO_BLOCK
    return this.#tryTakeAfterLook(end, isCheckDue)
  }

  #tryTakeAfterLook(end: number, proves: boolean): number {
    this.#side.lookThrough(proves)
    this.#table.findFree(end)
    return this.#table.tryTake(end)
  }

  /** A3 to P5 for one message. If this throws, the block is free, and nothing was sent. */
  #fillAndPush(block: number, cell: number, bytes: Uint8Array, lane: number): void {
    const { words } = this
    const cellWord = this.#firstCell + block * this.#stride
    try {
      this.bytes.set(bytes, (cellWord << 2) + BLOCK_HEADER_BYTES)
      words[cellWord + LENGTH_WORD] = bytes.length
      words[cellWord + SENDER_WORD] = this.#self
      this.#lanes[lane].writeKind(block, DATA)
      if (!this.#lanes[lane].push(block)) throw this.#endedError()
    } catch (error) {
      Atomics.compareExchange(words, cellWord, cell, cell & ~HOLD_MASK)
      throw error
    }
    try {
      this.#side.notePushed(lane)
    } catch {
      // The stack is full. The message is sent, so this must not throw: the next one wakes the receiver.
    }
  }

  /** Adds a message to the block that is being packed; returns false if there is none, and no free one. */
  #tryPack(bytes: Uint8Array, lane: number): boolean {
    const packing = this.#packing
    if (packing.isOpen && packing.lane === lane && packing.tryAdd(bytes)) return true
    this.#pushPacked()
    const block = this.#tryTakeBlock(lane)
    if (block === NO_BLOCK) return false
    const cell = this.#table.takenCell
    if (!packing.fitsAtAll(bytes.length)) {
      this.#fillAndPush(block, cell, bytes, lane)
      return true
    }
    packing.begin(block, cell, lane)
    this.#table.kept[block] = 1
    packing.tryAdd(bytes)
    return true
  }

  /** Pushes the block that is being packed. If the lane has ended, it is freed, and this throws. */
  #pushPacked(): void {
    const packing = this.#packing
    const { block, cell, lane, count } = packing
    if (block === NO_BLOCK) return
    let isPushed = false
    if (count > 0) {
      packing.finish()
      isPushed = this.#lanes[lane].push(block)
    }
    packing.block = NO_BLOCK
    this.#table.kept[block] = 0
    if (isPushed) {
      try {
        this.#side.notePushed(lane)
      } catch {
        // As above.
      }
      return
    }
    this.#table.free(block, cell)
    this.#side.noteFree(block)
    if (count > 0) throw this.#endedError()
  }

  /** Other peers can make space only if they see everything. */
  #pushPackedBeforeWait(): void {
    if (this.#packing.isOpen && !this.#side.isClosed) this.#pushPacked()
  }

  /**
   * Sends the messages of a batch up to the first one for which there is no block, or which needs a pipe. Returns its bytes;
   * undefined if all are sent.
   */
  #sendWhatFits(batch: Batch<T>, lane: number): Uint8Array | undefined {
    // Whatever the codec throws, what was packed before is pushed: there must be room on the stack for that call.
    assertStackRoom()
    this.#assertOpen('Sending')
    const { values } = batch
    const packing = this.#packing
    const codec = this.#codec
    const attempt = this.#attempt
    const start = batch.sentCount
    this.#corkDepth++
    try {
      while (batch.sentCount < values.length) {
        const bytes = batch.nextBytes ?? bytesOf(values[batch.sentCount], codec, attempt)
        batch.nextBytes = bytes
        const { length } = bytes
        // The codec may have sent messages of its own.
        if (!packing.isOpen || packing.lane !== lane || !packing.tryAdd(bytes)) {
          this.#assertFits(length)
          if (length > this.blockBytes || !this.#tryPack(bytes, lane)) return bytes
        }
        batch.sentCount++
        batch.nextBytes = undefined
      }
      return undefined
    } finally {
      this.#corkDepth--
      if (this.#corkDepth === 0) this.#pushBatch(batch, start)
    }
  }

  /** If the lane has ended meanwhile, what is in the last block was not sent. */
  #pushBatch(batch: Batch<T>, start: number): void {
    const { count } = this.#packing
    const isOpen = this.#packing.isOpen
    try {
      this.#pushPacked()
    } catch (error) {
      if (isOpen) batch.sentCount = Math.max(start, batch.sentCount - count)
      // The stack is full, if the block is still there: its messages were not sent, and must not go out with later ones.
      this.#packing.count = 0
      this.#packing.usedBytes = 0
      throw error
    }
  }

  #sendBlocking(bytes: Uint8Array, lane: number, deadline: number): boolean {
    this.#assertOpen('Sending')
    this.#pushPackedBeforeWait()
    const { length } = bytes
    if (nowMs() >= deadline) return length <= this.blockBytes && this.#sendAfterWholeLook(bytes, lane)
    this.#assertNoPipes()
    const taken = new TakenBlock()
    const condition = this.#conditionFor(lane, (isWhole) => this.#takeInto(taken, lane, isWhole))
    try {
      if (!this.#side.space.waitSync({ ...condition, reapDead: () => this.#reapDeadOrGiveUp(taken) }, deadline))
        return false
      assertLength(bytes, length, this.#attempt)
    } catch (error) {
      this.#freeTaken(taken)
      throw error
    }
    if (length > this.blockBytes) return this.#sendThroughSync(this.#openPipe(taken, bytes, lane), deadline)
    this.#fillTaken(taken, bytes, lane)
    return true
  }

  #sendThroughSync(pipe: PipeSender, deadline: number): boolean {
    try {
      return pipe.sendSync(deadline)
    } finally {
      this.#pipes.delete(pipe)
    }
  }

  async #sendThrough(pipe: PipeSender, deadline: number, signal: WaitOptions['signal']): Promise<boolean> {
    try {
      return await pipe.send(deadline, signal, this.#sends)
    } finally {
      this.#pipes.delete(pipe)
    }
  }

  /** Pushes a block that was taken, as a pipe. If this throws, the block is free, and nothing was sent. */
  #openPipe(taken: TakenBlock, bytes: Uint8Array, lane: number): PipeSender {
    let pipe: PipeSender | undefined
    try {
      pipe = new PipeSender(this.#side, taken.block, bytes, lane)
      if (!this.#side.space.isRef) pipe.events.setRef(false)
      this.#pipes.add(pipe)
      if (!pipe.begin(taken.cell)) throw this.#endedError()
    } catch (error) {
      if (pipe !== undefined) this.#pipes.delete(pipe)
      pipe?.forget()
      this.#freeTaken(taken)
      throw error
    }
    this.#table.kept[taken.block] = 0
    this.#side.notePushed(lane)
    return pipe
  }

  /** The time is up already: one thorough attempt. */
  #sendAfterWholeLook(bytes: Uint8Array, lane: number): boolean {
    const block = this.#tryTakeAfterLook(this.#side.endOfBlocksFor(lane), true)
    if (block === NO_BLOCK) return false
    this.#fillAndPush(block, this.#table.takenCell, bytes, lane)
    return true
  }

  async #sendInTurn(
    bytes: Uint8Array,
    lane: number,
    deadline: number,
    signal: WaitOptions['signal'],
  ): Promise<boolean> {
    if (!this.#sends.tryEnter() && !(await this.#sends.enter(deadline, signal))) return false
    let sent: PipeSender | boolean
    try {
      await this.#sends.yieldToEventLoop()
      sent = await this.#sendWaiting(bytes, lane, deadline, signal)
    } finally {
      this.#sends.leave()
    }
    // The message has its place in the queue: others may follow.
    return typeof sent === 'boolean' ? sent : this.#sendThrough(sent, deadline, signal)
  }

  async #sendBatchInTurn(
    batch: Batch<T>,
    lane: number,
    deadline: number,
    signal: WaitOptions['signal'],
  ): Promise<number> {
    try {
      if (!this.#sends.tryEnter() && !(await this.#sends.enter(deadline, signal))) return batch.sentCount
      try {
        await this.#sends.yieldToEventLoop()
        for (;;) {
          const next = this.#sendWhatFits(batch, lane)
          if (next === undefined) return batch.sentCount
          const sent = await this.#sendWaiting(next, lane, deadline, signal)
          const isSent = typeof sent === 'boolean' ? sent : await this.#sendThrough(sent, deadline, signal)
          if (!isSent) return batch.sentCount
          batch.nextBytes = undefined
          batch.sentCount++
        }
      } finally {
        this.#sends.leave()
      }
    } catch (error) {
      throw batch.failure(error)
    }
  }

  /** Resolves to the pipe of a large message, when that is pushed. */
  async #sendWaiting(
    bytes: Uint8Array,
    lane: number,
    deadline: number,
    signal: WaitOptions['signal'],
  ): Promise<PipeSender | boolean> {
    this.#assertOpen('Sending')
    this.#pushPackedBeforeWait()
    const { length } = bytes
    const taken = new TakenBlock()
    const condition = this.#conditionFor(lane, (isWhole) => this.#takeInto(taken, lane, isWhole))
    try {
      const isTaken = await this.#side.space.wait(condition, deadline, signal)
      if (!isTaken) return false
      this.#assertOpen('Sending')
      assertLength(bytes, length, this.#attempt)
    } catch (error) {
      this.#freeTaken(taken)
      throw error
    }
    if (length > this.blockBytes) return this.#openPipe(taken, bytes, lane)
    this.#fillTaken(taken, bytes, lane)
    return true
  }

  /** Between the taking and what notes it stands no call. */
  #takeInto(taken: TakenBlock, lane: number, isWhole: boolean): boolean {
    if (taken.block !== NO_BLOCK) return true
    if (this.#isClosed || this.#side.isClosed) throw closedError(`Sending through a sender of ${this.#subject}`)
    if (this.#lanes[lane].hasEnded) throw this.#endedError()
    const end = this.#side.endOfBlocksFor(lane)
    if (isWhole) {
      if (this.#side.hasOrphans) this.#side.lookThrough(false)
      this.#table.findFree(end)
    }
    const table = this.#table
    const block = table.tryTake(end)
    if (block === NO_BLOCK) return false
    taken.cell = table.takenCell
    taken.block = block
    table.kept[block] = 1
    return true
  }

  #freeTaken(taken: TakenBlock): void {
    const { block, cell } = taken
    // A closed region has swept it.
    if (block === NO_BLOCK || this.#side.isClosed) return
    taken.block = NO_BLOCK
    this.#table.kept[block] = 0
    this.#table.free(block, cell)
    this.#side.noteFree(block)
  }

  #fillTaken({ block, cell }: TakenBlock, bytes: Uint8Array, lane: number): void {
    this.#table.kept[block] = 0
    this.#fillAndPush(block, cell, bytes, lane)
  }

  #conditionFor(lane: number, take: (isWhole: boolean) => boolean): Condition {
    const side = this.#side
    return {
      poll: () => take(false),
      pollArmed: () => take(true),
      reapDead: () => side.lookThrough(true),
      dependsOn: () => side.region.peers.others(),
      handOffWakeup: () => {
        if (!side.isClosed && side.table.findFree(side.endOfBlocksFor(lane))) side.noteFree(0)
      },
    }
  }

  #isReady(hasBlock: () => boolean): boolean {
    if (this.#isClosed || this.#side.isClosed) return true
    if (this.#sends.isBusy) return false
    try {
      return hasBlock() || this.#side.hasOrphans || this.#side.hasEnded
    } catch {
      // Corrupt: its next call throws, and the waits for others go on.
      return true
    }
  }

  #reapDeadOrGiveUp(taken: TakenBlock): void {
    this.#side.lookThrough(true)
    if (taken.block === NO_BLOCK) this.#assertOthersHaveBlocks()
  }

  /** If this thread has all blocks itself, none can come free while it blocks. */
  #assertOthersHaveBlocks(): void {
    const { region, geometry } = this.#side
    const verdicts = new Map<number, boolean>()
    for (let block = 0; block < geometry.blocks; block++) {
      const cell = this.#table.cellOf(block)
      if ((cell & HOLD_MASK) < OWNED) return
      if (stateOfCell(cell) === OWNED && this.#isMessage(block, cell)) return
      const slot = slotOfCell(cell)
      let isOwn = verdicts.get(slot)
      if (isOwn === undefined) {
        const peer = region.peers.at(slot)
        isOwn = peer !== undefined && region.peers.isOwnThread(peer)
        verdicts.set(slot, isOwn)
      }
      if (!isOwn) return
    }
    throw new IsthmusError(
      'EDEADLK',
      `${this.#attempt}: this very thread has all ${geometry.blocks} blocks, and cannot give one back while it blocks. Send or release a loan, or acknowledge a message, first.`,
    )
  }

  /** Whether an OWNED block was pushed, or is another one by now: then it may come free. */
  #isMessage(block: number, cell: number): boolean {
    const lane = laneIn(this.words[this.#side.cellWordOf(block) + KIND_WORD])
    return this.#lanes[lane]?.isPushed(block) === true || this.#table.cellOf(block) !== cell
  }

  #laneOf(options: PriorityOptions | undefined): number {
    if (options === undefined) return 0
    assertOptions(options, this.#attempt)
    const { priority = 0 } = options
    const { lanes } = this.#side.geometry
    if (Number.isInteger(priority) && priority >= 0 && priority < lanes) return priority
    throw new IsthmusRangeError(
      'ERR_ISTHMUS_INVALID_ARGUMENT',
      `${this.#attempt}: priority is ${inWords(priority)}. Give a whole number from 0 to ${lanes - 1}, or make the queue with more lanes.`,
    )
  }

  #assertFits(byteLength: number): void {
    if (byteLength <= this.maxMessageBytes) return
    const limit =
      this.maxMessageBytes > this.blockBytes
        ? `it carries at most ${this.maxMessageBytes}. Make it with a larger maxMessageBytes, or send parts`
        : `a block of it has ${this.blockBytes}. Make it with larger blocks, or with maxMessageBytes, or send parts`
    throw new IsthmusRangeError(
      'ERR_ISTHMUS_MESSAGE_TOO_LARGE',
      `Sending a message of ${byteLength} bytes to ${this.#subject}: ${limit}.`,
    )
  }

  /** For calls that do not wait. */
  #assertFitsBlock(byteLength: number): void {
    if (byteLength <= this.blockBytes) return
    this.#assertFits(byteLength)
    throw new IsthmusRangeError(
      'ERR_ISTHMUS_MESSAGE_TOO_LARGE',
      `Sending a message of ${byteLength} bytes to ${this.#subject}: a block of it has ${this.blockBytes}. Use send or sendSync, which send it through a block in parts.`,
    )
  }

  /** Before the thread blocks: receivers of these messages wait for it. */
  #assertNoPipes(): void {
    if (this.#pipes.size === 0) return
    throw new IsthmusError(
      'EDEADLK',
      `${this.#attempt}: a large message of this very thread is on its way, and blocking would keep it from ending. Await it first.`,
    )
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
    if (this.#isClosed || this.#side.isClosed) throw closedError(`${attempt} through a sender of ${this.#subject}`)
  }

  #endedError(): IsthmusError {
    return new IsthmusError(
      'ERR_ISTHMUS_CLOSED',
      `${this.#attempt}: the queue has ended, and takes no more messages. Call queue.reopen() first.`,
    )
  }
}

/** A block that a wait has taken. */
class TakenBlock {
  block = NO_BLOCK
  cell = 0
}
