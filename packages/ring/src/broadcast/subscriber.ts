import { IsthmusError, IsthmusRangeError } from '@isthmus/sync'
import {
  assertRoomToCompile,
  closedError,
  type EventCount,
  heldSpace,
  type SpaceHolder,
  WAITABLE,
  type WaiterSet,
  type WaitFor,
} from '@isthmus/sync/internal'
import type { Codec } from '../codec.js'
import { corruptError, OverrunError } from '../errors.js'
import { DUE, EMPTY, isPromiseLike, OVER, type RoundEnd, type Slice } from '../messages/for-each.js'
import type { MessageChunk } from '../messages/message-chunk.js'
import type { DrainCallback, DrainOptions, InPlaceCallback } from '../messages/message-receiver.js'
import { type ReaderWords, RecordReader } from '../messages/record-reader.js'
import { ownCopyOf, partOf } from '../record/large-message.js'
import {
  ABORT,
  advance,
  DATA,
  distance,
  FIRST,
  fitsRecord,
  kindOf,
  LAST,
  PADDING,
  RECORD_HEADER_BYTES,
  readTotalLength,
  recordBytesOf,
  TOTAL_LENGTH_BYTES,
} from '../record/layout.js'
import { type Fragment, isLastOf } from '../record/message-assembly.js'
import { MESSAGE_NUMBER_BYTES, MessageNumber } from '../record/message-number.js'
import { orderReads } from '../record/order-reads.js'
import { isWorthRun, PrivateRun } from '../record/private-run.js'
import { Counterpart } from '../role/counterpart.js'
import type { BroadcastSide } from './broadcast-side.js'
import type { Gate } from './gates.js'
import { INTENT_STEPS, recordsOffsetOf } from './layout.js'
import { distanceOf, eraAt, eraBefore, type SharedPosition } from './position.js'

export interface SubscriberOptions {
  /**
   * `'latest'`, the default: begins with what is published from now on. `'oldest'`: begins with the oldest messages that are still
   * there, at most seven eighths of a ring behind, so that they are not overwritten at once.
   */
  readonly from?: 'latest' | 'oldest'
  /**
   * Takes one of the ring's gates: the publisher waits for this subscriber, which misses nothing that is published from now on.
   * false if not given.
   */
  readonly gate?: boolean
  /**
   * What a call does that finds messages overwritten. `'skip'`, the default without a gate: it goes on with messages that are still
   * there, and `lost` counts the others. `'throw'`, the default with a gate: it throws an OverrunError, once for each overrun, and
   * the next call goes on. If a callback has been shown bytes that were overwritten meanwhile, or if chunks of an overwritten message
   * have been given out, the error is thrown in any case.
   */
  readonly onOverrun?: 'skip' | 'throw'
}

/** How many records that complete no message one call takes: see Consumer. */
const EMPTY_RECORDS_MAX = 1024

/** So often a subscriber looks for a place to go on at while the publisher comes round to it. Then it goes on with the newest. */
const RESTARTS_MAX = 8

/** Until it gives back a gate that was taken away, which asks for room, too. */
const SKIPPING_FRAMES = 16

/** Where a run stands that is not validated: whatever is thrown until it is, no later call takes it. Positions are multiples of 8. */
const NOWHERE = 1

const NOTHING = 0
const READY = 1
const OVERRUN = 2

const WORDS: ReaderWords = {
  sender: 'publisher',
  blockedSender: 'cannot publish while the thread blocks. Publish first',
}

/**
 * The receiving side of a broadcast ring. A ring has any number of subscribers, in any threads and processes, and each gets every
 * message. It gives private copies (`tryReceive`, `receiveSync`, `receive`), or shows messages in place (`drain`, `forEachInPlace`).
 * `undefined` means that there is nothing yet, or that the time is up; `null` means that the publisher closed and everything was
 * received. Until there is a successor, each call gives `null` again. A new subscriber waits for the next publisher instead.
 *
 * Without a gate it writes nothing to the memory, except that it sleeps, and the publisher never waits for it. A message that it
 * receives is whole: what it has copied is checked afterwards, and dropped if the publisher has come round to it meanwhile. If it
 * is too slow, it loses messages; `lost` says exactly how many, and `onOverrun` whether an error tells so. After an overrun it goes
 * on about half a ring behind the publisher, so that it is not overrun again at once.
 *
 * With a gate it loses nothing, and the publisher waits for it. The space of what it has received returns in steps of a quarter
 * of the ring, whenever the ring is found empty, with each call while the publisher waits, and before this thread sleeps. If its
 * gate is taken away (`publisher.demote`), it reads on as one without a gate: `isGating` says so, and `tryTakeGate` takes one
 * again.
 *
 * If the publisher dies, or ends without closing, everything that it has published is received first; then a call throws
 * `ERR_ISTHMUS_PEER_DIED`, once for each publisher that died, and the handle waits for a successor. If a successor takes over before
 * this subscriber noticed the end, no error is thrown; the messages of the successor follow.
 *
 * @example
 * ```ts
 * const ring = HeapRegion.create(broadcastRing({ capacityBytes: 4096, codec: utf8 })).root
 * const subscriber = ring.subscriber()
 * ring.publisher().tryPublish('hello')
 * subscriber.tryReceive() // 'hello'
 * ```
 */
