import type { Build } from './build.js'

/** How much time a run takes. */
export interface Pace {
  /** Both sides run at least this long before they are timed. */
  readonly warmUpMs: number
  /** About how long a timed run takes. */
  readonly targetMs: number
  readonly rounds: number
  /** How many samples of a hot path a timed run takes, spread evenly. */
  readonly hotSamples: number
  /** How many samples it takes if each one lasts milliseconds. */
  readonly coldSamples: number
  /** How long a waiting program is watched. */
  readonly idleMs: number
}

export const FULL_PACE: Pace = {
  warmUpMs: 400,
  targetMs: 500,
  rounds: 5,
  hotSamples: 5_000,
  coldSamples: 200,
  idleMs: 2_000,
}
export const BRIEF_PACE: Pace = {
  warmUpMs: 40,
  targetMs: 40,
  rounds: 1,
  hotSamples: 500,
  coldSamples: 10,
  idleMs: 200,
}

/** What a run is given. */
export interface RunContext {
  readonly pace: Pace
  /** Aborted if the program is interrupted: a run then ends its processes and rejects. */
  readonly signal: AbortSignal
  /** This one if not given. */
  readonly build?: Build
}

/** Base units; reports scale them. More is better for rates and shares of a rate, less for seconds and cores. */
export type Unit = 'msg/s' | 'B/s' | 'op/s' | 'share' | 's' | 'cores'

/** The result of a run. */
export interface Outcome {
  /** In the unit of the contest. */
  readonly value: number
  /** If single events were timed: each of them, in nanoseconds. The value is their median, in seconds. */
  readonly samplesNs?: readonly number[]
  readonly writeCallsPerMessage?: WriteCalls
}

/** How often each side made a system call that writes. For a ring, these are the wake-ups of the other side. */
export interface WriteCalls {
  readonly sender: number
  readonly receiver: number
}

/** Prepares what the runs need. Returns why the subject cannot run here, or undefined if it can. */
export type Prepare = (signal: AbortSignal) => Promise<string | undefined>

/** A subject doing a work. */
export interface Contestant {
  readonly subject: string
  readonly prepare?: Prepare | undefined
  /** One run; rejects if its results are wrong: a message was lost, changed or out of order, or a count is off. */
  run(context: RunContext): Promise<Outcome>
}

/** A work, and the subjects that are compared at it. */
export interface Contest {
  readonly scenario: string
  readonly work: string
  readonly unit: Unit
  /** The length of a message, if messages are sent. */
  readonly messageBytes?: number
  readonly contestants: readonly Contestant[]
  /** The subjects that take part in a brief run; all if not given. */
  readonly inBrief?: readonly string[]
}

export interface Result {
  readonly scenario: string
  readonly work: string
  readonly subject: string
  readonly unit: Unit
  readonly messageBytes?: number
  readonly median: number
  readonly runs: readonly number[]
  /** If single events were timed: of all runs together, in seconds. */
  readonly percentiles?: Percentiles
  /** If they were counted: the median of the runs. */
  readonly writeCallsPerMessage?: WriteCalls
  /** The events of each run, in the order in which they happened, in nanoseconds. */
  readonly samplesNs?: readonly (readonly number[])[]
}

export interface Percentiles {
  readonly p50: number
  readonly p90: number
  readonly p99: number
  readonly p999: number
}
