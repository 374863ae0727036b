import {
  IsthmusError,
  IsthmusRangeError,
  IsthmusTypeError,
  type Layout,
  type PeerDescription,
  type Region,
} from '@isthmus/sync'
import { assertOpen, assertOptions, inWords, MAX_ALIGNMENT, subjectOf } from '@isthmus/sync/internal'
import { assertCodec, type Codec } from '../codec.js'
import type { QueueGeometry } from './geometry.js'
import {
  BLOCK_BYTES_MAX,
  BLOCKS_MAX,
  COUNT_WORD,
  DELIVERIES_MAX,
  DONE_WORD,
  deliveriesIn,
  FREE,
  GIVEN_UP_OFFSET,
  HELD,
  HOLD_MASK,
  headOffsetOf,
  KIND_WORD,
  kindIn,
  LANES_MAX,
  LEASE_WORD,
  LOST_OFFSET,
  laneIn,
  ORPHAN,
  ORPHANS_LEFT_OFFSET,
  ORPHANS_SEEN_OFFSET,
  PACKED,
  PIPE,
  PIPE_BLOCK_BYTES_MIN,
  PUSHABLE,
  placesOf,
  SENDER_ABORTED,
  slotCountOf,
  slotOfCell,
  stateOfCell,
  tailOffsetOf,
} from './layout.js'
import { QueueSide } from './queue-side.js'
import { Receiver, type ReceiverOptions } from './receiver.js'
import { recoverQueue } from './recovery.js'
import { Sender } from './sender.js'
import { sweepQueue } from './sweep.js'

export interface MpmcQueueOptions<T = Uint8Array> {
  /** How many blocks there are, from 1 to 1,048,575: as many messages may be sent and not received, or be in loans. */
  readonly blocks: number
  /** Bytes of a block, from 1 to 2 ** 30: the largest message that needs no waiting. Several small messages of a batch share one. */
  readonly blockBytes: number
  /**
   * The largest message, in bytes; `blockBytes` if not given. A larger one than a block goes through a block in parts, which needs
   * blocks of at least 768 bytes. A receiver allocates no more than this, whatever the memory says.
   */
  readonly maxMessageBytes?: number
  /** How many messages of a batch share a block at most, from 1 to 65,535; 64 if not given. They go to one receiver. */
  readonly packLimit?: number
  /**
   * What the death of a receiver does to its message. At most once, the default: the message is lost. At least once: it is
   * delivered again, unless it was acknowledged.
   */
  readonly delivery?: 'at-most-once' | 'at-least-once'
  /** At least once: after so many deliveries a message is given up, from 1 to 65,535; 5 if not given. */
  readonly maxDeliveries?: number
  /**
   * What becomes of a message that is given up: with true, it becomes a dead letter, which `queue.deadLetters()` receives, and
   * which keeps its block until then. Otherwise its block is freed. `describe().givenUp` counts both.
   */
  readonly deadLetters?: boolean
  /** How many priorities there are, from 1 to 8; 1 if not given. */
  readonly lanes?: number
  /** So many blocks are not for messages of priority 0: urgent ones find one when the rest are taken. 0 if not given. */
  readonly reserved?: number
  /** How values become messages and messages values: `utf8`, `json<Order>()`, your own. If not given, messages are bytes. */
  readonly codec?: Codec<T>
  /** @internal How many slots a lane has: a power of two above `blocks`. For tests, which want positions to come round soon. */
  readonly slots?: number
}

/** A block that is not free. */
export interface BlockDescription {
  readonly block: number
  /**
   * `writing`: a sender has it, in a send or a loan. `queued`: its message was sent and not received. `held`: a receiver has it.
   * `returning`: a peer puts it back into the queue. `orphaned`: its holder has died, and the next peer that looks brings it back.
   */
  readonly state: 'writing' | 'queued' | 'held' | 'returning' | 'orphaned'
  /** The peer that has it; undefined for a block that is queued or orphaned, and for a peer that the table no longer lists. */
  readonly holder: PeerDescription | undefined
  readonly priority: number
  /** Messages in it that are not delivered yet. */
  readonly messages: number
  /** How often its message was given to a receiver. */
  readonly deliveries: number
  readonly isDeadLetter: boolean
}

