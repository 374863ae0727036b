import { HeapRegion, type Region } from '@isthmus/sync'
import { planHeader } from '@isthmus/sync/internal'
import { asOfAnotherThread } from '../../../sync/test/support/other-thread.js'
import {
  CHECKPOINTS,
  CHECKPOINTS_OFFSET,
  GATE_BYTES,
  GATE_CURSOR_OFFSET,
  GATE_OWNER_OFFSET,
  GATES_OFFSET,
  INTENT_OFFSET,
  NUMBERS_OFFSET,
  recordsOffsetOf,
  WRITE_POSITION_OFFSET,
} from '../../src/broadcast/layout.js'
import { type BroadcastRing, type BroadcastRingOptions, broadcastRing, type Codec } from '../../src/index.js'
import { ABORT, DATA, FIRST, kindOf, LAST, PADDING, recordBytesOf } from '../../src/record/layout.js'

/** What a reader finds: a whole message with its number, or what became of one. */
export type Found =
  | { readonly number: bigint; readonly bytes: Uint8Array }
  | { readonly aborted: bigint | undefined }
  | 'overrun'

/** The words of a broadcast ring, without a handle: to check them, and to play a peer that died, or a hostile one. */
export class BroadcastMemory {
  readonly words: Int32Array
  readonly #byteOffset: number
  readonly #recordsByteOffset: number
  readonly #bytes: Uint8Array
  readonly capacityBytes: number

  constructor(region: Region, byteOffset: number, capacityBytes: number, gates: number) {
    this.words = region.words
    this.#bytes = region.bytes
    this.#byteOffset = byteOffset
    this.#recordsByteOffset = byteOffset + recordsOffsetOf(gates)
    this.capacityBytes = capacityBytes
  }

  /** As layout.ts says, read at rest. */
  get writePosition(): bigint {
    return this.positionAt(WRITE_POSITION_OFFSET)
  }

  get intent(): bigint {
    return this.positionAt(INTENT_OFFSET)
  }

  get checkpoints(): number[] {
    const word = this.wordOf(CHECKPOINTS_OFFSET)
    return Array.from(this.words.slice(word, word + CHECKPOINTS))
  }

  /** The number beside the write position, and whether a message is under way. */
  get next(): { number: bigint; isInside: boolean } | undefined {
    for (const place of [0, 1]) {
      const [low, numberLow, numberHigh, inside] = this.placeOf(place)
      if (low !== this.words[this.wordOf(WRITE_POSITION_OFFSET)]) continue
      return { number: joined(numberLow, numberHigh), isInside: inside === 1 }
    }
    return undefined
  }

  placeOf(place: number): Int32Array {
    const word = this.wordOf(NUMBERS_OFFSET) + place * 4
    return this.words.subarray(word, word + 4)
  }

