import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { Result } from '../harness/contest.js'
import type { Environment } from './environment.js'
import { formatFigures, missingFigures } from './readme-figures.js'

/** This module runs from dist. */
const README = fileURLToPath(new URL('../../README.md', import.meta.url))
const CHART = '![Bytes per second by message length, both sides awaiting](bench/report/awaiting.svg)'
const FIGURES = /(<!-- figures: npm run bench -- --report -->\n\n)[\s\S]*?(\n\n<!-- end of figures -->)/

/** Puts the figures of a whole run into the project's README. Returns what was done, in words. */
export function updateReadme({ isBrief }: Environment, results: readonly Result[]): string {
  if (isBrief) return 'The README keeps its figures: this run was brief'
  const [missing] = missingFigures(results)
  if (missing !== undefined) return `The README keeps its figures: ${missing} was not measured`
  const text = readFileSync(README, 'utf8')
  if (!FIGURES.test(text)) throw new Error(`Updating ${README}: it has no place for figures`)
  const figures = `${formatFigures(results)}\n\n${CHART}`
  writeFileSync(
    README,
    text.replace(FIGURES, (_, begin, end) => `${begin}${figures}${end}`),
  )
  return `The figures are in ${README}`
}
