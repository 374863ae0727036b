import { corruptError } from '../errors.js'

/** An era is a quarter of what the low word counts. */
export const ERA_BYTES = 2 ** 30
const ERA_SHIFT = 30
const IN_ERA_MASK = ERA_BYTES - 1

/** A cursor whose low word is this one is being replaced: positions are multiples of 8. */
const REPLACING = 1

/** So often an era may change during one read: it does so once in a GiB. */
const TRIES_MAX = 1000

/**
 * A position of 62 bits in shared memory. 32 bits are not enough: a subscriber that is stopped while 4 GiB go by would not
 * know that anything has happened.
 *
 * ```
 * byte  0           4            8        low: the low 32 bits of the position
 *       +-----------+------------+        era: position / 2 ** 30, 32 bits; its two lowest bits repeat
 *       | low       | era        |             the two highest bits of low
 *       +-----------+------------+
 * ```
 *
 * One agent at a time writes it, and moves it by at most 2 ** 30 bytes: the era grows by 1 at most.
 *
 * | step | write                              | killed right after, or the reader looks right after                        |
 * |------|------------------------------------|---------------------------------------------------------------------------|
 * | E1   | store era, if it changes           | low is of the era before: d = 1. The successor stores that era (`restore`) |
 * | E2   | store low                          | the new position                                                          |
 *
 * | step | read                                                                                                           |
 * |------|----------------------------------------------------------------------------------------------------------------|
 * | L1   | load low                                                                                                       |
 * | L2   | load era. Not the one that this reader knew before L1: remember it, and go on with L1                          |
 * | L3   | d = (era - the two highest bits of low) & 3. 0: low is of this era. 1: of the one before. Otherwise: garbled    |
 *
 * The era was the same before L1 and after it, so low belongs to it however long the reader was stopped in between. The
 * position that is read is exactly the one that stood there at L1.
 *
 * A cursor changes its owner, and may then move by more than 2 ** 30 (`replace`): low is first a value that no position has.
 */
export class SharedPosition {
  /** What was read, or written, last. */
  low = 0
  era = 0
  readonly #words: Int32Array
  readonly #word: number
  readonly #subject: string
  readonly #name: string
  /** The era as this reader has last seen it. */
  #knownEra = 0

  /**
   * @param byteOffset where it lies in the region of these words
   * @param subject what error messages call the ring
   * @param name what they call the position
   */
  constructor(words: Int32Array, byteOffset: number, subject: string, name: string) {
    this.#words = words
    this.#word = byteOffset >>> 2
    this.#subject = subject
    this.#name = name
  }

  /**
   * Reads the position into `low` and `era`.
   * @throws IsthmusError `ERR_ISTHMUS_CORRUPT`
   */
  read(): void {
    if (!this.tryRead()) throw this.#garbled()
  }

  /** The same; returns false for words that are no position, and for a cursor that is being replaced. */
  tryRead(): boolean {
    const words = this.#words
    const word = this.#word
    // SYNC position visible to its reader: everything that its writer did before it stored it
    let low = Atomics.load(words, word)
    let era = Atomics.load(words, word + 1)
    for (let tries = 0; era !== this.#knownEra; tries++) {
      if (tries === TRIES_MAX) return false
      this.#knownEra = era
      // SYNC position visible to its reader: everything that its writer did before it stored it
      low = Atomics.load(words, word)
      era = Atomics.load(words, word + 1)
    }
    const behind = (era - (low >>> ERA_SHIFT)) & 3
    if (behind > 1 || (low & 7) !== 0) return false
    this.low = low
    this.era = (era - behind) | 0
    return true
  }

  /** For its writer: keeps the plain stores that come after it behind the store of this position, on every processor. */
  fence(): void {
    Atomics.load(this.#words, this.#word)
  }

  /**
   * Whether it is this position now: for a condition, which must not throw. Both words count: the low one alone is the same again
   * after 4 GiB. Words that are no position are another one.
   */
  isAt(low: number, era: number): boolean {
    return this.tryRead() && this.low === low && this.era === era
  }

  /** For its writer, which has read or written it before: moves it to the position whose low word this is, within 2 ** 30 bytes. */
  moveTo(low: number): void {
    const words = this.#words
    const word = this.#word
    const era = eraAt(low, this.era)
    if (era !== this.era) Atomics.store(words, word + 1, era)
    // SYNC position visible to its reader: everything that its writer did before it stored it
    Atomics.store(words, word, low)
    this.low = low
    this.era = era
  }

  /** For a new writer: reads it, and stores its era, which a predecessor that was killed may have left ahead of it. */
  restore(): void {
    this.read()
    if (Atomics.load(this.#words, this.#word + 1) !== this.era) Atomics.store(this.#words, this.#word + 1, this.era)
  }

  /** For the new owner of a cursor, wherever the last one left it, while nobody relies on it. */
  replace(low: number, era: number): void {
    const words = this.#words
    const word = this.#word
    Atomics.store(words, word, REPLACING)
    Atomics.store(words, word + 1, era)
    // SYNC position visible to its reader: everything that its writer did before it stored it
    Atomics.store(words, word, low)
    this.low = low
    this.era = era
  }

  #garbled(): Error {
    const low = Atomics.load(this.#words, this.#word)
    const era = Atomics.load(this.#words, this.#word + 1)
    return corruptError(this.#subject, `its ${this.#name} is ${low} in the era ${era}`)
  }
}

/** The era of the position with this low word, which lies at most 2 ** 30 bytes before or after a position of `era`. */
export function eraAt(low: number, era: number): number {
  const ahead = ((low >>> ERA_SHIFT) - era) & 3
  return (ahead === 3 ? era - 1 : era + ahead) | 0
}

/** The era of the position with this low word, which lies from 0 to 2 ** 30 bytes before a position of `era`. */
export function eraBefore(low: number, era: number): number {
  return (era - ((era - (low >>> ERA_SHIFT)) & 3)) | 0
}

/** How many bytes the first position lies ahead of the second; negative if behind. Exact up to 2 ** 53. */
export function distanceOf(low: number, era: number, fromLow: number, fromEra: number): number {
  return ((era - fromEra) | 0) * ERA_BYTES + ((low & IN_ERA_MASK) - (fromLow & IN_ERA_MASK))
}
