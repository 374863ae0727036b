/** A logarithmic scale with a little room at both ends. */
export function logScale(least: number, most: number, room: number) {
  const domain: number[] = [least / room, most * room]
  return { type: 'log' as const, domain, nice: false }
}

/** The powers of ten within. */
export function decadesBetween(least: number, most: number): number[] {
  const first = Math.ceil(Math.log10(least))
  const last = Math.floor(Math.log10(most))
  return Array.from({ length: Math.max(0, last - first + 1) }, (_, index) => 10 ** (first + index))
}
