import { IsthmusRangeError, type Layout, type Region } from '@isthmus/sync'
import { assertOpen, assertOptions, EventCount, inWords, MAX_ALIGNMENT, subjectOf } from '@isthmus/sync/internal'
import { assertCodec, type Codec } from '../codec.js'
import { Role, type RoleDescription } from '../role/role.js'
import { Consumer } from './consumer.js'
import {
  CAPACITY_BYTES_MAX,
  CAPACITY_BYTES_MIN,
  CONSUMER_EVENTS_OFFSET,
  CONSUMER_ROLE_OFFSET,
  maxRecordBytesOf,
  PRODUCER_EVENTS_OFFSET,
  PRODUCER_ROLE_OFFSET,
  READ_POSITION_OFFSET,
  RECORDS_OFFSET,
  WRITE_POSITION_OFFSET,
} from './layout.js'
import { Producer } from './producer.js'
import { recoverRecords } from './recovery.js'

export interface SpscRingOptions<T = Uint8Array> {
  /** Bytes for records: a power of two from 64 to 2 ** 30. Whole records of up to half of it travel in one piece. */
  readonly capacityBytes: number
  /**
   * The largest message that may be sent, in bytes; 256 MiB if not given. A receiver allocates no more than this, whatever
   * the memory says.
   */
  readonly maxMessageBytes?: number
  /** How messages become bytes, and bytes messages: `utf8`, `json<Order>()`, or your own. Without it, messages are bytes. */
  readonly codec?: Codec<T>
}

/** One side of a ring. */
export interface RingSideDescription extends RoleDescription {
  /** Whether its holder sleeps: the producer for space, the consumer for messages. */
  readonly isWaiting: boolean
}

export interface SpscRingDescription {
  readonly capacityBytes: number
  /** Published, and not returned by the consumer yet. */
  readonly usedBytes: number
  readonly producer: RingSideDescription
  readonly consumer: RingSideDescription
}

/** Where a ring lies, and how large it is. */
export interface RingGeometry {
  readonly region: Region
  readonly byteOffset: number
  /** What messages call it: `the ring "orders" of the segment /shop`. */
  readonly subject: string
  readonly capacityBytes: number
  readonly maxRecordBytes: number
  readonly maxMessageBytes: number
}

const MAX_MESSAGE_BYTES_DEFAULT = 256 * 1024 * 1024

/**
 * A lock-free ring for messages of any size, from one producer to one consumer.
 *
 * @example
 * ```ts
 * const region = HeapRegion.create(spscRing({ capacityBytes: 4096, codec: utf8 }))
 * const producer = region.root.producer()
 * const consumer = region.root.consumer()
 * producer.trySend('hello')
 * consumer.tryReceive() // 'hello'
 * ```
 *
 * @throws IsthmusRangeError `ERR_ISTHMUS_INVALID_ARGUMENT` for a capacity that is not a power of two in its range, or a
 * `maxMessageBytes` that is not a non-negative integer.
 */
