import Table from 'cli-table3'
import type { Result } from '../harness/contest.js'
import { timesBetter } from './comparison.js'
import { formatQuantity } from './quantity.js'
import type { Judgement } from './targets.js'
import { formatWriteCalls } from './write-calls.js'

const STYLE = { head: [], border: [], compact: true }

/** One row for each subject; beside its median, how many times better isthmus is. */
export function formatTable(results: readonly Result[]): string {
  const table = new Table({
    head: [
      'scenario',
      'work',
      'subject',
      'median',
      'lowest … highest',
      'p90 / p99 / p99.9',
      'write calls / msg',
      'isthmus better by',
    ],
    colAligns: ['left', 'left', 'left', 'right', 'right', 'right', 'right', 'right'],
    style: STYLE,
  })
  for (const result of results) {
    const { scenario, work, subject, unit, median, runs, percentiles: tail } = result
    const span = `${formatQuantity(Math.min(...runs), unit)} … ${formatQuantity(Math.max(...runs), unit)}`
    const tailTexts = tail && [tail.p90, tail.p99, tail.p999].map((seconds) => formatQuantity(seconds, 's'))
    const better = timesBetter(result, results)
    table.push([
      scenario,
      work,
      subject,
      formatQuantity(median, unit),
      span,
      tailTexts?.join(' / ') ?? '',
      formatWriteCalls(result).join(' + '),
      better === undefined ? '' : `${better.toPrecision(3)}×`,
    ])
  }
  return table.toString()
}

/** One row for each target that was measured. */
export function formatTargets(judgements: readonly Judgement[]): string {
  const table = new Table({
    head: ['target', 'measured', 'beside', 'ratio', 'bound', 'met'],
    colAligns: ['left', 'right', 'right', 'right', 'right', 'left'],
    style: STYLE,
  })
  for (const { text, measured, beside, ratio, bound, isMet } of judgements) {
    table.push([text, measured, beside, ratio, bound, isMet ? 'yes' : 'NO'])
  }
  return table.toString()
}
