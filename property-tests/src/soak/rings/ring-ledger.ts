import { OWN_WORDS } from '../field.js'

/** How many children may have one role in a round. */
export const INCARNATIONS_MAX = 512

/** A producer writes its incarnation here before it takes the role, and the next two words once it has it. */
export const PRODUCER_COMING = 0
export const PRODUCER_THERE = 1
export const PRODUCER_PID = 2
export const CONSUMER_COMING = 3
export const CONSUMER_THERE = 4
export const CONSUMER_PID = 5
/** The last message that any consumer has received, and the last that any has acknowledged; see placeWord. */
export const LAST = 6
export const ACKNOWLEDGED = 7
/** How many large messages have been reported as begun by an earlier consumer since LAST. */
export const JOINED_MIDWAY = 8
/** Whether a consumer's first message was too short to contain its number. */
export const BEGAN_SHORT = 9
/** The producer whose death was reported to a consumer; and the same after that consumer's next call has returned. */
export const TOLD = 10
export const TOLD_FOR_GOOD = 11
/** The consumer whose death was reported to a producer. */
export const CONSUMER_TOLD = 12
export const RECEIVED = 13
/** How often a producer's death was reported to a consumer, and a consumer's to a producer. */
export const PRODUCER_DEATHS = 14
export const CONSUMER_DEATHS = 15
/** For each producer: how many messages it has begun to send, and how many of these sends have completed. */
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

/** Identifies a message: its producer, and its number among that producer's messages. */
export interface Place {
  readonly incarnation: number
  readonly number: number
}

const NUMBER_BITS = 20
export const NUMBERS_MAX = 2 ** NUMBER_BITS - 2

/** A place in one word, so that no kill can fall between two writes; 0 for none. Later messages have larger words. */
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
