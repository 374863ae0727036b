import type { Result } from '../harness/contest.js'
import { formatQuantity } from './quantity.js'
import { byName, type ResultName } from './result-name.js'

interface Row {
  readonly text: string
  /** What stands in each column after the text; undefined where there is nothing to compare with. */
  readonly cells: readonly (ResultName | undefined)[]
}

interface FigureTable {
  readonly head: readonly string[]
  readonly rows: readonly Row[]
}

const awaiting = (work: string, subject: string): ResultName => `awaiting-throughput / ${work} / ${subject}`
const throughput = (work: string, subject: string): ResultName => `one-to-one-throughput / ${work} / ${subject}`
const roundTrip = (work: string, subject: string): ResultName => `ping-pong-latency / ${work} / ${subject}`

const SOCKET = 'unix-socket'
const CORKED = 'unix-socket corked by 64'

/** The tables of the README, in its order: what most programs do comes first. */
const tables: readonly FigureTable[] = [
  {
    head: ['both sides await', 'isthmus', 'Unix socket (`net`)', 'the same, corked by 64'],
    rows: [
      ...['64 B', '1 KiB'].flatMap((work) => [
        {
          text: `${work}, \`await send\`, \`for await\``,
          cells: [awaiting(work, 'isthmus'), awaiting(work, SOCKET), awaiting(work, CORKED)],
        },
        {
          text: `${work} in batches of 64, \`sendBatch\`, \`batches\``,
          cells: [awaiting(work, 'isthmus batches'), undefined, awaiting(work, CORKED)],
        },
        {
          text: `${work} in batches of 64, \`sendBatch\`, \`forEachInPlace\``,
          cells: [awaiting(work, 'isthmus forEachInPlace'), undefined, awaiting(work, CORKED)],
        },
      ]),
      ...['64 KiB', '1 MiB', '64 MiB'].map((work) => ({
        text: `${work}, \`await send\`, \`for await\``,
        cells: [awaiting(work, 'isthmus'), awaiting(work, SOCKET), undefined],
      })),
      {
        text: '64 MiB, `await send`, `await receive({ into })`',
        cells: [awaiting('64 MiB', 'isthmus into'), awaiting('64 MiB', SOCKET), undefined],
      },
      {
        text: 'there and back',
        cells: [roundTrip('event loop, hot', 'isthmus'), roundTrip('event loop, hot', SOCKET), undefined],
      },
      {
        text: 'the same after a pause of 5 ms, both asleep',
        cells: [roundTrip('event loop, cold', 'isthmus'), roundTrip('event loop, cold', SOCKET), undefined],
      },
      {
        text: 'the same with `forEach` on both sides',
        cells: [roundTrip('event loop, cold', 'isthmus forEach'), roundTrip('event loop, cold', SOCKET), undefined],
      },
    ],
  },
  {
    head: ['both threads block', 'isthmus', 'a futex through `koffi`', 'a futex in C++'],
    rows: [
      {
        text: 'there and back',
        cells: ['isthmus', 'bare futex', 'native'].map((subject) => roundTrip('blocking, hot', subject)),
      },
      {
        text: 'the same after a pause of 5 ms, both asleep',
        cells: ['isthmus', 'bare futex', 'native'].map((subject) => roundTrip('blocking, cold', subject)),
      },
    ],
  },
  {
    head: ['both sides spin', 'isthmus', 'the same ring in C++'],
    rows: [
      ...(
        [
          ['8 B claim/commit', '8 B claimed and committed, in batches of 64'],
          ['64 B claim/commit, one word', '64 B in batches of 64, one word written and read'],
          ['64 B claim/commit', '64 B in batches of 64, all 16 words'],
          ['64 B copying', '64 B copied in and out, each published by itself'],
          ['64 KiB copying', '64 KiB copied in and out'],
          ['1 MiB copying', '1 MiB copied in and out'],
          ['64 MiB copying', '64 MiB copied in and out, in parts'],
        ] as const
      ).map(([work, text]) => ({ text, cells: [throughput(work, 'isthmus'), throughput(work, 'native')] })),
      { text: 'there and back', cells: [roundTrip('spinning', 'isthmus'), roundTrip('spinning', 'native')] },
    ],
  },
]

/** The lowest and the highest round are shown if they are further apart. */
const SPREAD_MAX = 1.5

/** The results without which the README's tables cannot be made. */
export function missingFigures(results: readonly Result[]): ResultName[] {
  const known = byName(results)
  return figureNames().filter((name) => !known.has(name))
}

export function figureNames(): ResultName[] {
  return tables.flatMap(({ rows }) => rows.flatMap(({ cells }) => cells.filter((name) => name !== undefined)))
}

/** The tables of the README as markdown. All figures must be there. */
export function formatFigures(results: readonly Result[]): string {
  const known = byName(results)
  const cellOf = (name: ResultName | undefined) => {
    const result = name === undefined ? undefined : known.get(name)
    return result === undefined ? '' : formatFigure(result)
  }
  return tables
    .map(({ head, rows }) => alignedTable([head, ...rows.map(({ text, cells }) => [text, ...cells.map(cellOf)])]))
    .join('\n\n')
}

function formatFigure({ median, runs, unit }: Result): string {
  const [least, most] = [Math.min(...runs), Math.max(...runs)]
  const figure = formatQuantity(median, unit)
  return most > SPREAD_MAX * least
    ? `${figure} (${formatQuantity(least, unit)} … ${formatQuantity(most, unit)})`
    : figure
}

/** The first row is the head. */
function alignedTable(rows: readonly (readonly string[])[]): string {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)))
  const lineOf = (cells: readonly string[]) =>
    `| ${cells.map((cell, column) => cell.padEnd(widths[column])).join(' | ')} |`
  const [head, ...others] = rows
  const rule = widths.map((width) => '-'.repeat(width))
  return [lineOf(head), lineOf(rule), ...others.map(lineOf)].join('\n')
}
