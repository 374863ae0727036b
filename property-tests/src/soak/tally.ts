/** The counts of a field. */
export interface Tally {
  readonly rounds: number
  readonly kills: number
  /** Of these, how many hit a child that had attached, other than at the end of a round. */
  readonly killsAtWork: number
  readonly stops: number
  readonly restarts: number
  /** Messages received, or steps of another kind. */
  readonly steps: number
  /** Rounds in which something was lost, stuck or leaked. */
  readonly losses: number
  /** The longest time, after kills, until all had got on. */
  readonly slowestMs: number
}

export const NOTHING: Tally = {
  rounds: 0,
  kills: 0,
  killsAtWork: 0,
  stops: 0,
  restarts: 0,
  steps: 0,
  losses: 0,
  slowestMs: 0,
}

export type Tallies = Readonly<Record<string, Tally>>

export function sum(left: Tally, right: Tally): Tally {
  return {
    rounds: left.rounds + right.rounds,
    kills: left.kills + right.kills,
    killsAtWork: left.killsAtWork + right.killsAtWork,
    stops: left.stops + right.stops,
    restarts: left.restarts + right.restarts,
    steps: left.steps + right.steps,
    losses: left.losses + right.losses,
    slowestMs: Math.max(left.slowestMs, right.slowestMs),
  }
}

export function totalOf(tallies: Tallies): Tally {
  return Object.values(tallies).reduce(sum, NOTHING)
}
