/** The value in the middle; of an even number of values, the mean of the two there. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const upper = sorted.length >> 1
  const isOdd = sorted.length % 2 === 1
  return isOdd ? sorted[upper] : (sorted[upper - 1] + sorted[upper]) / 2
}
