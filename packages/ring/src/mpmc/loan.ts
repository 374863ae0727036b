import { IsthmusError, IsthmusRangeError } from '@isthmus/sync'
import { assertRoomToCompile, inWords } from '@isthmus/sync/internal'
import { NO_BLOCK } from './block-table.js'
import { DATA, LENGTH_WORD, SENDER_WORD } from './layout.js'
import type { Pack } from './pack.js'
import type { QueueSide } from './queue-side.js'

/** What a loan holds. It is apart from the loan, to be given back when the program has dropped that. */
interface Hold {
  readonly side: QueueSide
  /** NO_BLOCK when the loan is over. */
  block: number
  giveBack(): void
}

/** @internal What a loan of a message holds. */
export interface MessageHold extends Hold {
  release(): void
  /** Returns false if the message cannot be put back. */
  requeue(message: Uint8Array, deliveries: number): boolean
}

/** Loans that the program has dropped, and that hold a block. */
const forgotten = new FinalizationRegistry<Hold>((hold) => {
  if (hold.block === NO_BLOCK || hold.side.isClosed) return
  try {
    hold.giveBack()
  } catch (error) {
    // No call of the program is under way that could throw it, and in a garbage collection it would end the process. If the memory
    // is corrupt, the next call says so.
    if ((error as { code?: unknown } | null)?.code !== 'ERR_ISTHMUS_CORRUPT') throw error
  }
})

function notHeldError(attempt: string): IsthmusError {
  return new IsthmusError(
    'ERR_ISTHMUS_NOT_HELD',
    `${attempt}: this loan holds nothing, since it was sent or given back before, or its region was closed. Take another one.`,
  )
}

/**
 * A free block that a program has taken from a queue, to write a message in place. It is over with `send` or `discard`, or at the
 * end of a block of code with `using`.
 *
 * @example
 * ```ts
 * const loan = sender.tryLoan()
 * sender.doubles[loan.byteOffset / 8] = 42.5
 * loan.send(8)
 * ```
 */
export class SendLoan {
  readonly #hold: SendHold
  readonly #lane: number

