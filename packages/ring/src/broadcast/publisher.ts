import { IsthmusError, type PeerId, type TimeoutOptions, type WaitOptions } from '@isthmus/sync'
import { deadlineOf, type EventCount, heldSpace, LivenessCheckThrottle, type WaiterSet } from '@isthmus/sync/internal'
import type { Codec } from '../codec.js'
import { corruptError } from '../errors.js'
import { Batch } from '../messages/batch.js'
import { bytesOf } from '../messages/message-bytes.js'
import { RecordWriter, type WriterWords } from '../messages/record-writer.js'
import {
  ABORT,
  advance,
  DATA,
  distance,
  FIRST,
  KIND_MASK,
  MIDDLE,
  PADDING,
  RECORD_HEADER_BYTES,
  recordBytesOf,
} from '../record/layout.js'
import { MESSAGE_NUMBER_BYTES, MessageNumber } from '../record/message-number.js'
import type { AcquiredRole } from '../role/role.js'
import type { BroadcastSide } from './broadcast-side.js'
import type { Checkpoints } from './checkpoints.js'
import type { GateDescription, Gates } from './gates.js'
import { INTENT_STEPS, recordsOffsetOf } from './layout.js'
import type { NextNumber } from './next-number.js'
import { distanceOf, type SharedPosition } from './position.js'

/** No more than this part of the ring is held back. */
const HELD_BACK_PART = 4

const WORDS: WriterWords = {
  writer: 'publisher',
  doing: 'Publishing',
  waitingCalls: 'publish or publishSync',
  waitingCall: 'publish',
}

/**
 * The sending side of a broadcast ring. It copies messages in (`tryPublish`, `publishSync`, `publish`), or lets the program write
 * them in place (`tryClaim` … `commit`). Each subscriber gets every message, in the order in which they were published.
 *
 * In place means bytes: `tryClaim` and `commit` bypass the codec. Write what the codec of the ring decodes.
 *
 * A publisher waits for gating subscribers alone: it overwrites nothing that one of them has not read. Without one, the ring is
 * never full, and messages are overwritten whether they were read or not. If a gating subscriber dies, the publisher goes on. If
 * one is stopped, the ring stays full: `gates()` names it, and `demote` takes its gate away.
 *
 * @example
 * ```ts
 * const ring = HeapRegion.create(broadcastRing({ capacityBytes: 4096 })).root
 * const publisher = ring.publisher()
 * const byteOffset = publisher.tryClaim(8)
 * publisher.doubles[byteOffset / 8] = 42.5
 * publisher.commit()
 * ```
 */
export class Publisher<T = Uint8Array> extends RecordWriter<T> {
  readonly #subject: string
  readonly #attempt: string
  readonly #codec: Codec<T> | undefined
  readonly #capacityBytes: number
  readonly #recordsWord: number
  readonly #intentStepBytes: number
  readonly #writePosition: SharedPosition
  readonly #intent: SharedPosition
  readonly #nextNumber: NextNumber
  /** The number of the first message after the write position. */
  readonly #number: MessageNumber
  readonly #subscribers: Subscribers
  readonly #gates: Gates
  readonly #gateCount: number
  readonly #space: EventCount
  readonly #check = new LivenessCheckThrottle()

  /** @internal Use `ring.publisher()`. */
  constructor(side: BroadcastSide, codec: Codec<T> | undefined, { word }: AcquiredRole) {
    const { geometry, writePosition } = side
    const { byteOffset, subject, capacityBytes, gates } = geometry
    const number = new MessageNumber()
    const subscribers = new Subscribers(side)
    try {
      subscribers.isInside = takeOver(side, number)
    } catch (error) {
      side.publisherRole.close(word)
      throw error
    }
    super(
      {
        geometry,
        bytes: side.bytes,
        words: side.words,
        doubles: side.doubles,
        view: side.view,
        recordsByteOffset: byteOffset + recordsOffsetOf(gates),
        position: writePosition.low,
        prefixBytes: MESSAGE_NUMBER_BYTES,
        // Once the publisher goes on, the beginning of a larger part would be overwritten before it is read.
        heldBackBytesMax: capacityBytes / HELD_BACK_PART,
        codec,
        role: side.publisherRole,
        roleWord: word,
        space: side.space,
        readers: subscribers,
      },
      WORDS,
    )
    this.#subject = subject
    this.#attempt = `Publishing to ${subject}`
    this.#codec = codec
    this.#capacityBytes = capacityBytes
    this.#recordsWord = (byteOffset + recordsOffsetOf(gates)) >>> 2
    this.#intentStepBytes = capacityBytes / INTENT_STEPS
    this.#writePosition = writePosition
    this.#intent = side.intent
    this.#nextNumber = side.nextNumber
    this.#number = number
    this.#subscribers = subscribers
    this.#gates = side.gates
    this.#gateCount = gates
    this.#space = side.space
    // Compiles it: see takeOver.
    this.storePosition(writePosition.low)
    // After each fragment 8 bytes stay free: see layout.ts.
    this.begin(() => subscribers.isInside)
  }

