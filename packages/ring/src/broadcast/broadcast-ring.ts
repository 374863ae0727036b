import { IsthmusRangeError, IsthmusTypeError, type Layout, type PeerDescription, type Region } from '@isthmus/sync'
import { assertOpen, assertOptions, inWords, MAX_ALIGNMENT, subjectOf } from '@isthmus/sync/internal'
import { assertCodec, type Codec } from '../codec.js'
import { MessageNumber } from '../record/message-number.js'
import type { RoleDescription } from '../role/role.js'
import { BroadcastSide, dataOf, publisherRole } from './broadcast-side.js'
import type { GateDescription } from './gates.js'
import type { BroadcastGeometry } from './geometry.js'
import {
  CAPACITY_BYTES_MAX,
  CAPACITY_BYTES_MIN,
  GATES_MAX,
  maxLossyMessageBytesOf,
  maxNumberedRecordBytesOf,
  recordsOffsetOf,
} from './layout.js'
import { Publisher } from './publisher.js'
import { recoverBroadcast } from './recovery.js'
import { Subscriber, type SubscriberOptions } from './subscriber.js'

export interface BroadcastRingOptions<T = Uint8Array> {
  /** Bytes for records: a power of two from 64 to 2 ** 30. A message of up to half of it, less 16 bytes, travels in one record. */
  readonly capacityBytes: number
  /** How many subscribers at a time can hold the publisher back, so that they miss nothing: 0 to 128; 0 if not given. */
  readonly gates?: number
  /**
   * The largest message that may be published, in bytes; half of capacityBytes if not given (in a ring below 512 bytes, what travels
   * in one record). It may be more only if there are gates: a subscriber without one then misses the messages whose beginning is
   * overwritten before it has read it. A receiver allocates no more than this, whatever the memory says.
   */
  readonly maxMessageBytes?: number
  /** How values become messages and messages values: `utf8`, `json<Order>()`, your own. If not given, messages are bytes. */
  readonly codec?: Codec<T>
}

/** The publisher of a broadcast ring. */
export interface PublisherDescription extends RoleDescription {
  /** Whether it sleeps until gating subscribers leave space. */
  readonly isWaiting: boolean
}

export interface BroadcastRingDescription {
  readonly capacityBytes: number
  /** Whole messages that were published since the ring was made: exact up to 2 ** 53. */
  readonly publishedMessages: number
  readonly publisher: PublisherDescription
  /** The gates that subscribers have. The one that is furthest behind holds the publisher back, if one does. */
  readonly gates: readonly GateDescription[]
  /** How many gates are free. */
  readonly freeGates: number
  /** The subscribers that sleep until there are messages. */
  readonly waitingSubscribers: readonly PeerDescription[]
}

const ATTEMPT = 'Making a broadcast ring'

/**
 * A lock-free ring through which one publisher sends messages to any number of subscribers: each of them gets every message. A
 * subscriber that is too slow misses messages, and is told exactly how many; one that has a gate misses none, and holds the publisher
 * back. `broadcastRing({ capacityBytes, codec: json<Price>() })` is a `Layout<BroadcastRing<Price>>`. The name of the codec stands
 * in the signature, so two programs that disagree are told when they open the memory. Without a codec, messages are Uint8Arrays.
 *
 * With `gates: 0` no subscriber can do anything to the publisher, or to another subscriber.
 *
 * @example
 * ```ts
 * const region = HeapRegion.create(broadcastRing({ capacityBytes: 4096, codec: utf8 }))
 * region.root.publisher().tryPublish('hello') // true
 * ```
 *
 * @throws IsthmusRangeError `ERR_ISTHMUS_INVALID_ARGUMENT` for a number outside its range
 * @throws IsthmusTypeError `ERR_ISTHMUS_INVALID_ARGUMENT` for a codec without its methods, or without a proper name
 */
