import { Segment } from '@isthmus/shm-posix'
import type { Layout } from '@isthmus/sync'
import { type Crowd, type Role, sidesOf } from './assignment.js'
import type { Build } from './build.js'
import type { Place } from './place.js'

/** Two cache lines, since the hardware fetches them in pairs. */
const LINE_WORDS = 32
const EXPECTED_WORD = 0
const IS_OVER_WORD = 1
/** In the line of a side. */
const COUNT = 0
const PID = 1
const IS_PAUSE_ASKED = 2
const IS_PAUSED = 3

/** While it is not known how many messages there will be. No count is as high. */
export const NO_END = -1

/**
 * What the sides of a crowd tell each other while they work. Each side writes only to a line of its own, in which its count
 * stands: of messages that it has sent or received since it was opened, modulo 2^32.
 */
export class Board {
  readonly #segment: ReturnType<typeof openSegment>
  readonly #words: Int32Array
  readonly #crowd: Crowd

  static create(place: Place, crowd: Crowd, { shmPosix }: Build): void {
    shmPosix.Segment.create(nameIn(place), layoutFor(crowd)).close()
  }

  constructor(place: Place, crowd: Crowd) {
    this.#segment = openSegment(place, crowd)
    this.#words = this.#segment.root
    this.#crowd = crowd
  }

  /** How many messages all receivers together are to receive. */
  get expected(): number {
    return Atomics.load(this.#words, EXPECTED_WORD)
  }

  set expected(count: number) {
    Atomics.store(this.#words, EXPECTED_WORD, count | 0)
  }

  get isOver(): boolean {
    return Atomics.load(this.#words, IS_OVER_WORD) === 1
  }

  end(): void {
    Atomics.store(this.#words, IS_OVER_WORD, 1)
  }

  setCount(role: Role, index: number, count: number): void {
    Atomics.store(this.#words, this.#lineOf(role, index) + COUNT, count)
  }

  /** Of the first sides of this role, or of all of them. */
  countOf(role: Role, sides = this.#crowd[role]): number {
    let sum = 0
    for (let index = 0; index < sides; index++) {
      sum = (sum + Atomics.load(this.#words, this.#lineOf(role, index) + COUNT)) | 0
    }
    return sum
  }

  /** Tells the other sides which process this one is. */
  announcePid(role: Role, index: number): void {
    Atomics.store(this.#words, this.#lineOf(role, index) + PID, process.pid)
  }

  pidOf(role: Role, index: number): number {
    return Atomics.load(this.#words, this.#lineOf(role, index) + PID)
  }

  askForPause(role: Role, index: number, isAsked: boolean): void {
    Atomics.store(this.#words, this.#lineOf(role, index) + IS_PAUSE_ASKED, Number(isAsked))
  }

  isPauseAsked(role: Role, index: number): boolean {
    return Atomics.load(this.#words, this.#lineOf(role, index) + IS_PAUSE_ASKED) === 1
  }

  setPaused(role: Role, index: number, isPaused: boolean): void {
    Atomics.store(this.#words, this.#lineOf(role, index) + IS_PAUSED, Number(isPaused))
  }

  isPaused(role: Role, index: number): boolean {
    return Atomics.load(this.#words, this.#lineOf(role, index) + IS_PAUSED) === 1
  }

  close(): void {
    this.#segment.close()
  }

  /** Behind the line that belongs to all. */
  #lineOf(role: Role, index: number): number {
    return (1 + (role === 'first' ? 0 : this.#crowd.first) + index) * LINE_WORDS
  }
}

function layoutFor(crowd: Crowd): Layout<Int32Array> {
  const words = (1 + sidesOf(crowd)) * LINE_WORDS
  return {
    byteLength: words * 4,
    byteAlignment: LINE_WORDS * 4,
    signature: `bench-board@1(words=${words})`,
    initialize() {},
    attach: (region, byteOffset) => region.words.subarray(byteOffset >>> 2, (byteOffset >>> 2) + words),
    sweep() {},
  }
}

function openSegment(place: Place, crowd: Crowd) {
  return Segment.open(nameIn(place), layoutFor(crowd))
}

function nameIn({ segmentPrefix }: Place): string {
  return `${segmentPrefix}board`
}
