import type { Percentiles } from './contest.js'

/** The smallest value that at least this share of the values does not exceed. */
export function percentile(values: readonly number[], share: number): number {
  return atShare(ascending(values), share)
}

export function percentilesInSeconds(samplesNs: readonly number[]): Percentiles {
  const sorted = ascending(samplesNs)
  const at = (share: number) => atShare(sorted, share) / 1e9
  return { p50: at(0.5), p90: at(0.9), p99: at(0.99), p999: at(0.999) }
}

function atShare(sorted: readonly number[], share: number): number {
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)]
}

function ascending(values: readonly number[]): number[] {
  return [...values].sort((a, b) => a - b)
}
