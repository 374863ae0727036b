import Table from 'cli-table3'
import type { Result, Unit } from '../harness/contest.js'

const REFERENCE = 'isthmus'

const SCALES: Record<Unit, { readonly divisor: number; readonly name: string }> = {
  'msg/s': { divisor: 1e6, name: 'M msg/s' },
  'B/s': { divisor: 1e9, name: 'GB/s' },
}

/** One row for each subject; beside its median, how many times as much isthmus does. */
export function formatTable(results: readonly Result[]): string {
  const table = new Table({
    head: ['scenario', 'work', 'subject', 'median', 'unit', 'lowest … highest', `${REFERENCE} / subject`],
    colAligns: ['left', 'left', 'left', 'right', 'left', 'right', 'right'],
    style: { head: [], border: [], compact: true },
  })
  for (const result of results) {
    const { scenario, work, subject, unit, median, runs } = result
    const span = `${scaled(Math.min(...runs), unit)} … ${scaled(Math.max(...runs), unit)}`
    table.push([scenario, work, subject, scaled(median, unit), SCALES[unit].name, span, ratio(result, results)])
  }
  return table.toString()
}

export function formatRate(rate: number, unit: Unit): string {
  return `${scaled(rate, unit)} ${SCALES[unit].name}`
}

function scaled(rate: number, unit: Unit): string {
  return (rate / SCALES[unit].divisor).toFixed(2)
}

function ratio({ scenario, work, subject, median }: Result, results: readonly Result[]): string {
  if (subject === REFERENCE) return ''
  const reference = results.find((other) => {
    return other.subject === REFERENCE && other.scenario === scenario && other.work === work
  })
  return reference === undefined ? '' : (reference.median / median).toFixed(2)
}