export interface MpmcQueueDescription {
  readonly blocks: number
  readonly blockBytes: number
  readonly free: number
  /** Messages that were sent and not received. */
  readonly depth: number
  /** Dead letters that were not received. */
  readonly deadLetters: number
  readonly hasEnded: boolean
  /** Messages that were given up after maxDeliveries, dead letters included. It counts modulo 2 ** 32. */
  readonly givenUp: number
  /** Messages that were lost with their receivers, at most once. It counts modulo 2 ** 32. */
  readonly lost: number
  /** Blocks that this attachment had lost track of, and has freed. */
  readonly strays: number
  readonly taken: readonly BlockDescription[]
  readonly waitingReceivers: readonly PeerDescription[]
  readonly waitingSenders: readonly PeerDescription[]
}

const ATTEMPT = 'Making an MPMC queue'

/**
 * A lock-free queue for messages of any size, from any number of senders to any number of receivers, in threads and
 * processes. Messages are received in the order in which they were sent, each by one receiver. A peer that is stopped or killed,
 * wherever that is, keeps no other peer from sending and receiving. (A message that is larger than a block goes from its sender to
 * its receiver in parts: those two wait for each other.)
 *
 * `mpmcQueue({ blocks, blockBytes, codec: json<Job>() })` is a `Layout<MpmcQueue<Job>>`. The name of the codec stands in the
 * signature, so two programs that disagree are told when they open the memory.
 *
 * @example
 * ```ts
 * const region = HeapRegion.create(mpmcQueue({ blocks: 64, blockBytes: 1024, codec: utf8 }))
 * const sender = region.root.sender()
 * const receiver = region.root.receiver()
 * sender.trySend('hello')
 * receiver.tryReceive() // 'hello'
 * ```
 *
 * @throws IsthmusRangeError `ERR_ISTHMUS_INVALID_ARGUMENT` for a number outside its range
 * @throws IsthmusTypeError `ERR_ISTHMUS_INVALID_ARGUMENT` for another delivery, or a codec without its methods or a proper name
 */
