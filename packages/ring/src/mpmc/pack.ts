import { corruptError } from '../errors.js'
import { DATA, fitsRecord, RECORD_HEADER_BYTES, recordBytesOf } from '../record/layout.js'
import { privateCopyOfSeveral } from '../record/private-run.js'
import { COUNT_WORD, DONE_WORD, deliveriesIn, KIND_WORD, LENGTH_WORD, laneIn } from './layout.js'
import type { QueueSide } from './queue-side.js'

/**
 * A packed block that a receiver holds, while it gives its messages to the program one by one: in place, or from a private copy of
 * the whole block. The block is freed when all its messages are settled: given (at most once), or acknowledged (at least once).
 *
 * `done` in the block says how many messages need no delivery any more, whatever happens to the receiver. Messages that are
 * settled out of their order count as soon as those before them are settled.
 */
export class Pack {
  readonly #side: QueueSide
  readonly block: number
  readonly cell: number
  readonly lane: number
  readonly deliveries: number
  readonly count: number
  readonly #cellWord: number
  /** Where the records are read: the region, or a private copy. */
  #bytes: Uint8Array
  #words: Int32Array
  #offset: number
  #endOffset: number
  #isPrivate = false
  /** Index of the message at #offset. */
  next = 0
  #settledCount = 0
  /** 1 for each message that was settled before one that precedes it. */
  readonly #settled: Uint8Array
  #isFreed = false

  /** Header and payload may be anything: what is read of them is checked. */
  constructor(side: QueueSide, block: number, cell: number) {
    const { words, bytes, geometry } = side
    const cellWord = side.cellWordOf(block)
    const byteLength = words[cellWord + LENGTH_WORD]
    const count = words[cellWord + COUNT_WORD]
    const done = words[cellWord + DONE_WORD]
    const kindWord = words[cellWord + KIND_WORD]
    if (byteLength >>> 0 > geometry.blockBytes || count >>> 0 > byteLength >>> 3 || done >>> 0 > count >>> 0) {
      throw corruptError(
        side.subject,
        `a packed block has ${count} messages in ${byteLength} bytes, ${done} of them done`,
      )
    }
    this.#side = side
    this.block = block
    this.cell = cell
    this.lane = laneIn(kindWord)
    this.deliveries = deliveriesIn(kindWord)
    this.count = count
    this.#cellWord = cellWord
    this.#bytes = bytes
    this.#words = words
    this.#offset = side.payloadOffsetOf(block)
    this.#endOffset = this.#offset + byteLength
    this.#settled = new Uint8Array(count)
    for (; this.next < done; this.next++) this.skip(this.byteLengthOfNext())
    this.#settledCount = done
  }

  get hasNext(): boolean {
    return this.next < this.count
  }

  /** Where the bytes of the next message begin, in `bytes`. */
  get byteOffsetOfNext(): number {
    return this.#offset + RECORD_HEADER_BYTES
  }

  get bytes(): Uint8Array {
    return this.#bytes
  }

  /** @throws IsthmusError `ERR_ISTHMUS_CORRUPT` */
  byteLengthOfNext(): number {
    const word = this.#offset >>> 2
    const remainingBytes = this.#endOffset - this.#offset
    const byteLength = this.#words[word]
    if (this.#words[word + 1] === DATA && fitsRecord(byteLength, remainingBytes, remainingBytes)) return byteLength
    throw corruptError(
      this.#side.subject,
      `a record of ${byteLength} bytes stands where a packed block has ${remainingBytes}`,
    )
  }

  /** Steps over the next message, which has this length. */
  skip(byteLength: number): void {
    this.#offset += recordBytesOf(byteLength)
  }

  /** The next message as a private copy, not stepped over. All that follow are copied with it. */
  copyOfNext(): Uint8Array {
    if (!this.#isPrivate) this.#copyRest()
    const byteLength = this.byteLengthOfNext()
    return new Uint8Array(this.#bytes.buffer, this.byteOffsetOfNext, byteLength)
  }

  /** Steps over the next message, which `copyOfNext` or `byteLengthOfNext` has checked. Without a call. */
  step(byteLength: number): number {
    this.#offset += (byteLength + 15) & -8
    return this.next++
  }

  /** This message needs no delivery any more. When none does, the block is freed, unless `isShown` says that it is still read. */
  settle(index: number, isShown = false): void {
    if (this.#isFreed) return
    this.#settled[index] = 1
    while (this.#settledCount < this.count && this.#settled[this.#settledCount] === 1) this.#settledCount++
    this.#side.words[this.#cellWord + DONE_WORD] = this.#settledCount
    if (!isShown) this.freeIfSettled()
  }

  freeIfSettled(): void {
    if (this.#settledCount < this.count || this.#isFreed) return
    // If this throws, the block is still kept, and the next attempt releases it.
    this.#side.release(this.block, this.cell)
    this.#isFreed = true
  }

  /** The message was given to the program, which has dropped it. */
  giveUp(index: number): void {
    // At least once, the block stays as it is: when its receiver is closed, what is not settled comes again.
    if (!this.#side.geometry.isAtLeastOnce) this.settle(index)
  }

  /** Its memory is damaged: frees the block, whatever is left in it. */
  drop(): void {
    if (this.#isFreed) return
    this.#isFreed = true
    this.#side.release(this.block, this.cell)
  }

  /** Puts what is not settled back into the queue. */
  giveBack(): void {
    if (this.#isFreed) return
    this.#isFreed = true
    if (this.#settledCount === this.count) this.#side.release(this.block, this.cell)
    else this.#side.pushAgain(this.block, this.cell)
  }

  #copyRest(): void {
    const byteLength = this.#endOffset - this.#offset
    const copy = privateCopyOfSeveral(this.#bytes, this.#offset, byteLength)
    this.#words = copy.words
    this.#bytes = copy.bytes
    this.#offset = copy.byteOffset
    this.#endOffset = copy.byteOffset + byteLength
    this.#isPrivate = true
  }
}
