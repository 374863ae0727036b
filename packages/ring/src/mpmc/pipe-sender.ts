import { IsthmusError, PeerDiedError, type PeerId, type Signal } from '@isthmus/sync'
import {
  type Condition,
  closedError,
  type EventCount,
  nowMs,
  slotOf,
  type TurnQueue,
  throwIfAborted,
} from '@isthmus/sync/internal'
import { corruptError } from '../errors.js'
import { assertLength } from '../messages/message-bytes.js'
import { LargeMessagePolling } from '../record/large-message-polling.js'
import { distance, writeTotalLength } from '../record/layout.js'
import { type Agent, nameOf } from '../role/counterpart.js'
import {
  deliveriesIn,
  GIVEN_UP_OFFSET,
  HELD,
  KIND_WORD,
  LEASE_WORD,
  LENGTH_WORD,
  nextInstance,
  ORPHAN,
  PIPE,
  PIPE_LENGTH_OFFSET,
  POSITION_WORD,
  RECEIVER_DONE,
  RECEIVER_LEFT,
  RETURNING,
  SENDER_ABORTED,
  SENDER_GONE,
  SENDER_WORD,
  slotOfCell,
  stateOfCell,
} from './layout.js'
import { assertRoomForPipe, CALL_BYTES_MAX, notifySafely, Pipe } from './pipe.js'
import type { QueueSide } from './queue-side.js'

/** What a call that copies has come to. */
const SENT = 0
/** The clock and the event loop are due. */
const DUE = 1
/** There is nothing to do before the receiver has done something. */
const WAITING = 2

/** How often a sender polls for the block that its receiver is about to give away. */
const LEAVING_MS = 1

/**
 * A large message on its way through one block. The sender puts the block into the queue as a pipe, and writes into it what a
 * receiver reads meanwhile. It waits for this one receiver, and needs no other block.
 *
 * 1. Write the header and the length, and push the block: `begin`.
 * 2. Copy what there is space for, publish it, wake the receiver; wait until there is space for a quarter of the pipe.
 * 3. At most once: when everything is published, the message is sent. At least once: when the receiver has acknowledged it.
 * 4. The receiver died, or gave the message up: take the block back. At least once, push it again, and begin with byte 0; at
 *    most once, free it, and throw.
 * 5. However that ends: say so in the lease (`leave`). Then this side does not touch the block any more, and the side that is the
 *    last one frees it.
 */
export class PipeSender {
  readonly #side: QueueSide
  readonly #attempt: string
  readonly #bytes: Uint8Array
  readonly #byteLength: number
  readonly #lane: number
  readonly #pipe: Pipe
  /** The cell if the receiver has left the block, or has died. */
  #orphan = 0
  /** How many bytes are published. */
  #sent = 0
  /** Where the next byte goes, from the beginning of the bytes of the pipe. */
  #index = 0
  /** How many bytes the receiver had read when its position was read last. */
  #readPosition = 0
  #isOpen = false
  /** The receiver gives the message up, and had not given the block away when that was seen. */
  #isReceiverLeaving = false
  /** A call of the program has ended the sending. */
  #isClosed = false
  /** The receiver as it was last seen: by the time that its death is told, another peer may have its slot. */
  #receiver: Agent | undefined
  #receiverCell = 0
  readonly #condition: Condition
  readonly #forgetClose: () => void

