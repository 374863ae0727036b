import { corruptError } from '../errors.js'
import type { MessageNumber } from '../record/message-number.js'
import { NUMBER_BYTES } from './layout.js'
import type { SharedPosition } from './position.js'

const WORDS = NUMBER_BYTES >>> 2
const POSITION = 0
const LOW = 1
const HIGH = 2
const INSIDE = 3

/** So often the publisher may publish while a newcomer reads the number. */
const TRIES_MAX = 10_000

/**
 * The number of the next message, beside the write position: two places that are written in turn. See layout.ts.
 */
export class NextNumber {
  readonly #words: Int32Array
  readonly #word: number
  readonly #subject: string

  /** @param byteOffset where the two places lie in the region of these words */
  constructor(words: Int32Array, byteOffset: number, subject: string) {
    this.#words = words
    this.#word = byteOffset >>> 2
    this.#subject = subject
  }

  /**
   * Reads the write position, and the number of the message that comes there into `number`. Returns whether the position is inside
   * a message in fragments.
   * @throws IsthmusError `ERR_ISTHMUS_CORRUPT`
   */
  read(writePosition: SharedPosition, number: MessageNumber): boolean {
    const words = this.#words
    for (let tries = 0; tries < TRIES_MAX; tries++) {
      writePosition.read()
      const { low, era } = writePosition
      // The publisher may be writing the other place, and in it any position but this one.
      const isFirst = Atomics.load(words, this.#word + POSITION) === low
      const word = isFirst ? this.#word : this.#word + WORDS
      const isOfPosition = Atomics.load(words, word + POSITION) === low
      number.set(Atomics.load(words, word + LOW), Atomics.load(words, word + HIGH))
      const isInside = Atomics.load(words, word + INSIDE) !== 0
      writePosition.read()
      if (writePosition.low !== low || writePosition.era !== era) continue
      if (isOfPosition) return isInside
      break
    }
    throw corruptError(this.#subject, `it has no message number for its write position, ${writePosition.low}`)
  }

  /**
   * For the publisher: what counts once `position` is the write position. Plain stores, to the place that does not count now, with
   * `published` as the write position.
   */
  write(published: number, position: number, low: number, high: number, isInside: boolean): void {
    const words = this.#words
    const word = words[this.#word + POSITION] === published ? this.#word + WORDS : this.#word
    words[word + POSITION] = position
    words[word + LOW] = low
    words[word + HIGH] = high
    words[word + INSIDE] = isInside ? 1 : 0
  }
}
