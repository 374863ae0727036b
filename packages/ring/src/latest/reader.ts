import { IsthmusError, IsthmusRangeError } from '@isthmus/sync'
import { corruptError } from '../errors.js'
import { orderReads } from '../record/order-reads.js'
import { privateBytes, UNZEROED_BYTES_MIN } from '../record/private-bytes.js'
import { privateCopyOf } from '../record/private-run.js'
import type { LatestMemory } from './latest-memory.js'
import { LENGTH_WORD, SLOT_HEADER_BYTES, slotOfVersion } from './layout.js'

/** A value, and which write it comes from. */
export interface LatestValue<T> {
  readonly value: T
  /** Counts the writes, from 1 to 2 ** 32 - 1, and then begins again, without 0. Compare versions for equality alone. */
  readonly version: number
}

/** What came of looking at a value in place. */
export interface InPlaceRead<R> extends LatestValue<R> {
  /**
   * Whether the bytes were those of this version, unchanged, until the callback returned. If not, the writer has overtaken the
   * callback: `value` may be made of several versions. Drop it, and read again.
   */
  readonly isWhole: boolean
}

/** Called by readInPlace: `byteLength` bytes from `byteOffset` on in `bytes`. */
export type LatestCallback<R> = (bytes: Uint8Array, byteOffset: number, byteLength: number) => R

/**
 * How many copies a read makes at most, if the writer overtakes each of them: as many as make up 64 MiB, within these bounds. A
 * writer that never rests takes 0.1 µs for a small value. A reader whose code is not compiled yet takes several, and its first
 * calls are overtaken again and again; it needs some thousand loops until it is compiled. With 4 slots and compiled code on both
 * sides, one read in a thousand was overtaken at all.
 */
const COPIED_BYTES_MAX = 2 ** 26
const COPIES_MAX = 100_000
const COPIES_MIN = 100

/**
 * Takes the latest value out of shared memory: the reading half of the steps in layout.ts. It has no state but what it knows of
 * the memory, so any number of calls share it.
 */
export class LatestReader {
  readonly #subject: string
  readonly #bytes: Uint8Array
  readonly #words: Int32Array
  readonly #currentWord: number
  readonly #firstHeaderWord: number
  readonly #strideWords: number
  readonly #slots: number
  readonly #byteLength: number
  readonly #copiesMax: number

  constructor(memory: LatestMemory) {
    const { subject, slots, byteLength, strideBytes } = memory.geometry
    this.#subject = subject
    this.#bytes = memory.bytes
    this.#words = memory.words
    this.#currentWord = memory.currentWord
    this.#firstHeaderWord = memory.headerWordOf(0)
    this.#strideWords = strideBytes / 4
    this.#slots = slots
    this.#byteLength = byteLength
    // Of the layout, and not of what stands in memory.
    this.#copiesMax = Math.max(COPIES_MIN, Math.min(COPIES_MAX, Math.floor(COPIED_BYTES_MAX / byteLength)))
  }

