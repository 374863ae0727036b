import { host, setKeepsAlive } from '../host/host.js'
import { MAX_PEERS, type PeerId, slotOf } from '../peers/peer-id.js'
import type { PeerDescription } from '../peers/peers.js'
import type { Region } from '../region/region.js'
import { SPIN_TIGHT } from './adaptive-spin.js'
import { type Condition, pollArmed } from './condition.js'
import { fallbackPolling } from './fallback-polling.js'
import { WaitPoint } from './wait-point.js'

/**
 * An event count for any number of sleepers, threads and event loops mixed: each has a bit, so nothing is counted that a
 * dead one could leave behind.
 *
 * ```
 * byte  0            4                              20                             36
 *       +------------+---- … 4 words, 128 bits -----+---- … 4 words, 128 bits -----+
 *       | sequence   | waiting: a bit for each slot | awaiting: those of them with |
 *       |            |                              | an event loop to be rung     |
 *       +------------+---- … -----------------------+---- … -----------------------+
 * ```
 *
 * | word     | written by                          | read by   | its writer is killed right after                        |
 * |----------|-------------------------------------|-----------|---------------------------------------------------------|
 * | waiting  | each slot's holder, its own bit: 1  | notifiers | the bit stays: wakes that wake nobody, until the slot   |
 * |          | before its last look, 0 when it is  |           | is swept                                                |
 * |          | up; the sweep of a dead slot        |           |                                                         |
 * | awaiting | the same, after `waiting` is set    | notifiers | the same                                                |
 * | sequence | notifiers: +1 before each wake      | sleepers  | the wake is missing: sleepers look after one slice, or  |
 * |          |                                     |           | when they hear of the death                             |
 *
 * The handshake is EventCount's. One that is woken may have been meant to hand over what it finds, not to keep it: every
 * sleeper passes on what it leaves (Condition.handOffWakeup), after its bit is gone. A notifier that still saw the bit changed
 * the memory before, so the sleeper sees the change.
 *
 * A sleeper that is stopped (SIGSTOP, a debugger, a long computation on its event loop) takes a wake-up and does nothing
 * with it. So the thread of a notifier looks again `fallbackPolling.handOffMs` later, if it runs an event loop: if every sleeper
 * of then still sleeps, and what they wait for is still there, it wakes as many again and looks again.
 */
export const WAITER_SET_BYTES = 36
const SEQUENCE_WORD = 0
const WAITING_WORD = 1
const AWAITING_WORD = 5
const BITMAP_WORDS = MAX_PEERS / 32

/** Threads are woken before event loops, since they are quicker. Every so often both are, so that no loop waits for ever. */
const BOTH_EVERY = 8
/** One of them may be busy for a moment. */
const LOOPS_TO_WAKE = 2

export class WaiterSet extends WaitPoint {
  readonly #words: Int32Array
  readonly #sequenceIndex: number
  readonly #waitingIndex: number
  readonly #awaitingIndex: number
  /** How many waits of this agent's event loop are armed here: they share its bit. */
  #armedCount = 0
  /** Whether its thread sleeps here, or is on its way; an outer enterSync may hold the bit for longer. */
  #blockedDepth = 0
  /** Where the search for the next loop to ring begins, so that each gets its turn. */
  #nextSlot = 0
  readonly #isStillThere: () => boolean
  /** Who slept here before the notification that is to be looked after, and before the last one since. */
  readonly #sleepersThen = new Int32Array(BITMAP_WORDS)
  readonly #sleepersSince = new Int32Array(BITMAP_WORDS)
  #isHandOffPlanned = false
  #isNotifiedSince = false

  /**
   * @param isStillThere whether a waiter that came now would get what was notified; says whether a wake-up goes on to the
   * next sleeper if the first ones do not take it
   */
  constructor(region: Region, byteOffset: number, isStillThere: () => boolean = always, pace = SPIN_TIGHT) {
    const sequenceIndex = (byteOffset >>> 2) + SEQUENCE_WORD
    super(region, sequenceIndex, pace)
    this.#isStillThere = isStillThere
    this.#words = region.words
    this.#sequenceIndex = sequenceIndex
    this.#waitingIndex = (byteOffset >>> 2) + WAITING_WORD
    this.#awaitingIndex = (byteOffset >>> 2) + AWAITING_WORD
  }