export function broadcastRing<T>(
  options: BroadcastRingOptions<T> & { readonly codec: Codec<T> },
): Layout<BroadcastRing<T>>
export function broadcastRing(options: BroadcastRingOptions): Layout<BroadcastRing>
export function broadcastRing<T>(options: BroadcastRingOptions<T>): Layout<BroadcastRing<T>> {
  assertOptions(options, ATTEMPT)
  const { capacityBytes, gates = 0, codec } = options
  const isPowerOfTwo = Number.isInteger(capacityBytes) && Number.isInteger(Math.log2(capacityBytes))
  if (!isPowerOfTwo || capacityBytes < CAPACITY_BYTES_MIN || capacityBytes > CAPACITY_BYTES_MAX) {
    throw rangeError(
      `capacityBytes is ${inWords(capacityBytes)}. Give a power of two from ${CAPACITY_BYTES_MIN} to ${CAPACITY_BYTES_MAX}.`,
    )
  }
  if (!Number.isInteger(gates) || gates < 0 || gates > GATES_MAX) {
    throw rangeError(`gates is ${inWords(gates)}. Give a whole number from 0 to ${GATES_MAX}.`)
  }
  const maxLossyBytes = maxLossyMessageBytesOf(capacityBytes)
  const { maxMessageBytes = maxLossyBytes } = options
  if (!Number.isSafeInteger(maxMessageBytes) || maxMessageBytes < 0) {
    throw rangeError(`maxMessageBytes is ${inWords(maxMessageBytes)}. Give a number of bytes, 0 or more.`)
  }
  if (maxMessageBytes > maxLossyBytes && gates === 0) {
    throw rangeError(
      `maxMessageBytes is ${maxMessageBytes}, and there are no gates. Nothing would keep the publisher from overwriting the beginning of such a message before it is read: give gates, a larger capacityBytes, or at most ${maxLossyBytes}.`,
    )
  }
  if (codec !== undefined) assertCodec(codec, ATTEMPT)
  const codecParameter = codec === undefined ? '' : `,codec=${codec.name}`
  const maxRecordBytes = Math.min(maxNumberedRecordBytesOf(capacityBytes), maxMessageBytes)
  const geometryAt = (region: Region, byteOffset: number, path?: string): BroadcastGeometry => {
    const subject = subjectOf('broadcast ring', region, path)
    return { region, byteOffset, subject, capacityBytes, gates, maxRecordBytes, maxMessageBytes }
  }
  return {
    byteLength: recordsOffsetOf(gates) + capacityBytes,
    byteAlignment: MAX_ALIGNMENT,
    signature: `broadcast-ring@1(capacityBytes=${capacityBytes},gates=${gates},maxMessageBytes=${maxMessageBytes}${codecParameter})`,
    // No backlog: what was published is promised to subscribers that are attached, and to no others.

    /** Zeroed memory is an empty ring without a publisher, whose gates are free. */
    initialize() {},
    attach: (region, byteOffset, path) => new BroadcastRing(geometryAt(region, byteOffset, path), codec),
    sweep(region, byteOffset, deadPeer) {
      const geometry = geometryAt(region, byteOffset)
      const { data, gates, publisherRole } = new BroadcastSide(geometry)
      data.sweep(deadPeer)
      gates.sweep(deadPeer)
      // Wake the subscribers, which may wait for the dead peer.
      if (publisherRole.sweep(deadPeer)) data.notifyAll()
    },
    recover: (region, byteOffset) => recoverBroadcast(geometryAt(region, byteOffset)),
  }
}

/**
 * An attached broadcast ring. One agent at a time can be the publisher, among threads and processes alike; the handle is the role.
 * Any number of agents can be subscribers, before there is a publisher as well.
 *
 * Records are written with plain stores, and one store of the write position makes them visible, as in the ring of Agrona's
 * BroadcastTransmitter. Its "tail intent" is how a subscriber finds out that what it has copied was overwritten meanwhile.
 */
export class BroadcastRing<T = Uint8Array> {
  readonly #geometry: BroadcastGeometry
  readonly #codec: Codec<T> | undefined
  #toDescribe: BroadcastSide | undefined

  /** @internal Use `broadcastRing`. */
  constructor(geometry: BroadcastGeometry, codec: Codec<T> | undefined) {
    this.#geometry = geometry
    this.#codec = codec
  }