  /** The version of the latest value; 0 if nothing was written. One load. */
  get version(): number {
    // SYNC value visible to reader
    return Atomics.load(this.#words, this.#currentWord) >>> 0
  }

  /**
   * The latest value, copied to the beginning of `into`, or to memory of its own; undefined if nothing was written.
   * @throws IsthmusRangeError `ERR_ISTHMUS_MESSAGE_TOO_LARGE` if it is longer than `into`
   * @throws IsthmusError `ERR_ISTHMUS_CORRUPT`; `ERR_ISTHMUS_BUSY` if the writer has overtaken all copies that it makes
   */
  take(into: Uint8Array | undefined): LatestValue<Uint8Array> | undefined {
    const words = this.#words
    for (let copies = 0; copies < this.#copiesMax; copies++) {
      // SYNC value visible to reader
      const version = Atomics.load(words, this.#currentWord)
      if (version === 0) return undefined
      const header = this.#firstHeaderWord + slotOfVersion(version, this.#slots) * this.#strideWords
      // SYNC stamp tells whether the bytes are those of the version
      if (Atomics.load(words, header) === version) {
        // Read once, then checked, then used.
        const byteLength = words[header + LENGTH_WORD] >>> 0
        const value =
          byteLength > this.#byteLength
            ? undefined
            : into === undefined
              ? this.#copyOf(header * 4 + SLOT_HEADER_BYTES, byteLength)
              : this.#copyInto(into, header * 4 + SLOT_HEADER_BYTES, byteLength)
        orderReads()
        // SYNC stamp tells whether the bytes are those of the version
        if (Atomics.load(words, header) === version) {
          if (value !== undefined) return { value, version: version >>> 0 }
          throw this.#unfit(version, byteLength, into)
        }
      } else {
        this.#assertOvertaken(version)
      }
    }
    throw this.#overtakenError()
  }

  /** Shows the latest value where it lies; undefined if nothing was written. Throws what the callback throws. */
  show<R>(callback: LatestCallback<R>): InPlaceRead<R> | undefined {
    const words = this.#words
    for (let looks = 0; looks < this.#copiesMax; looks++) {
      // SYNC value visible to reader
      const version = Atomics.load(words, this.#currentWord)
      if (version === 0) return undefined
      const header = this.#firstHeaderWord + slotOfVersion(version, this.#slots) * this.#strideWords
      // SYNC stamp tells whether the bytes are those of the version
      if (Atomics.load(words, header) !== version) {
        this.#assertOvertaken(version)
        continue
      }
      // Read once, then checked, then used.
      const byteLength = words[header + LENGTH_WORD] >>> 0
      const isPossible = byteLength <= this.#byteLength
      const value = isPossible ? callback(this.#bytes, header * 4 + SLOT_HEADER_BYTES, byteLength) : undefined
      orderReads()
      // SYNC stamp tells whether the bytes are those of the version
      const isWhole = Atomics.load(words, header) === version
      if (isPossible) return { value: value as R, version: version >>> 0, isWhole }
      if (isWhole) throw this.#unfit(version, byteLength, undefined)
    }
    throw this.#overtakenError()
  }

  #copyOf(start: number, byteLength: number): Uint8Array {
    if (byteLength < UNZEROED_BYTES_MIN) return privateCopyOf(this.#bytes, this.#words, start, byteLength)
    const copy = this.#allocate(byteLength)
    copy.set(this.#bytes.subarray(start, start + byteLength))
    return copy
  }

  #copyInto(into: Uint8Array, start: number, byteLength: number): Uint8Array | undefined {
    if (byteLength > into.byteLength) return undefined
    const copy = byteLength === into.byteLength ? into : into.subarray(0, byteLength)
    copy.set(this.#bytes.subarray(start, start + byteLength))
    return copy
  }

  #allocate(byteLength: number): Uint8Array {
    try {
      return privateBytes(byteLength)
    } catch (cause) {
      throw new IsthmusError(
        'ERR_ISTHMUS_MESSAGE_TOO_LARGE',
        `Reading ${this.#subject}: no memory for a value of ${byteLength} bytes. Read it into an array that you have, or in place.`,
        { cause },
      )
    }
  }

  /** The slot of the current version has another stamp: the writer has gone on meanwhile, or the memory is corrupt. */
  #assertOvertaken(version: number): void {
    if (Atomics.load(this.#words, this.#currentWord) !== version) return
    throw corruptError(this.#subject, `version ${version >>> 0} is the current one, and its slot has another stamp`)
  }

  /** A whole value that could not be copied. */
  #unfit(version: number, byteLength: number, into: Uint8Array | undefined): Error {
    if (byteLength > this.#byteLength) {
      return corruptError(this.#subject, `version ${version >>> 0} has ${byteLength} bytes, of ${this.#byteLength}`)
    }
    return new IsthmusRangeError(
      'ERR_ISTHMUS_MESSAGE_TOO_LARGE',
      `Reading ${this.#subject}: the value has ${byteLength} bytes, and the array to copy it into has ${into?.byteLength}. Give a longer one.`,
    )
  }

  #overtakenError(): IsthmusError {
    return new IsthmusError(
      'ERR_ISTHMUS_BUSY',
      `Reading ${this.#subject}: the writer has overtaken ${this.#copiesMax} copies, one after the other. Make it with more slots, or write less often.`,
    )
  }
}