export function mpmcQueue<T>(options: MpmcQueueOptions<T> & { readonly codec: Codec<T> }): Layout<MpmcQueue<T>>
export function mpmcQueue(options: MpmcQueueOptions): Layout<MpmcQueue>
export function mpmcQueue<T>(options: MpmcQueueOptions<T>): Layout<MpmcQueue<T>> {
  assertOptions(options, ATTEMPT)
  const { blocks, blockBytes, packLimit = 64, delivery = 'at-most-once', maxDeliveries = 5, codec } = options
  const { deadLetters = false, lanes = 1, reserved = 0, maxMessageBytes = blockBytes, slots } = options
  assertWhole('blocks', blocks, 1, BLOCKS_MAX)
  assertWhole('blockBytes', blockBytes, 1, BLOCK_BYTES_MAX)
  assertWhole('maxMessageBytes', maxMessageBytes, blockBytes, Number.MAX_SAFE_INTEGER)
  if (maxMessageBytes > blockBytes && blockBytes < PIPE_BLOCK_BYTES_MIN) {
    throw rangeError(
      'blockBytes',
      blockBytes,
      `at least ${PIPE_BLOCK_BYTES_MIN}, which messages that are larger than a block need (maxMessageBytes is ${maxMessageBytes})`,
    )
  }
  assertWhole('packLimit', packLimit, 1, 65_535)
  assertWhole('maxDeliveries', maxDeliveries, 1, DELIVERIES_MAX)
  assertWhole('lanes', lanes, 1, LANES_MAX)
  assertWhole('reserved', reserved, 0, blocks - 1)
  const slotCount = slots ?? slotCountOf(blocks)
  assertWhole('slots', slotCount, blocks + 1, 2 ** 30)
  if (!Number.isInteger(Math.log2(slotCount))) throw rangeError('slots', slotCount, 'a power of two')
  if (delivery !== 'at-most-once' && delivery !== 'at-least-once') {
    throw new IsthmusTypeError(
      'ERR_ISTHMUS_INVALID_ARGUMENT',
      `${ATTEMPT}: delivery is ${inWords(delivery)}. Give 'at-most-once' or 'at-least-once', or leave it out.`,
    )
  }
  if (typeof deadLetters !== 'boolean') {
    throw new IsthmusTypeError(
      'ERR_ISTHMUS_INVALID_ARGUMENT',
      `${ATTEMPT}: deadLetters is ${inWords(deadLetters)}. Give true or false, or leave it out.`,
    )
  }
  if (codec !== undefined) assertCodec(codec, ATTEMPT)
  const deadLane = deadLetters ? lanes : undefined
  const allLanes = lanes + (deadLetters ? 1 : 0)
  const places = placesOf(blocks, blockBytes, allLanes, slotCount)
  const isAtLeastOnce = delivery === 'at-least-once'
  const geometryAt = (region: Region, byteOffset: number, path?: string): QueueGeometry => ({
    ...places,
    region,
    byteOffset,
    subject: subjectOf('queue', region, path),
    blocks,
    blockBytes,
    maxMessageBytes,
    slotCount,
    lanes,
    deadLane,
    reserved,
    packLimit,
    isAtLeastOnce,
    maxDeliveries,
  })
  const parameters = [
    `blocks=${blocks}`,
    `blockBytes=${blockBytes}`,
    ...(maxMessageBytes > blockBytes ? [`maxMessageBytes=${maxMessageBytes}`] : []),
    `delivery=${delivery}`,
    ...(lanes > 1 ? [`lanes=${lanes}`] : []),
    ...(deadLetters ? ['deadLetters'] : []),
    ...(slots === undefined ? [] : [`slots=${slots}`]),
    ...(codec === undefined ? [] : [`codec=${codec.name}`]),
  ]
  return {
    byteLength: places.byteLength,
    byteAlignment: MAX_ALIGNMENT,
    signature: `mpmc-queue@1(${parameters.join(',')})`,
    backlog: [
      ...Array.from({ length: allLanes }, (_, lane) => [tailOffsetOf(lane), headOffsetOf(lane)] as const),
      // What a dead peer had, and no peer has brought back yet.
      [ORPHANS_LEFT_OFFSET, ORPHANS_SEEN_OFFSET],
    ],

    /** Zeroed memory is an empty queue whose blocks are free. */
    initialize() {},
    attach: (region, byteOffset, path) => new MpmcQueue(geometryAt(region, byteOffset, path), codec),
    sweep: (region, byteOffset, deadPeer) => sweepQueue(geometryAt(region, byteOffset), deadPeer),
    recover: (region, byteOffset) => recoverQueue(geometryAt(region, byteOffset)),
  }
}

/** An attached queue. Any number of agents may have any number of senders and receivers; they are no roles. */
export class MpmcQueue<T = Uint8Array> {
  readonly #geometry: QueueGeometry
  readonly #codec: Codec<T> | undefined
  #attached: QueueSide | undefined

  /** @internal Use `mpmcQueue`. */
  constructor(geometry: QueueGeometry, codec: Codec<T> | undefined) {
    this.#geometry = geometry
    this.#codec = codec
  }

