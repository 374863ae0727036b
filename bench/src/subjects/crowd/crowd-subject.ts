import type { Arrangement, Crowd } from '../../harness/assignment.js'
import type { Prepare, RunContext } from '../../harness/contest.js'
import type { Measurement, Side } from '../../harness/timed-transfers.js'
import type { Seat } from '../subject.js'
import type { Stamps } from './stamps.js'
import type { Tally } from './tally.js'

/** What many senders and many receivers do. */
export interface CrowdWork {
  readonly name: string
  readonly crowd: Crowd
  readonly messageBytes: number
  /** Whether messages change hands without copies, and only their ends are written and read. */
  readonly isLoan: boolean
}

/** What a side of a crowd is opened with. */
export interface CrowdSeat extends Seat {
  readonly index: number
  readonly crowd: Crowd
  readonly isLoan: boolean
}

/** A subject whose sides are run by the harness. Each message goes to one of the receivers. */
export interface CrowdSubject {
  readonly name: string
  readonly arrangement: Arrangement
  readonly prepare?: Prepare | undefined
  /** Instead of the work's. */
  readonly messageBytes?: number
  does(work: CrowdWork): boolean
  openSender(seat: CrowdSeat, stamps: Stamps): Side | Promise<Side>
  /** A transfer ends when the tally is complete. */
  openReceiver(seat: CrowdSeat, tally: Tally): Side | Promise<Side>
}

/** A subject that starts its own processes and times them by the same rules. */
export interface SelfTimedCrowdSubject {
  readonly name: string
  readonly prepare: Prepare
  does(work: CrowdWork): boolean
  measure(work: CrowdWork, context: RunContext): Promise<Measurement>
  /** What one stopped sender leaves the others of their rate. */
  shareOfOthers(work: CrowdWork, context: RunContext): Promise<number>
}
