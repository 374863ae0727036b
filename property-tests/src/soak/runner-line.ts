import type { Tally } from './tally.js'

/** What a runner tells the command, one JSON line each. */
export type RunnerLine =
  | { readonly kind: 'round'; readonly field: string; readonly seed: number; readonly tally: Tally }
  | {
      readonly kind: 'failure'
      readonly field: string
      readonly seed: number
      readonly what: string
      readonly events: readonly string[]
    }

/** What a runner is asked to do, as its one argument. */
export interface RunnerTask {
  readonly fields: readonly string[]
  /** Of its first round; the others have seeds after it. */
  readonly seed: number
  /** Its segments begin like this. */
  readonly prefix: string
  /** For a round; fields may have less. */
  readonly killsMax: number
}
