import { writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { hasCompiler, Model, type ModelResult } from '../models/model.js'
import type { ModelPlan } from '../models/model-plan.js'
import { modelPlans } from '../models/plans/index.js'

/** Searches all states of the models, and expects each of their mutants to be caught. See ../../models/README.md. */

const { values: options } = parseArgs({
  options: {
    full: { type: 'boolean', default: false },
    only: { type: 'string', default: '' },
    json: { type: 'string' },
  },
})

/** Of at most 200 bytes each: less than 8 GB if full. */
const STATES_MAX = 40_000_000

interface Row {
  readonly size: string
  readonly mutant?: string
  readonly isRight: boolean
  readonly result: ModelResult
}

const rows: Row[] = []

if (hasCompiler()) process.exitCode = verify() ? 0 : 1
else console.log('skipped: no g++')

function verify(): boolean {
  const pattern = new RegExp(options.only)
  const counts = { sizes: 0, caught: 0, mutants: 0, unknown: 0 }
  for (const plan of modelPlans) {
    const { sizes, caught, mutants, unknown } = verifyModel(plan, pattern)
    counts.sizes += sizes
    counts.caught += caught
    counts.mutants += mutants
    counts.unknown += unknown
  }
  if (counts.sizes === 0) throw new Error(`No size matches ${options.only}`)
  const wrong = rows.filter(({ isRight }) => !isRight)
  console.log(`${counts.sizes} sizes, ${counts.caught} of ${counts.mutants} mutants, ${wrong.length} failed`)
  if (options.json !== undefined) writeFileSync(options.json, `${JSON.stringify(rows, null, 2)}\n`)
  return wrong.length === 0 && counts.unknown === 0
}

function verifyModel({ name, sizes, harmlessMutants, openMutants }: ModelPlan, pattern: RegExp) {
  const caught = new Set<string>()
  const catching = new Set(sizes.flatMap(({ catches }) => catches))
  const chosen = sizes.filter(({ name, isBrief }) => (options.full || isBrief) && pattern.test(name))
  if (chosen.length === 0) return { sizes: 0, caught: 0, mutants: catching.size, unknown: 0 }
  const model = new Model(fileURLToPath(new URL('../..', import.meta.url)), name)
  for (const { name, parameters, catches, runsSolo, statesMax = STATES_MAX } of chosen) {
    const result = model.run({ parameters, statesMax, runsSolo })
    note({ size: name, isRight: result.violation === '' && (result.isComplete || statesMax < STATES_MAX), result })
    for (const mutant of catches) {
      const found = model.run({ parameters, mutant, statesMax: STATES_MAX, runsSolo })
      note({ size: name, mutant, isRight: found.violation !== '', result: found })
      caught.add(mutant)
    }
  }
  // Each mutant belongs to a size, or has its explanation.
  const unknown = model.mutants.filter(
    (mutant) => !catching.has(mutant) && !(mutant in harmlessMutants) && !openMutants.includes(mutant),
  )
  for (const mutant of unknown) console.log(`No size of ${name} catches "${mutant}"`)
  return { sizes: chosen.length, caught: caught.size, mutants: catching.size, unknown: unknown.length }
}

function note(row: Row): void {
  rows.push(row)
  console.log(line(row))
  if (!row.isRight && row.mutant === undefined) console.log(row.result.trace)
}

function line({ size, mutant, isRight, result }: Row): string {
  const { states, rests, soloRuns, isComplete, violation, seconds } = result
  const solo = soloRuns > 0 ? `, ${soloRuns} solo runs of up to ${result.longestSolo} steps` : ''
  const extent = `${states} states, ${rests} at rest${solo}, ${isComplete ? 'complete, ' : ''}${seconds.toFixed(1)} s`
  if (mutant === undefined)
    return `${size.padEnd(24)} ${isRight ? (isComplete ? 'holds' : 'no fault') : 'FAILS'}   ${extent}${violation && `: ${violation}`}`
  return `${size.padEnd(24)} ${isRight ? 'caught ' : 'MISSED '} ${mutant}${violation && `: ${violation}`} (${states} states)`
}
