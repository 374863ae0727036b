import { host, setKeepsAlive } from '../host/host.js'
import { MAX_PEERS, type PeerId } from '../peers/peer-id.js'
import type { PeerDescription } from '../peers/peers.js'
import { SLOT_BITMAP_BYTES, SlotBitmap } from '../peers/slot-bitmap.js'
import type { Region } from '../region/region.js'
import { SPIN_TIGHT } from './adaptive-spin.js'
import { type Condition, pollArmed } from './condition.js'
import { fallbackPolling } from './fallback-polling.js'
import { WaitPoint } from './wait-point.js'

/**
 * An event count for any number of sleepers, threads and event loops mixed. Each peer has a bit; there is no count of
 * sleepers, which a killed sleeper would leave wrong.
 *
 * ```
 * byte  0            4                              20                             36              40
 *       +------------+---- … 4 words, 128 bits -----+---- … 4 words, 128 bits -----+---------------+
 *       | sequence   | waiting: a bit for each slot | awaiting: the slots of these | registrations |
 *       |            |                              | whose event loop sleeps      |               |
 *       +------------+---- … -----------------------+---- … -----------------------+---------------+
 *
 * registrations:  31                1  0
 *                +-------------------+---+
 *                | count (31)        | S |      S: a peer may sleep here. While it is 0, no bit has to be looked at
 *                +-------------------+---+
 * ```
 *
 * | word     | written by                          | read by   | its writer is killed, or stopped, right after           |
 * |----------|-------------------------------------|-----------|---------------------------------------------------------|
 * | waiting  | each slot's holder, its own bit: 1  | notifiers | the bit stays: notifiers wake in vain, until the slot   |
 * |          | before it registers, 0 when it is   |           | is swept                                                |
 * |          | up; a sweep of the slot: 0          |           |                                                         |
 * | awaiting | the same, after `waiting`           | notifiers | the same                                                |
 * | registra-| sleepers: count +1, after their     | notifiers | S is 0: the sleeper has not polled for the last time    |
 * | tions    | bits and before they poll for the   |           | yet, so it does not sleep                               |
 * |          | last time; then S, if it was 0      |           |                                                         |
 * |          | notifiers: S to 0, by CAS from the  |           | nothing                                                 |
 * |          | word for which they found no bit    |           |                                                         |
 * | sequence | notifiers: +1 before they wake      | sleepers  | no sleeper was woken: the next notification makes up    |
 * |          |                                     |           | for it; otherwise sleepers poll after one slice or      |
 * |          |                                     |           | tick, or when they hear of the death                    |
 *
 * The handshake is that of EventCount: a sleeper sets its bits, registers, and polls; a notifier changes the condition, then
 * loads S. A woken sleeper may not be able to use what it finds. Then it wakes another one
 * (Condition.handOffWakeup), after it has cleared its own bit: a notifier that still saw the bit wrote before, so the
 * sleeper sees that write.
 *
 * A sleeper that is up leaves S: another may still sleep. A notifier that then looks at the bits, and finds none, clears S. If
 * a sleeper has registered since the notifier loaded the word, the count differs, and the CAS fails. A sleeper that registers
 * later finds S cleared, and sets it. One that had registered before, and still sleeps, has a bit that the notifier finds. So a
 * sleeper that has changed the count relies on the S that it saw then. The bit of a killed sleeper keeps S until its slot is
 * swept.
 *
 * A notifier wakes an event loop once for each sleep. It remembers how many registrations there had been before it woke the
 * loop. While the number is the same, the loop has still to register again, and polls after that. Only the notifier itself
 * relies on this memory. The system wakes a sleeping thread once. The count is that of all sleepers, so a notifier may wake a
 * loop that has not registered again once more, in vain, but only after another sleeper has registered.
 *
 * A notifier that finds no more sleeper to wake remembers that for the same number of registrations: all sleepers are up, or
 * about to be. Their bits stay until they run. A thread that had registered and did not sleep yet finds that the sequence has
 * changed, and registers again before it sleeps. So until another registration the notifier asks with one load, and makes no
 * system call.
 *
 * A sleeper that is stopped (SIGSTOP, a debugger, a long computation on its event loop) consumes a wake-up and does nothing
 * with it. So the notifier's thread, if it runs an event loop, checks `fallbackPolling.handOffMs` later: if all sleepers of
 * then still sleep, and what they wait for is still there, it wakes more of them, and checks again.
 */
export const WAITER_SET_BYTES = 8 + 2 * SLOT_BITMAP_BYTES
const SEQUENCE_OFFSET = 0
const WAITING_OFFSET = 4
const AWAITING_OFFSET = WAITING_OFFSET + SLOT_BITMAP_BYTES
const REGISTRATIONS_OFFSET = AWAITING_OFFSET + SLOT_BITMAP_BYTES
const MAY_SLEEP = 1
const REGISTRATION = 2

