import type { Plan } from '../crew.js'
import type { Execution } from '../execution.js'

/** A way through the schedules of a scenario: it plans one schedule after the other, and learns from each execution. */
export interface Search {
  /** The next schedule to run; undefined once there is none left. */
  next(): Plan | undefined
  learn(execution: Execution): void
}