  /**
   * Publishes a copy of a message, if there is space now: always, without gating subscribers.
   * @returns false if the ring is full
   * @throws IsthmusRangeError `ERR_ISTHMUS_MESSAGE_TOO_LARGE` above maxRecordBytes: publishSync sends those
   * @throws IsthmusError `ERR_ISTHMUS_CLOSED`; `ERR_ISTHMUS_CALL_ORDER` while a claim is open
   * @throws IsthmusTypeError `ERR_ISTHMUS_INVALID_ARGUMENT` for a value that is no Uint8Array, in a ring without a codec
   *
   * @example
   * ```ts
   * const ring = HeapRegion.create(broadcastRing({ capacityBytes: 4096, codec: utf8 })).root
   * ring.publisher().tryPublish('hello') // true
   * ```
   */
  tryPublish(value: T): boolean {
    return this.trySendBytes(bytesOf(value, this.#codec, this.#attempt))
  }

  /**
   * Publishes copies of as many messages as there is space for, in order, and makes them visible all at once.
   * @returns how many were published. If one of them cannot be, those before it are; a call that begins with it throws
   * @throws as tryPublish
   *
   * @example
   * ```ts
   * const ring = HeapRegion.create(broadcastRing({ capacityBytes: 4096, codec: utf8 })).root
   * ring.publisher().tryPublishBatch(['a', 'b', 'c']) // 3
   * ```
   */
  tryPublishBatch(values: readonly T[]): number {
    const batch = new Batch(values, this.#attempt)
    try {
      this.sendBatchNow(batch)
    } catch (error) {
      if (batch.sentCount === 0) throw error
    }
    return batch.sentCount
  }

  /**
   * Publishes a copy of a message of up to maxMessageBytes, and blocks the thread while gating subscribers leave no space. A
   * message above maxRecordBytes travels in fragments.
   * @returns false after `timeoutMs`; if a large message was under way, its receivers are told that it stays incomplete
   * @throws IsthmusRangeError `ERR_ISTHMUS_MESSAGE_TOO_LARGE` above maxMessageBytes
   * @throws IsthmusError `EDEADLK` if it would wait for a gating subscriber of this very thread; otherwise as tryPublish
   *
   * @example
   * ```ts
   * const ring = HeapRegion.create(broadcastRing({ capacityBytes: 4096, codec: utf8 })).root
   * ring.publisher().publishSync('hello', { timeoutMs: 1000 }) // true
   * ```
   */
  publishSync(value: T, options?: TimeoutOptions): boolean {
    const deadline = deadlineOf(options, this.#attempt)
    const bytes = bytesOf(value, this.#codec, this.#attempt)
    this.assertNoTurn()
    if (bytes.length <= this.maxRecordBytes && this.trySendBytes(bytes)) return true
    return this.sendBlocking(bytes, deadline)
  }

  /**
   * Publishes copies of all these messages, in order, and blocks the thread while gating subscribers leave no space. They become
   * visible all at once as far as there is space, and may have any length, as in publishSync.
   * @returns how many were published: fewer than all only after `timeoutMs`
   * @throws as publishSync. Those before the error are published, and `error.sent` says how many they are: see BatchError
   *
   * @example
   * ```ts
   * const ring = HeapRegion.create(broadcastRing({ capacityBytes: 4096, codec: utf8 })).root
   * ring.publisher().publishBatchSync(['a', 'b'], { timeoutMs: 1000 }) // 2
   * ```
   */
  publishBatchSync(values: readonly T[], options?: TimeoutOptions): number {
    return this.sendBatchBlocking(values, options)
  }

  /**
   * As publishSync, without blocking the event loop. Messages of one publisher go out in the order of the calls; while one waits,
   * `tryPublish` returns false and `tryClaim` -1. Leave the bytes of the message as they are until the promise is settled.
   * @throws AbortError when the signal aborts; the receivers of a large message are told as after a timeout
   *
   * @example
   * ```ts
   * const ring = HeapRegion.create(broadcastRing({ capacityBytes: 4096, codec: utf8 })).root
   * await ring.publisher().publish('hello', { signal }) // true
   * ```
   */
  publish(value: T, options?: WaitOptions): Promise<boolean> {
    return this.sendAwaiting(value, options)
  }

  /**
   * As publishBatchSync, without blocking the event loop. The batch goes out as a whole before the next message. Leave the array
   * and the bytes of the messages as they are until the promise is settled.
   * @returns how many were published: fewer than all only after `timeoutMs`
   * @throws AbortError when the signal aborts; otherwise as publish. Those before the error are published, and `error.sent` says
   * how many they are: see BatchError
   *
   * @example
   * ```ts
   * const ring = HeapRegion.create(broadcastRing({ capacityBytes: 4096, codec: utf8 })).root
   * await ring.publisher().publishBatch(['a', 'b'], { signal }) // 2
   * ```
   */
  publishBatch(values: readonly T[], options?: WaitOptions): Promise<number> {
    return this.sendBatchAwaiting(values, options)
  }

  /**
   * The gates that subscribers have, and how far each is behind: which of them holds the publisher back. It may be out of date when
   * it returns.
   *
   * @example
   * ```ts
   * const ring = HeapRegion.create(broadcastRing({ capacityBytes: 4096, gates: 4 })).root
   * ring.publisher().gates() // []
   * ```
   *
   * @throws IsthmusError `ERR_ISTHMUS_CLOSED`
   */
  gates(): GateDescription[] {
    this.assertOpen('Listing gates')
    return this.#gates.describe(this.#writePosition)
  }

  /**
   * Takes a gate away from its subscriber, which reads on as one without a gate: its `isGating` is then false. What it has
   * received stays as it is, and other subscribers notice nothing. A publisher never does that by itself.
   * @param gate as `gates()` or `ring.describe()` has described it
   * @returns false if the gate is not active any more, or has another owner
   *
   * @example
   * ```ts
   * const ring = HeapRegion.create(broadcastRing({ capacityBytes: 4096, gates: 4 })).root
   * const publisher = ring.publisher()
   * for (const gate of publisher.gates()) if (gate.behindBytes > 2048) publisher.demote(gate)
   * ```
   *
   * @throws IsthmusError `ERR_ISTHMUS_CLOSED`
   */
  demote(gate: Pick<GateDescription, 'gate' | 'peer'>): boolean {
    this.assertOpen('Demoting a gate')
    const isDemoted = this.#gates.demote(gate)
    if (isDemoted) this.#space.pollOwnWaits()
    return isDemoted
  }

  /**
   * @internal Step G4. The records get their numbers here: a message that is given up has none, so none is left out. The headers
   * are our own, but the memory is shared, so they are checked: what is not as we wrote it gets no number.
   */
  protected override storePosition(position: number): void {
    const { words } = this
    const writePosition = this.#writePosition
    if (position === writePosition.low) return
    const capacityBytes = this.#capacityBytes
    const indexMask = capacityBytes - 1
    const recordsWord = this.#recordsWord
    let { low, high } = this.#number
    let { isInside } = this.#subscribers
    for (
      let at = writePosition.low, leftBytes = distance(position, at);
      leftBytes > 0;
      leftBytes = distance(position, at)
    ) {
      const index = at & indexMask
      const word = recordsWord + (index >> 2)
      const byteLength = words[word]
      const kind = words[word + 1] & KIND_MASK
      // As fitsRecord and kindOf, without a call that the stack might have no room to compile.
      const recordBytes = recordBytesOf(byteLength)
      if (byteLength >>> 0 > leftBytes - RECORD_HEADER_BYTES || recordBytes > capacityBytes - index) break
      // Nearly every record is DATA: it comes first.
      if (kind === DATA && byteLength >= MESSAGE_NUMBER_BYTES) {
        words[word + 2] = low
        words[word + 3] = high
        isInside = false
        low = (low + 1) | 0
        if (low === 0) high = (high + 1) | 0
      } else if (kind === ABORT) {
        isInside = false
      } else if (kind !== PADDING && byteLength >= MESSAGE_NUMBER_BYTES) {
        words[word + 2] = low
        words[word + 3] = high
        isInside = kind === FIRST || kind === MIDDLE
        if (!isInside) {
          low = (low + 1) | 0
          if (low === 0) high = (high + 1) | 0
        }
      }
      at = advance(at, recordBytes)
    }
    this.#nextNumber.write(writePosition.low, position, low, high, isInside)
    writePosition.moveTo(position)
    // The messages are sent: from here on nothing is called.
    this.#number.low = low
    this.#number.high = high
    this.#subscribers.isInside = isInside
  }

  /** @internal Step G1. */
  protected override keptFrom(): number {
    const { low, era } = this.#writePosition
    if (this.#gateCount === 0) return low
    return (low - Math.min(this.#gates.furthestBehind(low, era), this.#capacityBytes)) | 0
  }

  /** @internal Step G2. */
  protected override willWrite(end: number, limit: number): number {
    const intent = this.#intent
    if (distance(end, intent.low) > 0) {
      const aimed = advance(end, this.#intentStepBytes)
      intent.moveTo(distance(aimed, limit) < 0 ? aimed : limit)
      // The load keeps the plain stores after it behind the store of the intent.
      intent.fence()
    }
    return distance(intent.low, limit) < 0 ? intent.low : limit
  }

  /** @internal */
  protected override checkReaders(): void {
    if (this.#check.isDue()) this.reapDead()
  }

  /** @internal A publisher is not told of deaths: it goes on. */
  protected override hasUntoldDeath(): boolean {
    return false
  }

  /** @internal */
  protected override reportDeath(): void {
    this.reapDead()
  }

  /** @internal */
  protected override reapDead(): void {
    this.#gates.reapDead()
  }

  /** @internal */
  protected override holders(): readonly PeerId[] {
    return this.#gates.owners()
  }

  /** @internal */
  protected override assertNotOwnReader(neededBytes: number): void {
    const { low, era } = this.#writePosition
    const bytesMax = this.#capacityBytes - neededBytes
    if (this.#gates.ownBehind(low, era, bytesMax) === undefined) return
    // It may have read more than it has returned.
    heldSpace.returnAll()
    const gate = this.#gates.ownBehind(low, era, bytesMax)
    if (gate === undefined) return
    throw new IsthmusError(
      'EDEADLK',
      `Waiting for space in ${this.#subject}: its gate ${gate} belongs to a subscriber of this very thread, which cannot receive while the thread blocks. Receive first.`,
    )
  }
}

/** What the subscribers get to know after a publication. */
class Subscribers {
  /** Whether fragments of a message are published and its last one is not. */
  isInside = false
  readonly #writePosition: SharedPosition
  readonly #checkpoints: Checkpoints
  readonly #data: WaiterSet

  constructor({ writePosition, checkpoints, data }: BroadcastSide) {
    this.#writePosition = writePosition
    this.#checkpoints = checkpoints
    this.#data = data
  }

  /** Steps G5 and G6. */
  notify(): void {
    const { low } = this.#writePosition
    if (this.#checkpoints.isDueAt(low)) this.#checkpoints.pass(low, this.isInside)
    this.#data.notifyAll()
  }
}

/**
 * Reads, and repairs, where the predecessor has stopped, and the number of the next message. Returns whether it has left a message
 * half sent.
 */
function takeOver(side: BroadcastSide, number: MessageNumber): boolean {
  const { writePosition, intent, geometry } = side
  writePosition.restore()
  intent.restore()
  const isInside = side.nextNumber.read(writePosition, number)
  const ahead = distanceOf(intent.low, intent.era, writePosition.low, writePosition.era)
  if (ahead < 0 || ahead > geometry.capacityBytes) {
    throw corruptError(geometry.subject, `its intent is ${ahead} bytes ahead of its write position`)
  }
  side.checkpoints.restore(writePosition.low, isInside)
  // What a publication calls is compiled here: at the edge of the stack there would be no room for that. This writes the same
  // position once more, and, as every publication does first, to the place that does not count.
  side.nextNumber.write(writePosition.low, advance(writePosition.low, RECORD_HEADER_BYTES), 0, 0, false)
  writePosition.moveTo(writePosition.low)
  return isInside
}
