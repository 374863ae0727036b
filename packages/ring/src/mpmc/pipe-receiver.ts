import { IsthmusError, type PeerId, type Signal } from '@isthmus/sync'
import { assertRoomToCompile, type Condition, type EventCount, slotOf } from '@isthmus/sync/internal'
import { corruptError, IncompleteMessageError } from '../errors.js'
import type { MessageChunk } from '../messages/message-chunk.js'
import { distance } from '../record/layout.js'
import { privateBytes } from '../record/private-bytes.js'
import { NO_BLOCK } from './block-table.js'
import {
  deliveriesIn,
  KIND_WORD,
  laneIn,
  nextInstance,
  ORPHAN,
  RECEIVER_DONE,
  RECEIVER_LEFT,
  SENDER_ABORTED,
  SENDER_GONE,
  SENDER_WORD,
} from './layout.js'
import type { MessageHold } from './loan.js'
import { assertRoomForPipe, CALL_BYTES_MAX, notifySafely, Pipe } from './pipe.js'
import type { QueueSide } from './queue-side.js'

/** More than what lies on the stack between a call that copies and one that leaves the pipe. */
const LEAVING_FRAMES = 32

/**
 * A large message that a receiver has taken, and whose bytes come through its block one after the other. The receiver waits for
 * this one sender.
 *
 * 1. Wake the sender: from now on it has to watch this receiver.
 * 2. Copy what is published, return its space, wake the sender; wait for more.
 * 3. The sender has aborted, or is dead: what it had published before comes first.
 * 4. However that ends: say so in the lease (`leave`). The side that is the last one frees the block.
 */
export class PipeReceiver {
  readonly block: number
  readonly cell: number
  readonly lane: number
  readonly deliveries: number
  readonly messageByteLength: number
  readonly #side: QueueSide
  readonly #pipe: Pipe
  readonly #sender: PeerId
  /** How many bytes were copied. */
  receivedBytes = 0
  /** Where the next byte is, from the beginning of the bytes of the pipe. */
  #index = 0
  /** How many bytes were published when the sender's position was read last. */
  #writePosition = 0
  /** How many bytes had been copied when the sender was woken last. */
  #notifiedBytes = 0
  #isSenderDead = false
  #hasLeft = false
  #message: Uint8Array | undefined
  readonly condition: Condition
  readonly #forgetClose: () => void

