import { IsthmusRangeError, type Layout, type Region } from '@isthmus/sync'
import { assertOpen, assertOptions, EventCount, inWords, MAX_ALIGNMENT, subjectOf } from '@isthmus/sync/internal'
import { assertCodec, type Codec } from '../codec.js'
import { distance, maxRecordBytesOf } from '../record/layout.js'
import type { Role, RoleDescription } from '../role/role.js'
import { Consumer } from './consumer.js'
import type { RingGeometry } from './geometry.js'
import {
  CAPACITY_BYTES_MAX,
  CAPACITY_BYTES_MIN,
  CONSUMER_EVENTS_OFFSET,
  PRODUCER_EVENTS_OFFSET,
  READ_POSITION_OFFSET,
  RECORDS_OFFSET,
  WRITE_POSITION_OFFSET,
} from './layout.js'
import { Producer } from './producer.js'
import { recoverRecords } from './recovery.js'
import { consumerRole, producerRole, RingSide } from './ring-side.js'

export interface SpscRingOptions<T = Uint8Array> {
  /** Bytes for records: a power of two from 64 to 2 ** 30. A message of up to half of it travels in one record. */
  readonly capacityBytes: number
  /**
   * The largest message that may be sent, in bytes; 256 MiB if not given. A receiver allocates no more than this, whatever
   * the memory says.
   */
  readonly maxMessageBytes?: number
  /** How values become messages and messages values: `utf8`, `json<Order>()`, your own. If not given, messages are bytes. */
  readonly codec?: Codec<T>
}

/** One side of a ring. */
export interface RingSideDescription extends RoleDescription {
  /** Whether its holder sleeps: the producer until there is space, the consumer until there are messages. */
  readonly isWaiting: boolean
}

export interface SpscRingDescription {
  readonly capacityBytes: number
  /** Bytes that are published, and not returned by the consumer yet. */
  readonly usedBytes: number
  readonly producer: RingSideDescription
  readonly consumer: RingSideDescription
}

const MAX_MESSAGE_BYTES_DEFAULT = 256 * 1024 * 1024

/**
 * A lock-free ring for messages of any size, from one producer to one consumer. `spscRing({ capacityBytes, codec:
 * json<Order>() })` is a `Layout<SpscRing<Order>>`: its producer sends orders and its consumer receives orders. The name of
 * the codec stands in the signature, so two programs that disagree are told when they open the memory. Without a codec,
 * messages are Uint8Arrays.
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
 * `maxMessageBytes` that is not a non-negative integer
 * @throws IsthmusTypeError `ERR_ISTHMUS_INVALID_ARGUMENT` for a codec without its methods, or without a proper name
 */
export function spscRing<T>(options: SpscRingOptions<T> & { readonly codec: Codec<T> }): Layout<SpscRing<T>>
export function spscRing(options: SpscRingOptions): Layout<SpscRing>
export function spscRing<T>(options: SpscRingOptions<T>): Layout<SpscRing<T>> {
  const attempt = 'Making an SPSC ring'
  assertOptions(options, attempt)
  const { capacityBytes, maxMessageBytes = MAX_MESSAGE_BYTES_DEFAULT, codec } = options
  const isPowerOfTwo = Number.isInteger(capacityBytes) && Number.isInteger(Math.log2(capacityBytes))
  if (!isPowerOfTwo || capacityBytes < CAPACITY_BYTES_MIN || capacityBytes > CAPACITY_BYTES_MAX) {
    throw new IsthmusRangeError(
      'ERR_ISTHMUS_INVALID_ARGUMENT',
      `${attempt}: capacityBytes is ${inWords(capacityBytes)}. Give a power of two from ${CAPACITY_BYTES_MIN} to ${CAPACITY_BYTES_MAX}.`,
    )
  }
  if (!Number.isSafeInteger(maxMessageBytes) || maxMessageBytes < 0) {
    throw new IsthmusRangeError(
      'ERR_ISTHMUS_INVALID_ARGUMENT',
      `${attempt}: maxMessageBytes is ${inWords(maxMessageBytes)}. Give a number of bytes, 0 or more.`,
    )
  }
  if (codec !== undefined) assertCodec(codec, attempt)
  const codecParameter = codec === undefined ? '' : `,codec=${codec.name}`
  const maxRecordBytes = Math.min(maxRecordBytesOf(capacityBytes), maxMessageBytes)
  const geometryAt = (region: Region, byteOffset: number, path?: string): RingGeometry => {
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
    attach: (region, byteOffset, path) => new SpscRing(geometryAt(region, byteOffset, path), codec),
    sweep(region, byteOffset, deadPeer) {
      const geometry = geometryAt(region, byteOffset)
      // Wake the other side, if it waits for the dead peer.
      if (producerRole(geometry).sweep(deadPeer)) new EventCount(region, byteOffset + CONSUMER_EVENTS_OFFSET).notify()
      if (consumerRole(geometry).sweep(deadPeer)) new EventCount(region, byteOffset + PRODUCER_EVENTS_OFFSET).notify()
    },
    recover: (region, byteOffset) => recoverRecords(geometryAt(region, byteOffset)),
  }
}