  /** @internal Use `sender.tryLoan()`. */
  constructor(side: QueueSide, lane: number) {
    this.#hold = new SendHold(side)
    this.#lane = lane
    forgotten.register(this, this.#hold, this.#hold)
  }

  /** @internal Without a call: the block has just been taken. */
  begin(block: number, cell: number): void {
    this.#hold.cell = cell
    this.#hold.block = block
    this.#hold.side.table.kept[block] = 1
  }

  get isHeld(): boolean {
    return this.#hold.block !== NO_BLOCK && !this.#hold.side.isClosed
  }

  /** Where the block's payload begins, as an index of `sender.bytes`; a multiple of 32. */
  get byteOffset(): number {
    this.#assertHeld('Writing into a loan')
    return this.#hold.side.payloadOffsetOf(this.#hold.block)
  }

  /**
   * The payload, `blockBytes` long: shared memory. Leave it alone once the loan is sent.
   * @throws IsthmusError `ERR_ISTHMUS_NOT_HELD` if the loan is over
   */
  get bytes(): Uint8Array {
    const { byteOffset } = this
    const { bytes, geometry } = this.#hold.side
    return bytes.subarray(byteOffset, byteOffset + geometry.blockBytes)
  }

  /**
   * Sends the first `byteLength` bytes as one message.
   *
   * @example
   * ```ts
   * const loan = sender.tryLoan()
   * loan.bytes.set([1, 2, 3])
   * loan.send(3)
   * ```
   *
   * @throws IsthmusError `ERR_ISTHMUS_NOT_HELD` if the loan is over; `ERR_ISTHMUS_CLOSED` if the queue has ended, which ends
   * the loan as well
   * @throws IsthmusRangeError `ERR_ISTHMUS_INVALID_ARGUMENT` for a length that is more than the block has
   */
  send(byteLength: number): void {
    this.#assertHeld('Sending a loan')
    const hold = this.#hold
    const { side, block, cell } = hold
    const { words, geometry, lanes, table } = side
    if (typeof byteLength !== 'number' || byteLength >>> 0 !== byteLength || byteLength > geometry.blockBytes) {
      throw new IsthmusRangeError(
        'ERR_ISTHMUS_INVALID_ARGUMENT',
        `Sending a loan to ${side.subject}: byteLength is ${inWords(byteLength)}. Give a number of bytes from 0 to ${geometry.blockBytes}.`,
      )
    }
    const cellWord = side.cellWordOf(block)
    words[cellWord + LENGTH_WORD] = byteLength
    words[cellWord + SENDER_WORD] = side.self
    lanes[this.#lane].writeKind(block, DATA)
    const isPushed = lanes[this.#lane].push(block)
    hold.block = NO_BLOCK
    table.kept[block] = 0
    if (isPushed) {
      try {
        forgotten.unregister(hold)
        side.notePushed(this.#lane)
      } catch {
        // The stack is full. The message is sent, so this must not throw: the next one wakes the receiver.
      }
      return
    }
    forgotten.unregister(hold)
    table.free(block, cell)
    side.noteFree(block)
    throw new IsthmusError(
      'ERR_ISTHMUS_CLOSED',
      `Sending a loan to ${side.subject}: the queue has ended, and takes no more messages. Call queue.reopen() first.`,
    )
  }

  /**
   * Gives the block back, unsent. Does nothing if the loan is over.
   *
   * @example
   * ```ts
   * sender.tryLoan().discard()
   * ```
   */
  discard(): void {
    if (!this.isHeld) return
    this.#hold.giveBack()
    forgotten.unregister(this.#hold)
  }

  [Symbol.dispose](): void {
    this.discard()
  }

  #assertHeld(attempt: string): void {
    if (!this.isHeld) throw notHeldError(attempt)
  }
}

class SendHold implements Hold {
  readonly side: QueueSide
  block = NO_BLOCK
  /** The exact cell word: the block is this loan's as long as the cell is equal to it. */
  cell = 0

  constructor(side: QueueSide) {
    this.side = side
  }

  giveBack(): void {
    const { side, block, cell } = this
    this.block = NO_BLOCK
    side.table.kept[block] = 0
    side.table.free(block, cell)
    side.noteFree(block)
  }
}

/**
 * A message that a program has taken from a queue and reads in place. It is over with `release` or `requeue`, or at the end of a
 * block of code with `using`. One of several messages that were sent in one block, and one that is larger than a block, is a private
 * copy instead.
 *
 * If its holder dies, or drops it, the message is lost (at most once) or delivered again (at least once). Messages that were sent
 * in one block are acknowledged in their order: one that is released before an earlier one of them comes again with that.
 *
 * @example
 * ```ts
 * sender.trySend(order)
 * const loan = receiver.tryTake()
 * loan.bytes[0] // 4
 * loan.release()
 * ```
 */
export class TakenLoan {
  readonly #hold: MessageHold
  readonly #message: Uint8Array
  /** How often the message was given to a program, this time included. Messages of a queue that delivers at most once count here alone. */
  readonly deliveries: number

  /** @internal Use `receiver.tryTake()`. */
  constructor(hold: MessageHold, message: Uint8Array, deliveries: number) {
    this.#hold = hold
    this.#message = message
    this.deliveries = deliveries
    forgotten.register(this, hold, hold)
  }

  get isHeld(): boolean {
    return this.#hold.block !== NO_BLOCK && !this.#hold.side.isClosed
  }

  /**
   * The message. In place, it is shared memory, which a hostile sender could still change.
   * @throws IsthmusError `ERR_ISTHMUS_NOT_HELD` if the loan is over
   */
  get bytes(): Uint8Array {
    this.#assertHeld('Reading a loan')
    return this.#message
  }

  get byteLength(): number {
    return this.#message.length
  }

  /** Where the message begins in its buffer: an index of `receiver.bytes`, if it is in place. */
  get byteOffset(): number {
    this.#assertHeld('Reading a loan')
    return this.#message.byteOffset
  }

  /**
   * The message is done with: its block is free for the next one. At least once, this acknowledges the message.
   *
   * @example
   * ```ts
   * sender.trySend(order)
   * receiver.tryTake().release()
   * ```
   *
   * @throws IsthmusError `ERR_ISTHMUS_NOT_HELD` if the loan is over
   */
  release(): void {
    this.#assertHeld('Releasing a loan')
    this.#hold.release()
    forgotten.unregister(this.#hold)
  }

  /**
   * Puts the message back, at the end of the queue. At least once, `maxDeliveries` counts for it as after a death.
   *
   * @example
   * ```ts
   * sender.trySend(order)
   * receiver.tryTake().requeue() // true
   * receiver.tryTake().deliveries // 2
   * ```
   *
   * @returns false, and the loan goes on, if the message was one of several in a block, and there is no free block for it; and
   * for a message that is larger than a block, in a queue that delivers at most once
   * @throws IsthmusError `ERR_ISTHMUS_NOT_HELD` if the loan is over
   */
  requeue(): boolean {
    this.#assertHeld('Putting a loan back')
    if (!this.#hold.requeue(this.#message, this.deliveries)) return false
    forgotten.unregister(this.#hold)
    return true
  }

  /**
   * Gives the message up: at most once as `release`, at least once as `requeue`, since what is not acknowledged comes again. Does
   * nothing if the loan is over.
   */
  [Symbol.dispose](): void {
    if (!this.isHeld) return
    this.#hold.giveBack()
    forgotten.unregister(this.#hold)
  }

  #assertHeld(attempt: string): void {
    if (!this.isHeld) throw notHeldError(attempt)
  }
}

/** @internal A block, or one message of a packed block. */
export class TakenHold implements MessageHold {
  readonly side: QueueSide
  block: number
  cell: number
  readonly #pack: Pack | undefined
  readonly #index: number

  constructor(side: QueueSide, block: number, cell: number, pack?: Pack, index = 0) {
    this.side = side
    this.block = block
    this.cell = cell
    this.#pack = pack
    this.#index = index
  }

  release(): void {
    const { side, block, cell } = this
    // If one of these throws, at the edge of the stack, the loan goes on.
    if (this.#pack === undefined) side.release(block, cell)
    else this.#pack.settle(this.#index)
    this.block = NO_BLOCK
  }

  requeue(message: Uint8Array, deliveries: number): boolean {
    // If it throws, the loan goes on.
    assertRoomToCompile()
    const { side, block, cell } = this
    const pack = this.#pack
    if (pack !== undefined && !side.sendAgain(message, pack.lane, deliveries)) return false
    this.block = NO_BLOCK
    if (pack === undefined) side.pushAgain(block, cell)
    else pack.settle(this.#index)
    return true
  }

  giveBack(): void {
    const { side, block, cell } = this
    const pack = this.#pack
    this.block = NO_BLOCK
    if (pack !== undefined) pack.giveUp(this.#index)
    else if (side.geometry.isAtLeastOnce) side.pushAgain(block, cell)
    else side.release(block, cell)
  }
}
