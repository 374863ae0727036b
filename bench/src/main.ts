import { readFileSync, writeFileSync } from 'node:fs'
import { constants } from 'node:os'
import { type Build, buildIn } from './harness/build.js'
import { BRIEF_PACE, type Contest, type Contestant, FULL_PACE, type Result } from './harness/contest.js'
import { runContest } from './harness/run-contest.js'
import { type Options, parseOptions, USAGE } from './options.js'
import { describeEnvironment, type Environment, isBusy } from './report/environment.js'
import { formatQuantity } from './report/quantity.js'
import { figureNames } from './report/readme-figures.js'
import { resultNameOf } from './report/result-name.js'
import { formatTable, formatTargets } from './report/table.js'
import { judgeTargets, targetNames } from './report/targets.js'
import { scenarios } from './scenarios/index.js'

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

await main()

async function main(): Promise<void> {
  const options = readOptions()
  if (options.help) return console.log(USAGE)
  const interruption = new AbortController()
  // The current run ends its processes and removes what it made; then its rejection brings us back here.
  for (const name of SIGNALS) process.once(name, () => interruption.abort(name))
  try {
    await runAll(options, interruption.signal)
  } catch (error) {
    if (!interruption.signal.aborted) throw error
    process.exitCode = 128 + constants.signals[interruption.signal.reason as (typeof SIGNALS)[number]]
  }
}

async function runAll(options: Options, signal: AbortSignal): Promise<void> {
  const { resultsFile, jsonFile, report } = options
  const { environment, results } = resultsFile === undefined ? await measure(options, signal) : readJson(resultsFile)
  console.log(formatTable(results))
  const judgements = judgeTargets(results)
  if (judgements.length > 0) console.log(formatTargets(judgements))
  if (jsonFile !== undefined) writeFileSync(jsonFile, formatJson(environment, results))
  if (!report) return
  // Imported here, since the libraries that draw are large.
  const { writeReport } = await import('./report/write-report.js')
  console.log(await writeReport(environment, results))
}

interface Measured {
  readonly environment: Environment
  readonly results: readonly Result[]
}

async function measure({ only, brief, before }: Options, signal: AbortSignal): Promise<Measured> {
  const all = scenarios.flatMap((scenario) => scenario.contests)
  assertAllRun([...targetNames(), ...figureNames()], all)
  const buildBefore = before === undefined ? undefined : await buildIn(before)
  const contests = all
    .map((contest) => (brief ? shortened(contest) : contest))
    .map((contest) => narrowed(contest, only))
    .map((contest) => besideBefore(contest, buildBefore))
  const skipped = new Set<string>()
  const environment = describeEnvironment(brief)
  console.log(environment)
  if (isBusy(environment)) console.warn('The machine is busy: the two processes of a run need a core each.')
  const results: Result[] = []
  for (const contest of contests) {
    const context = { pace: brief ? BRIEF_PACE : FULL_PACE, signal }
    const contestResults = await runContest(contest, context, ({ subject }, reason) => {
      skipped.add(`${subject} is skipped: ${reason}`)
    })
    for (const { work, subject, median, unit } of contestResults) {
      console.log(`${work}: ${subject} ${formatQuantity(median, unit)}`)
    }
    results.push(...contestResults)
  }
  for (const line of skipped) console.log(line)
  if (results.length === 0) throw new Error(`Running benchmarks: nothing that can run here matches ${only}`)
  return { environment, results }
}

/** What `formatJson` has written. */
function readJson(file: string): Measured {
  return JSON.parse(readFileSync(file, 'utf8'))
}

/** Indented, except for the samples: those of one run stand on one line. */
function formatJson(environment: Environment, results: readonly Result[]): string {
  const lines: string[] = []
  const withoutSamples = JSON.stringify(
    { environment, results },
    (key, value) =>
      key === 'samplesNs' ? value.map((run: number[]) => `samples ${lines.push(JSON.stringify(run)) - 1}`) : value,
    2,
  )
  return `${withoutSamples.replace(/"samples (\d+)"/g, (_, line) => lines[Number(line)])}\n`
}

function narrowed(contest: Contest, only: RegExp): Contest {
  const contestants = contest.contestants.filter(({ subject }) => only.test(resultNameOf({ ...contest, subject })))
  return { ...contest, contestants }
}

function shortened(contest: Contest): Contest {
  const { contestants, inBrief } = contest
  if (inBrief === undefined) return contest
  return { ...contest, contestants: contestants.filter(({ subject }) => inBrief.includes(subject)) }
}

/** @throws Error for a name of which no contestant is: the report would lack it, and show no gap */
function assertAllRun(names: readonly string[], contests: readonly Contest[]): void {
  const known = new Set(
    contests.flatMap((contest) => contest.contestants.map(({ subject }) => resultNameOf({ ...contest, subject }))),
  )
  for (const name of names) if (!known.has(name)) throw new Error(`Reading what is reported: there is no ${name}`)
}

/** The other build does the same, right after this one. */
function besideBefore(contest: Contest, build: Build | undefined): Contest {
  if (build === undefined) return contest
  const withBefore = (contestant: Contestant): Contestant[] => {
    if (contestant.subject !== 'isthmus') return [contestant]
    const run: Contestant['run'] = (context) => contestant.run({ ...context, build })
    return [contestant, { ...contestant, subject: 'isthmus before', run }]
  }
  return { ...contest, contestants: contest.contestants.flatMap(withBefore) }
}

function readOptions(): Options {
  try {
    return parseOptions(process.argv.slice(2))
  } catch (error) {
    console.error(`${error instanceof Error ? error.message : error}\n\n${USAGE}`)
    return process.exit(2)
  }
}
