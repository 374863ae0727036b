import type { Tally } from './tally.js'

/** What a runner reports to the command, as lines of JSON. */
export type RunnerLine =
  | { readonly kind: 'round'; readonly field: string; readonly seed: number; readonly tally: Tally }
  | {
      readonly kind: 'failure'
      readonly field: string
      readonly seed: number
      readonly what: string
      readonly events: readonly string[]
    }

/** The task of a runner, its one argument. */
export interface RunnerTask {
  readonly fields: readonly string[]
  /** The seed of its first round; the rounds after it have the seeds after it. */
  readonly seed: number
  /** The names of its segments begin with this. */
  readonly prefix: string
  /** The largest number of kills in a round; a field may have fewer. */
  readonly killsMax: number
}