export function spscRing<T>(options: SpscRingOptions<T> & { readonly codec: Codec<T> }): Layout<SpscRing<T>>
export function spscRing(options: SpscRingOptions): Layout<SpscRing>
export function spscRing<T>(options: SpscRingOptions<T>): Layout<SpscRing<T>> {
  assertOptions(options, 'Making an SPSC ring')
  const { capacityBytes, maxMessageBytes = MAX_MESSAGE_BYTES_DEFAULT, codec } = options
  const isPowerOfTwo = Number.isInteger(capacityBytes) && Number.isInteger(Math.log2(capacityBytes))
  if (!isPowerOfTwo || capacityBytes < CAPACITY_BYTES_MIN || capacityBytes > CAPACITY_BYTES_MAX) {
    throw new IsthmusRangeError(
      'ERR_ISTHMUS_INVALID_ARGUMENT',
      `Making an SPSC ring: capacityBytes is ${inWords(capacityBytes)}. Give a power of two from ${CAPACITY_BYTES_MIN} to ${CAPACITY_BYTES_MAX}.`,
    )
  }
  if (!Number.isSafeInteger(maxMessageBytes) || maxMessageBytes < 0) {
    throw new IsthmusRangeError(
      'ERR_ISTHMUS_INVALID_ARGUMENT',
      `Making an SPSC ring: maxMessageBytes is ${inWords(maxMessageBytes)}. Give a number of bytes from 0 on.`,
    )
  }
  if (codec !== undefined) assertCodec(codec, 'Making an SPSC ring')
  const codecParameter = codec === undefined ? '' : `,codec=${codec.name}`
  const maxRecordBytes = Math.min(maxRecordBytesOf(capacityBytes), maxMessageBytes)
  const placeAt = (region: Region, byteOffset: number, path?: string): RingGeometry => {
    const subject = subjectOf('ring', region, path)
    return { region, byteOffset, subject, capacityBytes, maxRecordBytes, maxMessageBytes }
  }
  return {
    byteLength: RECORDS_OFFSET + capacityBytes,
    byteAlignment: MAX_ALIGNMENT,
    signature: `spsc-ring@1(capacityBytes=${capacityBytes},maxMessageBytes=${maxMessageBytes}${codecParameter})`,
    backlog: [[WRITE_POSITION_OFFSET, READ_POSITION_OFFSET]],

    /** Zeroed memory is an empty ring whose roles are vacant. */
    initialize() {},
    attach: (region, byteOffset, path) => new SpscRing(placeAt(region, byteOffset, path), codec),
    sweep(region, byteOffset, deadPeer) {
      // Whoever waits for the dead one learns of it.
      if (new Role(region, byteOffset + PRODUCER_ROLE_OFFSET, 'producer').sweep(deadPeer)) {
        new EventCount(region, byteOffset + CONSUMER_EVENTS_OFFSET).notify()
      }
      if (new Role(region, byteOffset + CONSUMER_ROLE_OFFSET, 'consumer').sweep(deadPeer)) {
        new EventCount(region, byteOffset + PRODUCER_EVENTS_OFFSET).notify()
      }
    },
    recover: (region, byteOffset) => recoverRecords(placeAt(region, byteOffset)),
  }
}

/**
 * An attached ring. Its two roles are handles: each can be had by one agent at a time, by threads and processes alike.
 * The algorithm is the tail-publish ring of rigtorp's SPSCQueue and of Tachyon: records are written with plain stores,
 * and one store of the write position makes them visible, so that at every instant the shared state is consistent.
 */
export class SpscRing<T = Uint8Array> {
  readonly #geometry: RingGeometry
  readonly #codec: Codec<T> | undefined

  /** @internal Use `spscRing`. */
  constructor(place: RingGeometry, codec: Codec<T> | undefined) {
    this.#geometry = place
    this.#codec = codec
  }

  get capacityBytes(): number {
    return this.#geometry.capacityBytes
  }

  /** The largest message that can be claimed, tried, or drained in place: half the capacity less 8 bytes, or maxMessageBytes. */
  get maxRecordBytes(): number {
    return this.#geometry.maxRecordBytes
  }

  get maxMessageBytes(): number {
    return this.#geometry.maxMessageBytes
  }

  /** Who has the roles, who waits, and how full the ring is: for people and tools. */
  describe(): SpscRingDescription {
    const { region, byteOffset, capacityBytes } = this.#geometry
    const positionAt = (offset: number) => Atomics.load(assertOpen(region).words, (byteOffset + offset) >>> 2)
    const sideOf = (name: string, roleOffset: number, eventsOffset: number): RingSideDescription => ({
      ...new Role(region, byteOffset + roleOffset, name).describe(),
      isWaiting: new EventCount(region, byteOffset + eventsOffset).sleeper !== undefined,
    })
    return {
      capacityBytes,
      usedBytes: (positionAt(WRITE_POSITION_OFFSET) - positionAt(READ_POSITION_OFFSET)) | 0,
      producer: sideOf('producer', PRODUCER_ROLE_OFFSET, PRODUCER_EVENTS_OFFSET),
      consumer: sideOf('consumer', CONSUMER_ROLE_OFFSET, CONSUMER_EVENTS_OFFSET),
    }
  }

  /**
   * Becomes the producer, and begins a new epoch. A dead predecessor's unfinished message is marked as abandoned.
   * @throws IsthmusError `ERR_ISTHMUS_ROLE_TAKEN` where a live agent is the producer
   */
  producer(): Producer<T> {
    return new Producer<T>(this.#geometry, this.#codec)
  }

  /**
   * Becomes the consumer, and goes on where the last one returned space: what it had received after that comes again.
   * @throws IsthmusError `ERR_ISTHMUS_ROLE_TAKEN` where a live agent is the consumer
   */
  consumer(): Consumer<T> {
    return new Consumer<T>(this.#geometry, this.#codec)
  }
}
