import type { PeerId, Region } from '@isthmus/sync'
import { closedError, LivenessCheckThrottle, slotOf, WaiterSet } from '@isthmus/sync/internal'
import { BlockTable, NO_BLOCK } from './block-table.js'
import type { QueueGeometry } from './geometry.js'
import {
  BLOCK_HEADER_BYTES,
  COUNT_WORD,
  DATA,
  DEAD_LETTERS_OFFSET,
  DELIVERY,
  DONE_WORD,
  deliveriesIn,
  FREE,
  GIVEN_UP_OFFSET,
  HELD,
  HOLD_MASK,
  KIND_WORD,
  kindIn,
  LENGTH_WORD,
  LOST_OFFSET,
  laneIn,
  MESSAGES_OFFSET,
  nextInstance,
  ORPHAN,
  ORPHANS_LEFT_OFFSET,
  ORPHANS_SEEN_OFFSET,
  PACKED,
  PIPE,
  POSITION_WORD,
  RETURNING,
  SENDER_WORD,
  SPACE_OFFSET,
  sameInstance,
  slotOfCell,
  UNDELIVERED,
} from './layout.js'
import { isSenderAtWork, wasLost } from './pipe-lease.js'
import type { Slots } from './slots.js'
import { BlockSweep, FREED, lanesOf, ORPHANED } from './sweep.js'

/** The blocks that each attachment keeps, by the byte offset of the queue: shared by all objects that are attached there. */
const keptBlocks = new WeakMap<Region, Map<number, Uint8Array>>()

const settled = Promise.resolve()

/** What the senders, receivers and loans of one attachment share. */
export class QueueSide {
  readonly geometry: QueueGeometry
  readonly region: Region
  readonly subject: string
  readonly bytes: Uint8Array
  readonly words: Int32Array
  readonly doubles: Float64Array
  readonly view: DataView
  readonly self: PeerId
  /** HELD by this attachment, as it stands in a cell. */
  readonly held: number
  readonly messages: WaiterSet
  readonly space: WaiterSet
  readonly deadLetters: WaiterSet
  /** One for each priority, and one for the dead letters. */
  readonly lanes: readonly Slots[]
  readonly table: BlockTable
  /** Blocks that this attachment found as strays and freed. */
  strays = 0
  isClosed = false
  readonly #sweep: BlockSweep
  readonly #checks = new LivenessCheckThrottle()
  readonly #firstCell: number
  readonly #stride: number
  readonly #orphansLeftWord: number
  readonly #orphansSeenWord: number
  readonly #closers = new Set<() => void>()

