import type { TopLevelSpec } from 'vega-lite'
import type { Result } from '../../harness/contest.js'
import { formatQuantity } from '../quantity.js'
import { type Colors, colorBy } from './colors.js'
import { decadesBetween, logScale } from './log-scale.js'
import { NAMES_AXIS } from './names-axis.js'

const SHARES = [0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 0.999]
const WIDTH = 560
const ROW_HEIGHT = 26
const ROOM = 1.3

type PanelSpec = Extract<TopLevelSpec, { vconcat: unknown }>['vconcat'][number]

/**
 * How round trips are spread: for each subject a thin line from p10 to p99.9, a thick one from p25 to p75, and a point with
 * its value at the median; one panel for each way to wait.
 */
export function latencyChart(results: readonly Result[], colors: Colors, stamp: string): TopLevelSpec | undefined {
  const pingPongs = results.filter(({ scenario }) => scenario === 'ping-pong-latency')
  if (pingPongs.length === 0) return undefined
  const rows = pingPongs.map((result) => ({ ...quantilesOf(result), work: result.work, subject: result.subject }))
  const works = [...new Set(rows.map(({ work }) => work))]
  const least = Math.min(...rows.map(({ p10 }) => p10))
  const most = Math.max(...rows.map(({ p999 }) => p999))
  const scale = logScale(least, most, ROOM)
  const panels = works.map((work): PanelSpec => {
    const values = rows.filter((row) => row.work === work).sort((a, b) => a.p50 - b.p50)
    const isLastPanel = work === works[works.length - 1]
    const x = { field: 'p10', type: 'quantitative', scale, axis: axisOf(least, most, isLastPanel) } as const
    const y = {
      field: 'subject',
      type: 'nominal',
      sort: values.map(({ subject }) => subject),
      axis: NAMES_AXIS,
    } as const
    return {
      title: { text: work, fontSize: 13, offset: 6, frame: 'group' },
      width: WIDTH,
      height: { step: ROW_HEIGHT },
      data: { values },
      encoding: {
        y,
        color: colorBy(colors),
      },
      layer: [
        { mark: { type: 'rule', strokeWidth: 1.5, opacity: 0.6 }, encoding: { x, x2: { field: 'p999' } } },
        {
          mark: { type: 'rule', strokeWidth: 7, opacity: 0.45 },
          encoding: { x: { ...x, field: 'p25' }, x2: { field: 'p75' } },
        },
        { mark: { type: 'point', filled: true, size: 60, opacity: 1 }, encoding: { x: { ...x, field: 'p50' } } },
        {
          mark: { type: 'text', dy: -9, fontSize: 10, fontWeight: 'bold' },
          encoding: { x: { ...x, field: 'p50' }, text: { field: 'label', type: 'nominal' } },
        },
      ],
    }
  })
  return {
    title: {
      text: 'Ping-pong: until the answer is back',
      subtitle: ['point: median · thick: p25 to p75 · thin: p10 to p99.9', stamp],
    },
    vconcat: panels,
    spacing: 18,
  }
}

function axisOf(least: number, most: number, isLastPanel: boolean) {
  return {
    values: decadesBetween(least / ROOM, most * ROOM),
    labelExpr: TIME_LABEL,
    title: isLastPanel ? 'time of a round trip' : null,
    labels: isLastPanel,
    ticks: isLastPanel,
    domain: false,
  }
}

const TIME_LABEL =
  "datum.value >= 0.999e-3 ? format(datum.value * 1e3, 'd') + ' ms' : datum.value >= 0.999e-6 ? format(datum.value * 1e6, 'd') + ' µs' : format(datum.value * 1e9, 'd') + ' ns'"

function quantilesOf({ samplesNs = [] }: Result) {
  const sorted = samplesNs.flat().sort((a, b) => a - b)
  const [p10, p25, p50, p75, p90, p99, p999] = SHARES.map((share) => {
    return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] / 1e9
  })
  return { p10, p25, p50, p75, p90, p99, p999, label: formatQuantity(p50, 's') }
}
