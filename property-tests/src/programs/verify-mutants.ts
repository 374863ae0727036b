import { writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { assertFits, type Mutant } from '../mutants/mutant.js'
import { mutants } from '../mutants/mutants.js'
import { type RungOutcome, Workshop } from '../mutants/workshop.js'

/** Breaks production code on purpose, and expects the tests to fail. See ../mutants/README.md. */

const { values: options } = parseArgs({
  options: {
    brief: { type: 'boolean', default: false },
    only: { type: 'string', default: '' },
    seed: { type: 'string', default: '1' },
    json: { type: 'string' },
    check: { type: 'boolean', default: false },
    verbose: { type: 'boolean', default: false },
  },
})

const PATTERN = new RegExp(options.only)

interface Row {
  readonly mutant: string
  readonly rung: string
  readonly isCaught: boolean
  readonly hasHung: boolean
  readonly seconds: number
}

const repository = fileURLToPath(new URL('../..', import.meta.url))
const chosen = mutants.filter(({ name, rung, isBrief }) => {
  return (!options.brief || isBrief === true) && (PATTERN.test(name) || PATTERN.test(rung.name))
})
if (chosen.length === 0) throw new Error(`No mutant matches ${options.only}`)

// All of them, before the first one is tried: a mutant that no longer fits the code shows nothing.
const stale = chosen.flatMap(staleness)
for (const message of stale) console.error(message)

process.exitCode = stale.length === 0 && (options.check || (await verify())) ? 0 : 1

function staleness(mutant: Mutant): string[] {
  try {
    assertFits(repository, mutant)
    return []
  } catch (error) {
    return [(error as Error).message]
  }
}

async function verify(): Promise<boolean> {
  const workshop = new Workshop(repository, options.seed)
  process.once('exit', () => workshop.clean())
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1))

  const rows: Row[] = []
  const sound = await rungsThatPass(workshop)
  for (const mutant of chosen) {
    // A rung that fails with nothing broken catches nothing.
    if (!sound.has(mutant.rung.name)) continue
    const row = rowOf(mutant, await workshop.runBroken(mutant))
    rows.push(row)
    console.log(line(row))
  }
  const survivors = rows.filter(({ isCaught }) => !isCaught)
  const failing = new Set(chosen.map(({ rung }) => rung.name).filter((name) => !sound.has(name)))
  for (const { mutant, rung } of survivors) console.log(`Survived ${rung}: ${mutant}`)
  for (const rung of failing) console.log(`Fails with nothing broken: ${rung}`)
  console.log(`${rows.length - survivors.length} of ${chosen.length} mutants were caught.`)
  if (options.json !== undefined) {
    const counts = { mutants: chosen.length, caught: rows.length - survivors.length, failingRungs: [...failing] }
    writeFileSync(options.json, `${JSON.stringify({ ...counts, rows }, null, 2)}\n`)
  }
  return survivors.length === 0 && failing.size === 0
}

/** Runs each rung once with nothing broken, and returns those that pass. */
async function rungsThatPass(workshop: Workshop): Promise<Set<string>> {
  const passed = new Set<string>()
  for (const rung of new Map(chosen.map(({ rung }) => [rung.name, rung])).values()) {
    const { isPassed, seconds, output } = await workshop.run(rung)
    if (isPassed) passed.add(rung.name)
    console.log(
      `${'(nothing broken)'.padEnd(58)} ${rung.name.padEnd(44)} ${isPassed ? 'passes' : 'FAILS'} ${time(seconds)}`,
    )
    if (!isPassed) console.log(output.slice(-2000))
  }
  return passed
}

function rowOf({ name, rung }: Mutant, { isPassed, hasHung, seconds, output }: RungOutcome): Row {
  if (options.verbose) console.log(output.slice(-3000))
  return {
    mutant: name,
    rung: rung.name,
    isCaught: hasHung || (!isPassed && rung.finding.test(output)),
    hasHung,
    seconds,
  }
}

function line({ mutant, rung, isCaught, hasHung, seconds }: Row): string {
  const how = !isCaught ? 'SURVIVES' : hasHung ? 'caught, hangs' : 'caught'
  return `${mutant.padEnd(58)} ${rung.padEnd(44)} ${how} ${time(seconds)}`
}

function time(seconds: number): string {
  return `after ${seconds.toFixed(1)} s`
}