  /**
   * Becomes the publisher, and begins a new epoch. If a predecessor died and left a message unfinished, that message is marked as
   * abandoned. Messages go on with the next number, so no subscriber misses one without noticing.
   * @throws IsthmusError `ERR_ISTHMUS_ROLE_TAKEN` if a live agent is the publisher; `ERR_ISTHMUS_CLOSED`; `ERR_ISTHMUS_CORRUPT`
   *
   * @example
   * ```ts
   * const ring = HeapRegion.create(broadcastRing({ capacityBytes: 4096, codec: utf8 })).root
   * ring.publisher().tryPublish('hello') // true
   * ```
   */
  publisher(): Publisher<T> {
    const side = new BroadcastSide(this.#geometry)
    return new Publisher<T>(side, this.#codec, side.publisherRole.acquire())
  }

  /**
   * As publisher; returns undefined if a live agent is the publisher.
   *
   * @example
   * ```ts
   * const ring = HeapRegion.create(broadcastRing({ capacityBytes: 4096 })).root
   * const first = ring.tryPublisher()
   * ring.tryPublisher() // undefined
   * ```
   */
  tryPublisher(): Publisher<T> | undefined {
    const side = new BroadcastSide(this.#geometry)
    const acquired = side.publisherRole.tryAcquire()
    return acquired && new Publisher<T>(side, this.#codec, acquired)
  }

  /**
   * Begins to receive. There may be any number of subscribers, also before there is a publisher.
   * @throws IsthmusError `ERR_ISTHMUS_NO_GATE` if it asks for a gate, and live subscribers have all of them; `ERR_ISTHMUS_CLOSED`;
   * `ERR_ISTHMUS_CORRUPT`
   * @throws IsthmusRangeError `ERR_ISTHMUS_INVALID_ARGUMENT` if it asks for a gate of a ring without gates
   * @throws IsthmusTypeError `ERR_ISTHMUS_INVALID_ARGUMENT` for an unknown value of an option
   *
   * @example
   * ```ts
   * const ring = HeapRegion.create(broadcastRing({ capacityBytes: 4096, gates: 1, codec: utf8 })).root
   * const lossy = ring.subscriber()
   * const gating = ring.subscriber({ gate: true })
   * ring.publisher().tryPublish('hello')
   * lossy.tryReceive() // 'hello'
   * gating.tryReceive() // 'hello'
   * ```
   */
  subscriber(options: SubscriberOptions = {}): Subscriber<T> {
    const { region, subject, gates } = this.#geometry
    const attempt = `Subscribing to ${subject}`
    assertOptions(options, attempt)
    const { gate = false } = options
    const { from = 'latest', onOverrun = gate ? 'throw' : 'skip' } = options
    assertOneOf({ from }, ['latest', 'oldest'], attempt)
    assertOneOf({ onOverrun }, ['skip', 'throw'], attempt)
    assertOneOf({ gate }, [true, false], attempt)
    if (gate && gates === 0) {
      throw new IsthmusRangeError(
        'ERR_ISTHMUS_INVALID_ARGUMENT',
        `${attempt}: it has no gates. Make it with broadcastRing({ gates }), or subscribe without one.`,
      )
    }
    assertOpen(region)
    return new Subscriber<T>(new BroadcastSide(this.#geometry), this.#codec, { from, gate, onOverrun })
  }

  get capacityBytes(): number {
    return this.#geometry.capacityBytes
  }

  /** The largest message that travels in one record: half the capacity less 16 bytes, or maxMessageBytes if that is less. */
  get maxRecordBytes(): number {
    return this.#geometry.maxRecordBytes
  }

  get maxMessageBytes(): number {
    return this.#geometry.maxMessageBytes
  }

  /**
   * Who publishes, who has which gate, how far behind each is, who waits: for people and tools. It may be out of date when it
   * returns.
   *
   * @example
   * ```ts
   * const ring = HeapRegion.create(broadcastRing({ capacityBytes: 4096, gates: 2 })).root
   * ring.publisher().tryPublish(new Uint8Array(4))
   * ring.describe().publishedMessages // 1
   * ring.describe().freeGates // 2
   * ```
   *
   * @throws IsthmusError `ERR_ISTHMUS_CORRUPT`, `ERR_ISTHMUS_CLOSED`
   */
  describe(): BroadcastRingDescription {
    const geometry = this.#geometry
    assertOpen(geometry.region)
    const side = this.#sideToDescribe
    const number = new MessageNumber()
    side.nextNumber.read(side.writePosition, number)
    const gates = side.gates.describe(side.writePosition)
    return {
      capacityBytes: geometry.capacityBytes,
      publishedMessages: new MessageNumber().distanceTo(number.low, number.high),
      publisher: { ...publisherRole(geometry).describe(), isWaiting: side.space.sleeper !== undefined },
      gates,
      freeGates: geometry.gates - gates.length,
      waitingSubscribers: dataOf(geometry).waiters(),
    }
  }

  /**
   * As `publisher.demote`, for a tool, or for another thread while the publisher's is blocked: takes a gate away from its
   * subscriber.
   * @param gate as `describe()` has described it
   * @returns false if the gate is not active any more, or has another owner
   *
   * @example
   * ```ts
   * const ring = HeapRegion.create(broadcastRing({ capacityBytes: 4096, gates: 2 })).root
   * for (const gate of ring.describe().gates) if (gate.behindBytes > 2048) ring.demote(gate)
   * ```
   *
   * @throws IsthmusError `ERR_ISTHMUS_CLOSED`
   */
  demote(gate: Pick<GateDescription, 'gate' | 'peer'>): boolean {
    assertOpen(this.#geometry.region)
    return this.#sideToDescribe.gates.demote(gate)
  }

  /** Made when it is first used: it maps memory. */
  get #sideToDescribe(): BroadcastSide {
    this.#toDescribe ??= new BroadcastSide(this.#geometry)
    return this.#toDescribe
  }
}

function rangeError(what: string): IsthmusRangeError {
  return new IsthmusRangeError('ERR_ISTHMUS_INVALID_ARGUMENT', `${ATTEMPT}: ${what}`)
}

/** @param option one option, by its name */
function assertOneOf(option: Record<string, unknown>, allowed: readonly unknown[], attempt: string): void {
  const [[name, value]] = Object.entries(option)
  if (allowed.includes(value)) return
  throw new IsthmusTypeError(
    'ERR_ISTHMUS_INVALID_ARGUMENT',
    `${attempt}: ${name} is ${inWords(value)}. Give ${allowed.map(inWords).join(' or ')}, or leave it out.`,
  )
}
