import { DATA, RECORD_HEADER_BYTES, recordBytesOf } from '../record/layout.js'
import { NO_BLOCK } from './block-table.js'
import { COUNT_WORD, DONE_WORD, LENGTH_WORD, PACKED, SENDER_WORD } from './layout.js'
import type { QueueSide } from './queue-side.js'

/** A block that a sender fills with several messages, each of them a record of its own, before it pushes it. */
export class Packing {
  readonly #side: QueueSide
  readonly #limit: number
  readonly #blockBytes: number
  block = NO_BLOCK
  cell = 0
  lane = 0
  count = 0
  #start = 0
  usedBytes = 0

  constructor(side: QueueSide) {
    this.#side = side
    this.#limit = side.geometry.packLimit
    this.#blockBytes = side.geometry.blockBytes
  }

  get isOpen(): boolean {
    return this.block !== NO_BLOCK
  }

  /** Whether a message of this length may be one of several in a block. */
  fitsAtAll(byteLength: number): boolean {
    return this.#limit > 1 && recordBytesOf(byteLength) <= this.#blockBytes
  }

  /** Begins with a block that is owned, and that this attachment is known to keep. */
  begin(block: number, cell: number, lane: number): void {
    this.#start = this.#side.payloadOffsetOf(block)
    this.usedBytes = 0
    this.count = 0
    this.cell = cell
    this.lane = lane
    this.block = block
  }

  /** Adds a copy of a message; returns false if there is no room for it. If this throws, nothing was added. */
  tryAdd(bytes: Uint8Array): boolean {
    const { length } = bytes
    const recordBytes = recordBytesOf(length)
    if (this.usedBytes + recordBytes > this.#blockBytes || this.count === this.#limit) return false
    const { words, bytes: target } = this.#side
    const at = this.#start + this.usedBytes
    words[at >>> 2] = length
    words[(at >>> 2) + 1] = DATA
    target.set(bytes, at + RECORD_HEADER_BYTES)
    this.usedBytes += recordBytes
    this.count++
    return true
  }

  /** Writes the header. The block is ready to be pushed. */
  finish(): void {
    const { words, self } = this.#side
    const cellWord = this.#side.cellWordOf(this.block)
    words[cellWord + LENGTH_WORD] = this.usedBytes
    this.#side.lanes[this.lane].writeKind(this.block, PACKED)
    words[cellWord + SENDER_WORD] = self
    words[cellWord + DONE_WORD] = 0
    words[cellWord + COUNT_WORD] = this.count
  }
}
