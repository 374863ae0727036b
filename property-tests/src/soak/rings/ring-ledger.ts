import { OWN_WORDS } from '../field.js'

/** So many children may have a role in a round. */
export const INCARNATIONS_MAX = 512

/** A producer notes this before it takes the role, and the next two when it has it. */
export const PRODUCER_COMING = 0
export const PRODUCER_THERE = 1
export const PRODUCER_PID = 2
export const CONSUMER_COMING = 3
export const CONSUMER_THERE = 4
export const CONSUMER_PID = 5
/** The furthest message that any consumer has received, and the furthest that one has acknowledged; see placeWord. */
export const LAST = 6
export const ACKNOWLEDGED = 7
/** How many large messages have been reported as begun by an earlier consumer since LAST. */
export const JOINED_MIDWAY = 8
/** Whether a consumer has begun with a message too short to say which one it is. */
export const BEGAN_SHORT = 9
/** The producer whose death a consumer was told of, and the same once that one has received again. */
export const TOLD = 10
export const TOLD_FOR_GOOD = 11
/** The consumer whose death a producer was told of. */
export const CONSUMER_TOLD = 12
export const RECEIVED = 13
/** How often a consumer was told of a producer's death, and a producer of a consumer's. */
export const PRODUCER_DEATHS = 14
export const CONSUMER_DEATHS = 15
/** Of each producer: how many messages it has begun to send, and how many calls have come back. */
const BEGUN = 16
const COMPLETED = BEGUN + INCARNATIONS_MAX
const RING_WORDS = COMPLETED + INCARNATIONS_MAX

export function ledgerWordsFor(rings: number): number {
  return OWN_WORDS + rings * RING_WORDS
}

/** Where the words of a ring begin. */
export function ringBase(ring: number): number {
  return OWN_WORDS + ring * RING_WORDS
}

/** Which message: of which producer, and the how manieth. */
export interface Place {
  readonly incarnation: number
  readonly number: number
}

const NUMBER_BITS = 20
export const NUMBERS_MAX = 2 ** NUMBER_BITS - 2

/** As one word, so that nobody dies between two of them; 0 for none. They compare as the messages follow each other. */
export function placeWord({ incarnation, number }: Place): number {
  return (incarnation << NUMBER_BITS) | (number + 1)
}

export function placeOf(word: number): Place {
  return { incarnation: word >>> NUMBER_BITS, number: (word & (2 ** NUMBER_BITS - 1)) - 1 }
}

/** The words of one ring. */
export class RingLedger {
  readonly #words: Int32Array
  readonly #base: number

  constructor(words: Int32Array, ring: number) {
    this.#words = words
    this.#base = ringBase(ring)
  }

  get(index: number): number {
    return Atomics.load(this.#words, this.#base + index)
  }

  set(index: number, value: number): void {
    Atomics.store(this.#words, this.#base + index, value)
  }

  add(index: number, amount: number): void {
    Atomics.add(this.#words, this.#base + index, amount)
  }

  begun(incarnation: number): number {
    return this.get(BEGUN + incarnation)
  }

  completed(incarnation: number): number {
    return this.get(COMPLETED + incarnation)
  }

  noteBegun(incarnation: number, count: number): void {
    this.set(BEGUN + incarnation, count)
  }

  noteCompleted(incarnation: number, count: number): void {
    this.set(COMPLETED + incarnation, count)
  }
}
