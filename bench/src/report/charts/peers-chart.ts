import type { TopLevelSpec } from 'vega-lite'
import type { Result } from '../../harness/contest.js'
import { formatQuantity } from '../quantity.js'
import { type Colors, colorBy } from './colors.js'
import { NAMES_AXIS } from './names-axis.js'

const WIDTH = 560
const ROW_HEIGHT = 24
const SMALL_MESSAGE_BYTES = 64

/** How many small messages each subject sends, as bars on a linear axis: what a factor of a hundred looks like. */
export function peersChart(results: readonly Result[], colors: Colors, stamp: string): TopLevelSpec | undefined {
  const values = results
    .filter(({ unit, messageBytes, work }) => {
      return unit === 'msg/s' && messageBytes === SMALL_MESSAGE_BYTES && work.endsWith(' copying')
    })
    .map(({ subject, median }) => ({ subject, median, label: formatQuantity(median, 'msg/s') }))
    .sort((a, b) => b.median - a.median)
  if (values.length === 0) return undefined
  const subjects = values.map(({ subject }) => subject)
  return {
    title: { text: 'Messages of 64 bytes per second, copied in and copied out', subtitle: stamp },
    width: WIDTH,
    height: { step: ROW_HEIGHT },
    data: { values },
    encoding: {
      y: {
        field: 'subject',
        type: 'nominal',
        sort: subjects,
        axis: NAMES_AXIS,
      },
      x: { field: 'median', type: 'quantitative', axis: null, scale: { domain: [0, values[0].median * 1.18] } },
    },
    layer: [
      {
        mark: { type: 'bar', cornerRadiusEnd: 2, height: 16 },
        encoding: { color: colorBy(colors) },
      },
      {
        mark: { type: 'text', align: 'left', dx: 6, fontSize: 12, color: '#1f2328' },
        encoding: { text: { field: 'label', type: 'nominal' } },
      },
    ],
  }
}