/**
 * An attached ring. Each of its two roles can be had by one agent at a time, among threads and processes alike; the handle
 * is the role.
 *
 * The algorithm is the tail-publish ring of rigtorp's SPSCQueue and of Tachyon: records are written with plain stores, and
 * one store of the write position makes them visible, so the shared state is consistent at every instant.
 */
export class SpscRing<T = Uint8Array> {
  readonly #geometry: RingGeometry
  readonly #codec: Codec<T> | undefined

  /** @internal Use `spscRing`. */
  constructor(geometry: RingGeometry, codec: Codec<T> | undefined) {
    this.#geometry = geometry
    this.#codec = codec
  }

  /**
   * Becomes the producer, and begins a new epoch. If a predecessor died and left a message unfinished, it is marked as
   * abandoned.
   * @throws IsthmusError `ERR_ISTHMUS_ROLE_TAKEN` if a live agent is the producer; `ERR_ISTHMUS_CORRUPT`
   *
   * @example
   * ```ts
   * const ring = HeapRegion.create(spscRing({ capacityBytes: 4096, codec: utf8 })).root
   * ring.producer().trySend('hello') // true
   * ```
   */
  producer(): Producer<T> {
    const side = RingSide.producer(this.#geometry)
    return new Producer<T>(side, this.#codec, side.role.acquire())
  }

  /**
   * As producer; returns undefined if a live agent is the producer.
   *
   * @example
   * ```ts
   * const ring = HeapRegion.create(spscRing({ capacityBytes: 4096 })).root
   * const first = ring.tryProducer()
   * ring.tryProducer() // undefined
   * ```
   */
  tryProducer(): Producer<T> | undefined {
    const side = RingSide.producer(this.#geometry)
    const acquired = side.role.tryAcquire()
    return acquired && new Producer<T>(side, this.#codec, acquired)
  }

  /**
   * Becomes the consumer, and continues where the last one returned space: messages that it received after that come again.
   * @throws IsthmusError `ERR_ISTHMUS_ROLE_TAKEN` if a live agent is the consumer; `ERR_ISTHMUS_CORRUPT`
   *
   * @example
   * ```ts
   * const ring = HeapRegion.create(spscRing({ capacityBytes: 4096, codec: utf8 })).root
   * ring.producer().trySend('hello')
   * ring.consumer().tryReceive() // 'hello'
   * ```
   */
  consumer(): Consumer<T> {
    const side = RingSide.consumer(this.#geometry)
    return new Consumer<T>(side, this.#codec, side.role.acquire())
  }

  /**
   * As consumer; returns undefined if a live agent is the consumer.
   *
   * @example
   * ```ts
   * const ring = HeapRegion.create(spscRing({ capacityBytes: 4096 })).root
   * const first = ring.tryConsumer()
   * ring.tryConsumer() // undefined
   * ```
   */
  tryConsumer(): Consumer<T> | undefined {
    const side = RingSide.consumer(this.#geometry)
    const acquired = side.role.tryAcquire()
    return acquired && new Consumer<T>(side, this.#codec, acquired)
  }

  get capacityBytes(): number {
    return this.#geometry.capacityBytes
  }

  /** The largest message that travels in one record: half the capacity less 8 bytes, or maxMessageBytes if that is less. */
  get maxRecordBytes(): number {
    return this.#geometry.maxRecordBytes
  }

  get maxMessageBytes(): number {
    return this.#geometry.maxMessageBytes
  }

  /**
   * Who has the roles, who waits, and how full the ring is: for people and tools. It may be out of date when it returns.
   *
   * @example
   * ```ts
   * const ring = HeapRegion.create(spscRing({ capacityBytes: 4096 })).root
   * ring.describe().usedBytes // 0
   * ring.describe().producer.state // 'vacant'
   * ```
   */
  describe(): SpscRingDescription {
    const { region, byteOffset, capacityBytes } = this.#geometry
    const positionAt = (offset: number) => Atomics.load(assertOpen(region).words, (byteOffset + offset) >>> 2)
    const sideOf = (role: Role, eventsOffset: number): RingSideDescription => ({
      ...role.describe(),
      isWaiting: new EventCount(region, byteOffset + eventsOffset).sleeper !== undefined,
    })
    return {
      capacityBytes,
      usedBytes: distance(positionAt(WRITE_POSITION_OFFSET), positionAt(READ_POSITION_OFFSET)),
      producer: sideOf(producerRole(this.#geometry), PRODUCER_EVENTS_OFFSET),
      consumer: sideOf(consumerRole(this.#geometry), CONSUMER_EVENTS_OFFSET),
    }
  }
}