export class Subscriber<T = Uint8Array> extends RecordReader<T> {
  readonly #side: BroadcastSide
  readonly #capacityBytes: number
  readonly #indexMask: number
  readonly #returnStepBytes: number
  readonly #recordsByteOffset: number
  readonly #recordsWord: number
  readonly #writePosition: SharedPosition
  readonly #intent: SharedPosition
  readonly #data: WaiterSet
  readonly #space: EventCount
  readonly #throwsOnOverrun: boolean

  /** Where the next record begins. */
  #position = 0
  /** The era of #position, or of one that lies less than a ring before it. */
  #era = 0
  /** The write position as last seen, at most a ring ahead of #position. */
  #writeLow = 0
  /** The number of the next message. */
  readonly #number = new MessageNumber()
  #lost = 0
  /** To be told by the next call that receives. */
  #untold: OverrunError | undefined

  #gate: Gate | undefined
  /** From this position on, the gate keeps the publisher from overwriting. */
  #gateLow = 0
  #gateEra = 0
  /** The number of the message there, and whether it is inside a message in fragments. */
  readonly #gateNumber = new MessageNumber()
  #isGateInside = false
  /** Whether #position has come so far. */
  #isProtected = false
  /** Where the cursor of the gate stands. */
  #returnedPosition = 0

  /** Private copies of the messages from #position on. */
  readonly #run = new PrivateRun(MESSAGE_NUMBER_BYTES)
  /** Whether the fragments that are being dropped belong to a message that an overrun has cost. */
  #isSkippingLost = false

  #isClosed = false
  /** Whether `close` has done everything: an earlier call may have thrown half-way. */
  #isCloseOver = false
  /** A callback of drain, or the codec in a batch, is at work: other calls would move #position. */
  #isInside = false
  /** Size of the record that a callback is being shown; 0 if there is none. */
  #shownBytes = 0

  /** Returns the space of received messages before this thread sleeps. */
  readonly #spaceHolder: SpaceHolder = { returnSpace: () => this.#settle() }
  readonly #spaceHolderReference = new WeakRef(this.#spaceHolder)
  /** Whether the thread's list of space holders contains this subscriber. */
  #isListed = false
  readonly #forgetClose: () => void

  /** @internal Use `ring.subscriber()`. */
  constructor(side: BroadcastSide, codec: Codec<T> | undefined, options: Required<SubscriberOptions>) {
    const { geometry } = side
    const { region, byteOffset, subject, capacityBytes, gates } = geometry
    const { bytes, words, doubles, view, data } = side
    const sender = new Counterpart(region, side.publisherRole)
    super({ geometry, bytes, words, doubles, view, codec, sender, data }, WORDS)
    this.#side = side
    this.#capacityBytes = capacityBytes
    this.#indexMask = capacityBytes - 1
    this.#returnStepBytes = capacityBytes / 4
    this.#recordsByteOffset = byteOffset + recordsOffsetOf(gates)
    this.#recordsWord = this.#recordsByteOffset >>> 2
    this.#writePosition = side.writePosition
    this.#intent = side.intent
    this.#data = side.data
    this.#space = side.space
    this.#throwsOnOverrun = options.onOverrun === 'throw'
    this.#forgetClose = region.onClose(() => this.close())
    try {
      if (options.gate && !this.tryTakeGate()) {
        throw new IsthmusError(
          'ERR_ISTHMUS_NO_GATE',
          `Subscribing to ${subject} with a gate: ${gates === 1 ? 'a live subscriber has its only gate' : `live subscribers have all of its ${gates} gates`}. Make the ring with more gates, subscribe without one, or take one away from a subscriber that is stopped (demote).`,
        )
      }
      this.#begin(options.from === 'oldest')
    } catch (error) {
      this.close()
      throw error
    }
  }

  /**
   * How many messages were overwritten before this subscriber had read them: exact up to 2 ** 53. A call that receives adds to it when
   * it finds that it was overrun.
   */
  get lost(): number {
    return this.#lost
  }

  /** Whether this subscriber has a gate that holds the publisher back. Costs one load. */
  get isGating(): boolean {
    return this.#gate?.isActive === true
  }

