import type { Assignment, Line } from '../harness/assignment.js'
import type { Contest } from '../harness/contest.js'

/** A question that is put to several subjects: one contest for each of its works. */
export interface Scenario {
  readonly name: string
  readonly contests: readonly Contest[]
  /** What one side of a run does. Returns its report. */
  takePart(assignment: Assignment, line: Line): Promise<unknown>
}
