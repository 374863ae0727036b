import { HeapRegion, type Region } from '@isthmus/sync'
import { planHeader } from '@isthmus/sync/internal'
import { asOfAnotherThread } from '../../../sync/test/support/other-thread.js'
import { type Codec, type Latest, type LatestOptions, latest } from '../../src/index.js'
import {
  CURRENT_OFFSET,
  LENGTH_WORD,
  READERS_OFFSET,
  SLOTS_DEFAULT,
  SLOTS_OFFSET,
  slotOfVersion,
  strideOf,
} from '../../src/latest/layout.js'

/** The words of a latest value, without a handle: to check them, and to play a writer that was killed, or a hostile one. */
export class LatestWords {
  readonly words: Int32Array
  readonly currentIndex: number
  /** The registrations of the readers that sleep. */
  readonly registrationsIndex: number
  readonly #slotsIndex: number
  readonly #slots: number
  readonly #strideWords: number

  constructor({ words }: Region, start: number, { byteLength, slots = SLOTS_DEFAULT }: LatestOptions<never>) {
    this.words = words
    this.currentIndex = (start + CURRENT_OFFSET) / 4
    this.registrationsIndex = (start + READERS_OFFSET) / 4 + 9
    this.#slotsIndex = (start + SLOTS_OFFSET) / 4
    this.#slots = slots
    this.#strideWords = strideOf(byteLength) / 4
  }

  get current(): number {
    return this.words[this.currentIndex] >>> 0
  }

  set current(version: number) {
    this.words[this.currentIndex] = version
  }

  /** Where the stamp of a version stands. */
  stampIndex(version: number): number {
    return this.#slotsIndex + slotOfVersion(version, this.#slots) * this.#strideWords
  }

  setStamp(version: number, stamp: number): void {
    this.words[this.stampIndex(version)] = stamp
  }

  setLength(version: number, byteLength: number): void {
    this.words[this.stampIndex(version) + LENGTH_WORD] = byteLength
  }

  /** As if so many values had been written; the last one is empty. */
  startAt(version: number): void {
    this.setStamp(version, version)
    this.setLength(version, 0)
    this.current = version
  }
}

export interface LatestSetup<T = Uint8Array> {
  readonly region: HeapRegion<Latest<T>>
  readonly cell: Latest<T>
  readonly memory: LatestWords
  /** One more attachment, as another thread would have it. */
  attach(): HeapRegion<Latest<T>>
}

type CodedOptions<T> = LatestOptions<T> & { readonly codec: Codec<T> }

export function createLatest(options: LatestOptions, startVersion?: number): LatestSetup
export function createLatest<T>(options: CodedOptions<T>, startVersion?: number): LatestSetup<T>
export function createLatest<T>(options: LatestOptions<T>, startVersion = 0): LatestSetup<T> {
  const layout = latest(options as CodedOptions<T>)
  const region = asOfAnotherThread(HeapRegion.create(layout))
  const memory = new LatestWords(region, planHeader(layout).rootByteOffset, options as LatestOptions<never>)
  if (startVersion !== 0) memory.startAt(startVersion)
  const attach = () => asOfAnotherThread(HeapRegion.attach(region.handle, layout))
  return { region, cell: region.root, memory, attach }
}

/** Bytes that all tell the same number. */
export function filled(number: number, byteLength: number): Uint8Array {
  return new Uint8Array(byteLength).fill(number)
}
