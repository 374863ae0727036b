import type { Role } from '../harness/assignment.js'
import type { Prepare, RunContext } from '../harness/contest.js'
import type { Measurement, Side } from '../harness/timed-transfers.js'
import type { MessageSubject, Seat } from './subject.js'

interface AnyThroughputWork {
  readonly name: string
  readonly unit: 'msg/s' | 'B/s'
  readonly messageBytes: number
}

/**
 * Messages are written and read in place. Word number `w` of a message holds its sequence number plus `w`; only the given
 * number of words is touched.
 */
export interface InPlaceWork extends AnyThroughputWork {
  readonly kind: 'in place'
  /** How many messages are published at once. */
  readonly batchMessages: number
  readonly touchedWords: number
}

/** Messages are copied in, sent each by itself, and copied out. Their first and last words hold their sequence number. */
export interface CopyingWork extends AnyThroughputWork {
  readonly kind: 'copying'
}

export type ThroughputWork = InPlaceWork | CopyingWork

export type SideOpener = (seat: Seat) => Side | Promise<Side>

/** A subject whose two sides are run by the harness. The first side sends, the second one receives. */
export interface SidedSubject {
  readonly name: string
  readonly arrangement: MessageSubject['arrangement']
  readonly prepare?: Prepare | undefined
  /** Undefined if the subject has no way to do this work. */
  openersFor(work: ThroughputWork): Readonly<Record<Role, SideOpener>> | undefined
}

/** A subject that starts its own processes and times them by the same rules. */
export interface SelfTimedSubject {
  readonly name: string
  readonly prepare: Prepare
  does(work: ThroughputWork): boolean
  measure(work: ThroughputWork, context: RunContext): Promise<Measurement>
}