  wordOf(offset: number): number {
    return (this.#byteOffset + offset) >>> 2
  }

  gateWordOf(gate: number): number {
    return this.wordOf(GATES_OFFSET + gate * GATE_BYTES + GATE_OWNER_OFFSET)
  }

  cursorOffsetOf(gate: number): number {
    return GATES_OFFSET + gate * GATE_BYTES + GATE_CURSOR_OFFSET
  }

  positionAt(offset: number): bigint {
    const low = BigInt(this.words[this.wordOf(offset)] >>> 0)
    const era = BigInt(this.words[this.wordOf(offset) + 1] >>> 0)
    const behind = (era - (low >> 30n)) & 3n
    if (behind > 1n) throw new Error(`no position: ${low} in the era ${era}`)
    return BigInt.asUintN(62, ((era - behind) << 30n) + (low & (2n ** 30n - 1n)))
  }

  setPositionAt(offset: number, position: bigint): void {
    this.words[this.wordOf(offset)] = Number(position & 0xffffffffn) | 0
    this.words[this.wordOf(offset) + 1] = Number((position >> 30n) & 0xffffffffn) | 0
  }

  /** Everything begins here, as if so much had gone by. */
  startAt(position: bigint, number = 0n): void {
    this.setPositionAt(WRITE_POSITION_OFFSET, position)
    this.setPositionAt(INTENT_OFFSET, position)
    const low = Number(position & 0xffffffffn) | 0
    for (const place of [0, 1]) {
      this.placeOf(place).set([low, Number(number & 0xffffffffn) | 0, Number(number >> 32n) | 0, 0])
    }
    this.words.fill(low, this.wordOf(CHECKPOINTS_OFFSET), this.wordOf(CHECKPOINTS_OFFSET) + CHECKPOINTS)
  }

  recordAt(position: bigint): {
    kind: number
    byteLength: number
    bytes: Uint8Array
    word: number
    recordBytes: bigint
  } {
    const index = Number(position & BigInt(this.capacityBytes - 1))
    const word = (this.#recordsByteOffset + index) >>> 2
    const byteLength = this.words[word]
    const start = this.#recordsByteOffset + index + 8
    return {
      kind: kindOf(this.words[word + 1]),
      byteLength,
      bytes: this.#bytes.slice(start, start + byteLength),
      word,
      recordBytes: BigInt(recordBytesOf(byteLength)),
    }
  }
}

/** A lossy reader that knows the memory and no handle: it follows layout.ts, step by step, with BigInts. */
export class PlainReader {
  readonly #memory: BroadcastMemory
  cursor: bigint
  #message: { number: bigint; total: number; bytes: number[] } | undefined

  constructor(memory: BroadcastMemory, cursor = memory.writePosition) {
    this.#memory = memory
    this.cursor = cursor
  }

  /** What was published since the last call. */
  readAll(): Found[] {
    const memory = this.#memory
    const found: Found[] = []
    while (this.cursor !== memory.writePosition) {
      if (BigInt.asUintN(62, memory.intent - this.cursor) > BigInt(memory.capacityBytes)) {
        this.cursor = memory.writePosition
        this.#message = undefined
        found.push('overrun')
        continue
      }
      const { kind, bytes, recordBytes } = memory.recordAt(this.cursor)
      this.cursor = BigInt.asUintN(62, this.cursor + recordBytes)
      if (kind === PADDING) continue
      if (kind === ABORT) {
        found.push({ aborted: this.#message?.number })
        this.#message = undefined
        continue
      }
      const view = new DataView(bytes.buffer, bytes.byteOffset)
      const number = view.getBigUint64(0, true)
      const rest = bytes.subarray(8)
      if (kind === DATA) {
        if (this.#message !== undefined) throw new Error('DATA inside a message')
        found.push({ number, bytes: rest })
      } else if (kind === FIRST) {
        this.#message = { number, total: Number(view.getBigUint64(8, true)), bytes: [...rest.subarray(8)] }
      } else {
        if (this.#message?.number !== number) throw new Error('a fragment of another message')
        this.#message.bytes.push(...rest)
        if (kind !== LAST) continue
        if (this.#message.bytes.length !== this.#message.total) throw new Error('not the length that FIRST has said')
        found.push({ number, bytes: Uint8Array.from(this.#message.bytes) })
        this.#message = undefined
      }
    }
    return found
  }

  /** Whole messages alone: anything else is an error. */
  messages(): { number: bigint; bytes: Uint8Array }[] {
    return this.readAll().map((found) => {
      if (found === 'overrun' || 'aborted' in found) throw new Error(`found ${JSON.stringify(found)}`)
      return found
    })
  }
}

export interface BroadcastSetup<T = Uint8Array> {
  readonly region: HeapRegion<BroadcastRing<T>>
  readonly ring: BroadcastRing<T>
  readonly memory: BroadcastMemory
  /** One more attachment, as another thread would have it. */
  attach(): HeapRegion<BroadcastRing<T>>
}

type CodedOptions<T> = BroadcastRingOptions<T> & { readonly codec: Codec<T> }

export function createBroadcast(options: BroadcastRingOptions, start?: bigint, number?: bigint): BroadcastSetup
export function createBroadcast<T>(options: CodedOptions<T>, start?: bigint, number?: bigint): BroadcastSetup<T>
export function createBroadcast<T>(options: BroadcastRingOptions<T>, start = 0n, number = 0n): BroadcastSetup<T> {
  const layout = broadcastRing(options as CodedOptions<T>)
  const region = asOfAnotherThread(HeapRegion.create(layout))
  const { rootByteOffset } = planHeader(layout)
  const memory = new BroadcastMemory(region, rootByteOffset, options.capacityBytes, options.gates ?? 0)
  memory.startAt(start, number)
  return {
    region,
    ring: region.root,
    memory,
    attach: () => asOfAnotherThread(HeapRegion.attach(region.handle, layout)),
  }
}

function joined(low: number, high: number): bigint {
  return (BigInt(high >>> 0) << 32n) + BigInt(low >>> 0)
}
