/** How much time a run takes. */
export interface Pace {
  /** Both sides run for about as long, and no shorter, before they are timed. */
  readonly warmUpMs: number
  /** A timed run takes about as long. */
  readonly targetMs: number
  readonly rounds: number
  /** Of a hot path, spread over the timed run. */
  readonly hotSamples: number
  /** Where every one of them takes milliseconds. */
  readonly coldSamples: number
  /** For so long a waiting program is watched. */
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
  /** Aborted where the program is interrupted: a run then ends its processes and rejects. */
  readonly signal: AbortSignal
}

/** Base units; reports scale them. Of rates more is better, of seconds and cores less. */
export type Unit = 'msg/s' | 'B/s' | 'op/s' | 's' | 'cores'

/** What came of a run. */
export interface Outcome {
  /** In the unit of the contest. */
  readonly value: number
  /** Where single events were timed: each of them, in nanoseconds. The value is their median, in seconds. */
  readonly samplesNs?: readonly number[]
}

/** Makes ready what the runs need. Returns why the subject cannot run here, where it cannot. */
export type Prepare = (signal: AbortSignal) => Promise<string | undefined>

/** A subject doing a work. */
export interface Contestant {
  readonly subject: string
  readonly prepare?: Prepare | undefined
  /** One run; rejects where its results are wrong: a message was lost, changed or out of order, a count is off. */
  run(context: RunContext): Promise<Outcome>
}

/** A work, and the subjects that are compared at it. */
export interface Contest {
  readonly scenario: string
  readonly work: string
  readonly unit: Unit
  /** Where messages are sent: the length of one. */
  readonly messageBytes?: number
  readonly contestants: readonly Contestant[]
}

export interface Result {
  readonly scenario: string
  readonly work: string
  readonly subject: string
  readonly unit: Unit
  readonly messageBytes?: number
  readonly median: number
  readonly runs: readonly number[]
  /** Where single events were timed: of all runs together, in seconds. */
  readonly percentiles?: Percentiles
  /** The events of each run, in the order in which they happened, in nanoseconds. */
  readonly samplesNs?: readonly (readonly number[])[]
}

export interface Percentiles {
  readonly p50: number
  readonly p90: number
  readonly p99: number
  readonly p999: number
}
