import type { Arrangement, Crowd } from '../../harness/assignment.js'
import type { Prepare, RunContext } from '../../harness/contest.js'
import type { Measurement, Side } from '../../harness/timed-transfers.js'
import type { Seat } from '../subject.js'
import type { Listener } from './listener.js'

/** What one publisher and its subscribers do. */
export interface BroadcastWork {
  readonly name: string
  /** The first side publishes. */
  readonly crowd: Crowd
  readonly messageBytes: number
}

export interface BroadcastSeat extends Seat {
  readonly index: number
  readonly crowd: Crowd
}

/** A side that receives. Its transfer ends when its listener is complete. */
export interface SubscriberSide extends Side {
  /** How many messages it says to have lost since it was opened. It must have lost none if not given. */
  readonly lost?: number
}

/** A subject whose sides are run by the harness. Each message goes to all subscribers. */
export interface BroadcastSubject {
  readonly name: string
  readonly arrangement: Arrangement
  readonly prepare?: Prepare | undefined
  does(work: BroadcastWork): boolean
  /** The number of a message stands at both of its ends: of the first one 0, over all transfers. */
  openPublisher(seat: BroadcastSeat): Side | Promise<Side>
  openSubscriber(seat: BroadcastSeat, listener: Listener): SubscriberSide | Promise<SubscriberSide>
}

/** A subject that starts its own processes and times them by the same rules. */
export interface SelfTimedBroadcastSubject {
  readonly name: string
  readonly prepare: Prepare
  does(work: BroadcastWork): boolean
  /** The messages are those that a subscriber has received, on average. */
  measure(work: BroadcastWork, context: RunContext): Promise<Measurement>
}

const BATCH_MESSAGES = 64
const BATCH_BYTES_MAX = 256 * 1024

/** How many messages every subject publishes at once that collects them. */
export function batchMessagesFor(messageBytes: number): number {
  return Math.max(1, Math.min(BATCH_MESSAGES, Math.floor(BATCH_BYTES_MAX / messageBytes)))
}