/** Threads are woken before event loops, since they are quicker. Every so often both are, so that no loop waits for good. */
const BOTH_EVERY = 8
/** Two, because the first one may be busy or stopped. */
const LOOPS_TO_WAKE = 2

export class WaiterSet extends WaitPoint {
  readonly #words: Int32Array
  readonly #sequenceIndex: number
  readonly #waiting: SlotBitmap
  readonly #awaiting: SlotBitmap
  readonly #registrationsIndex: number
  /** For the slots whose event loops this attachment has woken: how many registrations there had been before. */
  #wokenAt: Map<number, number> | undefined
  /** The word of registrations for which this attachment has found no sleeper that is left to be woken. It has S, so it is not 0. */
  #allWokenAt = 0
  /** How many waits of this attachment's event loop are armed here: they share its bits. */
  #armedCount = 0
  /** How many calls have entered and not left: an outer enterSync may keep the bit set for longer than a sleep. */
  #blockedDepth = 0
  /** Where the search for the next loop to wake begins, so that each has its turn. */
  #nextSlot = 0
  readonly #isStillThere: () => boolean
  /** The sleepers at the notification that will be checked, and at the last one since. */
  readonly #sleepersThen = new Int32Array(SlotBitmap.wordCount)
  readonly #sleepersSince = new Int32Array(SlotBitmap.wordCount)
  #isHandOffPlanned = false
  #isNotifiedSince = false

  /**
   * @param isStillThere whether what was notified is still to be had: if the first sleepers do not take it, the next are woken
   */
  constructor(region: Region, byteOffset: number, isStillThere: () => boolean = always, spinPolicy = SPIN_TIGHT) {
    const sequenceIndex = (byteOffset + SEQUENCE_OFFSET) >>> 2
    super(region, sequenceIndex, spinPolicy)
    this.#isStillThere = isStillThere
    this.#words = region.words
    this.#sequenceIndex = sequenceIndex
    this.#waiting = new SlotBitmap(region.words, byteOffset + WAITING_OFFSET)
    this.#awaiting = new SlotBitmap(region.words, byteOffset + AWAITING_OFFSET)
    this.#registrationsIndex = (byteOffset + REGISTRATIONS_OFFSET) >>> 2
  }

