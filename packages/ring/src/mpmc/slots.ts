import { corruptError } from '../errors.js'
import type { QueueGeometry } from './geometry.js'
import {
  awayFrom,
  headOffsetOf,
  KIND_WORD,
  laneIn,
  POSITION_WORD,
  PUSHABLE,
  sameInstance,
  setLaneIn,
  tailOffsetOf,
} from './layout.js'

/** What `take` and `look` find instead of a block. */
export const EMPTY = -1
export const ENDED = -2

/** A receiver stores the head hint once for so many messages. */
const TAKES_PER_HEAD = 32
/** How many positions may be passed one by one before the slots count as corrupt: killed peers leave hints that lag. */
const PASSES_MAX = 4096

/**
 * The slots of one lane, as one attachment walks along them. Where it walks begins at a guess, which is never beyond the first
 * position that is not pushed, or not taken. Steps are numbered as in layout.ts: P1 to P4, T1 to T4.
 */
export class Slots {
  readonly #words: Int32Array
  readonly #subject: string
  readonly lane: number
  readonly #hasSiblings: boolean
  readonly #count: number
  readonly #indexMask: number
  readonly #lapMask: number
  readonly #firstSlot: number
  readonly #tailWord: number
  readonly #headWord: number
  readonly #blocks: number
  readonly #firstCell: number
  readonly #stride: number

  /** Not beyond the first position that is not pushed. */
  #pushGuess: number
  /** Not beyond the first position that is not taken. */
  #takeGuess: number
  /** The head hint as this attachment stored it last. */
  #storedHead: number
  /** Of the block that was taken last: where it was pushed, and its cell now. */
  takenPosition = 0
  takenCell = 0

  constructor(words: Int32Array, geometry: QueueGeometry, lane: number) {
    const { byteOffset, subject, slotCount, slotsOffset, blocks, blocksOffset, strideBytes } = geometry
    this.#words = words
    this.#subject = subject
    this.lane = lane
    this.#hasSiblings = geometry.lanes > 1 || geometry.deadLane !== undefined
    this.#count = slotCount
    this.#indexMask = slotCount - 1
    this.#lapMask = -slotCount
    this.#firstSlot = (byteOffset + slotsOffset + lane * slotCount * 4) >>> 2
    this.#tailWord = (byteOffset + tailOffsetOf(lane)) >>> 2
    this.#headWord = (byteOffset + headOffsetOf(lane)) >>> 2
    this.#blocks = blocks
    this.#firstCell = (byteOffset + blocksOffset) >>> 2
    this.#stride = strideBytes >>> 2
    this.#pushGuess = Atomics.load(words, this.#tailWord)
    this.#takeGuess = Atomics.load(words, this.#headWord)
    this.#storedHead = this.#takeGuess
  }

