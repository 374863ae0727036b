import { HeapRegion, type PeerId, type Region } from '@isthmus/sync'
import { PEERS_BYTE_OFFSET, planHeader, slotOf } from '@isthmus/sync/internal'
import { expect } from 'vitest'
import { LEASE_WORD, PEER_SLOT_BYTES } from '../../../sync/src/peers/layout.js'
import { asOfAnotherThread } from '../../../sync/test/support/other-thread.js'
import { type Codec, type SpscRing, type SpscRingOptions, spscRing } from '../../src/index.js'
import { FIRST, kindWord, RECORD_HEADER_BYTES, recordBytesOf } from '../../src/record/layout.js'
import {
  CONSUMER_ROLE_OFFSET,
  PRODUCER_ROLE_OFFSET,
  READ_POSITION_OFFSET,
  RECORDS_OFFSET,
  WRITE_POSITION_OFFSET,
} from '../../src/spsc/layout.js'

/** A record as it stands in memory. */
export interface RawRecord {
  readonly kind: number
  readonly payload?: Uint8Array
  readonly messageId?: number
  /** For a FIRST record: its payload then begins with this. */
  readonly totalByteLength?: number
}

/** The words of a ring, without a handle: to check them, and to play a peer that died, or a hostile one. */
export class RingMemory {
  readonly recordsByteOffset: number
  readonly capacityBytes: number
  readonly #words: Int32Array
  readonly #bytes: Uint8Array
  readonly #ringByteOffset: number

  constructor(region: Region, ringByteOffset: number, capacityBytes: number) {
    this.#words = region.words
    this.#bytes = region.bytes
    this.#ringByteOffset = ringByteOffset
    this.recordsByteOffset = ringByteOffset + RECORDS_OFFSET
    this.capacityBytes = capacityBytes
  }

  get writePosition(): number {
    return this.#words[this.#indexOf(WRITE_POSITION_OFFSET)]
  }

  set writePosition(position: number) {
    this.#words[this.#indexOf(WRITE_POSITION_OFFSET)] = position
  }

  get readPosition(): number {
    return this.#words[this.#indexOf(READ_POSITION_OFFSET)]
  }

  set readPosition(position: number) {
    this.#words[this.#indexOf(READ_POSITION_OFFSET)] = position
  }

  get usedBytes(): number {
    return (this.writePosition - this.readPosition) | 0
  }

  get producerRole(): number {
    return this.#words[this.#indexOf(PRODUCER_ROLE_OFFSET)]
  }

  set producerRole(word: number) {
    this.#words[this.#indexOf(PRODUCER_ROLE_OFFSET)] = word
  }

  get consumerRole(): number {
    return this.#words[this.#indexOf(CONSUMER_ROLE_OFFSET)]
  }

  set consumerRole(word: number) {
    this.#words[this.#indexOf(CONSUMER_ROLE_OFFSET)] = word
  }

  /** One of the 32-bit words from a position on: 0 is the length of the record there, 1 its kind, 2 the payload. */
  wordAt(position: number, word: number): number {
    return this.#words[this.#recordIndex(position) + word]
  }

  setWordAt(position: number, word: number, value: number): void {
    this.#words[this.#recordIndex(position) + word] = value
  }

  /** Writes a record after the last one and publishes it, without any check. */
  append({ kind, payload = new Uint8Array(), messageId = 0, totalByteLength }: RawRecord): void {
    const prefixBytes = totalByteLength === undefined ? 0 : 8
    const byteLength = prefixBytes + payload.byteLength
    const position = this.writePosition
    this.setWordAt(position, 0, byteLength)
    this.setWordAt(position, 1, kindWord(kind, messageId))
    if (totalByteLength !== undefined) {
      this.setWordAt(position, 2, totalByteLength)
      this.setWordAt(position, 3, totalByteLength / 2 ** 32)
    }
    const index = position & (this.capacityBytes - 1)
    this.#bytes.set(payload, this.recordsByteOffset + index + RECORD_HEADER_BYTES + prefixBytes)
    this.writePosition = (position + recordBytesOf(byteLength)) | 0
  }

  /** The beginning of a large message, as a producer leaves it that is killed right after it. */
  appendFirst(payload: Uint8Array, totalByteLength: number, messageId = 1): void {
    this.append({ kind: FIRST, payload, totalByteLength, messageId })
  }

  #indexOf(offset: number): number {
    return (this.#ringByteOffset + offset) >>> 2
  }

  #recordIndex(position: number): number {
    return (this.recordsByteOffset + (position & (this.capacityBytes - 1))) >>> 2
  }
}

export interface RingSetup<T = Uint8Array> {
  readonly region: HeapRegion<SpscRing<T>>
  readonly ring: SpscRing<T>
  readonly memory: RingMemory
  /** One more attachment, as another thread would have it. */
  attach(): HeapRegion<SpscRing<T>>
}

type CodedOptions<T> = SpscRingOptions<T> & { readonly codec: Codec<T> }

/** A ring of which both positions begin at `startPosition`. */
export function createRing(options: SpscRingOptions, startPosition?: number): RingSetup
export function createRing<T>(options: CodedOptions<T>, startPosition?: number): RingSetup<T>
export function createRing<T>(options: SpscRingOptions<T>, startPosition = 0): RingSetup<T> {
  const layout = spscRing(options as CodedOptions<T>)
  const region = asOfAnotherThread(HeapRegion.create(layout))
  const memory = new RingMemory(region, planHeader(layout).rootByteOffset, options.capacityBytes)
  memory.writePosition = startPosition
  memory.readPosition = startPosition
  return {
    region,
    ring: region.root,
    memory,
    attach: () => asOfAnotherThread(HeapRegion.attach(region.handle, layout)),
  }
}

/** What a kill does to an attachment before any peer has noticed it: its lease is gone, and nothing else happens. */
export function endHold(region: Region, peer: PeerId): void {
  region.words[(PEERS_BYTE_OFFSET + slotOf(peer) * PEER_SLOT_BYTES) / 4 + LEASE_WORD] = 0
}

/** Bytes that differ between messages, and between places in a message; all below 128. */
export function payload(byteLength: number, seed = 1): Uint8Array {
  return Uint8Array.from({ length: byteLength }, (_, at) => (seed * 31 + at) & 0x7f)
}

/** This many payloads, which differ: of the seeds `from`, `from + 1` … */
export function numbered(from: number, count: number, byteLength = 4): Uint8Array[] {
  return Array.from({ length: count }, (_, at) => payload(byteLength, from + at))
}

/** Everything that can be received now. */
export function receiveAll<T>(consumer: { tryReceive(): T | undefined | null }): T[] {
  const messages: T[] = []
  for (let message = consumer.tryReceive(); message !== undefined && message !== null; ) {
    messages.push(message)
    message = consumer.tryReceive()
  }
  return messages
}

/** As toEqual, which compares byte by byte and would take most of a property's time. */
export function expectSameMessages(actual: (Uint8Array | null)[], expected: Uint8Array[]): void {
  const isSame = (message: Uint8Array | null, at: number) =>
    message !== null && Buffer.compare(message, expected[at]) === 0
  if (actual.length !== expected.length || !actual.every(isSame)) expect(actual).toEqual(expected)
}
