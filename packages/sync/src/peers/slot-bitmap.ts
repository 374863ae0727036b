import { MAX_PEERS, type PeerId, slotOf } from './peer-id.js'

const WORDS = MAX_PEERS / 32

/** A bit for each peer slot, in four words. */
export const SLOT_BITMAP_BYTES = 4 * WORDS

/** As an attachment sees such a bitmap. Bits are set and cleared by one atomic operation each. */
export class SlotBitmap {
  /** How many words it has, for `bitsOf`. */
  static readonly wordCount = WORDS
  readonly #words: Int32Array
  readonly #firstWord: number

  constructor(words: Int32Array, byteOffset: number) {
    this.#words = words
    this.#firstWord = byteOffset >>> 2
  }

  set(peer: PeerId): void {
    const slot = slotOf(peer)
    Atomics.or(this.#words, this.#firstWord + (slot >> 5), 1 << (slot & 31))
  }

  clear(peer: PeerId): void {
    const slot = slotOf(peer)
    Atomics.and(this.#words, this.#firstWord + (slot >> 5), ~(1 << (slot & 31)))
  }

  get isEmpty(): boolean {
    for (let word = 0; word < WORDS; word++) {
      if (Atomics.load(this.#words, this.#firstWord + word) !== 0) return false
    }
    return true
  }

  /** The bits of the slots from `word * 32` on, the lowest first: for loops that must not allocate. See `lowestSlotOf`. */
  bitsOf(word: number): number {
    return Atomics.load(this.#words, this.#firstWord + word)
  }

  /** The slots whose bit is set, in order, from `first` on and around. */
  *slots(first = 0): Generator<number> {
    for (let step = 0; step <= WORDS; step++) {
      const word = ((first >> 5) + step) % WORDS
      let bits = this.bitsOf(word)
      // The first word is visited twice: for its slots from `first` on, and at the end for those before.
      if (step === 0) bits &= -1 << (first & 31)
      if (step === WORDS) bits &= ~(-1 << (first & 31))
      for (; bits !== 0; bits &= bits - 1) yield lowestSlotOf(word, bits)
    }
  }

  copyTo(target: Int32Array): void {
    for (let word = 0; word < WORDS; word++) target[word] = this.bitsOf(word)
  }

  /** Whether every bit that was set when the copy was made is set still. */
  includes(copy: Int32Array): boolean {
    for (let word = 0; word < WORDS; word++) {
      if ((copy[word] & ~this.bitsOf(word)) !== 0) return false
    }
    return true
  }
}

/** The first slot in bits that are not 0; `bits & (bits - 1)` are those without it. */
export function lowestSlotOf(word: number, bits: number): number {
  return word * 32 + 31 - Math.clz32(bits & -bits)
}
