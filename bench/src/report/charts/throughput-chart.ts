import type { TopLevelSpec } from 'vega-lite'
import type { Result } from '../../harness/contest.js'
import { type Colors, colorBy, isIsthmus } from './colors.js'
import { decadesBetween, logScale } from './log-scale.js'

const WIDTH = 640
const HEIGHT = 420
const ROOM = 1.5
const KIB = 1024
const SIZES = [8, 64, KIB, 64 * KIB, KIB * KIB, 64 * KIB * KIB]

interface Point {
  readonly subject: string
  readonly messageBytes: number
  readonly bytesPerSecond: number
  readonly isIsthmus: boolean
}

/** Of all subjects, those that spin among them. */
export function copyingChart(results: readonly Result[], colors: Colors, stamp: string): TopLevelSpec | undefined {
  const copying = results.filter(({ work }) => work.endsWith(' copying'))
  return throughputChart('Throughput from one to one, copied in and copied out', copying, colors, stamp)
}

/** Of those that await on both sides. */
export function awaitingChart(results: readonly Result[], colors: Colors, stamp: string): TopLevelSpec | undefined {
  const awaiting = results.filter(({ scenario }) => scenario === 'awaiting-throughput')
  return throughputChart('Throughput from one process to another, both awaiting', awaiting, colors, stamp)
}

/** Bytes per second by the length of a message, one line for each subject; its name stands at the line's end. */
function throughputChart(
  title: string,
  results: readonly Result[],
  colors: Colors,
  stamp: string,
): TopLevelSpec | undefined {
  const points = results.flatMap(pointsOf)
  if (points.length === 0) return undefined
  const x = {
    field: 'messageBytes',
    type: 'quantitative',
    scale: logScale(SIZES[0], SIZES[SIZES.length - 1], 1),
    axis: { values: SIZES, labelExpr: SIZE_LABEL, title: 'length of a message', grid: false, labelFlush: false },
  } as const
  const rates = points.map(({ bytesPerSecond }) => bytesPerSecond)
  const least = Math.min(...rates)
  const most = Math.max(...rates)
  const y = {
    field: 'bytesPerSecond',
    type: 'quantitative',
    scale: logScale(least, most, ROOM),
    axis: { title: 'bytes per second', labelExpr: RATE_LABEL, values: decadesBetween(least / ROOM, most * ROOM) },
  } as const
  const names = {
    data: { values: labelsOf(points) },
    encoding: { y: { ...y, field: 'labelAt' }, text: { field: 'subject', type: 'nominal' } },
  } as const
  return {
    title: { text: title, subtitle: stamp },
    width: WIDTH,
    height: HEIGHT,
    data: { values: [...points] },
    encoding: { x, y, color: colorBy(colors) },
    layer: [
      { transform: [{ filter: 'datum.isIsthmus' }], mark: { type: 'line', strokeWidth: 3.5 } },
      { transform: [{ filter: '!datum.isIsthmus' }], mark: { type: 'line', strokeWidth: 1.5 } },
      { mark: { type: 'point', filled: true, size: 32, opacity: 1 } },
      // A white edge, in case a name crosses a line.
      { ...names, mark: { ...NAME_MARK, stroke: '#ffffff', strokeWidth: 4 } },
      { ...names, mark: NAME_MARK },
    ],
  }
}

const NAME_MARK = { type: 'text', align: 'left', dx: 8, fontSize: 12, clip: false } as const
const SIZE_LABEL =
  "datum.value >= 1048576 ? datum.value / 1048576 + ' MiB' : datum.value >= 1024 ? datum.value / 1024 + ' KiB' : datum.value + ' B'"
const RATE_LABEL =
  "datum.value >= 1e9 ? datum.value / 1e9 + ' GB/s' : datum.value >= 1e6 ? datum.value / 1e6 + ' MB/s' : datum.value / 1e3 + ' kB/s'"

function pointsOf({ subject, unit, median, messageBytes }: Result): Point[] {
  if (messageBytes === undefined) return []
  const bytesPerSecond = unit === 'B/s' ? median : median * messageBytes
  return [{ subject, messageBytes, bytesPerSecond, isIsthmus: isIsthmus(subject) }]
}

/** Names stand at the last point of each line. If lines end close to each other, the names are moved apart, from the top down. */
function labelsOf(points: readonly Point[]): (Point & { readonly labelAt: number })[] {
  const rates = points.map(({ bytesPerSecond }) => bytesPerSecond)
  const decades = Math.log10((Math.max(...rates) * ROOM) / (Math.min(...rates) / ROOM))
  const gap = (15 / HEIGHT) * decades
  const labels: (Point & { readonly labelAt: number })[] = []
  const lasts = lastPoints(points)
  for (const size of new Set(lasts.map(({ messageBytes }) => messageBytes))) {
    const ends = lasts
      .filter(({ messageBytes }) => messageBytes === size)
      .sort((a, b) => b.bytesPerSecond - a.bytesPerSecond)
    let lowest = Number.POSITIVE_INFINITY
    for (const end of ends) {
      const exponent = Math.min(Math.log10(end.bytesPerSecond), lowest - gap)
      labels.push({ ...end, labelAt: 10 ** exponent })
      lowest = exponent
    }
  }
  return labels
}

function lastPoints(points: readonly Point[]): Point[] {
  const last = new Map<string, Point>()
  for (const point of points) {
    const known = last.get(point.subject)
    if (known === undefined || known.messageBytes < point.messageBytes) last.set(point.subject, point)
  }
  return [...last.values()]
}
