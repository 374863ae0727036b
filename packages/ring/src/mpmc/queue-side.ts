import type { PeerId, Region } from '@isthmus/sync'
import { closedError, LivenessCheckThrottle, slotOf, WaiterSet } from '@isthmus/sync/internal'
import { BlockTable, NO_BLOCK } from './block-table.js'
import type { QueueGeometry } from './geometry.js'
import {
  awayFrom,
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
  kindWordOf,
  LENGTH_WORD,
  LOST_OFFSET,
  laneIn,
  MESSAGES_OFFSET,
  nextInstance,
  ORPHAN,
  ORPHANS_LEFT_OFFSET,
  ORPHANS_SEEN_OFFSET,
  PACKED,
  POSITION_WORD,
  RETURNING,
  SENDER_WORD,
  SPACE_OFFSET,
  sameInstance,
  setLaneIn,
  slotOfCell,
} from './layout.js'
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

  /** Whether a sweep has left orphans that no peer has looked for. Plain reads: they may be stale, and cost nothing. */
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
    const positionWord = this.cellWordOf(block) + POSITION_WORD
    // SYNC position away: before the block is free
    this.words[positionWord] = awayFrom(this.words[positionWord])
    this.table.kept[block] = 0
    if (!this.table.free(block, cell)) return false
    this.noteFree(block)
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
   * Pushes a block again that this attachment holds, at the end of its lane. After maxDeliveries it is given up: it becomes a
   * dead letter, or is freed and counted.
   *
   * - R3: CAS the cell from HELD to RETURNING, with the next seq. Then P1 to P5; see Slots.pushAgain.
   *
   * If this attachment is killed before the block is pushed, it is an orphan again; if it is stopped, this one message waits.
   */
  pushAgain(block: number, cell: number): void {
    const { words } = this
    const cellWord = this.cellWordOf(block)
    const kindWord = words[cellWord + KIND_WORD]
    const { isAtLeastOnce, maxDeliveries, deadLane } = this.geometry
    let lane = laneIn(kindWord)
    if (lane >= this.lanes.length) lane = 0
    if (isAtLeastOnce && lane !== deadLane && deliveriesIn(kindWord) >= maxDeliveries) {
      if (deadLane === undefined) {
        Atomics.add(words, (this.geometry.byteOffset + GIVEN_UP_OFFSET) >>> 2, this.#messagesIn(cellWord))
        this.release(block, cell)
        return
      }
      lane = deadLane
    }
    words[cellWord + KIND_WORD] = setLaneIn(kindWord, lane)
    try {
      const returning = nextInstance(cell, RETURNING | slotOf(this.self))
      // SYNC block handed over
      if (Atomics.compareExchange(words, cellWord, cell, returning) !== cell) return
      this.lanes[lane].pushAgain(block)
    } finally {
      this.table.kept[block] = 0
    }
    this.notePushed(lane)
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
    words[cellWord + KIND_WORD] = kindWordOf(DATA, lane) + deliveries * DELIVERY
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
   *    word names is gone, whoever has the slot now. If it was swept meanwhile, the CAS fails.
   * 3. Orphans.
   *
   * @param proves whether to ask the system, a call for each peer that has a block; otherwise only the peers table
   */
  lookThrough(proves: boolean): void {
    const { words, region, table } = this
    // SYNC orphans visible to those that look
    const orphansLeft = Atomics.load(words, this.#orphansLeftWord)
    const ownSlot = slotOf(this.self)
    const living = new Set<number>()
    const dead = new Set<PeerId>()
    for (let block = 0; block < this.geometry.blocks; block++) {
      const cell = table.cellOf(block)
      const hold = cell & HOLD_MASK
      if (hold === FREE) continue
      if (hold !== ORPHAN) {
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
        const swept = this.#sweep.sweep(block, slot)
        if (swept === FREED) {
          if (slot === ownSlot) this.strays++
          this.noteFree(block)
        }
        if (swept !== ORPHANED) continue
      }
      this.#adopt(block)
    }
    Atomics.store(words, this.#orphansSeenWord, orphansLeft)
  }

  /**
   * Brings back an orphan: what a dead peer held is pushed again, or freed.
   *
   * - R1: CAS the cell from ORPHAN to HELD by this attachment, with the next seq. If that fails, another peer does it.
   * - R2: store another position in the block, plainly: its holder may have died before T6.
   * - R3: at least once: push it again. At most once: so the rest of a packed block, whose messages up to `done` were given to a
   *   program; otherwise count it as lost, and free it.
   */
  #adopt(block: number): void {
    const { words } = this
    const cellWord = this.cellWordOf(block)
    const cell = Atomics.load(words, cellWord)
    if ((cell & HOLD_MASK) !== ORPHAN) return
    const held = nextInstance(cell, this.held)
    // SYNC block handed over
    if (Atomics.compareExchange(words, cellWord, cell, held) !== cell) return
    this.table.kept[block] = 1
    const lane = laneIn(words[cellWord + KIND_WORD])
    // SYNC position away
    words[cellWord + POSITION_WORD] = (this.lanes[lane] ?? this.lanes[0]).awayPosition
    if (this.geometry.isAtLeastOnce || this.#hasRest(cellWord)) {
      this.pushAgain(block, held)
    } else {
      Atomics.add(words, (this.geometry.byteOffset + LOST_OFFSET) >>> 2, 1)
      this.release(block, held)
    }
  }

  #hasRest(cellWord: number): boolean {
    const { words } = this
    if (kindIn(words[cellWord + KIND_WORD]) !== PACKED) return false
    return words[cellWord + DONE_WORD] >>> 0 < words[cellWord + COUNT_WORD] >>> 0
  }

  #messagesIn(cellWord: number): number {
    const { words } = this
    if (kindIn(words[cellWord + KIND_WORD]) !== PACKED) return 1
    return Math.max(1, words[cellWord + COUNT_WORD] - words[cellWord + DONE_WORD])
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
