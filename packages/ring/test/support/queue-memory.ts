import { HeapRegion, type Region } from '@isthmus/sync'
import { planHeader, slotOf } from '@isthmus/sync/internal'
import { asOfAnotherThread } from '../../../sync/test/support/other-thread.js'
import { type Codec, type MpmcQueue, type MpmcQueueOptions, mpmcQueue } from '../../src/index.js'
import {
  HOLD_MASK,
  headOffsetOf,
  KIND_WORD,
  laneIn,
  POSITION_WORD,
  PUSHABLE,
  placesOf,
  slotCountOf,
  tailOffsetOf,
} from '../../src/mpmc/layout.js'

/** The words of a queue, without a handle: to check them, and to play a peer that died, or a hostile one. */
export class QueueMemory {
  readonly words: Int32Array
  readonly #start: number
  readonly #slotCount: number
  readonly #lanes: number
  readonly #places: ReturnType<typeof placesOf>
  readonly blocks: number

  constructor(region: Region, start: number, options: MpmcQueueOptions) {
    this.words = region.words
    this.#start = start
    this.blocks = options.blocks
    this.#slotCount = options.slots ?? slotCountOf(options.blocks)
    this.#lanes = (options.lanes ?? 1) + (options.deadLetters === true ? 1 : 0)
    this.#places = placesOf(options.blocks, options.blockBytes, this.#lanes, this.#slotCount)
  }

  /** A word at an offset from the beginning of the queue. */
  at(offset: number): number {
    return this.words[(this.#start + offset) >>> 2]
  }

  cellIndex(block: number): number {
    return (this.#start + this.#places.blocksOffset + block * this.#places.strideBytes) >>> 2
  }

  slotIndex(position: number, lane = 0): number {
    const slot = lane * this.#slotCount + (position & (this.#slotCount - 1))
    return (this.#start + this.#places.slotsOffset) / 4 + slot
  }

  tail(lane = 0): number {
    return this.at(tailOffsetOf(lane))
  }

  head(lane = 0): number {
    return this.at(headOffsetOf(lane))
  }

  /** State and slot of each block's cell. */
  holds(): number[] {
    return Array.from({ length: this.blocks }, (_, block) => this.words[this.cellIndex(block)] & HOLD_MASK)
  }

  get allFree(): boolean {
    return this.holds().every((hold) => hold === 0)
  }

  /** As if so many messages had gone through each lane, and through each block. */
  startAt(position: number, seq = 0): void {
    for (let lane = 0; lane < this.#lanes; lane++) {
      for (let step = 0, free = position; step < this.#slotCount; step++, free = (free + 1) | 0) {
        this.words[this.slotIndex(free, lane)] = free & -this.#slotCount
      }
      this.words[(this.#start + tailOffsetOf(lane)) >>> 2] = position
      this.words[(this.#start + headOffsetOf(lane)) >>> 2] = position
    }
    for (let block = 0; block < this.blocks; block++) this.words[this.cellIndex(block)] = seq << 9
  }

  /** As if those that raised the hints had been killed before. */
  startHintsAt(position: number): void {
    this.words[(this.#start + tailOffsetOf(0)) >>> 2] = position
    this.words[(this.#start + headOffsetOf(0)) >>> 2] = position
  }

  /** Checks invariants 1, 2, 3 and 5 of layout.ts. Returns how many positions are pushed and not taken. */
  check(): number {
    let queued = 0
    const seen = new Set<number>()
    for (let lane = 0; lane < this.#lanes; lane++) {
      let position = this.head(lane)
      let hasUntaken = false
      // The hint may lag by more than a lap.
      while (this.#aheadOf(position, lane) > this.#slotCount) position = (position + 1) | 0
      for (let step = 0; step <= this.#slotCount; step++, position = (position + 1) | 0) {
        const word = this.words[this.slotIndex(position, lane)]
        const ahead = this.#aheadOf(position, lane)
        if (ahead === 0) break
        if (ahead !== this.#slotCount) throw new Error(`the slot of ${position} is of another lap`)
        const block = word & (this.#slotCount - 1)
        if (block === this.#slotCount - 1) break
        const cell = this.cellIndex(block)
        const isThere =
          (this.words[cell] & PUSHABLE) !== 0 &&
          this.words[cell + POSITION_WORD] === position &&
          laneIn(this.words[cell + KIND_WORD]) === lane
        if (!isThere) {
          if (hasUntaken) throw new Error(`position ${position} was taken before an earlier one`)
          continue
        }
        if (seen.has(block)) throw new Error(`block ${block} stands in the queue twice`)
        seen.add(block)
        hasUntaken = true
        queued++
      }
      if (((position - this.tail(lane)) | 0) < 0) throw new Error('the tail hint is beyond what was pushed')
    }
    return queued
  }

  #aheadOf(position: number, lane: number): number {
    return ((this.words[this.slotIndex(position, lane)] & -this.#slotCount) - (position & -this.#slotCount)) | 0
  }
}

export interface QueueSetup<T = Uint8Array> {
  readonly region: HeapRegion<MpmcQueue<T>>
  readonly queue: MpmcQueue<T>
  readonly memory: QueueMemory
  /** One more attachment, as another thread would have it. */
  attach(): HeapRegion<MpmcQueue<T>>
}

type CodedOptions<T> = MpmcQueueOptions<T> & { readonly codec: Codec<T> }

export function createQueue(options: MpmcQueueOptions, startPosition?: number, seq?: number): QueueSetup
export function createQueue<T>(options: CodedOptions<T>, startPosition?: number, seq?: number): QueueSetup<T>
export function createQueue<T>(options: MpmcQueueOptions<T>, startPosition = 0, seq = 0): QueueSetup<T> {
  const layout = mpmcQueue(options as CodedOptions<T>)
  const region = asOfAnotherThread(HeapRegion.create(layout))
  const memory = new QueueMemory(region, planHeader(layout).rootByteOffset, options as MpmcQueueOptions)
  if (startPosition !== 0 || seq !== 0) memory.startAt(startPosition, seq)
  return {
    region,
    queue: region.root,
    memory,
    attach: () => asOfAnotherThread(HeapRegion.attach(region.handle, layout)),
  }
}

/** The slot of an attachment, as it stands in cells. */
export function slotNumberOf(region: Region): number {
  return slotOf(region.peers.self)
}
