import type { MpmcQueueOptions } from '@isthmus/ring'
import {
  COUNT_WORD,
  HELD,
  KIND_WORD,
  kindIn,
  laneIn,
  OWNED,
  PACKED,
  POSITION_WORD,
  PUSHABLE,
  placesOf,
  slotCountOf,
  stateOfCell,
} from '../../../packages/ring/src/mpmc/layout.js'

const { load, compareExchange } = Atomics
const CELL_BYTES = 4
/** Before one of so many steps, the agent sleeps, so that others come between it and the step before. */
const STEPS_PER_SLEEP = 24
const SLEEP_MS = 0.02
const sleeper = new Int32Array(new SharedArrayBuffer(4))

/** A block that was pushed or taken: where, and with how many messages. */
export interface Watched {
  readonly lane: number
  readonly position: number
  readonly count: number
}

/** The same for one that was pushed. */
export interface WatchedPush extends Watched {
  /** The mark of the call that took the free block. */
  readonly ownedSince: number
}

/**
 * Reads off an agent's atomic operations on one queue which positions it has pushed and taken, and where it found nothing; and
 * makes it sleep between two steps now and then. The built packages run as they are. One watch at a time.
 */
export class MpmcWatch {
  readonly #words: Int32Array
  readonly #firstSlot: number
  readonly #slotCount: number
  readonly #slots: number
  readonly #firstCell: number
  readonly #stride: number
  readonly #blocks: number
  /** By block: the mark of the call that took it when it was free. */
  readonly #ownedSince: number[] = []
  #mark = 0
  /** Since the last mark. */
  pushed: WatchedPush[] = []
  taken: Watched[] = []
  /** Free blocks that were taken, and given back unsent: the mark of the call that took them. */
  disowned: number[] = []
  /** The position at which each lane was last looked at. */
  lookedAt: (number | undefined)[] = []

  /** @param words as the queue's handles have them @param start of the queue, in bytes */
  constructor(words: Int32Array, start: number, { blocks, blockBytes, lanes = 1, slots }: MpmcQueueOptions) {
    this.#slotCount = slots ?? slotCountOf(blocks)
    const { slotsOffset, blocksOffset, strideBytes } = placesOf(blocks, blockBytes, lanes, this.#slotCount)
    this.#words = words
    this.#firstSlot = (start + slotsOffset) / CELL_BYTES
    this.#slots = lanes * this.#slotCount
    this.#firstCell = (start + blocksOffset) / CELL_BYTES
    this.#stride = strideBytes / CELL_BYTES
    this.#blocks = blocks
    Atomics.load = ((array: Int32Array, index: number) => {
      if (array === this.#words) linger()
      const word = load(array, index)
      if (array === this.#words) this.#noteLook(index, word)
      return word
    }) as typeof Atomics.load
    Atomics.compareExchange = ((array: Int32Array, index: number, expected: number, next: number) => {
      if (array !== this.#words) return compareExchange(array, index, expected, next)
      linger()
      // Afterwards, another agent may have taken the block.
      const count = this.#isSlot(index) ? this.#countIn(next & (this.#slotCount - 1)) : 0
      const found = compareExchange(array, index, expected, next)
      if (found === expected) this.#noteExchange(index, expected, next, count)
      return found
    }) as typeof Atomics.compareExchange
  }

  /** Begins a call. */
  begin(mark: number): void {
    this.#mark = mark
    this.pushed = []
    this.taken = []
    this.disowned = []
    this.lookedAt = []
  }

  end(): void {
    Object.assign(Atomics, { load, compareExchange })
  }

  #isSlot(index: number): boolean {
    return index >= this.#firstSlot && index < this.#firstSlot + this.#slots
  }

  #noteLook(index: number, word: number): void {
    if (!this.#isSlot(index)) return
    const slot = index - this.#firstSlot
    // The position for which it is free, if it is.
    const position = (word & -this.#slotCount) | (slot & (this.#slotCount - 1))
    this.lookedAt[Math.floor(slot / this.#slotCount)] = position
  }

  #noteExchange(index: number, expected: number, next: number, count: number): void {
    if (this.#isSlot(index)) {
      const slot = index - this.#firstSlot
      const lane = Math.floor(slot / this.#slotCount)
      const position = ((next & -this.#slotCount) - this.#slotCount) | (slot & (this.#slotCount - 1)) | 0
      this.pushed.push({ lane, position, count, ownedSince: this.#ownedSince[next & (this.#slotCount - 1)] })
      return
    }
    const block = (index - this.#firstCell) / this.#stride
    if (!Number.isInteger(block) || block < 0 || block >= this.#blocks) return
    if (stateOfCell(next) === OWNED) this.#ownedSince[block] = this.#mark
    else if (stateOfCell(next) === HELD && (expected & PUSHABLE) !== 0) {
      const lane = laneIn(this.#words[index + KIND_WORD])
      const position = this.#words[index + POSITION_WORD]
      this.taken.push({ lane, position, count: this.#countIn(block) })
    } else if (stateOfCell(expected) === OWNED) this.disowned.push(this.#ownedSince[block])
  }

  #countIn(block: number): number {
    const cell = this.#firstCell + block * this.#stride
    return kindIn(this.#words[cell + KIND_WORD]) === PACKED ? this.#words[cell + COUNT_WORD] : 1
  }
}

function linger(): void {
  if (Math.random() * STEPS_PER_SLEEP < 1) Atomics.wait(sleeper, 0, 0, SLEEP_MS)
}
