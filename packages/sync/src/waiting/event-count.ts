import type { PeerId } from '../peers/peer-id.js'
import type { PeerDescription } from '../peers/peers.js'
import type { Region } from '../region/region.js'
import { SPIN_TIGHT } from './adaptive-spin.js'
import { type Condition, pollArmed } from './condition.js'
import { WaitPoint } from './wait-point.js'

/**
 * A wait point for one sleeper: an agent that waits for a condition in shared memory, and the agents that make it true,
 * meet here. (The two-phase handshake of folly's EventCount, for a single sleeper. WaiterSet is for several.)
 *
 * ```
 * byte  0            4            8
 *       +------------+------------+
 *       | sleeper    | sequence   |
 *       +------------+------------+
 *
 * sleeper:  31 30  29  28                  0
 *          +------+---+---------------------+
 *          |  0   | L | peer id, 0 = none   |      L: it sleeps on its event loop, not in its thread
 *          +------+---+---------------------+
 * ```
 *
 * | word     | written by                        | read by     | its writer is killed, or stopped, right after           |
 * |----------|-----------------------------------|-------------|---------------------------------------------------------|
 * | sleeper  | the sleeper alone: its id before  | notifiers   | it stays: notifiers wake no one, until the next sleeper |
 * |          | it polls again, 0 when it is up   |             | takes the place and writes its own id                   |
 * | sequence | the sleeper: +1 after each id     | both        | nothing                                                 |
 * |          | notifiers: +1 before each wake-up |             | the wake-up is missing: the next notification of        |
 * |          |                                   |             | another notifier makes up for it; otherwise the sleeper |
 * |          |                                   |             | polls after one slice, or when it learns of the death   |
 *
 * No wake-up is missed: the sleeper stores its id, then polls the condition; the notifier changes the condition, then
 * loads the id. At least one of the two sees what the other has stored. A notification between that poll and the sleep
 * changes `sequence`, so the sleep ends at once; an event loop finds the wake-up when its turn comes.
 *
 * A notifier wakes a sleeper once for each sleep. It changes `sequence`, then loads which sleeper to wake, and remembers the
 * value to which it has set the word. While the word holds this value, no sleeper has registered since: the one that was woken
 * has still to register again, and polls after that. Only the notifier itself relies on this memory, so a wake-up that was
 * lost with a notifier holds no other notifier back.
 */
export const EVENT_COUNT_BYTES = 8
const SLEEPER_WORD = 0
const SEQUENCE_WORD = 1
const ON_EVENT_LOOP = 1 << 29
const PEER_MASK = ON_EVENT_LOOP - 1

export class EventCount extends WaitPoint {
  readonly #words: Int32Array
  readonly #sleeperIndex: number
  readonly #sequenceIndex: number
  /** How many waits of this agent's event loop are armed here. */
  #armedCount = 0
  /** The sequence right after the last wake-up by this agent; undefined before the first. */
  #sequenceOfWakeUp: number | undefined

  constructor(region: Region, byteOffset: number) {
    const sequenceIndex = (byteOffset >>> 2) + SEQUENCE_WORD
    super(region, sequenceIndex, SPIN_TIGHT)
    this.#words = region.words
    this.#sleeperIndex = (byteOffset >>> 2) + SLEEPER_WORD
    this.#sequenceIndex = sequenceIndex
  }

  /** Whether an agent sleeps here. A plain read: it may be stale, and costs nothing. */
  get isAwaited(): boolean {
    return this.#words[this.#sleeperIndex] !== 0
  }

  /** The agent that sleeps here: for tools. */
  get sleeper(): PeerDescription | undefined {
    const peer = (Atomics.load(this.#words, this.#sleeperIndex) & PEER_MASK) as PeerId
    return peer === 0 ? undefined : this.region.peers.describe(peer)
  }

  /** Wakes the sleeper, if there is one. To be called after the condition was changed through Atomics. */
  notify(): void {
    // SYNC sleeper visible to notifier
    if (Atomics.load(this.#words, this.#sleeperIndex) !== 0) this.#wake()
  }

  /** Forgets what a dead predecessor left. To be called by the agent that takes the sleeper's place. */
  reset(): void {
    Atomics.store(this.#words, this.#sleeperIndex, 0)
  }

  arm(): void {
    this.region.waiter.listen()
    this.#armedCount++
    this.#register(this.region.peers.self | ON_EVENT_LOOP)
  }

  /** The mark stands still: only the sleeper takes it back. */
  renew(): void {
    // SYNC registration visible to an earlier notifier
    Atomics.add(this.#words, this.#sequenceIndex, 1)
  }

  disarm(): void {
    if (--this.#armedCount === 0) this.#clear(this.region.peers.self | ON_EVENT_LOOP)
  }

  protected override sleepOnce(condition: Condition, timeoutMs: number): boolean {
    // Read before the sleep. After it, each function and each object costs a thread that has slept for long a microsecond.
    const { waiter, peers } = this.region
    const { self } = peers
    const words = this.#words
    const sleeperIndex = this.#sleeperIndex
    const sequence = this.#register(self)
    try {
      if (pollArmed(condition)) return true
      waiter.waitSync(this.#sequenceIndex, sequence, timeoutMs)
      return false
    } finally {
      // As #clear does.
      Atomics.compareExchange(words, sleeperIndex, self, 0)
      if (this.#armedCount > 0) this.#armAgain()
    }
  }

  /** Returns the sequence that lasts until the next notification. */
  #register(sleeper: number): number {
    // SYNC sleeper visible to notifier
    Atomics.store(this.#words, this.#sleeperIndex, sleeper)
    // SYNC registration visible to an earlier notifier
    return (Atomics.add(this.#words, this.#sequenceIndex, 1) + 1) | 0
  }

  /** Leaves the word alone if it is no longer ours: a successor may have taken the sleeper's place. */
  #clear(own: number): void {
    Atomics.compareExchange(this.#words, this.#sleeperIndex, own, 0)
  }

  /** The blocking wait overwrote our event loop's mark: sets it again. */
  #armAgain(): void {
    this.#register(this.region.peers.self | ON_EVENT_LOOP)
    this.schedulePollOfOwnWaits()
  }

  #wake(): void {
    // SYNC registration visible to an earlier notifier
    if (Atomics.load(this.#words, this.#sequenceIndex) === this.#sequenceOfWakeUp) return
    // SYNC notification ends the sleep
    const sequence = Atomics.add(this.#words, this.#sequenceIndex, 1) + 1
    // Loaded now: what is remembered below must be a wake-up of the sleeper that had registered by then.
    const sleeper = Atomics.load(this.#words, this.#sleeperIndex)
    if ((sleeper & ON_EVENT_LOOP) === 0) this.region.waiter.wakeThreads(this.#sequenceIndex, 1)
    else if (!this.wakeLoop((sleeper & PEER_MASK) as PeerId)) return
    // Last: if waking failed, the next notification tries again.
    this.#sequenceOfWakeUp = sequence | 0
  }
}