  /** Changes with every notification that found somebody waiting. */
  get sequence(): number {
    return Atomics.load(this.#words, this.#sequenceIndex)
  }

  /** Wakes one sleeper, if there is any. To be called after the condition was changed through Atomics. */
  notifyOne(): void {
    if (!this.#isAwaited()) return
    this.#watchNotification()
    const sequence = Atomics.add(this.#words, this.#sequenceIndex, 1)
    const woken = this.region.waiter.wakeThreads(this.#sequenceIndex, 1)
    if (woken === 0 || (sequence & (BOTH_EVERY - 1)) === 0) this.#wakeLoops(LOOPS_TO_WAKE)
  }

  /** Wakes everybody who sleeps here. */
  notifyAll(): void {
    if (!this.#isAwaited()) return
    Atomics.add(this.#words, this.#sequenceIndex, 1)
    this.region.waiter.wakeThreads(this.#sequenceIndex, MAX_PEERS)
    this.#wakeLoops(MAX_PEERS)
  }

  /**
   * Wakes all sleepers on behalf of a notification that reached somebody else: one of them is ready, and which one is not
   * known here. Nothing new has happened. It is rare.
   */
  relay(): void {
    if (!this.#isAwaited()) return
    this.region.waiter.wakeThreads(this.#sequenceIndex, MAX_PEERS)
    this.#wakeLoops(MAX_PEERS)
  }

  /**
   * For a waiter that has left, and knows the sequence of before: whether there was a notify since. Where it does not use
   * it, or there were more, they may have been meant for others, who are ready then and only have to look.
   */
  relaySince(ticket: number, isUsed: boolean): boolean {
    const notifies = (this.sequence - ticket) | 0
    if (notifies !== 0 && (notifies !== 1 || !isUsed)) this.relay()
    return notifies !== 0
  }

  arm(): void {
    this.region.waiter.listen()
    if (this.#armedCount++ > 0) return
    this.#setBit(this.#waitingIndex)
    this.#setBit(this.#awaitingIndex)
  }

  disarm(): void {
    if (--this.#armedCount > 0) return
    this.#clearBit(this.#awaitingIndex)
    if (this.#blockedDepth === 0) this.#clearBit(this.#waitingIndex)
  }

  /** For a thread that is about to give up what protects its condition: whoever changes it from now on sees us. */
  enterSync(): void {
    if (this.#blockedDepth++ === 0 && this.#armedCount === 0) this.#setBit(this.#waitingIndex)
  }

  leaveSync(): void {
    if (--this.#blockedDepth === 0 && this.#armedCount === 0) this.#clearBit(this.#waitingIndex)
  }

  /** Everyone who waits here: for tools. */
  waiters(): PeerDescription[] {
    const { peers } = this.region
    const found: PeerDescription[] = []
    for (const slot of this.#slotsIn(this.#waitingIndex, 0)) {
      const peer = peers.at(slot)
      if (peer !== undefined) found.push(peers.describe(peer))
    }
    return found
  }

  sweep(deadPeer: PeerId): void {
    const slot = slotOf(deadPeer)
    this.#clearBit(this.#awaitingIndex, slot)
    this.#clearBit(this.#waitingIndex, slot)
  }

  protected override sleepOnce(condition: Condition, timeoutMs: number): boolean {
    const sequence = this.sequence
    this.enterSync()
    try {
      if (pollArmed(condition)) return true
      this.region.waiter.waitSync(this.#sequenceIndex, sequence, timeoutMs)
      return false
    } finally {
      this.leaveSync()
    }
  }

  /** Before a notification: looks later whether one of those who sleep here now has woken up; see above. */
  #watchNotification(): void {
    if (fallbackPolling.handOffMs === Number.POSITIVE_INFINITY) return
    this.#isNotifiedSince = this.#isHandOffPlanned
    this.#copySleepers(this.#isHandOffPlanned ? this.#sleepersSince : this.#sleepersThen)
    if (!this.#isHandOffPlanned) this.#handOffLater(LOOPS_TO_WAKE)
  }

  #handOffLater(count: number): void {
    this.#isHandOffPlanned = true
    setKeepsAlive(
      host.setTimeout(() => this.#handOffIfUntaken(count), fallbackPolling.handOffMs),
      false,
    )
  }

  #handOffIfUntaken(count: number): void {
    this.#isHandOffPlanned = false
    if (this.region.isClosed) return
    if (this.#hasAnyWoken() || !this.#isStillThere()) {
      if (!this.#isNotifiedSince) return
      this.#isNotifiedSince = false
      this.#sleepersThen.set(this.#sleepersSince)
      this.#handOffLater(LOOPS_TO_WAKE)
      return
    }
    // Each time twice as many: of a hundred that are stopped, the last one is passed after six times.
    this.region.waiter.wakeThreads(this.#sequenceIndex, count)
    this.#wakeLoops(count)
    if (count < MAX_PEERS) this.#handOffLater(count * 2)
  }

  #hasAnyWoken(): boolean {
    for (let word = 0; word < BITMAP_WORDS; word++) {
      if ((this.#sleepersThen[word] & ~Atomics.load(this.#words, this.#waitingIndex + word)) !== 0) return true
    }
    return false
  }

  #copySleepers(target: Int32Array): void {
    for (let word = 0; word < BITMAP_WORDS; word++) target[word] = Atomics.load(this.#words, this.#waitingIndex + word)
  }

  #isAwaited(): boolean {
    for (let word = 0; word < BITMAP_WORDS; word++) {
      if (Atomics.load(this.#words, this.#waitingIndex + word) !== 0) return true
    }
    return false
  }

  #wakeLoops(count: number): void {
    const { peers } = this.region
    let rung = 0
    for (const slot of this.#slotsIn(this.#awaitingIndex, this.#nextSlot)) {
      const peer = peers.at(slot)
      if (peer === undefined || !this.wakeLoop(peer)) continue
      this.#nextSlot = (slot + 1) % MAX_PEERS
      if (++rung === count) return
    }
  }

  /** The slots whose bit is set, from one of them on and around. */
  *#slotsIn(bitmapIndex: number, firstSlot: number): Generator<number> {
    for (let step = 0; step <= BITMAP_WORDS; step++) {
      const word = ((firstSlot >> 5) + step) % BITMAP_WORDS
      let bits = Atomics.load(this.#words, bitmapIndex + word)
      // The first word is seen twice: from the first slot on, and up to it.
      if (step === 0) bits &= -1 << (firstSlot & 31)
      if (step === BITMAP_WORDS) bits &= ~(-1 << (firstSlot & 31))
      while (bits !== 0) {
        const bit = 31 - Math.clz32(bits & -bits)
        bits &= bits - 1
        yield word * 32 + bit
      }
    }
  }

  #setBit(bitmapIndex: number): void {
    const slot = slotOf(this.region.peers.self)
    Atomics.or(this.#words, bitmapIndex + (slot >> 5), 1 << (slot & 31))
  }

  #clearBit(bitmapIndex: number, slot = slotOf(this.region.peers.self)): void {
    Atomics.and(this.#words, bitmapIndex + (slot >> 5), ~(1 << (slot & 31)))
  }
}

function always(): boolean {
  return true
}
