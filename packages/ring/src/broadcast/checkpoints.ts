import { CHECKPOINTS, NO_CHECKPOINT } from './layout.js'

/** Positions at which whole messages begin: one for each sixteenth of the ring, the low words alone. See layout.ts. */
export class Checkpoints {
  readonly #words: Int32Array
  readonly #word: number
  readonly #capacityBytes: number
  readonly #shift: number
  /** For the publisher: the sixteenths up to the one of this position have their checkpoints. */
  #done = 0

  /** @param byteOffset where they lie in the region of these words */
  constructor(words: Int32Array, byteOffset: number, capacityBytes: number) {
    this.#words = words
    this.#word = byteOffset >>> 2
    this.#capacityBytes = capacityBytes
    this.#shift = Math.log2(capacityBytes / CHECKPOINTS)
  }

  /** For a new publisher, at this write position: replaces those that its predecessor has passed and not replaced. */
  restore(position: number, isInside: boolean): void {
    for (let index = 0; index < CHECKPOINTS; index++) {
      if (this.#behind(index, position, this.#capacityBytes) < 0)
        this.#store(index, isInside ? NO_CHECKPOINT : position)
    }
    this.#done = position
  }

  /** Whether this position lies in another sixteenth than the last one that `pass` was told. */
  isDueAt(position: number): boolean {
    return position >>> this.#shift !== this.#done >>> this.#shift
  }

  /** For the publisher, after it has published up to this position. */
  pass(position: number, isInside: boolean): void {
    const sixteenth = position >>> this.#shift
    const passed = (sixteenth - (this.#done >>> this.#shift)) & (0xffffffff >>> this.#shift)
    // In a small ring, several sixteenths may lie between two positions.
    const count = Math.min(passed >>> 0, CHECKPOINTS)
    for (let back = 0; back < count; back++) {
      this.#store((sixteenth - back) & (CHECKPOINTS - 1), isInside ? NO_CHECKPOINT : position)
    }
    // Those inside a message are replaced when it ends.
    if (!isInside) this.#done = position
  }

  /**
   * How many bytes before this write position the oldest checkpoint lies, of those that lie at most `bytesMax` before it; -1 if
   * there is none.
   */
  furthestBehind(position: number, bytesMax: number): number {
    let furthest = -1
    for (let index = 0; index < CHECKPOINTS; index++) {
      furthest = Math.max(furthest, this.#behind(index, position, bytesMax))
    }
    return furthest
  }

  #behind(index: number, position: number, bytesMax: number): number {
    const checkpoint = Atomics.load(this.#words, this.#word + index)
    const behind = (position - checkpoint) | 0
    return (checkpoint & 7) === 0 && behind >= 0 && behind <= bytesMax ? behind : -1
  }

  #store(index: number, position: number): void {
    Atomics.store(this.#words, this.#word + index, position)
  }
}
