import type { PeerId } from '../peers/peer-id.js'
import type { PeerDescription } from '../peers/peers.js'
import type { Region } from '../region/region.js'
import { type Condition, pollArmed } from './condition.js'
import { SPIN_TIGHT } from './spin.js'
import { WaitPoint } from './wait-point.js'

/**
 * An event count for one sleeper: the meeting point of an agent that waits for a condition in shared memory and of those
 * who make it true. (The two-phase handshake of folly's EventCount, here for a single sleeper. WaiterSet is for several.)
 *
 * ```
 * byte  0            4            8
 *       +------------+------------+
 *       | sleeper    | sequence   |
 *       +------------+------------+
 *
 * sleeper:  31 30  29  28                  0
 *          +------+---+---------------------+
 *          |  0   | L | peer id, 0 = nobody |      L: it sleeps on its event loop, not in its thread
 *          +------+---+---------------------+
 * ```
 *
 * | word     | written by                        | read by     | its writer is killed right after                        |
 * |----------|-----------------------------------|-------------|---------------------------------------------------------|
 * | sleeper  | the sleeper alone: its id before  | the notifier| it stays: wakes that wake nobody, until the next        |
 * |          | it looks again, 0 when it is up   |             | sleeper takes the place and writes its own              |
 * | sequence | notifiers: +1 before each wake    | the sleeper | the wake is missing: the sleeper looks after one slice, |
 * |          |                                   |             | or when it hears of the death                           |
 *
 * Nobody misses a wake-up: the sleeper stores its id, then looks at the condition; the notifier changes the condition,
 * then looks at the id. One of the two sees the other. A notify between that look and the sleep changes `sequence`, and
 * the sleep ends at once; a bell rings on until it is answered.
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

  constructor(region: Region, byteOffset: number) {
    const sequenceIndex = (byteOffset >>> 2) + SEQUENCE_WORD
    super(region, sequenceIndex, SPIN_TIGHT)
    this.#words = region.words
    this.#sleeperIndex = (byteOffset >>> 2) + SLEEPER_WORD
    this.#sequenceIndex = sequenceIndex
  }

  /** A look without ordering: right sooner or later, and free. */
  get isAwaited(): boolean {
    return this.#words[this.#sleeperIndex] !== 0
  }

  /** Who sleeps here: for tools. */
  get sleeper(): PeerDescription | undefined {
    const peer = (Atomics.load(this.#words, this.#sleeperIndex) & PEER_MASK) as PeerId
    return peer === 0 ? undefined : this.region.peers.describe(peer)
  }

  /** To be called after the condition was changed through Atomics. A system call only where somebody sleeps. */
  notify(): void {
    const sleeper = Atomics.load(this.#words, this.#sleeperIndex)
    if (sleeper !== 0) this.#wake(sleeper)
  }

  /** For the agent that takes the sleeper's place: what a dead predecessor left behind is forgotten. */
  reset(): void {
    Atomics.store(this.#words, this.#sleeperIndex, 0)
  }

  arm(): void {
    this.region.waiter.listen()
    this.#armedCount++
    Atomics.store(this.#words, this.#sleeperIndex, this.region.peers.self | ON_EVENT_LOOP)
  }

  disarm(): void {
    if (--this.#armedCount === 0) this.#clear(this.region.peers.self | ON_EVENT_LOOP)
  }

  protected override sleepOnce(condition: Condition, timeoutMs: number): boolean {
    const sequence = Atomics.load(this.#words, this.#sequenceIndex)
    Atomics.store(this.#words, this.#sleeperIndex, this.region.peers.self)
    try {
      if (pollArmed(condition)) return true
      this.region.waiter.waitSync(this.#sequenceIndex, sequence, timeoutMs)
      return false
    } finally {
      this.#clear(this.region.peers.self)
      if (this.#armedCount > 0) this.#armAgain()
    }
  }

  /** What stands there may be our successor's by now. */
  #clear(own: number): void {
    Atomics.compareExchange(this.#words, this.#sleeperIndex, own, 0)
  }

  /** A thread slept in the place of its own event loop. */
  #armAgain(): void {
    Atomics.store(this.#words, this.#sleeperIndex, this.region.peers.self | ON_EVENT_LOOP)
    this.schedulePollOfOwnWaits()
  }

  #wake(sleeper: number): void {
    Atomics.add(this.#words, this.#sequenceIndex, 1)
    if ((sleeper & ON_EVENT_LOOP) === 0) this.region.waiter.wakeThreads(this.#sequenceIndex, 1)
    else this.wakeLoop((sleeper & PEER_MASK) as PeerId)
  }
}