  constructor(side: QueueSide, block: number, cell: number) {
    const { words } = side
    const pipe = new Pipe(side, block)
    const kindWord = words[pipe.cellWord + KIND_WORD]
    this.block = block
    this.cell = cell
    this.lane = laneIn(kindWord)
    this.deliveries = deliveriesIn(kindWord)
    this.messageByteLength = pipe.messageByteLength
    this.#side = side
    this.#pipe = pipe
    this.#sender = words[pipe.cellWord + SENDER_WORD] as PeerId
    this.condition = {
      poll: () => this.hasNews(),
      reapDead: () => this.proveSender(),
      dependsOn: () => (this.#side.region.peers.at(slotOf(this.#sender)) === this.#sender ? [this.#sender] : []),
    }
    this.#forgetClose = side.onClose(() => this.leave(RECEIVER_LEFT))
  }

  /** Where it waits. */
  get events(): EventCount {
    return this.#pipe.receiverEvents
  }

  /**
   * To be called once, when the receiver has noted that it is in this pipe.
   * @returns whether there is anything to receive: false for a message that its sender has given up, or with which it has died
   * @throws IsthmusError `ERR_ISTHMUS_CORRUPT` for a length that no correct sender writes
   */
  begin(): boolean {
    const total = this.messageByteLength
    const { blockBytes, maxMessageBytes } = this.#side.geometry
    if (!Number.isSafeInteger(total) || total <= blockBytes || total > maxMessageBytes) {
      throw corruptError(
        this.#side.subject,
        `a large message has ${total} bytes, a block ${blockBytes}, and maxMessageBytes is ${maxMessageBytes}`,
      )
    }
    this.proveSender()
    // It cannot be whole: a pipe has room for less than a block.
    if (this.#isSenderOver) return false
    notifySafely(this.#pipe.senderEvents)
    return true
  }

  /** Copies what is published, up to a limit. Returns whether the message is whole. */
  assemble(): boolean {
    const total = this.messageByteLength
    if (this.#message === undefined && this.receivedBytes === 0) this.#message = this.#allocate(total)
    const message = this.#message
    // A program that got a chunk cannot get here.
    if (message === undefined || message.byteLength !== total) throw this.#incomplete('array-lost')
    const { bytes } = this.#side
    const end = this.receivedBytes + CALL_BYTES_MAX
    while (this.receivedBytes < total && this.receivedBytes < end) {
      const byteLength = this.#findNext(this.#pipe.stepBytes)
      if (byteLength === 0) return false
      // What is copied is noted in several calls: none of them may be the first that finds the stack full.
      if (this.receivedBytes === 0) assertRoomForPipe()
      const from = this.#pipe.bytesOffset + this.#index
      message.set(bytes.subarray(from, from + byteLength), this.receivedBytes)
      this.#step(byteLength)
    }
    return this.receivedBytes === total
  }

  /** The whole message, as `assemble` has made it. */
  get message(): Uint8Array {
    return this.#message as Uint8Array
  }

  /**
   * Copies the next part of the message, if there is one.
   * @param into where to; a new array if not given
   */
  takeChunk(into: Uint8Array | undefined): MessageChunk | undefined {
    const byteLength = this.#findNext(into?.byteLength ?? this.#pipe.capacityBytes)
    if (byteLength === 0) return undefined
    // As in assemble. After the last chunk, the call that leaves the pipe must not throw.
    if (this.receivedBytes + byteLength === this.messageByteLength) assertRoomToCompile(LEAVING_FRAMES)
    else if (this.receivedBytes === 0) assertRoomForPipe()
    const { bytes } = this.#side
    const from = this.#pipe.bytesOffset + this.#index
    const target = into === undefined ? privateBytes(byteLength) : into.subarray(0, byteLength)
    target.set(bytes.subarray(from, from + byteLength))
    const messageOffset = this.receivedBytes
    const { messageByteLength } = this
    const chunk = {
      bytes: target,
      messageOffset,
      messageByteLength,
      isLast: messageOffset + byteLength === messageByteLength,
    }
    this.#step(byteLength)
    return chunk
  }

  get isWhole(): boolean {
    return this.receivedBytes === this.messageByteLength
  }

  /** Whether a call that copies would find something to copy, or to tell. */
  hasNews(): boolean {
    if (this.#hasLeft || this.#side.isClosed) return true
    // SYNC bytes of a pipe visible to receiver
    if (Atomics.load(this.#side.words, this.#pipe.writeWord) !== (this.receivedBytes | 0)) return true
    return this.#isSenderOver
  }

  /** Asks the system whether the sender lives. */
  proveSender(): void {
    const { isClosed, region, self } = this.#side
    if (isClosed || this.#sender === self) return
    if (region.peers.isDead(this.#sender)) this.#isSenderDead = true
  }

  /** Whether this very thread is the sender: to block for it would be to block for itself. */
  isOwnThread(): boolean {
    const { peers } = this.#side.region
    return peers.at(slotOf(this.#sender)) === this.#sender && peers.isOwnThread(this.#sender)
  }

  wait(deadline: number, signal: Signal | undefined): Promise<boolean> {
    return this.events.wait(this.condition, deadline, signal)
  }

  /**
   * The receiver is done with the block, and does not touch it any more. Does nothing the second time.
   *
   * - Y1: mark the message as DONE, if it was received (and acknowledged); otherwise as LEFT. Wake the sender.
   * - Y2: the sender was gone before: free the block.
   * - Y3: otherwise: CAS the cell from HELD to ORPHAN, with the next seq. If the sender is gone by now, free the block: the sender
   *   has not seen the orphan.
   *
   * @param mark RECEIVER_DONE or RECEIVER_LEFT
   */
  leave(mark: number): void {
    if (this.#hasLeft) return
    // If it throws, it has not begun.
    assertRoomForPipe()
    this.#hasLeft = true
    this.#message = undefined
    this.#forgetClose()
    const side = this.#side
    if (side.isClosed) return
    const { block, cell } = this
    // Before the block is given away: the end of a wait takes the sleeper's mark back.
    this.#pipe.receiverEvents.pollOwnWaits()
    const lease = this.#pipe.mark(mark)
    // Likewise: afterwards this word may be part of another message.
    notifySafely(this.#pipe.senderEvents)
    if ((lease & SENDER_GONE) !== 0) {
      side.release(block, cell)
      return
    }
    side.table.kept[block] = 0
    // SYNC block handed over
    const found = Atomics.compareExchange(side.words, this.#pipe.cellWord, cell, nextInstance(cell, ORPHAN))
    if (found === cell) side.adoptPipe(block)
  }

  /** Whether the sender will not publish any more, as far as is known. What it published is loaded after this. */
  get #isSenderOver(): boolean {
    return this.#isSenderDead || (this.#pipe.lease & (SENDER_ABORTED | SENDER_GONE)) !== 0
  }

  /** The length of the next part that can be copied in one go; 0 if there is nothing yet. */
  #findNext(limitBytes: number): number {
    let publishedBytes = distance(this.#writePosition, this.receivedBytes | 0)
    if (publishedBytes <= 0) {
      if (this.#side.isCheckDue()) this.proveSender()
      const isOver = this.#isSenderOver
      publishedBytes = this.#publishedBytes()
      if (publishedBytes === 0 && isOver) throw this.#incomplete('abandoned')
    }
    return Math.min(publishedBytes, limitBytes, this.#pipe.capacityBytes - this.#index)
  }

  /** How many bytes are published and not received. */
  #publishedBytes(): number {
    const { capacityBytes, writeWord } = this.#pipe
    // SYNC bytes of a pipe visible to receiver
    const writePosition = Atomics.load(this.#side.words, writeWord)
    const publishedBytes = distance(writePosition, this.receivedBytes | 0)
    const missingBytes = this.messageByteLength - this.receivedBytes
    if (publishedBytes < 0 || publishedBytes > capacityBytes || publishedBytes > missingBytes) {
      throw corruptError(
        this.#side.subject,
        `${publishedBytes} bytes of a large message are unread, where ${missingBytes} are missing and a block has room for ${capacityBytes}`,
      )
    }
    this.#writePosition = writePosition
    return publishedBytes
  }

  /** So many bytes were copied: returns their space. It wakes the sender for a quarter of the pipe, or if nothing is left. */
  #step(byteLength: number): void {
    const { capacityBytes, readWord } = this.#pipe
    const index = this.#index + byteLength
    const receivedBytes = this.receivedBytes + byteLength
    this.#index = index === capacityBytes ? 0 : index
    this.receivedBytes = receivedBytes
    // SYNC space of a pipe visible to sender
    Atomics.store(this.#side.words, readWord, receivedBytes | 0)
    if (receivedBytes - this.#notifiedBytes < capacityBytes >> 2 && (receivedBytes | 0) !== this.#writePosition) return
    this.#notifiedBytes = receivedBytes
    notifySafely(this.#pipe.senderEvents)
  }

  #allocate(byteLength: number): Uint8Array {
    try {
      return privateBytes(byteLength)
    } catch (cause) {
      throw new IsthmusError(
        'ERR_ISTHMUS_MESSAGE_TOO_LARGE',
        `Receiving from ${this.#side.subject}: no memory for a message of ${byteLength} bytes. Receive it in chunks (receiveChunk), or free memory and try again; skipMessage gives it up.`,
        { cause },
      )
    }
  }

  #incomplete(reason: 'abandoned' | 'array-lost'): IncompleteMessageError {
    return new IncompleteMessageError(reason, this.receivedBytes, this.messageByteLength, this.#side.subject)
  }
}

/** A loan of a large message: a private copy. If leaving the pipe throws, at the edge of the stack, the loan goes on. */
export class PipeHold implements MessageHold {
  readonly side: QueueSide
  block: number
  readonly #pipe: PipeReceiver

  constructor(side: QueueSide, pipe: PipeReceiver) {
    this.side = side
    this.block = pipe.block
    this.#pipe = pipe
  }

  release(): void {
    this.#pipe.leave(RECEIVER_DONE)
    this.block = NO_BLOCK
  }

  /** At most once, its sender may be gone, and with it what it was sent from. */
  requeue(): boolean {
    if (!this.side.geometry.isAtLeastOnce) return false
    this.#pipe.leave(RECEIVER_LEFT)
    this.block = NO_BLOCK
    return true
  }

  giveBack(): void {
    this.#pipe.leave(this.side.geometry.isAtLeastOnce ? RECEIVER_LEFT : RECEIVER_DONE)
    this.block = NO_BLOCK
  }
}
