import type { Result } from '../harness/contest.js'

/** "scenario / work / subject" */
export type ResultName = string

export function resultNameOf({ scenario, work, subject }: Pick<Result, 'scenario' | 'work' | 'subject'>): ResultName {
  return `${scenario} / ${work} / ${subject}`
}

export function byName(results: readonly Result[]): ReadonlyMap<ResultName, Result> {
  return new Map(results.map((result) => [resultNameOf(result), result]))
}