  /**
   * Takes a gate, if one is free: nothing that is published from now on will be overwritten before it is read. What this subscriber
   * had not read before may still be, until it has caught up.
   * @returns false if live subscribers have all gates
   * @throws IsthmusError `ERR_ISTHMUS_CLOSED`; `ERR_ISTHMUS_CORRUPT`
   *
   * @example
   * ```ts
   * const ring = HeapRegion.create(broadcastRing({ capacityBytes: 4096, gates: 1 })).root
   * const subscriber = ring.subscriber()
   * subscriber.tryTakeGate() // true
   * subscriber.isGating // true
   * ```
   */
  tryTakeGate(): boolean {
    this.assertUsable('Taking a gate')
    if (this.#gate?.isActive) return true
    this.#dropGate()
    const { gates } = this.#side
    // A gate that is taken, and of which nothing is noted, would hold the publisher back.
    assertRoomToCompile()
    let gate = gates.join(this.#writePosition)
    if (gate === undefined) {
      gates.reapDead()
      assertRoomToCompile()
      gate = gates.join(this.#writePosition)
    }
    this.#gate = gate
    if (gate === undefined) return false
    this.#returnedPosition = this.#writePosition.low
    this.#isProtected = false
    try {
      // Here, or further on.
      this.#isGateInside = this.#side.nextNumber.read(this.#writePosition, this.#gateNumber)
    } catch (error) {
      this.#dropGate()
      throw error
    }
    this.#gateLow = this.#writePosition.low
    this.#gateEra = this.#writePosition.era
    return true
  }

  /**
   * Calls back for every message that is there now, up to `limit`, in place: without a copy, if the message came in one record.
   * Those bytes are shared memory, which the publisher's process can still change: do arithmetic with them, or trust it; do not
   * decode text from them. They are valid until the callback returns. A message that came in fragments is shown in a private array
   * instead, from its byte 0 on: `bytes` is then not `subscriber.bytes`. The codec is not used.
   *
   * Without a gate, the publisher may overwrite a message while the callback reads it. That is found out when the callback returns:
   * drain then throws an OverrunError, whatever `onOverrun` says, and what the callback has seen of this message is worthless.
   *
   * If a callback throws, its message counts as received, unless it was overwritten: drain throws the same, and the next call
   * continues after it, or tells that.
   * @returns how many messages; `null` if the publisher closed and everything was received
   * @throws OverrunError `ERR_ISTHMUS_OVERRUN` as above, and if `onOverrun` says so
   * @throws PeerDiedError `ERR_ISTHMUS_PEER_DIED` if there is nothing and the publisher died
   * @throws IncompleteMessageError `ERR_ISTHMUS_MESSAGE_INCOMPLETE` if a large message breaks off
   *
   * @example
   * ```ts
   * const ring = HeapRegion.create(broadcastRing({ capacityBytes: 4096 })).root
   * const subscriber = ring.subscriber()
   * ring.publisher().tryPublishBatch([Uint8Array.of(1), Uint8Array.of(2)])
   * let sum = 0
   * const add = (bytes, byteOffset) => (sum += bytes[byteOffset])
   * subscriber.drain(add) // 2
   * ```
   */
  drain(callback: DrainCallback, options?: DrainOptions): number | null {
    // First: a getter of the options may do anything with this subscriber.
    const limit = options === undefined ? Number.POSITIVE_INFINITY : this.drainLimitOf(options)
    this.beginReading(false)
    this.assertCallback(callback)
    if (this.receives.isBusy) return 0
    if (this.#shownBytes !== 0) this.endShowing()
    this.#run.drop()
    this.#keepUp()
    if (this.#refill() === OVERRUN) this.#skipLost(false)
    if (this.#position === this.#writeLow && this.#untold === undefined && this.#isEnded()) return null
    let count = 0
    this.#isInside = true
    try {
      // What is published while the callbacks run is for the next call. A callback may close the subscriber.
      for (let emptyRecords = 0; count < limit && !this.#isClosed && emptyRecords < EMPTY_RECORDS_MAX; ) {
        if (this.#untold !== undefined) this.#tell()
        if (this.#position === this.#writeLow) break
        if (this.#gate !== undefined) this.#keepUp()
        if (this.#gate !== undefined && !this.#isListed) this.#list()
        const index = this.#position & this.#indexMask
        const headerIndex = this.#recordsWord + (index >> 2)
        // Read once, then checked, then used.
        const byteLength = this.words[headerIndex]
        if (this.#isWholeMessage(this.words[headerIndex + 1], byteLength, index)) {
          this.#shownBytes = recordBytesOf(byteLength)
          callback(
            this.bytes,
            this.#recordsByteOffset + index + (RECORD_HEADER_BYTES + MESSAGE_NUMBER_BYTES),
            byteLength - MESSAGE_NUMBER_BYTES,
          )
          this.endShowing()
          count++
        } else {
          const message = this.#assemble(this.words[headerIndex + 1], byteLength, index)
          if (message === undefined) {
            emptyRecords++
            continue
          }
          count++
          callback(message, 0, message.byteLength)
        }
      }
    } finally {
      this.#isInside = false
      // The callback has thrown.
      this.endShowing()
    }
    if (this.#untold !== undefined) this.#tell()
    return count
  }

  /** For waitAny: ready when a receive would not have to wait, because of a message, an end, or a reason to throw. */
  [WAITABLE](): WaitFor {
    this.sender.judgeBeforeWait()
    // A program that waits is done with the messages it received, and the publisher may need their space.
    if (!this.#isClosed && !this.#isInside) this.#returnSpace()
    const isReady = () => this.hasNews() || this.sender.hasClosedForGood()
    return { point: this.#data, condition: { ...this.condition, poll: isReady } }
  }

  /**
   * With a gate: returns the space of everything received so far, now. Without this call, it is returned as the class says.
   * @throws IsthmusError `ERR_ISTHMUS_CLOSED`
   *
   * @example
   * ```ts
   * const ring = HeapRegion.create(broadcastRing({ capacityBytes: 4096, gates: 1 })).root
   * const subscriber = ring.subscriber({ gate: true })
   * handle(subscriber.tryReceive())
   * subscriber.acknowledge()
   * ```
   */
  acknowledge(): void {
    this.assertUsable('Acknowledging')
    this.#returnSpace()
  }

  /**
   * Gives the gate back, if there is one. In a drain callback it ends the drain, and invalidates the bytes that the callback was
   * shown.
   *
   * @example
   * ```ts
   * const ring = HeapRegion.create(broadcastRing({ capacityBytes: 4096 })).root
   * ring.subscriber().close()
   * ```
   */
  close(): void {
    if (this.#isCloseOver) return
    this.#isClosed = true
    // Ends a drain that is under way.
    this.#shownBytes = 0
    this.#writeLow = this.#position
    this.#run.drop()
    this.large.drop()
    this.#dropGate()
    this.#data.pollOwnWaits()
    this.#forgetClose()
    this.#isCloseOver = true
  }

  /** @internal */
  protected override get isClosed(): boolean {
    return this.#isClosed
  }

  /** @internal */
  protected override blockForMessage(deadline: number): Uint8Array | undefined | null {
    this.assertOurTurn()
    for (;;) {
      const message = this.#takeRecords(false, this.#assemble)
      if (message !== undefined || !this.waitForDataSync(deadline)) return message
    }
  }

  /** @internal */
  protected override tryTakeMessage(): Uint8Array | undefined | null {
    return this.#takeRecords(false, this.#assemble)
  }

  /** @internal */
  protected override tryTakeMessageInto(into: Uint8Array): Uint8Array | undefined | null {
    this.target = into
    this.#run.drop()
    try {
      return this.#takeRecords(false, this.#assembleInto)
    } finally {
      this.target = undefined
    }
  }

  /** @internal */
  protected override tryTakeChunk(target: Uint8Array | undefined): MessageChunk | undefined | null {
    this.target = target
    this.#run.drop()
    return this.#takeRecords(true, this.#takeChunk)
  }

  /**
   * @internal Takes whole messages alone, which can be read again: an error is left to the next call. An overrun ends the batch if it
   * has to be told.
   */
  protected override takeMore(batch: T[], limit: number): number {
    let byteCount = 0
    // The codec may have slept on the first message.
    if (this.#gate !== undefined && !this.#isListed) this.#list()
    // A codec that calls this subscriber would move it. It may close it.
    this.#isInside = true
    try {
      for (let emptyRecords = 0; batch.length < limit && emptyRecords < EMPTY_RECORDS_MAX; ) {
        if (this.#untold !== undefined) break
        if (this.#position === this.#writeLow && this.#refill() !== READY) break
        const position = this.#position
        const { low, high } = this.#number
        const index = position & this.#indexMask
        const headerIndex = this.#recordsWord + (index >> 2)
        const kind = this.words[headerIndex + 1]
        if (kind !== DATA && kindOf(kind) !== PADDING) break
        const message = this.#assemble(kind, this.words[headerIndex], index)
        if (message === undefined) {
          emptyRecords++
          continue
        }
        let isDecoded = false
        try {
          batch.push(this.decoded(message) as T)
          isDecoded = true
        } finally {
          if (!isDecoded && !this.#isClosed) {
            this.#position = position
            this.#number.low = low
            this.#number.high = high
          }
        }
        if (this.#isClosed) break
        byteCount += message.byteLength
      }
    } catch {
      // Whatever it is, #position stands before the record that caused it: the next call meets it again.
    } finally {
      this.#isInside = false
    }
    return byteCount
  }

  /** @internal A record is stepped over after the callback is done with it. */
  protected override showInPlace(callback: InPlaceCallback, slice: Slice): RoundEnd {
    this.beginReading(false)
    if (this.#shownBytes !== 0) this.endShowing()
    this.#run.drop()
    try {
      do {
        if (this.#untold !== undefined) this.#tell()
        if (this.#gate !== undefined) this.#keepUp()
        if (this.#position === this.#writeLow) {
          const found = this.#refill()
          if (found === OVERRUN) {
            this.#skipLost(false)
            continue
          }
          if (found === NOTHING) {
            if (this.#isEnded()) return OVER
            if (this.#position === this.#writeLow) return EMPTY
          }
        }
        if (this.#gate !== undefined && !this.#isListed) this.#list()
        const index = this.#position & this.#indexMask
        const headerIndex = this.#recordsWord + (index >> 2)
        // Read once, then checked, then used.
        const byteLength = this.words[headerIndex]
        let result: unknown
        if (this.#isWholeMessage(this.words[headerIndex + 1], byteLength, index)) {
          this.#shownBytes = recordBytesOf(byteLength)
          result = callback(
            this.bytes,
            this.#recordsByteOffset + index + (RECORD_HEADER_BYTES + MESSAGE_NUMBER_BYTES),
            byteLength - MESSAGE_NUMBER_BYTES,
          )
          if (isPromiseLike(result)) return result
          this.endShowing()
        } else {
          const message = this.#assemble(this.words[headerIndex + 1], byteLength, index)
          if (message !== undefined) result = callback(message, 0, message.byteLength)
          if (isPromiseLike(result)) return result
        }
        if (this.#isClosed) throw closedError(this.attempt)
      } while (slice.goesOn())
      return DUE
    } catch (error) {
      this.endShowing()
      throw error
    }
  }

  /**
   * @internal The callback is done with its record, if it has been shown one: was it whole until now? If this throws, the next call
   * that receives asks again.
   */
  protected override endShowing(): void {
    if (this.#shownBytes === 0) return
    if (this.#isIntact(this.#position)) {
      this.#takeOne(this.#shownBytes)
      return
    }
    this.#skipLost(true)
    this.#shownBytes = 0
  }

  /** A record with a whole message is taken. */
  #takeOne(recordBytes: number): void {
    const position = advance(this.#position, recordBytes)
    const low = (this.#number.low + 1) | 0
    this.#shownBytes = 0
    this.#position = position
    this.#number.low = low
    if (low === 0) this.#number.high = (this.#number.high + 1) | 0
  }

  /** Where this subscriber begins. */
  #begin(fromOldest: boolean): void {
    const { nextNumber, checkpoints } = this.#side
    for (let tries = 0; ; tries++) {
      nextNumber.read(this.#writePosition, this.#number)
      const { low, era } = this.#writePosition
      this.#writeLow = low
      // The publisher may be overwriting what lies further back, or is about to.
      this.#intent.read()
      const ahead = distanceOf(this.#intent.low, this.#intent.era, low, era)
      const bytesMax = this.#capacityBytes - Math.max(ahead, this.#capacityBytes / INTENT_STEPS)
      const behind = fromOldest && tries < RESTARTS_MAX ? checkpoints.furthestBehind(low, bytesMax) : 0
      if (behind <= 0) {
        // A publisher that has ended before is not this subscriber's: it waits for the next one. Whether it had ended is asked
        // before the position is read: of what is published after it, the end is told.
        this.sender.passOverEnded()
        const isInsideNow = nextNumber.read(this.#writePosition, this.#number)
        this.#writeLow = this.#writePosition.low
        this.#startAt(this.#writePosition.low, this.#writePosition.era, isInsideNow)
        return
      }
      const position = (low - behind) | 0
      this.#startAt(position, eraBefore(position, era), false)
      if (this.#readNumber(position, low, this.#number)) return
    }
  }

  #startAt(position: number, era: number, isInside: boolean): void {
    this.#position = position
    this.#era = era
    this.#isProtected = false
    this.#isSkippingLost = false
    this.assembly.restart(isInside)
    if (this.#gate !== undefined) this.#noteProtection()
  }

  /**
   * The publisher has overwritten what stands at #position: goes on where messages are still there, and counts what was lost.
   * @param mustTell whether the program has seen something of what was overwritten
   */
  #skipLost(mustTell: boolean): void {
    // The count, and the place to go on at, are noted both or not at all.
    assertRoomToCompile(SKIPPING_FRAMES)
    const isBroken = mustTell || this.isInsideChunks
    this.#run.drop()
    this.large.drop()
    const next = new MessageNumber()
    const writeLow = this.#goOn(next)
    const lost = this.#number.distanceTo(next.low, next.high)
    if (lost < 0) throw corruptError(this.subject, `its message ${next.low} comes after message ${this.#number.low}`)
    this.#writeLow = writeLow
    this.#isSkippingLost = this.assembly.isSkipping
    this.#number.set(next.low, next.high)
    this.#noteLost(lost, isBroken)
  }

  /** Moves to a place where messages are still there, and reads the number of the next one. Returns the write position. */
  #goOn(next: MessageNumber): number {
    const { nextNumber, checkpoints } = this.#side
    for (let tries = 0; ; tries++) {
      const isInside = nextNumber.read(this.#writePosition, next)
      const { low, era } = this.#writePosition
      if (this.#gate?.isActive) {
        // From here on nothing was overwritten. It is at most a ring behind the publisher, which waits.
        next.set(this.#gateNumber.low, this.#gateNumber.high)
        this.#startAt(this.#gateLow, this.#gateEra, this.#isGateInside)
        return low
      }
      const behind = tries < RESTARTS_MAX ? checkpoints.furthestBehind(low, this.#capacityBytes / 2) : 0
      if (behind <= 0) {
        this.#startAt(low, era, isInside)
        return low
      }
      const position = (low - behind) | 0
      this.#startAt(position, eraBefore(position, era), false)
      if (this.#readNumber(position, low, next)) return low
    }
  }

  #noteLost(lost: number, mustTell: boolean): void {
    this.#lost += lost
    // What was overwritten may be parts of a message that its publisher gave up: then nothing was lost.
    if (!mustTell && (lost === 0 || !this.#throwsOnOverrun)) return
    this.#untold = new OverrunError(this.attempt, lost + (this.#untold?.lost ?? 0))
  }

  #tell(): never {
    const untold = this.#untold
    this.#untold = undefined
    throw untold
  }

  /**
   * Reads the number of the first message from this position on, where one begins. Returns false if it was overwritten meanwhile. If
   * none begins before the write position, the number of that position, which it has, is the right one.
   */
  #readNumber(from: number, writeLow: number, number: MessageNumber): boolean {
    const { words } = this
    let position = from
    for (let records = 0; position !== writeLow && records < EMPTY_RECORDS_MAX; records++) {
      const index = position & this.#indexMask
      const headerIndex = this.#recordsWord + (index >> 2)
      const byteLength = words[headerIndex]
      const kind = kindOf(words[headerIndex + 1])
      if (!fitsRecord(byteLength, distance(writeLow, position), this.#capacityBytes - index)) return false
      if (kind !== PADDING && kind !== ABORT) {
        number.set(words[headerIndex + 2], words[headerIndex + 3])
        return this.#isIntact(from) && (kind === DATA || kind === FIRST)
      }
      position = advance(position, recordBytesOf(byteLength))
    }
    return position === writeLow && this.#isIntact(from)
  }

  /**
   * Takes records until one of them gives a result, or none is left, or EMPTY_RECORDS_MAX gave none. `take` is a method of
   * this class without `this`: binding it would make garbage in every call.
   *
   * R1: the write position, if everything up to the last one was read. At it: the publisher may have ended.
   * R2: more than a ring ahead: the record at #position was overwritten.
   * R3, R4, R5 in `take`: header, copy, validation. R6: step over the record.
   */
  #takeRecords<R>(
    inChunks: boolean,
    take: (kind: number, byteLength: number, index: number) => R | undefined,
  ): R | undefined | null {
    this.beginReading(inChunks)
    if (this.#shownBytes !== 0) this.endShowing()
    for (let emptyRecords = 0; emptyRecords < EMPTY_RECORDS_MAX; emptyRecords++) {
      if (this.#untold !== undefined) this.#tell()
      if (this.#gate !== undefined) this.#keepUp()
      if (this.#position === this.#writeLow) {
        const found = this.#refill()
        if (found === OVERRUN) {
          this.#skipLost(false)
          continue
        }
        if (found === NOTHING) {
          if (this.#isEnded()) return null
          if (this.#position === this.#writeLow) return undefined
        }
      }
      if (this.#gate !== undefined && !this.#isListed) this.#list()
      const index = this.#position & this.#indexMask
      const headerIndex = this.#recordsWord + (index >> 2)
      const taken = take.call(this, this.words[headerIndex + 1], this.words[headerIndex], index)
      if (taken !== undefined) return taken
    }
    return undefined
  }

  /** Whether a record at #position looks like a message in one record, where one may stand. */
  #isWholeMessage(kind: number, byteLength: number, index: number): boolean {
    return (
      kind === DATA &&
      byteLength >= MESSAGE_NUMBER_BYTES &&
      fitsRecord(byteLength, distance(this.#writeLow, this.#position), this.#capacityBytes - index) &&
      !this.assembly.isMessageOpen
    )
  }

  /**
   * Takes one record; returns the message that it completes. Copy first, validate, then step over the record: if there is no memory
   * or no stack for the copy, nothing was received.
   */
  #assemble(kind: number, byteLength: number, index: number): Uint8Array | undefined {
    const copied = this.#run.byteLengthAt(this.#position)
    if (copied >= MESSAGE_NUMBER_BYTES && this.assembly.takeWhole(copied - MESSAGE_NUMBER_BYTES)) {
      return this.#takeCopied(copied)
    }
    if (!this.#isWholeMessage(kind, byteLength, index))
      return this.#assembleFragment(kind, byteLength, index, undefined)
    const number = this.words[this.#recordsWord + (index >> 2) + 2]
    const publishedBytes = distance(this.#writeLow, this.#position)
    if (isWorthRun(byteLength, publishedBytes)) {
      const availableBytes = Math.min(publishedBytes, this.#capacityBytes - index)
      const start = this.#recordsByteOffset + index
      this.#run.copy(this.bytes, this.words, start, recordBytesOf(byteLength), availableBytes, NOWHERE)
      if (!this.#isIntactNumber(number)) return undefined
      this.#run.position = this.#position
      const copiedByteLength = this.#run.byteLengthAt(this.#position)
      // Changed since it was checked, by a publisher that is not correct: the next attempt reads it anew.
      if (copiedByteLength < MESSAGE_NUMBER_BYTES) return undefined
      return this.assembly.takeWhole(copiedByteLength - MESSAGE_NUMBER_BYTES)
        ? this.#takeCopied(copiedByteLength)
        : undefined
    }
    const messageBytes = byteLength - MESSAGE_NUMBER_BYTES
    const start = this.#recordsByteOffset + index + RECORD_HEADER_BYTES + MESSAGE_NUMBER_BYTES
    const copy = ownCopyOf(this.bytes, start, messageBytes, this.attempt)
    if (!this.#isIntactNumber(number) || !this.assembly.takeWhole(messageBytes)) return undefined
    this.#takeOne(recordBytesOf(byteLength))
    return copy
  }

  /** The same, for a call that has an array of the program. */
  #assembleInto(kind: number, byteLength: number, index: number): Uint8Array | undefined {
    const into = this.target as Uint8Array
    if (!this.#isWholeMessage(kind, byteLength, index)) return this.#assembleFragment(kind, byteLength, index, into)
    const number = this.words[this.#recordsWord + (index >> 2) + 2]
    const messageBytes = byteLength - MESSAGE_NUMBER_BYTES
    const start = this.#recordsByteOffset + index + RECORD_HEADER_BYTES + MESSAGE_NUMBER_BYTES
    // A length that was overwritten must not make an error that says how long the message is.
    if (messageBytes > into.byteLength && !this.#isIntactNumber(number)) return undefined
    const message = partOf(into, messageBytes, this.attempt)
    message.set(this.bytes.subarray(start, start + messageBytes))
    if (!this.#isIntactNumber(number) || !this.assembly.takeWhole(messageBytes)) return undefined
    this.#takeOne(recordBytesOf(byteLength))
    return message
  }

  #takeCopied(byteLength: number): Uint8Array {
    const message = this.#run.take(byteLength)
    const low = (this.#number.low + 1) | 0
    this.#position = this.#run.position
    this.#number.low = low
    if (low === 0) this.#number.high = (this.#number.high + 1) | 0
    return message
  }

  #assembleFragment(
    kind: number,
    byteLength: number,
    index: number,
    into: Uint8Array | undefined,
  ): Uint8Array | undefined {
    const fragment = this.#look(kind, byteLength, index)
    if (fragment === undefined) return undefined
    const from = this.#payloadOf(index, fragment)
    const message = this.large.arrayFor(fragment, into)
    message.set(this.bytes.subarray(from, from + fragment.byteLength), fragment.messageOffset)
    if (!this.#isIntactOrSkips()) return undefined
    const isLast = isLastOf(fragment)
    this.#step(recordBytesOf(byteLength), isLast)
    // A complete message is the program's: keep no reference, it may be large.
    this.large.array = isLast ? undefined : message
    this.large.into = isLast ? undefined : into
    return isLast ? message : undefined
  }

  /** Takes one record; returns a copy of what it brings. */
  #takeChunk(kind: number, byteLength: number, index: number): MessageChunk | undefined {
    const fragment = this.#look(kind, byteLength, index)
    if (fragment === undefined) return undefined
    const target = this.target
    if (target !== undefined && fragment.byteLength > target.byteLength) {
      throw new IsthmusRangeError(
        'ERR_ISTHMUS_INVALID_ARGUMENT',
        `Receiving a chunk: it has ${fragment.byteLength} bytes, and the array to copy it into has ${target.byteLength}. Give one of maxRecordBytes.`,
      )
    }
    const from = this.#payloadOf(index, fragment)
    const to = from + fragment.byteLength
    target?.set(this.bytes.subarray(from, to))
    const chunk = {
      bytes: target === undefined ? this.bytes.slice(from, to) : target.subarray(0, fragment.byteLength),
      messageOffset: fragment.messageOffset,
      messageByteLength: fragment.messageByteLength,
      isLast: isLastOf(fragment),
    }
    if (!this.#isIntactOrSkips()) return undefined
    this.#step(recordBytesOf(byteLength), chunk.isLast)
    return chunk
  }

  #payloadOf(index: number, { prefixBytes }: Fragment): number {
    return this.#recordsByteOffset + index + RECORD_HEADER_BYTES + MESSAGE_NUMBER_BYTES + prefixBytes
  }

  /**
   * Reads a record, and validates what it says of itself: what it brings, to be copied before `#step`. A record that brings nothing is
   * stepped over here, also if it tells that a message stays incomplete. If this throws for a corrupt record, nothing has moved.
   */
  #look(kind: number, byteLength: number, index: number): Fragment | undefined {
    const { words } = this
    const bare = kindOf(kind)
    const prefixBytes = bare === PADDING || bare === ABORT ? 0 : MESSAGE_NUMBER_BYTES
    const payloadWord = this.#recordsWord + ((index + RECORD_HEADER_BYTES) >> 2)
    const number = words[payloadWord]
    const hasTotal = bare === FIRST && byteLength >= MESSAGE_NUMBER_BYTES + TOTAL_LENGTH_BYTES
    const total = hasTotal ? readTotalLength(words, payloadWord + MESSAGE_NUMBER_BYTES / 4) : 0
    if (!this.#isIntactOrSkips()) return undefined
    const publishedBytes = distance(this.#writeLow, this.#position)
    const isSkipped = this.assembly.isSkipping
    const isNumberRight = prefixBytes === 0 || isSkipped || number === this.#number.low
    const fits = fitsRecord(byteLength, publishedBytes, this.#capacityBytes - index) && byteLength >= prefixBytes
    if (!fits || !isNumberRight) {
      throw corruptError(
        this.subject,
        `a record of ${byteLength} bytes, of message ${number}, stands where ${publishedBytes} are published, and message ${this.#number.low} is next`,
      )
    }
    const found = this.assembly.look(kind, byteLength - prefixBytes, total)
    if (found !== undefined && !('code' in found)) return found
    const isSkippedEnd = isSkipped && bare === LAST
    const isLost = isSkippedEnd && this.#isSkippingLost
    // The step, and that it was lost, are noted both or not at all.
    if (isLost) assertRoomToCompile()
    this.#step(recordBytesOf(byteLength), isSkippedEnd)
    // At the end of its message, or of what was published of it: another one that is dropped was not lost.
    if (!this.assembly.isSkipping) this.#isSkippingLost = false
    if (found !== undefined) {
      this.large.array = undefined
      this.large.into = undefined
      throw found
    }
    if (isLost) this.#noteLost(1, false)
    return undefined
  }

  /** All these stores, or none: no call stands between them that could fail at the edge of the stack. */
  #step(recordBytes: number, isMessageEnd: boolean): void {
    const position = advance(this.#position, recordBytes)
    const low = (this.#number.low + 1) | 0
    this.assembly.step()
    this.#position = position
    if (!isMessageEnd) return
    this.#number.low = low
    if (low === 0) this.#number.high = (this.#number.high + 1) | 0
  }

  /**
   * R5: whether what was read from this position on, up to now, is what was published there: by the gate, which keeps the publisher
   * from it, or by the intent, which says how far the publisher may have come round.
   */
  #isIntact(position: number): boolean {
    orderReads()
    if (this.#isProtected) {
      if (this.#gate?.isActive) return true
      this.#dropGate()
    }
    const intent = this.#intent
    intent.read()
    const ahead = distanceOf(intent.low, intent.era, position, eraAt(position, this.#era))
    if (ahead < 0) throw corruptError(this.subject, `its intent lies ${-ahead} bytes behind what has been read`)
    return ahead <= this.#capacityBytes
  }

  /** The same for #position, and goes on elsewhere if not. */
  #isIntactOrSkips(): boolean {
    if (this.#isIntact(this.#position)) return true
    this.#skipLost(false)
    return false
  }

  /** The same, and the number of the message there, as it was read, is the one that comes next. */
  #isIntactNumber(number: number): boolean {
    if (!this.#isIntactOrSkips()) return false
    if (number === this.#number.low) return true
    this.#run.drop()
    throw corruptError(this.subject, `message ${number} stands where message ${this.#number.low} is next`)
  }

  /** R1, R2: reads the write position. */
  #refill(): typeof NOTHING | typeof READY | typeof OVERRUN {
    const writePosition = this.#writePosition
    // Everything before this position is visible, with all its bytes: see SharedPosition.
    writePosition.read()
    const { low, era } = writePosition
    this.#era = eraAt(this.#position, this.#era)
    const ahead = distanceOf(low, era, this.#position, this.#era)
    if (ahead === 0) return NOTHING
    if (ahead < 0) throw corruptError(this.subject, `its write position lies ${-ahead} bytes behind what has been read`)
    if (ahead > this.#capacityBytes) return OVERRUN
    this.#writeLow = low
    if (this.#gate !== undefined && !this.#isProtected) this.#noteProtection()
    return READY
  }

  #noteProtection(): void {
    const behind = distanceOf(this.#gateLow, this.#gateEra, this.#position, eraAt(this.#position, this.#era))
    this.#isProtected = behind <= 0
  }

  /** The program is done with what earlier calls gave it: before the next record is taken, returns the space that is due. */
  #keepUp(): void {
    if (!this.#isProtected) return
    const unreturnedBytes = distance(this.#position, this.#returnedPosition)
    if (unreturnedBytes >= this.#returnStepBytes || (unreturnedBytes > 0 && this.#space.isAwaited)) this.#returnSpace()
  }

  /** From now on this subscriber keeps the space of a received message. */
  #list(): void {
    heldSpace.add(this.#spaceHolderReference)
    this.#isListed = true
  }

  /** Returns the space of everything before #position, and wakes a publisher that waits for it. */
  #returnSpace(): void {
    const gate = this.#gate
    if (gate === undefined) return
    // It may have come so far since the last refill, and the publisher waits: then there is no other refill.
    if (!this.#isProtected) this.#noteProtection()
    if (!this.#isProtected || this.#returnedPosition === this.#position) return
    // From here on this subscriber reads nothing before this position: see SharedPosition.
    gate.moveCursor(this.#position)
    this.#space.notify()
    // Last: if waking the publisher failed, the next call tries again.
    this.#returnedPosition = this.#position
  }

  /** This thread is about to sleep. A message that a callback is shown keeps its space. */
  #settle(): boolean {
    if (this.#isInside || this.#shownBytes !== 0) return false
    if (!this.#isClosed) this.#returnSpace()
    this.#isListed = false
    return true
  }

  #dropGate(): void {
    if (this.#gate !== undefined) {
      // A gate that is given back and noted as taken could be the next one of this very thread.
      assertRoomToCompile()
      this.#gate.leave()
    }
    this.#gate = undefined
    this.#isProtected = false
    heldSpace.remove(this.#spaceHolderReference)
    this.#isListed = false
  }

  /**
   * For a ring that was found empty: whether its publisher has ended. If not, or if something came after all, #writeLow tells which.
   */
  #isEnded(): boolean {
    this.#returnSpace()
    const end = this.sender.findEnd()
    return end !== undefined && this.isOver(end)
  }

  /** @internal */
  protected override hasMore(): boolean {
    if (this.#refill() !== NOTHING) return true
    // With its publisher, the message that is being dropped has ended.
    this.#isSkippingLost = false
    return false
  }

  /** @internal Also if there is an overrun to tell. */
  protected override hasNews(): boolean {
    return (
      this.#isClosed ||
      this.#untold !== undefined ||
      !this.#writePosition.isAt(this.#position, eraAt(this.#position, this.#era)) ||
      this.sender.hasChanged()
    )
  }

  /** @internal */
  protected override assertUsable(attempt: string): void {
    if (this.#isClosed) throw closedError(`${attempt} through a subscriber of ${this.subject}`)
    if (!this.#isInside) return
    throw new IsthmusError(
      'ERR_ISTHMUS_CALL_ORDER',
      `${attempt} through a subscriber of ${this.subject} from within a callback that it has called: that still reads its message. Return from the callback first.`,
    )
  }
}