  /**
   * Writes the kind of a block that is to be pushed here. If it was freed in another lane, the position that it got there may be
   * one that a receiver of this lane looks for.
   */
  writeKind(block: number, kindWord: number): void {
    const cellWord = this.#firstCell + block * this.#stride
    // SYNC position away
    if (this.#hasSiblings) this.#words[cellWord + POSITION_WORD] = this.awayPosition
    this.#words[cellWord + KIND_WORD] = setLaneIn(kindWord, this.lane)
  }

  /**
   * Pushes a block that this attachment owns, and whose header and payload are written.
   *
   * - P1: load the slot of the first position that seems not to be pushed. Pushed: the next one. END: the queue has ended.
   * - P2: store the position in the block, plainly.
   * - P3: CAS the slot. If that fails, P1 with the same position.
   * - P4: raise the tail hint.
   *
   * @returns false if the lane has ended; then nothing has changed but the block's position
   */
  push(block: number): boolean {
    const words = this.#words
    const count = this.#count
    const lapMask = this.#lapMask
    const indexMask = this.#indexMask
    const positionWord = this.#firstCell + block * this.#stride + POSITION_WORD
    let position = this.#pushGuess
    for (let passes = 0; ; ) {
      const slot = this.#firstSlot + (position & indexMask)
      const word = Atomics.load(words, slot)
      const ahead = ((word & lapMask) - (position & lapMask)) | 0
      if (ahead === 0) {
        words[positionWord] = position
        const pushed = ((position + count) & lapMask) | block
        // SYNC message visible to receiver: its bytes, length, kind and position
        if (Atomics.compareExchange(words, slot, word, pushed) === word) {
          const next = (position + 1) | 0
          this.#pushGuess = next
          let tail = Atomics.load(words, this.#tailWord)
          while (((next - tail) | 0) > 0) {
            const found = Atomics.compareExchange(words, this.#tailWord, tail, next)
            if (found === tail) break
            tail = found
          }
          return true
        }
      } else if (ahead === count) {
        if ((word & indexMask) === indexMask) {
          this.#pushGuess = position
          return false
        }
        position = (position + 1) | 0
      } else {
        position = this.#passed(position, ahead, this.#tailWord, ++passes)
      }
    }
  }

  /**
   * Takes the first message.
   *
   * - T1: load the slot of the first position that seems not to be taken. Free: there is nothing. END: nothing will come.
   * - T2: load the cell of its block. If it is not OWNED or RETURNING, it was taken: the next position.
   * - T3: compare the position and the lane that stand in the block (see #isOfThisLane). Another instance: the next position.
   * - T4: CAS the cell to HELD. If that fails, another receiver has taken it: the next position.
   *
   * The caller notes the block before it makes another call. See `takenPosition` and `takenCell`.
   * @param hold HELD by this attachment
   * @returns the block; EMPTY or ENDED
   */
  take(hold: number): number {
    const words = this.#words
    const count = this.#count
    const lapMask = this.#lapMask
    const indexMask = this.#indexMask
    let position = this.#takeGuess
    // Not after T4: there a call that fails at the edge of the stack would leave a block that nothing has noted.
    if (((position - this.#storedHead) | 0) >= TAKES_PER_HEAD) this.#raiseHead()
    for (let passes = 0; ; ) {
      // SYNC message visible to receiver
      const word = Atomics.load(words, this.#firstSlot + (position & indexMask))
      const ahead = ((word & lapMask) - (position & lapMask)) | 0
      if (ahead === count) {
        const block = word & indexMask
        if (block >= this.#blocks) return this.#endOf(position, block)
        const cellWord = this.#firstCell + block * this.#stride
        // SYNC block handed over
        const cell = Atomics.load(words, cellWord)
        // SYNC position away: read after the cell
        if ((cell & PUSHABLE) !== 0 && words[cellWord + POSITION_WORD] === position) {
          if (!this.#hasSiblings || this.#isOfThisLane(cellWord, position)) {
            const held = sameInstance(cell, hold)
            if (Atomics.compareExchange(words, cellWord, cell, held) === cell) {
              this.takenPosition = position
              this.takenCell = held
              this.#takeGuess = (position + 1) | 0
              return block
            }
          }
        }
        position = (position + 1) | 0
      } else if (ahead === 0) {
        this.#takeGuess = position
        if (position !== this.#storedHead) this.#raiseHints(position)
        return EMPTY
      } else {
        position = this.#passed(position, ahead, this.#headWord, ++passes)
      }
    }
  }

  /** What `take` would find, without taking it: the block, EMPTY or ENDED. */
  look(): number {
    const words = this.#words
    let position = this.#takeGuess
    for (let passes = 0; ; ) {
      // SYNC message visible to receiver
      const word = Atomics.load(words, this.#firstSlot + (position & this.#indexMask))
      const ahead = ((word & this.#lapMask) - (position & this.#lapMask)) | 0
      if (ahead === this.#count) {
        const block = word & this.#indexMask
        if (block >= this.#blocks) return this.#endOf(position, block)
        const cellWord = this.#firstCell + block * this.#stride
        if (
          (Atomics.load(words, cellWord) & PUSHABLE) !== 0 &&
          words[cellWord + POSITION_WORD] === position &&
          (!this.#hasSiblings || this.#isOfThisLane(cellWord, position))
        ) {
          this.#takeGuess = position
          return block
        }
        position = (position + 1) | 0
      } else if (ahead === 0) {
        this.#takeGuess = position
        return EMPTY
      } else {
        position = this.#passed(position, ahead, this.#headWord, ++passes)
      }
    }
  }

  /** Whether the lane has ended: for senders that find no block. */
  get hasEnded(): boolean {
    return this.#firstUnpushed() === ENDED
  }

  /** Whether a block that is OWNED or RETURNING was pushed. Asked of a dead owner: no other peer can push it any more. */
  isPushed(block: number): boolean {
    const position = this.#words[this.#firstCell + block * this.#stride + POSITION_WORD]
    // SYNC message visible to receiver
    const word = Atomics.load(this.#words, this.#firstSlot + (position & this.#indexMask))
    return word === (((position + this.#count) & this.#lapMask) | block)
  }

  /** A position of this lane that no receiver looks for, and no block gets soon: for a block whose position is to mean nothing. */
  get awayPosition(): number {
    return awayFrom(Atomics.load(this.#words, this.#headWord))
  }

  /** Pushes END: P1 to P3, as if it were a block. Returns false if the lane had ended. */
  end(): boolean {
    for (;;) {
      const position = this.#firstUnpushed()
      if (position === ENDED) return false
      const at = this.#pushGuess
      const slot = this.#firstSlot + (at & this.#indexMask)
      const word = Atomics.load(this.#words, slot)
      if ((word & this.#lapMask) !== (at & this.#lapMask)) continue
      // SYNC end visible to senders and receivers
      if (Atomics.compareExchange(this.#words, slot, word, this.#endWordOf(at)) === word) return true
    }
  }

  /** Takes END back. Returns whether the lane had ended. */
  reopen(): boolean {
    let hadEnded = false
    while (this.#firstUnpushed() === ENDED) {
      hadEnded = true
      const position = this.#pushGuess
      const slot = this.#firstSlot + (position & this.#indexMask)
      // SYNC end visible to senders and receivers
      Atomics.compareExchange(this.#words, slot, this.#endWordOf(position), position & this.#lapMask)
    }
    return hadEnded
  }

  /** Where END stands; undefined if the next position that is not taken is another one. */
  get endPosition(): number | undefined {
    return this.look() === ENDED ? this.#takeGuess : undefined
  }

  /** Whether END is the next thing to be taken, as far as this attachment has walked. */
  get isAtEnd(): boolean {
    const position = this.#takeGuess
    // SYNC end visible to senders and receivers
    return Atomics.load(this.#words, this.#firstSlot + (position & this.#indexMask)) === this.#endWordOf(position)
  }

  /** Walks #pushGuess to the first position that is not pushed, or to END; returns ENDED, or 0. */
  #firstUnpushed(): number {
    const words = this.#words
    let position = this.#pushGuess
    for (let passes = 0; ; ) {
      // SYNC end visible to senders and receivers
      const word = Atomics.load(words, this.#firstSlot + (position & this.#indexMask))
      const ahead = ((word & this.#lapMask) - (position & this.#lapMask)) | 0
      const isPushed = ahead === this.#count
      if (ahead === 0 || (isPushed && (word & this.#indexMask) === this.#indexMask)) {
        this.#pushGuess = position
        return isPushed ? ENDED : 0
      }
      if (isPushed) position = (position + 1) | 0
      else position = this.#passed(position, ahead, this.#tailWord, ++passes)
    }
  }

  #endWordOf(position: number): number {
    return ((position + this.#count) & this.#lapMask) | this.#indexMask
  }

  /**
   * Whether a block has this position in this very lane. The lane is read before the position and after it: its owner may be
   * changing both. Position, then lane: the position may be from before, the lane from after. Lane, then position: the other way
   * round. (Atomics, so that the second read of the lane is one.)
   */
  #isOfThisLane(cellWord: number, position: number): boolean {
    const words = this.#words
    if (laneIn(Atomics.load(words, cellWord + KIND_WORD)) !== this.lane) return false
    if (Atomics.load(words, cellWord + POSITION_WORD) !== position) return false
    return laneIn(Atomics.load(words, cellWord + KIND_WORD)) === this.lane
  }

  /** The slot of `position` names no block of the queue. */
  #endOf(position: number, block: number): number {
    if (block !== this.#indexMask) {
      throw corruptError(this.#subject, `a slot names block ${block}, and there are ${this.#blocks}`)
    }
    this.#takeGuess = position
    if (position !== this.#storedHead) this.#raiseHints(position)
    return ENDED
  }

  /** The slot is neither free for this position nor pushed at it: others have gone on for a lap. Returns where to look next. */
  #passed(position: number, ahead: number, hintWord: number, passes: number): number {
    if (ahead < 0 || passes > PASSES_MAX + this.#count) {
      throw corruptError(this.#subject, `the slot of position ${position} is ${ahead / this.#count} laps ahead of it`)
    }
    const hint = Atomics.load(this.#words, hintWord)
    return ((hint - position) | 0) > 0 ? hint : (position + 1) | 0
  }

  /** Nothing before this position is left: both hints say so, also the tail of a sender that was killed before P4. */
  #raiseHints(position: number): void {
    this.#raise(this.#headWord, position)
    this.#raise(this.#tailWord, position)
    this.#storedHead = position
  }

  #raiseHead(): void {
    this.#raise(this.#headWord, this.#takeGuess)
    this.#storedHead = this.#takeGuess
  }

  #raise(hintWord: number, position: number): void {
    let hint = Atomics.load(this.#words, hintWord)
    while (((position - hint) | 0) > 0) {
      const found = Atomics.compareExchange(this.#words, hintWord, hint, position)
      if (found === hint) return
      hint = found
    }
  }
}
