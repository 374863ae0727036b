import { mkdirSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { Result } from '../harness/contest.js'
import { colorsOf } from './charts/colors.js'
import { latencyChart } from './charts/latency-chart.js'
import { peersChart } from './charts/peers-chart.js'
import { renderSvg } from './charts/render-svg.js'
import { awaitingChart, copyingChart } from './charts/throughput-chart.js'
import type { Environment } from './environment.js'
import { formatMarkdown } from './markdown.js'
import { updateReadme } from './readme.js'

/** This module runs from dist. */
const DIRECTORY = fileURLToPath(new URL('../report/', import.meta.url))

/** Writes the charts, the page that shows them, and the figures of the README. Returns what was done, in words. */
export async function writeReport(environment: Environment, results: readonly Result[]): Promise<string> {
  mkdirSync(DIRECTORY, { recursive: true })
  const stamp = stampOf(environment)
  const colors = colorsOf(results.map(({ subject }) => subject))
  const charts = [
    { name: 'awaiting', chart: awaitingChart(results, colors, stamp) },
    { name: 'throughput', chart: copyingChart(results, colors, stamp) },
    { name: 'latency', chart: latencyChart(results, colors, stamp) },
    { name: 'peers', chart: peersChart(results, colors, stamp) },
  ]
  const shown: string[] = []
  for (const { name, chart } of charts) {
    if (chart === undefined) continue
    writeFileSync(`${DIRECTORY}${name}.svg`, await renderSvg(chart))
    shown.push(name)
  }
  writeFileSync(`${DIRECTORY}README.md`, formatMarkdown(environment, results, shown))
  return `The report is in ${DIRECTORY}. ${updateReadme(environment, results)}.`
}

function stampOf({ machine, cores, node, commit, date, isBrief }: Environment): string {
  const caution = isBrief ? ' · one short round: measures little' : ''
  return `${machine}, ${cores} cores · Node.js ${node} · commit ${commit} · ${date.slice(0, 10)}${caution}`
}
