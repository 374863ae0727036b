import type { RunContext, Unit } from '../harness/contest.js'
import type { Place } from '../harness/place.js'
import type { Measurement, Side } from '../harness/timed-transfers.js'

interface AnyThroughputWork {
  readonly name: string
  readonly unit: Unit
  readonly messageBytes: number
  /** Of the ring, for subjects that have one. */
  readonly capacityBytes: number
}

/**
 * Messages are written and read where they lie. Word number `w` of a message holds its sequence number plus `w`; only so
 * many words of it are touched.
 */
export interface InPlaceWork extends AnyThroughputWork {
  readonly kind: 'in place'
  /** So many messages are published at once. */
  readonly batchMessages: number
  readonly touchedWords: 1 | 16
}

/** Messages are copied in, sent each by itself, and copied out. Their first and last words hold their sequence number. */
export interface CopyingWork extends AnyThroughputWork {
  readonly kind: 'copying'
}

export type ThroughputWork = InPlaceWork | CopyingWork

/** How to become either side; the producer's is open before the consumer's is opened. */
export interface SideOpeners {
  openProducer(place: Place): Side | Promise<Side>
  openConsumer(place: Place): Side | Promise<Side>
}

/** A subject whose two sides are run by the harness, each in a process of its own. */
export interface SidedSubject {
  readonly name: string
  /** Undefined where the subject has no way to do this work. */
  openersFor(work: ThroughputWork): SideOpeners | undefined
}

/** A subject that starts its own processes and times them by the same rules. */
export interface SelfTimedSubject {
  readonly name: string
  /** Returns why it cannot run here, where it cannot. */
  prepare(signal: AbortSignal): Promise<string | undefined>
  measure(work: ThroughputWork, context: RunContext): Promise<Measurement>
}
