/** How much time a run takes. */
export interface Pace {
  /** Both sides run for about as long, and no shorter, before they are timed. */
  readonly warmUpMs: number
  /** A timed run takes about as long. */
  readonly targetMs: number
  readonly rounds: number
}

export const FULL_PACE: Pace = { warmUpMs: 400, targetMs: 500, rounds: 5 }
export const BRIEF_PACE: Pace = { warmUpMs: 40, targetMs: 40, rounds: 1 }

/** What a run is given. */
export interface RunContext {
  readonly pace: Pace
  /** Aborted where the program is interrupted: a run then ends its processes and rejects. */
  readonly signal: AbortSignal
}

/** Base units; reports scale them. */
export type Unit = 'msg/s' | 'B/s'

/** A subject doing a work. */
export interface Contestant {
  readonly subject: string
  /** Makes ready what the runs need. Returns why this subject cannot run here, where it cannot. */
  prepare?(signal: AbortSignal): Promise<string | undefined>
  /** One run, in the unit of the contest; rejects where a message was lost, changed or out of order. */
  run(context: RunContext): Promise<number>
}

/** A work, and the subjects that are compared at it. */
export interface Contest {
  readonly scenario: string
  readonly work: string
  readonly unit: Unit
  readonly contestants: readonly Contestant[]
}

export interface Result {
  readonly scenario: string
  readonly work: string
  readonly subject: string
  readonly unit: Unit
  readonly median: number
  readonly runs: readonly number[]
}
