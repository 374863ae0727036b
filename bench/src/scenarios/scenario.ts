import type { Contest } from '../harness/contest.js'
import type { Assignment } from '../harness/two-processes.js'

/** A question that is put to several subjects: one contest for each of its works. */
export interface Scenario {
  readonly name: string
  readonly contests: readonly Contest[]
  /** What one of the two processes of a run does. */
  takePart(assignment: Assignment): Promise<void>
}
