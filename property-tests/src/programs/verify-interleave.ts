import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { Crew } from '../interleaver/crew.js'
import type { Scenario } from '../interleaver/scenario.js'
import { scenarioNamed, scenarios } from '../interleaver/scenarios/index.js'
import { choicesOf, splitScheduleText } from '../interleaver/schedule-text.js'
import { traceOf } from '../interleaver/trace.js'
import { type Effort, type Verdict, Verification } from '../interleaver/verification.js'
import { WordNames } from '../interleaver/word-names.js'

/** Runs the scenarios of the interleaver and reports what it saw. See ../interleaver/README.md. */

const { values: options } = parseArgs({
  options: {
    brief: { type: 'boolean', default: false },
    only: { type: 'string', default: '' },
    seed: { type: 'string', default: '1' },
    preemptions: { type: 'string' },
    seconds: { type: 'string' },
    json: { type: 'string' },
    histories: { type: 'boolean', default: false },
    plain: { type: 'boolean', default: false },
    replay: { type: 'string' },
    jobs: { type: 'string', default: '1' },
    share: { type: 'string', default: '1/1' },
  },
})

function effortFor({ briefSeconds = 1 }: Scenario): Effort {
  const bound = {
    preemptions: Number(options.preemptions ?? (options.brief ? 2 : 3)),
    seed: Number(options.seed),
    isPlain: options.plain,
    countsHistories: options.histories,
  }
  const secondsMax = Number(options.seconds ?? (options.brief ? briefSeconds : 120))
  return { ...bound, secondsMax, randomSchedules: options.brief ? 300 : 20_000 }
}

function line({ scenario, schedules, preemptionBound, isExhaustive, seconds, failure }: Verdict): string {
  const seen =
    failure !== undefined
      ? 'FAILS'
      : isExhaustive
        ? 'exhaustive'
        : preemptionBound < 0
          ? 'not exhaustive'
          : `exhaustive to ${preemptionBound} preemptions`
  return `${scenario.padEnd(20)} ${String(schedules).padStart(9)} schedules  ${seen.padEnd(28)} ${seconds.toFixed(1).padStart(7)} s`
}

/** Several processes, each with its share of the scenarios: the agents of one scenario take turns, so it uses one core. */
async function verifyInProcesses(jobs: number): Promise<boolean> {
  if (options.json !== undefined)
    throw new Error('--json and --jobs do not go together: each process would write the file')
  const codes = await Promise.all(
    Array.from({ length: jobs }, async (_, job) => {
      const parameters = [...process.execArgv, ...process.argv.slice(1), '--jobs', '1', '--share', `${job + 1}/${jobs}`]
      const [code] = await once(spawn(process.execPath, parameters, { stdio: 'inherit' }), 'exit')
      return code
    }),
  )
  return codes.every((code) => code === 0)
}

async function verify(): Promise<boolean> {
  const jobs = Number(options.jobs)
  if (jobs > 1) return verifyInProcesses(jobs)
  const matching = scenarios.filter(({ name }) => new RegExp(options.only).test(name))
  if (matching.length === 0) throw new Error(`No scenario matches ${options.only}`)
  const [share, shares] = options.share.split('/').map(Number)
  const chosen = matching.filter((_, index) => index % shares === share - 1)
  const verdicts: Verdict[] = []
  for (const scenario of chosen) {
    const verdict = await Verification.of(scenario, effortFor(scenario))
    verdicts.push(verdict)
    console.log(line(verdict))
    const { failure } = verdict
    if (failure !== undefined) {
      console.log(`\n${failure.what}\n\n${failure.trace}\n\nTo see it again: --replay '${failure.schedule}'\n`)
    }
  }
  if (options.json !== undefined) writeFileSync(options.json, `${JSON.stringify(verdicts, null, 2)}\n`)
  return verdicts.every(({ failure }) => failure === undefined)
}

/** @param given a schedule line, a file that begins with one, or a file that --json has written */
function scheduleIn(given: string): string {
  if (!existsSync(given)) return given
  const text = readFileSync(given, 'utf8')
  if (!text.startsWith('[')) return text
  const failed = (JSON.parse(text) as Verdict[]).find(({ failure }) => failure !== undefined)
  if (failed?.failure === undefined) throw new Error(`No scenario failed in ${given}`)
  return failed.failure.schedule
}

async function replay(given: string): Promise<boolean> {
  const { scenarioName, steps } = splitScheduleText(scheduleIn(given))
  const crew = await Crew.gather(scenarioNamed(scenarioName))
  try {
    const execution = crew.run({ choices: choicesOf(steps, crew.agentNames) })
    const failure = execution.failure()
    console.log(traceOf(execution, new WordNames(crew.scenario, crew.region)))
    console.log(`\n${failure ?? 'Nothing fails.'}`)
    return failure === undefined
  } finally {
    await crew.dismiss()
  }
}

process.exitCode = (options.replay === undefined ? await verify() : await replay(options.replay)) ? 0 : 1
