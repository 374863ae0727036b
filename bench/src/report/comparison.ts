import type { Result, Unit } from '../harness/contest.js'

const REFERENCE = 'isthmus'

export function isMoreBetter(unit: Unit): boolean {
  return unit !== 's' && unit !== 'cores'
}

/**
 * How many times better isthmus did the same work in the same run. Undefined for isthmus itself, if it has no result, and
 * if one of the two results is 0.
 */
export function timesBetter(
  { scenario, work, subject, unit, median }: Result,
  results: readonly Result[],
): number | undefined {
  if (subject === REFERENCE) return undefined
  const reference = results.find((other) => {
    return other.subject === REFERENCE && other.scenario === scenario && other.work === work
  })
  if (reference === undefined || reference.median === 0 || median === 0) return undefined
  return isMoreBetter(unit) ? reference.median / median : median / reference.median
}