  /** Changes with every notification that found a waiter. */
  get sequence(): number {
    return Atomics.load(this.#words, this.#sequenceIndex)
  }

  /** Wakes one sleeper, if there is any. Call it after changing the condition through Atomics. */
  notifyOne(): void {
    // SYNC sleeper visible to notifier
    const registrations = Atomics.load(this.#words, this.#registrationsIndex)
    if ((registrations & MAY_SLEEP) !== 0 && registrations !== this.#allWokenAt) this.#wakeOne(registrations)
  }

  /** Wakes all sleepers. */
  notifyAll(): void {
    // SYNC sleeper visible to notifier
    const registrations = Atomics.load(this.#words, this.#registrationsIndex)
    if ((registrations & MAY_SLEEP) !== 0 && registrations !== this.#allWokenAt) this.#wakeAll(registrations)
  }

  /**
   * Wakes all sleepers on behalf of a notification that reached another waiter: one of them is ready, and which one is not
   * known here. The sequence stays, since nothing new has happened. It is rare.
   */
  relay(): void {
    // SYNC sleeper visible to notifier
    const registrations = Atomics.load(this.#words, this.#registrationsIndex)
    if ((registrations & MAY_SLEEP) === 0 || registrations === this.#allWokenAt) return
    if (!this.#isAwaited(registrations)) return
    this.region.waiter.wakeThreads(this.#sequenceIndex, MAX_PEERS)
    this.#wakeLoops(MAX_PEERS, false)
  }

  /**
   * For a waiter that has cleared its bit: whether anyone notified since the sequence was `ticket`. If the notification is
   * not used, or there was more than one, it wakes the others: they may have been meant, and find so when they poll.
   */
  relaySince(ticket: number, isUsed: boolean): boolean {
    const notifies = (this.sequence - ticket) | 0
    if (notifies !== 0 && (notifies !== 1 || !isUsed)) this.relay()
    return notifies !== 0
  }

  arm(): void {
    this.region.waiter.listen()
    if (this.#armedCount++ === 0) {
      this.#waiting.set(this.region.peers.self)
      this.#awaiting.set(this.region.peers.self)
    }
    this.#register()
  }

  renew(): void {
    this.#register()
  }

  disarm(): void {
    if (--this.#armedCount > 0) return
    this.#awaiting.clear(this.region.peers.self)
    if (this.#blockedDepth === 0) this.#waiting.clear(this.region.peers.self)
  }

  /** Sets the thread's bit before it gives up the lock that protects its condition: later notifiers see it. */
  enterSync(): void {
    if (this.#blockedDepth++ === 0 && this.#armedCount === 0) this.#waiting.set(this.region.peers.self)
    this.#register()
  }

  leaveSync(): void {
    if (--this.#blockedDepth === 0 && this.#armedCount === 0) this.#waiting.clear(this.region.peers.self)
  }

  /** The peers that wait here, for tools. */
  waiters(): PeerDescription[] {
    const { peers } = this.region
    const found: PeerDescription[] = []
    for (const slot of this.#waiting.slots()) {
      const peer = peers.at(slot)
      if (peer !== undefined) found.push(peers.describe(peer))
    }
    return found
  }

  sweep(deadPeer: PeerId): void {
    this.#awaiting.clear(deadPeer)
    this.#waiting.clear(deadPeer)
  }

  protected override sleepOnce(condition: Condition, timeoutMs: number): boolean {
    // SYNC notification ends the sleep
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

  /** Called when our bits are set. After the count has changed, a notifier clears S only if it no longer finds them. */
  #register(): void {
    // SYNC registration visible to an earlier notifier
    const before = Atomics.add(this.#words, this.#registrationsIndex, REGISTRATION)
    // SYNC sleeper visible to notifier
    if ((before & MAY_SLEEP) === 0) Atomics.or(this.#words, this.#registrationsIndex, MAY_SLEEP)
  }

  /** Apart from notifyOne, as #wakeAll from notifyAll: those are short enough to be compiled into the functions that notify. */
  #wakeOne(registrations: number): void {
    if (!this.#isAwaited(registrations)) return
    this.#watchNotification()
    // SYNC notification ends the sleep
    const sequence = Atomics.add(this.#words, this.#sequenceIndex, 1)
    const woken = this.region.waiter.wakeThreads(this.#sequenceIndex, 1)
    const isAnyLoopLeft = (woken === 0 || sequence % BOTH_EVERY === 0) && this.#wakeLoops(LOOPS_TO_WAKE, false)
    if (woken === 0 && !isAnyLoopLeft) this.#allWokenAt = registrations
  }

  #wakeAll(registrations: number): void {
    if (!this.#isAwaited(registrations)) return
    // SYNC notification ends the sleep
    Atomics.add(this.#words, this.#sequenceIndex, 1)
    const woken = this.region.waiter.wakeThreads(this.#sequenceIndex, MAX_PEERS)
    const isAnyLoopLeft = this.#wakeLoops(MAX_PEERS, false)
    if (woken === 0 && !isAnyLoopLeft) this.#allWokenAt = registrations
  }

  /** Whether any bit is set, now that S was. If none is, it clears S, unless a sleeper has registered since. */
  #isAwaited(registrations: number): boolean {
    if (!this.#waiting.isEmpty) return true
    // SYNC registration visible to an earlier notifier
    Atomics.compareExchange(this.#words, this.#registrationsIndex, registrations, registrations & ~MAY_SLEEP)
    return false
  }

  /** Called before a notification: plans the check whether one of the present sleepers has woken up; see above. */
  #watchNotification(): void {
    if (fallbackPolling.handOffMs === Number.POSITIVE_INFINITY) return
    this.#isNotifiedSince = this.#isHandOffPlanned
    this.#waiting.copyTo(this.#isHandOffPlanned ? this.#sleepersSince : this.#sleepersThen)
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
    const hasAnyWoken = !this.#waiting.includes(this.#sleepersThen)
    if (hasAnyWoken || !this.#isStillThere()) {
      if (!this.#isNotifiedSince) return
      this.#isNotifiedSince = false
      this.#sleepersThen.set(this.#sleepersSince)
      this.#handOffLater(LOOPS_TO_WAKE)
      return
    }
    // Twice as many each time: a hundred that are stopped are passed after six times.
    this.region.waiter.wakeThreads(this.#sequenceIndex, count)
    this.#wakeLoops(count, true)
    if (count < MAX_PEERS) this.#handOffLater(count * 2)
  }

  /**
   * @param isAgain whether to wake loops whose wake-up is under way, too
   * @returns whether there were any to be woken: this has woken them, or some of them, or failed to
   */
  #wakeLoops(count: number, isAgain: boolean): boolean {
    const { peers } = this.region
    this.#wokenAt ??= new Map()
    // SYNC registration visible to an earlier notifier
    const registrations = Atomics.load(this.#words, this.#registrationsIndex)
    let woken = 0
    let isAnyLeft = false
    // Looked at after that: a loop that had registered by then is found, under the peer that it is now.
    for (const slot of this.#awaiting.slots(this.#nextSlot)) {
      if (!isAgain && this.#wokenAt.get(slot) === registrations) continue
      const peer = peers.at(slot)
      if (peer === undefined) continue
      isAnyLeft = true
      if (!this.wakeLoop(peer)) continue
      // Last: if waking failed, the next notification tries again.
      this.#wokenAt.set(slot, registrations)
      this.#nextSlot = (slot + 1) % MAX_PEERS
      if (++woken === count) return true
    }
    return isAnyLeft
  }
}

function always(): boolean {
  return true
}
