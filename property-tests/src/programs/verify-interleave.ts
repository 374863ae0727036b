import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { Crew } from '../interleaver/crew.js'
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
  },
})

function effort(): Effort {
  const bound = {
    preemptions: Number(options.preemptions ?? (options.brief ? 2 : 3)),
    seed: Number(options.seed),
    isPlain: options.plain,
    countsHistories: options.histories,
  }
  const secondsMax = Number(options.seconds ?? (options.brief ? 1.2 : 120))
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

async function verify(): Promise<boolean> {
  const chosen = scenarios.filter(({ name }) => new RegExp(options.only).test(name))
  if (chosen.length === 0) throw new Error(`No scenario matches ${options.only}`)
  const verdicts: Verdict[] = []
  for (const scenario of chosen) {
    const verdict = await Verification.of(scenario, effort())
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