  constructor(geometry: QueueGeometry) {
    const { region, byteOffset, subject, blocksOffset, strideBytes } = geometry
    this.geometry = geometry
    this.region = region
    this.subject = subject
    this.self = region.peers.self
    this.held = HELD | slotOf(this.self)
    this.bytes = region.bytes
    const { buffer, byteOffset: start, byteLength } = this.bytes
    // Not region.words: those may be mapped at another address, and alternating between two addresses of one cache line
    // costs time.
    this.words = new Int32Array(buffer, start, byteLength / 4)
    this.doubles = new Float64Array(buffer, start, Math.floor(byteLength / 8))
    this.view = new DataView(buffer, start, byteLength)
    this.#firstCell = (byteOffset + blocksOffset) >>> 2
    this.#stride = strideBytes >>> 2
    this.#orphansLeftWord = (byteOffset + ORPHANS_LEFT_OFFSET) >>> 2
    this.#orphansSeenWord = (byteOffset + ORPHANS_SEEN_OFFSET) >>> 2
    this.lanes = lanesOf(this.words, geometry)
    this.#sweep = new BlockSweep(this.words, geometry, this.lanes)
    this.table = new BlockTable(this.words, geometry, slotOf(this.self), keptBlocksOf(geometry))
    this.messages = new WaiterSet(region, byteOffset + MESSAGES_OFFSET, () => this.hasMessage())
    this.space = new WaiterSet(region, byteOffset + SPACE_OFFSET, () => this.hasFreeBlock())
    this.deadLetters = new WaiterSet(region, byteOffset + DEAD_LETTERS_OFFSET, () => this.hasDeadLetter())
    region.onClose(() => this.#close())
  }

  /** Registers what a handle gives back when the region closes. Returns a function that cancels the registration. */
  onClose(closer: () => void): () => void {
    this.#closers.add(closer)
    return () => this.#closers.delete(closer)
  }

  assertOpen(attempt: string): void {
    if (this.isClosed) throw closedError(`${attempt} ${this.subject}`)
  }

  /** Where the cell of a block is, in `words`. */
  cellWordOf(block: number): number {
    return this.#firstCell + block * this.#stride
  }

  /** Where the payload of a block begins, in `bytes`. */
  payloadOffsetOf(block: number): number {
    return (this.#firstCell + block * this.#stride) * 4 + BLOCK_HEADER_BYTES
  }

  hasMessage(): boolean {
    for (let lane = 0; lane < this.geometry.lanes; lane++) if (this.lanes[lane].look() >= 0) return true
    return false
  }

  hasDeadLetter(): boolean {
    const { deadLane } = this.geometry
    return deadLane !== undefined && this.lanes[deadLane].look() >= 0
  }

  hasFreeBlock(): boolean {
    return this.table.findFree(this.geometry.blocks)
  }

  /** Whether every lane of a priority has ended. */
  get hasEnded(): boolean {
    for (let lane = 0; lane < this.geometry.lanes; lane++) if (!this.lanes[lane].hasEnded) return false
    return true
  }

  /** Whether END is the next thing to be taken in every lane of a priority, as far as this attachment has walked. */
  get isAtEnd(): boolean {
    for (let lane = 0; lane < this.geometry.lanes; lane++) if (!this.lanes[lane].isAtEnd) return false
    return true
  }

  /** Changes whenever orphans are left. */
  get orphansLeft(): number {
    // SYNC orphans visible to those that look
    return Atomics.load(this.words, this.#orphansLeftWord)
  }

  /** Whether orphans were left for which no peer has looked. Plain reads: they may be stale, and cost nothing. */
  get hasOrphans(): boolean {
    // SYNC orphans visible to those that look
    return this.words[this.#orphansLeftWord] !== this.words[this.#orphansSeenWord]
  }

  /** The blocks from this one on are not for messages of this lane. */
  endOfBlocksFor(lane: number): number {
    const { blocks, reserved } = this.geometry
    return lane === 0 ? blocks - reserved : blocks
  }

  /** Frees a block that this attachment holds: T6, T7 and T8. Returns false if it no longer held it. */
  release(block: number, cell: number): boolean {
    const { words } = this
    const cellWord = this.cellWordOf(block)
    const position = this.#laneOf(block).awayPosition
    // From here on without a call that could fail at the edge of the stack: it is released, or it is still kept.
    // SYNC position away: before the block is free
    words[cellWord + POSITION_WORD] = position
    this.table.kept[block] = 0
    // SYNC block handed over
    if (Atomics.compareExchange(words, cellWord, cell, cell & ~HOLD_MASK) !== cell) return false
    try {
      this.noteFree(block)
      // Receivers that wait at the end wait for this: the message can no longer come again.
      if (this.geometry.isAtLeastOnce && this.isAtEnd) this.#notifyAllReceivers()
    } catch {
      // The stack is full. The block is free: the next one wakes the sender, and receivers look at the end by themselves.
    }
    return true
  }

  /** A block was freed: wakes a sender. A reserved one may be of no use to the first sender that wakes. */
  noteFree(block: number): void {
    try {
      if (block >= this.geometry.blocks - this.geometry.reserved) this.space.notifyAll()
      else this.space.notifyOne()
    } catch {
      this.notifyLater(this.space)
    }
  }

  /** A block was pushed: wakes a receiver. */
  notePushed(lane: number): void {
    const waiters = lane === this.geometry.deadLane ? this.deadLetters : this.messages
    try {
      waiters.notifyOne()
    } catch {
      this.notifyLater(waiters)
    }
  }

  /**
   * Puts a message back that this attachment has taken and its program does not want: at the end of its lane. After maxDeliveries
   * it is given up.
   */
  pushAgain(block: number, cell: number): void {
    if (this.geometry.isAtLeastOnce) {
      if (!this.isDeliverable(block)) {
        this.drop(block, cell)
        return
      }
    } else {
      // If we are killed before it is pushed, it is not lost.
      this.words[this.cellWordOf(block) + KIND_WORD] |= UNDELIVERED
    }
    this.#pushInto(this.#laneOf(block), block, cell)
  }

  /** Whether a message that a dead peer had, or that was put back, is to be delivered. */
  isDeliverable(block: number): boolean {
    const { words } = this
    const cellWord = this.cellWordOf(block)
    const kindWord = words[cellWord + KIND_WORD]
    const { isAtLeastOnce, maxDeliveries, deadLane } = this.geometry
    if (isAtLeastOnce) return laneIn(kindWord) === deadLane || deliveriesIn(kindWord) < maxDeliveries
    if ((kindWord & UNDELIVERED) !== 0) return true
    // The rest of a packed block: a program got what comes before it.
    return kindIn(kindWord) === PACKED && words[cellWord + DONE_WORD] >>> 0 < words[cellWord + COUNT_WORD] >>> 0
  }

  /**
   * For a block that this attachment holds, and whose message is not deliverable. At least once: it becomes a dead letter, or is
   * freed. At most once: it is lost. It counts after that: if we are killed before, it does not.
   */
  drop(block: number, cell: number): void {
    const { words, geometry } = this
    const { isAtLeastOnce, deadLane, byteOffset } = geometry
    const messages = this.#messagesIn(this.cellWordOf(block))
    if (!isAtLeastOnce) {
      this.release(block, cell)
      Atomics.add(words, (byteOffset + LOST_OFFSET) >>> 2, messages)
      return
    }
    if (deadLane === undefined) this.release(block, cell)
    else this.#pushInto(this.lanes[deadLane], block, cell)
    Atomics.add(words, (byteOffset + GIVEN_UP_OFFSET) >>> 2, messages)
  }

  /**
   * Pushes a block that this attachment holds.
   *
   * - R2: store another position in the block, plainly: the one at which it was taken may be one that a receiver looks for.
   * - R3: CAS the cell from HELD to RETURNING, with the next seq. Then P1 to P5.
   * - R4: the lane has ended: CAS the cell to ORPHAN, with the next seq. A receiver that comes to the end takes it.
   *
   * If we are killed before the block is pushed, it is an orphan again; if we are stopped, this one message waits.
   */
  #pushInto(lane: Slots, block: number, cell: number): void {
    const { words } = this
    const cellWord = this.cellWordOf(block)
    // SYNC position away
    words[cellWord + POSITION_WORD] = lane.awayPosition
    lane.writeKind(block, words[cellWord + KIND_WORD])
    let isPushed = false
    try {
      const returning = nextInstance(cell, RETURNING | slotOf(this.self))
      // SYNC block handed over
      if (Atomics.compareExchange(words, cellWord, cell, returning) !== cell) return
      isPushed = lane.push(block)
      // SYNC block handed over
      if (!isPushed) Atomics.compareExchange(words, cellWord, returning, nextInstance(returning, ORPHAN))
    } finally {
      this.table.kept[block] = 0
    }
    if (isPushed) this.notePushed(lane.lane)
    else this.tellOrphans()
  }

  /** Orphans were left, or may be brought back from now on: those that look are told. */
  tellOrphans(): void {
    // SYNC orphans visible to those that look
    Atomics.add(this.words, this.#orphansLeftWord, 1)
    this.#notifyAllReceivers()
  }

  /** Sends a copy of a message that this attachment has, and says how often it was delivered. Returns false if no block is free. */
  sendAgain(message: Uint8Array, lane: number, deliveries: number): boolean {
    const { words, table, geometry } = this
    table.findFree(geometry.blocks)
    const block = table.tryTake(geometry.blocks)
    if (block === NO_BLOCK) return false
    const cell = table.takenCell
    const cellWord = this.cellWordOf(block)
    try {
      this.bytes.set(message, this.payloadOffsetOf(block))
    } catch (error) {
      table.free(block, cell)
      throw error
    }
    words[cellWord + LENGTH_WORD] = message.length
    this.lanes[lane].writeKind(block, DATA + deliveries * DELIVERY)
    words[cellWord + SENDER_WORD] = this.self
    const held = sameInstance(cell, this.held)
    // As if it had been received: after maxDeliveries it is given up.
    if (Atomics.compareExchange(words, cellWord, cell, held) === cell) this.pushAgain(block, held)
    return true
  }

  /** For a call that found nothing: whether it should pay for a look through all blocks and for proofs of death. */
  isCheckDue(): boolean {
    return this.#checks.isDue()
  }

  /**
   * Looks through all blocks, for a call that finds no message or no free block, before it sleeps or gives up now and then. It
   * brings back what no peer will:
   *
   * 1. Cells that name this attachment, which keeps no such block: strays, of a call that failed half-way.
   * 2. Cells that name a slot without a living peer. The cell is loaded first, then it is asked who lives: so the peer that the
   *    word names is gone, whoever has the slot now. The CAS from that very word fails if it was swept meanwhile.
   * 3. Orphans; but those whose lane has ended are left to a receiver that comes to the end.
   *
   * @param proves whether to ask the system, a call for each peer that has a block; otherwise only the peers table
   */
  lookThrough(proves: boolean): void {
    const { words, region, table } = this
    const orphansLeft = this.orphansLeft
    const ownSlot = slotOf(this.self)
    const living = new Set<number>()
    const dead = new Set<PeerId>()
    for (let block = 0; block < this.geometry.blocks; block++) {
      const cell = table.cellOf(block)
      const hold = cell & HOLD_MASK
      if (hold === FREE) continue
      if (hold === ORPHAN) {
        this.#adopt(block, cell, proves)
        continue
      }
      const slot = slotOfCell(cell)
      if (slot === ownSlot) {
        if (table.kept[block] !== 0) continue
      } else {
        if (living.has(slot)) continue
        const peer = region.peers.at(slot)
        if (peer !== undefined && !dead.has(peer)) {
          if (!proves || !region.peers.isDead(peer)) {
            living.add(slot)
            continue
          }
          dead.add(peer)
        }
      }
      const swept = this.#sweep.sweep(block, cell)
      if (swept === FREED) {
        if (slot === ownSlot) this.strays++
        this.noteFree(block)
      }
      if (swept === ORPHANED) this.#adopt(block, table.cellOf(block), proves)
    }
    Atomics.store(words, this.#orphansSeenWord, orphansLeft)
  }

  /**
   * Brings back an orphan: its message is pushed again, or dropped.
   *
   * - R1: CAS the cell from ORPHAN to HELD by this attachment, with the next seq. If that fails, another peer does it. Then R2.
   *
   * A pipe whose sender is at work is left to that one. Any other pipe is freed: there is no sender that could send it again.
   * @param proves whether to ask the system if such a sender lives; otherwise only the peers table
   */
  #adopt(block: number, cell: number, proves: boolean): void {
    if ((cell & HOLD_MASK) !== ORPHAN) return
    const isPipe = this.isPipe(block)
    if (isPipe && isSenderAtWork(this.words, this.cellWordOf(block), this.region, proves)) return
    // Nobody writes into an orphan. It would be one again.
    if (!isPipe && this.isDeliverable(block) && this.#laneOf(block).hasEnded) return
    const held = nextInstance(cell, this.held)
    // SYNC block handed over
    if (Atomics.compareExchange(this.words, this.cellWordOf(block), cell, held) !== cell) return
    this.table.kept[block] = 1
    if (isPipe) this.#dropPipe(block, held)
    else if (this.isDeliverable(block)) this.#pushInto(this.#laneOf(block), block, held)
    else this.drop(block, held)
  }

  /** Frees a block that a side of a pipe has left, if the other one has left it before. */
  adoptPipe(block: number): void {
    if (this.isPipe(block)) this.#adopt(block, this.table.cellOf(block), false)
  }

  isPipe(block: number): boolean {
    return kindIn(this.words[this.cellWordOf(block) + KIND_WORD]) === PIPE
  }

  #dropPipe(block: number, cell: number): void {
    const isLost = !this.geometry.isAtLeastOnce && wasLost(this.words, this.cellWordOf(block))
    this.release(block, cell)
    if (isLost) Atomics.add(this.words, (this.geometry.byteOffset + LOST_OFFSET) >>> 2, 1)
  }

  /** The lane that a block says. One that does not exist is the lowest. */
  #laneOf(block: number): Slots {
    return this.lanes[laneIn(this.words[this.cellWordOf(block) + KIND_WORD])] ?? this.lanes[0]
  }

  #messagesIn(cellWord: number): number {
    const { words } = this
    if (kindIn(words[cellWord + KIND_WORD]) !== PACKED) return 1
    return Math.max(1, words[cellWord + COUNT_WORD] - words[cellWord + DONE_WORD])
  }

  #notifyAllReceivers(): void {
    try {
      this.messages.notifyAll()
    } catch {
      this.notifyLater(this.messages)
    }
  }

  /** The stack is full. Notifies again when it is empty; what was to be told has happened, so this must not throw. */
  notifyLater(waiters: WaiterSet): void {
    try {
      settled.then(() => {
        if (!this.isClosed) waiters.notifyAll()
      })
    } catch {
      // No room even for that: the next message wakes the waiter, or its own polling finds it.
    }
  }

  #close(): void {
    if (this.isClosed) return
    try {
      for (const closer of [...this.#closers].reverse()) closer()
    } finally {
      this.isClosed = true
    }
  }
}

function keptBlocksOf({ region, byteOffset, blocks }: QueueGeometry): Uint8Array {
  const ofRegion = keptBlocks.get(region) ?? new Map<number, Uint8Array>()
  keptBlocks.set(region, ofRegion)
  const kept = ofRegion.get(byteOffset) ?? new Uint8Array(blocks)
  ofRegion.set(byteOffset, kept)
  return kept
}
