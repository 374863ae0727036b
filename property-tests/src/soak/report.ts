import { type Tallies, type Tally, totalOf } from './tally.js'

const COLUMNS = [
  'field',
  'rounds',
  'kills',
  'of them attached',
  'stops',
  'restarts',
  'messages or steps',
  'losses',
  'slowest recovery',
]

/** The counts as a table. */
export function tableOf(tallies: Tallies): string {
  const rows = [COLUMNS, ...Object.entries(tallies).map(([name, tally]) => cells(name, tally))]
  rows.push(cells('in all', totalOf(tallies)))
  const widths = COLUMNS.map((_, column) => Math.max(...rows.map((row) => row[column].length)))
  return rows.map((row) => row.map((cell, column) => aligned(cell, widths[column], column)).join('  ')).join('\n')
}

export function summaryOf(tallies: Tallies, seconds: number): string {
  const { kills, steps, losses } = totalOf(tallies)
  const rate = Math.round(kills / Math.max(seconds, 0.001))
  return `${kills} kills, ${steps} messages and steps, ${losses} losses, ${seconds.toFixed(0)} s, ${rate} kills a second`
}

function cells(
  name: string,
  { rounds, kills, killsAtWork, stops, restarts, steps, losses, slowestMs }: Tally,
): string[] {
  return [
    name,
    ...[rounds, kills, killsAtWork, stops, restarts, steps, losses].map(String),
    `${slowestMs.toFixed(0)} ms`,
  ]
}

function aligned(cell: string, width: number, column: number): string {
  return column === 0 ? cell.padEnd(width) : cell.padStart(width)
}
