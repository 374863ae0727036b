import type { KillPoint } from './effects.js'

export interface Failure {
  /** Undefined where it was not killed on the way. */
  readonly killPoint: KillPoint | undefined
  /** What it died at. */
  readonly effect: string
  readonly what: string
}

/** What was seen of one scenario. */
export interface Verdict {
  readonly scenario: string
  readonly effects: readonly string[]
  /** How many kill points there are, and how many of them were not taken: repetitions, or for the lack of time. */
  readonly points: number
  readonly omitted: number
  /** Processes that were killed at their point. */
  readonly kills: number
  /** Points in front of which the victim came through: with partners, counts vary. */
  readonly unreached: number
  /** How long a death held up those who live on, at most. */
  readonly slowestMs: number
  readonly failures: readonly Failure[]
}