  /**
   * Makes a sender. It needs no closing.
   *
   * @example
   * ```ts
   * queue.sender().trySend(order) // true
   * ```
   *
   * @throws IsthmusError `ERR_ISTHMUS_CLOSED` if the region is closed
   */
  sender(): Sender<T> {
    return new Sender<T>(this.#side, this.#codec)
  }

  /**
   * Makes a receiver. At least once, close one that is no longer used: that puts back what it has not acknowledged.
   *
   * @example
   * ```ts
   * queue.sender().trySend(order)
   * queue.receiver().tryReceive()[0] // 4
   * ```
   *
   * @throws IsthmusRangeError `ERR_ISTHMUS_INVALID_ARGUMENT` for a fairness that is not a whole number from 1 on
   * @throws IsthmusError `ERR_ISTHMUS_CLOSED` if the region is closed
   */
  receiver(options: ReceiverOptions = {}): Receiver<T> {
    const attempt = 'Making a receiver'
    assertOptions(options, attempt)
    const { fairness } = options
    if (fairness !== undefined && !(Number.isInteger(fairness) && fairness >= 1)) {
      throw new IsthmusRangeError(
        'ERR_ISTHMUS_INVALID_ARGUMENT',
        `${attempt}: fairness is ${inWords(fairness)}. Give a whole number from 1 on, or leave it out.`,
      )
    }
    const side = this.#side
    return new Receiver<T>(side, this.#codec, side.lanes.slice(0, side.geometry.lanes), side.messages, fairness ?? 0)
  }

  /**
   * Makes a receiver of the dead letters: the messages that were given up after maxDeliveries. They have no end.
   *
   * @example
   * ```ts
   * const options = { blocks: 8, blockBytes: 64, delivery: 'at-least-once', maxDeliveries: 1, deadLetters: true }
   * const { root } = HeapRegion.create(mpmcQueue(options))
   * root.sender().trySend(Uint8Array.of(7))
   * root.receiver().tryTake().requeue()
   * root.deadLetters().tryReceive()[0] // 7
   * ```
   *
   * @throws IsthmusError `ERR_ISTHMUS_CALL_ORDER` for a queue that keeps none; `ERR_ISTHMUS_CLOSED`
   */
  deadLetters(): Receiver<T> {
    const side = this.#side
    const { deadLane, subject } = this.#geometry
    if (deadLane === undefined) {
      throw new IsthmusError(
        'ERR_ISTHMUS_CALL_ORDER',
        `Receiving the dead letters of ${subject}: it keeps none. Make it with deadLetters: true.`,
      )
    }
    return new Receiver<T>(side, this.#codec, [side.lanes[deadLane]], side.deadLetters, 0)
  }

  /**
   * Ends the queue: sends throw `ERR_ISTHMUS_CLOSED` from now on, and receivers get `null` after the last message. Ending it twice
   * does nothing. Killed half-way, a queue with priorities may have ended for some of them: end it again.
   *
   * @example
   * ```ts
   * queue.end()
   * queue.receiver().tryReceive() // null
   * ```
   */
  end(): void {
    const side = this.#side
    for (let lane = 0; lane < this.#geometry.lanes; lane++) side.lanes[lane].end()
    side.messages.notifyAll()
    side.space.notifyAll()
  }

  /**
   * Takes the end back: messages may be sent again.
   * @returns whether the queue had ended
   *
   * @example
   * ```ts
   * queue.end()
   * queue.reopen() // true
   * queue.sender().trySend(order) // true
   * ```
   */
  reopen(): boolean {
    const side = this.#side
    let hadEnded = false
    for (let lane = 0; lane < this.#geometry.lanes; lane++) if (side.lanes[lane].reopen()) hadEnded = true
    // Orphans that were left to receivers at the end can be pushed again.
    if (hadEnded) side.tellOrphans()
    return hadEnded
  }

  /** The largest message, in bytes. */
  get maxMessageBytes(): number {
    return this.#geometry.maxMessageBytes
  }

  /**
   * What is in the queue, who has which block, who waits: for people and tools. It may be out of date when it returns.
   *
   * @example
   * ```ts
   * queue.sender().trySend(order)
   * queue.describe().depth // 1
   * ```
   */
  describe(): MpmcQueueDescription {
    const side = this.#side
    const { region, byteOffset, blocks, blockBytes } = this.#geometry
    const countAt = (offset: number) => Atomics.load(side.words, (byteOffset + offset) >>> 2) >>> 0
    const taken: BlockDescription[] = []
    for (let block = 0; block < blocks; block++) {
      const description = this.#describeBlock(side, block)
      if (description !== undefined) taken.push(description)
    }
    const queued = taken.filter(({ state }) => state === 'queued')
    const messagesIn = (isDeadLetter: boolean) =>
      queued.reduce((sum, block) => sum + (block.isDeadLetter === isDeadLetter ? block.messages : 0), 0)
    assertOpen(region)
    return {
      blocks,
      blockBytes,
      free: blocks - taken.length,
      depth: messagesIn(false),
      deadLetters: messagesIn(true),
      hasEnded: side.hasEnded,
      givenUp: countAt(GIVEN_UP_OFFSET),
      lost: countAt(LOST_OFFSET),
      strays: side.strays,
      taken,
      waitingReceivers: side.messages.waiters(),
      waitingSenders: side.space.waiters(),
    }
  }

  #describeBlock(side: QueueSide, block: number): BlockDescription | undefined {
    const { words, region } = side
    const cell = side.table.cellOf(block)
    const hold = cell & HOLD_MASK
    if (hold === FREE) return undefined
    const cellWord = side.cellWordOf(block)
    const kind = words[cellWord + KIND_WORD]
    const isPushed = (cell & PUSHABLE) !== 0 && side.lanes[laneIn(kind)]?.isPushed(block) === true
    const isUnowned = hold === ORPHAN || isPushed
    const peer = isUnowned ? undefined : region.peers.at(slotOfCell(cell))
    const { lanes } = this.#geometry
    return {
      block,
      state: stateOf(hold, isPushed),
      holder: peer === undefined ? undefined : region.peers.describe(peer),
      priority: Math.min(laneIn(kind), lanes - 1),
      messages: messagesIn(words, cellWord),
      deliveries: deliveriesIn(kind),
      isDeadLetter: laneIn(kind) >= lanes,
    }
  }

  /** Made when the queue is first used: it maps memory. */
  get #side(): QueueSide {
    const side = this.#attached ?? new QueueSide(assertGeometryOpen(this.#geometry))
    this.#attached = side
    side.assertOpen('Using')
    return side
  }
}

/** Messages in a block that are not delivered yet. */
function messagesIn(words: Int32Array, cellWord: number): number {
  const kind = kindIn(words[cellWord + KIND_WORD])
  if (kind === PACKED) return Math.max(0, words[cellWord + COUNT_WORD] - words[cellWord + DONE_WORD])
  // A pipe that its sender has given up is passed over.
  return kind === PIPE && (words[cellWord + LEASE_WORD] & SENDER_ABORTED) !== 0 ? 0 : 1
}

function stateOf(hold: number, isPushed: boolean): BlockDescription['state'] {
  if (hold === ORPHAN) return 'orphaned'
  if (isPushed) return 'queued'
  if (stateOfCell(hold) === HELD) return 'held'
  return (hold & HELD) !== 0 ? 'returning' : 'writing'
}

function assertGeometryOpen(geometry: QueueGeometry): QueueGeometry {
  assertOpen(geometry.region)
  return geometry
}

function assertWhole(name: string, value: unknown, min: number, max: number): void {
  if (typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max) return
  throw rangeError(name, value, `a whole number from ${min} to ${max}`)
}

function rangeError(name: string, value: unknown, expected: string): IsthmusRangeError {
  return new IsthmusRangeError(
    'ERR_ISTHMUS_INVALID_ARGUMENT',
    `${ATTEMPT}: ${name} is ${inWords(value)}. Give ${expected}.`,
  )
}
