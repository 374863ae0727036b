import type { How, KillPoint } from './effects.js'

export interface Failure {
  /** Undefined if the victim was not to be killed. */
  readonly killPoint: KillPoint | undefined
  readonly how: How
  /** The effect at which the victim was killed or stopped. */
  readonly effect: string
  readonly what: string
}

/** What the runs of one scenario showed. */
export interface Verdict {
  readonly scenario: string
  readonly effects: readonly string[]
  /** How many kill points there are, and how many were left out: repetitions, or for lack of time. */
  readonly points: number
  readonly omitted: number
  /** How many victims were killed at their kill point. */
  readonly kills: number
  /** How many victims were stopped at their kill point, and continued. */
  readonly stops: number
  /**
   * How many kill points were not reached before the operation was complete: with a partner, the count of effects
   * varies.
   */
  readonly unreached: number
  /** The longest time for which a death held up a survivor. */
  readonly slowestMs: number
  readonly failures: readonly Failure[]
}