  /** The block is owned by this attachment, and `begin` has still to push it. */
  constructor(side: QueueSide, block: number, bytes: Uint8Array, lane: number) {
    this.#side = side
    this.#attempt = `Sending a large message to ${side.subject}`
    this.#bytes = bytes
    this.#byteLength = bytes.length
    this.#lane = lane
    this.#pipe = new Pipe(side, block)
    this.#condition = {
      poll: () => this.#hasNews(),
      reapDead: () => this.#reapReceiver(),
      dependsOn: () => this.#receivers(),
    }
    this.#forgetClose = side.onClose(() => this.leave(true))
  }

  /** Where it waits. */
  get events(): EventCount {
    return this.#pipe.senderEvents
  }

  /**
   * Writes the header, and pushes the block.
   * @returns false if the lane has ended; the block is the caller's as before
   */
  begin(cell: number): boolean {
    assertRoomForPipe()
    const { words, lanes, self } = this.#side
    const { cellWord, block } = this.#pipe
    words[cellWord + LENGTH_WORD] = 0
    lanes[this.#lane].writeKind(block, PIPE)
    words[cellWord + SENDER_WORD] = self
    this.#rewind()
    this.#orphan = nextInstance(cell, ORPHAN)
    this.#isOpen = lanes[this.#lane].push(block)
    return this.#isOpen
  }

  /** Blocks the thread. Returns false after the deadline. */
  sendSync(deadline: number): boolean {
    try {
      for (;;) {
        const state = this.#advance()
        if (state === SENT) return true
        if (state === DUE && nowMs() < deadline) continue
        if (nowMs() >= deadline) return false
        this.#assertOtherThread()
        this.#pipe.senderEvents.waitSync(this.#condition, this.#waitUntil(deadline))
      }
    } finally {
      this.leave(true)
    }
  }

  /** @param turns of the sender: it lets the event loop have its own */
  async send(deadline: number, signal: Signal | undefined, turns: TurnQueue): Promise<boolean> {
    try {
      const polling = new LargeMessagePolling(turns)
      for (;;) {
        const state = this.#advance()
        if (state === SENT) return true
        if (state === DUE || !polling.until(this.#condition)) {
          if (polling.isTurnDue) await polling.yieldToEventLoop()
          if (state === WAITING) {
            await this.#pipe.senderEvents.wait(this.#condition, this.#waitUntil(deadline), signal)
          }
        }
        throwIfAborted(signal)
        if (nowMs() >= deadline) return false
      }
    } finally {
      this.leave(true)
    }
  }

  /** Ends a sending that waits: it throws ERR_ISTHMUS_CLOSED. */
  close(): void {
    // If it throws, the sending goes on.
    assertRoomForPipe()
    this.#isClosed = true
    // Before the block is left: the end of a wait takes the sleeper's mark back.
    if (!this.#side.isClosed) this.#pipe.senderEvents.pollOwnWaits()
    this.leave(true)
  }

  /**
   * The sender is done with the block, and does not touch it any more. Does nothing the second time.
   *
   * - Z1: a message that is not whole: mark it as aborted, and wake the receiver.
   * - Z2: mark the sender as gone.
   * - Z3: load the cell. If the receiver has left the block before, or died, free it: the receiver has not seen the mark.
   *
   * @returns the marks before Z2
   */
  leave(isAborted: boolean): number {
    if (!this.#isOpen) return 0
    this.#isOpen = false
    this.#forgetClose()
    if (this.#side.isClosed) return 0
    const pipe = this.#pipe
    if (isAborted) {
      pipe.mark(SENDER_ABORTED)
      notifySafely(pipe.receiverEvents)
    }
    const marks = pipe.mark(SENDER_GONE)
    this.#side.adoptPipe(pipe.block)
    return marks
  }

  /** The block was not pushed. */
  forget(): void {
    this.#forgetClose()
  }

  /**
   * Everything of the pipe as it is in the beginning. No other peer has the block. The sequences of the two event counts stay
   * as they are: this side knows by them which wake-up it has made, and would take a later sleep for that one.
   */
  #rewind(): void {
    const { words } = this.#side
    const { cellWord, writeWord, readWord, receiverEvents, senderEvents } = this.#pipe
    writeTotalLength(words, cellWord + PIPE_LENGTH_OFFSET / 4, this.#byteLength)
    words[writeWord] = 0
    words[readWord] = 0
    receiverEvents.reset()
    senderEvents.reset()
    words[cellWord + LEASE_WORD] = 0
    this.#sent = 0
    this.#index = 0
    this.#readPosition = 0
    this.#isReceiverLeaving = false
  }

  /** Copies what there is space for, unless the receiver is done or gone. */
  #advance(): number {
    this.#assertOpen()
    assertLength(this.#bytes, this.#byteLength, this.#attempt)
    const pipe = this.#pipe
    // Before the marks: of a receiver that has left the block by now, they are complete.
    const isOrphan = pipe.cell === this.#orphan
    const lease = pipe.lease
    if ((lease & RECEIVER_DONE) !== 0) return this.#end()
    const hasLeft = (lease & RECEIVER_LEFT) !== 0
    if (hasLeft && !this.#side.geometry.isAtLeastOnce) throw this.#endOfReceiver(true)
    if (isOrphan) this.#takeBack(hasLeft)
    else if (hasLeft) {
      this.#isReceiverLeaving = true
      return WAITING
    }
    const { capacityBytes, stepBytes, bytesOffset, writeWord } = pipe
    const { bytes, words } = this.#side
    const total = this.#byteLength
    for (let copiedBytes = 0; this.#sent < total; ) {
      if (!this.#hasSpace()) return WAITING
      if (copiedBytes >= CALL_BYTES_MAX) return DUE
      const index = this.#index
      const byteLength = Math.min(total - this.#sent, stepBytes, this.#freeBytes(), capacityBytes - index)
      bytes.set(this.#bytes.subarray(this.#sent, this.#sent + byteLength), bytesOffset + index)
      const sent = this.#sent + byteLength
      // SYNC bytes of a pipe visible to receiver
      Atomics.store(words, writeWord, sent | 0)
      this.#index = index + byteLength === capacityBytes ? 0 : index + byteLength
      this.#sent = sent
      copiedBytes += byteLength
      notifySafely(pipe.receiverEvents)
    }
    return this.#side.geometry.isAtLeastOnce ? WAITING : this.#end()
  }

  /**
   * Everything is published, and at least once acknowledged. At most once, Z2 sends the message: a receiver that has given it up
   * before that did not lose what was sent.
   */
  #end(): number {
    const receivedBytes = this.#receivedBytes()
    const marks = this.leave(false)
    if ((marks & (RECEIVER_DONE | RECEIVER_LEFT)) === RECEIVER_LEFT) throw this.#endOfReceiver(true, receivedBytes)
    return SENT
  }

  #receivedBytes(): number {
    return this.#sent - distance(this.#sent | 0, Atomics.load(this.#side.words, this.#pipe.readWord))
  }

  #freeBytes(): number {
    return this.#pipe.capacityBytes - distance(this.#sent | 0, this.#readPosition)
  }

  /** Whether there is space for a quarter of the pipe, or for the rest of the message. */
  #hasSpace(): boolean {
    const { capacityBytes, readWord } = this.#pipe
    const neededBytes = Math.min(capacityBytes >> 2, this.#byteLength - this.#sent)
    if (this.#freeBytes() >= neededBytes) return true
    // SYNC space of a pipe visible to sender
    const readPosition = Atomics.load(this.#side.words, readWord)
    const unreadBytes = distance(this.#sent | 0, readPosition)
    if (unreadBytes < 0 || unreadBytes > capacityBytes) {
      throw corruptError(
        this.#side.subject,
        `${unreadBytes} bytes of a large message are unread, and a block has room for ${capacityBytes}`,
      )
    }
    this.#readPosition = readPosition
    return this.#freeBytes() >= neededBytes
  }

  /**
   * A receiver that gives a message up wakes the sender before it gives the block away: afterwards it must not touch the block. So
   * a sender that waits for the block in between is not woken, and polls. It learns of the mark in a wait without that limit, so
   * the mark ends such a wait.
   */
  #waitUntil(deadline: number): number {
    return this.#isReceiverLeaving ? Math.min(deadline, nowMs() + LEAVING_MS) : deadline
  }

  #hasNews(): boolean {
    if (this.#isClosed || !this.#isOpen || this.#side.isClosed) return true
    const pipe = this.#pipe
    const { lease, cell } = pipe
    if (cell !== this.#receiverCell) this.#noteReceiver(cell)
    if (cell === this.#orphan || (lease & RECEIVER_DONE) !== 0) return true
    if ((lease & RECEIVER_LEFT) !== 0) return !this.#side.geometry.isAtLeastOnce || !this.#isReceiverLeaving
    return this.#sent < this.#byteLength && this.#hasSpace()
  }

  /**
   * The block is an orphan: its receiver has died, or has left it.
   *
   * - R1: CAS the cell from ORPHAN to HELD by this attachment, with the next seq. No other peer takes an orphan whose sender
   *   is at work.
   * - R2: store another position in the block, plainly.
   * - R3: at most once, or after maxDeliveries: free it, and throw.
   * - R4: at least once: write the pipe anew; CAS to RETURNING, with the next seq; and push it. If the lane has ended, free it
   *   and throw.
   */
  #takeBack(hasLeft: boolean): void {
    assertRoomForPipe()
    const side = this.#side
    const { words, table, lanes, geometry } = side
    const { block, cellWord } = this.#pipe
    const held = nextInstance(this.#orphan, side.held)
    const lane = lanes[this.#lane]
    // SYNC block handed over
    if (Atomics.compareExchange(words, cellWord, this.#orphan, held) !== this.#orphan) {
      throw corruptError(side.subject, `another peer has taken the block of a large message`)
    }
    table.kept[block] = 1
    // SYNC position away
    words[cellWord + POSITION_WORD] = lane.awayPosition
    const isGivenUp = deliveriesIn(words[cellWord + KIND_WORD]) >= geometry.maxDeliveries
    if (!geometry.isAtLeastOnce || isGivenUp) {
      const error = this.#endOfReceiver(hasLeft)
      this.#isOpen = false
      this.#forgetClose()
      if (geometry.isAtLeastOnce) Atomics.add(words, (geometry.byteOffset + GIVEN_UP_OFFSET) >>> 2, 1)
      side.release(block, held)
      throw error
    }
    this.#rewind()
    const returning = nextInstance(held, RETURNING | slotOf(side.self))
    this.#orphan = nextInstance(returning, ORPHAN)
    let isPushed = false
    try {
      // SYNC block handed over
      Atomics.compareExchange(words, cellWord, held, returning)
      isPushed = lane.push(block)
    } finally {
      table.kept[block] = 0
      if (!isPushed) {
        this.#isOpen = false
        this.#forgetClose()
        table.free(block, returning)
      }
    }
    if (!isPushed) {
      side.noteFree(block)
      throw new IsthmusError(
        'ERR_ISTHMUS_CLOSED',
        `${this.#attempt}: its receiver ${hasLeft ? 'gave it up' : 'died'}, and the queue has ended meanwhile. Call queue.reopen() first, and send it again.`,
      )
    }
    side.notePushed(this.#lane)
  }

  #endOfReceiver(hasLeft: boolean, receivedBytes = this.#receivedBytes()): IsthmusError {
    const { isAtLeastOnce, maxDeliveries } = this.#side.geometry
    const times = isAtLeastOnce ? ` It was delivered ${maxDeliveries} times, and is given up.` : ''
    const progress = `${receivedBytes} of ${this.#byteLength} bytes were received`
    if (hasLeft) {
      return new IsthmusError(
        'ERR_ISTHMUS_MESSAGE_INCOMPLETE',
        `${this.#attempt}: its receiver gave it up; ${progress}.${times} Send it again for another receiver.`,
      )
    }
    return new PeerDiedError(
      `${this.#attempt}: its receiver${nameOf(this.#receiver)} died; ${progress}.${times} Send it again for another receiver.`,
      this.#receiver,
    )
  }

  /** The peer that has taken the block, dead or alive: none, or one. */
  #receivers(): PeerId[] {
    if (!this.#isOpen || this.#side.isClosed) return []
    const cell = this.#pipe.cell
    const peer = stateOfCell(cell) === HELD ? this.#side.region.peers.at(slotOfCell(cell)) : undefined
    return peer === undefined ? [] : [peer]
  }

  /** Remembers who has taken the block, once for each time. */
  #noteReceiver(cell: number): void {
    const { peers } = this.#side.region
    const peer = stateOfCell(cell) === HELD ? peers.at(slotOfCell(cell)) : undefined
    if (peer === undefined) return
    const { pid, threadId } = peers.describe(peer)
    // As long as the cell names this holder, its slot has not been swept: the description is this holder's.
    if (this.#pipe.cell !== cell) return
    this.#receiver = { pid, threadId }
    this.#receiverCell = cell
  }

  /** S4 for this one block. The cell is loaded first, then it is asked who lives. */
  #reapReceiver(): void {
    if (!this.#isOpen || this.#side.isClosed) return
    const { words, region } = this.#side
    const cell = this.#pipe.cell
    if (stateOfCell(cell) !== HELD) return
    const peer = region.peers.at(slotOfCell(cell))
    if (cell !== this.#receiverCell) this.#noteReceiver(cell)
    if (peer !== undefined && !region.peers.isDead(peer)) return
    // SYNC block handed over
    Atomics.compareExchange(words, this.#pipe.cellWord, cell, nextInstance(cell, ORPHAN))
  }

  /** For calls that block the thread. */
  #assertOtherThread(): void {
    const cell = this.#pipe.cell
    if (stateOfCell(cell) !== HELD) return
    const { peers } = this.#side.region
    const peer = peers.at(slotOfCell(cell))
    if (peer === undefined || !peers.isOwnThread(peer)) return
    throw new IsthmusError(
      'EDEADLK',
      `${this.#attempt}: its receiver belongs to this very thread and cannot receive while the thread blocks. Use send, or receive in another thread.`,
    )
  }

  #assertOpen(): void {
    if (this.#isClosed || this.#side.isClosed)
      throw closedError(`${this.#attempt} through a sender of ${this.#side.subject}`)
  }
}
