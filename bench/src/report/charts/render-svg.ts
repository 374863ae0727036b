import { parse, View } from 'vega'
import { compile, type TopLevelSpec } from 'vega-lite'

/** The same look for all charts: on white, so that it is legible on dark pages too. */
const LOOK: NonNullable<TopLevelSpec['config']> = {
  background: '#ffffff',
  font: 'system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif',
  padding: 16,
  title: {
    anchor: 'start',
    fontSize: 17,
    subtitleFontSize: 12,
    subtitleColor: '#59636e',
    offset: 14,
    color: '#1f2328',
  },
  axis: {
    labelFontSize: 12,
    titleFontSize: 12,
    titleFontWeight: 'normal',
    titleColor: '#59636e',
    labelColor: '#1f2328',
    gridColor: '#eaeef2',
    domainColor: '#d1d9e0',
    tickColor: '#d1d9e0',
  },
  header: { labelFontSize: 13, labelFontWeight: 'bold', labelAnchor: 'start', labelColor: '#1f2328' },
  view: { stroke: null },
}

export async function renderSvg(chart: TopLevelSpec): Promise<string> {
  const { spec } = compile({ ...chart, config: LOOK })
  const view = new View(parse(spec), { renderer: 'none' })
  try {
    return `${await view.toSVG()}\n`
  } finally {
    view.finalize()
  }
}
