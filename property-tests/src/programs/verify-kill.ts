import { writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { scrambled } from '../harness/messages.js'
import type { How, KillPoint } from '../kill-points/effects.js'
import { hookNativeCalls } from '../kill-points/hooks.js'
import { killScenarios } from '../kill-points/scenarios/index.js'
import type { Failure, Verdict } from '../kill-points/verdict.js'
import { needsNewNode, Verification } from '../kill-points/verification.js'

/**
 * Kills, or stops, a process at each effect of each operation, and reports whether others recover or go on. See
 * ../kill-points/README.md.
 */

const { values: options } = parseArgs({
  options: {
    brief: { type: 'boolean', default: false },
    only: { type: 'string', default: '' },
    seed: { type: 'string', default: '1' },
    at: { type: 'string' },
    how: { type: 'string' },
    children: { type: 'string', default: '2' },
    effects: { type: 'boolean', default: false },
    json: { type: 'string' },
  },
})

const BRIEF = { counts: 2, runsMax: 24, awaitingRunsMax: 6, secondsMax: 115 }
/** With many scenarios, each gets fewer runs, so that more of them have their turn. */
const BRIEF_OF_MANY = { counts: 1, runsMax: 8, awaitingRunsMax: 3, secondsMax: 115 }
const MANY = 20
const FULL = {
  counts: 4,
  runsMax: Number.POSITIVE_INFINITY,
  awaitingRunsMax: Number.POSITIVE_INFINITY,
  secondsMax: Number.POSITIVE_INFINITY,
}

/** `17-` means before the 17th effect, `17+` after it. */
function killPointAt(text: string): KillPoint {
  const [, effect, side] = /^(\d+)([+-])$/.exec(text) ?? []
  if (effect === undefined)
    throw new Error(`--at ${text}: expected the number of an effect and its side, as in 17- or 17+`)
  return { effect: Number(effect), side: side === '-' ? 'before' : 'after' }
}

function howsOf(text: string | undefined): How[] {
  if (text === undefined) return ['kill', 'stop']
  if (text !== 'kill' && text !== 'stop') throw new Error(`--how ${text}: give kill or stop, or leave it out`)
  return [text]
}

function line({ scenario, effects, kills, stops, omitted, unreached, slowestMs, failures }: Verdict): string {
  const counts = `${String(effects.length).padStart(5)} effects ${String(kills).padStart(5)} kills ${String(stops).padStart(5)} stops`
  const rest = [omitted > 0 ? `${omitted} points left out` : '', unreached > 0 ? `${unreached} not reached` : '']
  const outcome = failures.length === 0 ? 'stands' : 'FAILS'
  const slowest = `slowest recovery ${slowestMs.toFixed(0).padStart(4)} ms`
  return [`${scenario.padEnd(66)} ${counts}`, slowest, outcome, ...rest.filter(Boolean)].join('  ')
}

function tellFailure(scenario: string, { killPoint, how, effect, what }: Failure): void {
  const place = killPoint && `${killPoint.effect}${killPoint.side === 'before' ? '-' : '+'}`
  const done = how === 'stop' ? 'stopped' : 'killed'
  console.log(killPoint ? `\n  ${done} ${killPoint.side} effect ${killPoint.effect}: ${effect}` : '\n  not killed')
  console.log(`  ${what.replaceAll('\n', '\n  ')}`)
  const at = place === undefined ? '' : ` --how ${how} --at ${place}`
  console.log(`\n  To see it again: npm run verify:kill -- --only '^${scenario}$'${at}\n`)
}

function tell(verdict: Verdict): void {
  console.log(line(verdict))
  if (options.effects) console.log(verdict.effects.map((text, index) => `  ${index + 1} ${text}`).join('\n'))
  for (const failure of verdict.failures) tellFailure(verdict.scenario, failure)
}

async function verify(): Promise<boolean> {
  if (options.brief) {
    // In an order that the seed decides. The slow ones come last: on a busy machine the time may be up before they begin.
    const turn = new Map(scenarios.map((name, index) => [name, scrambled(effort.seed * 7919 + index)]))
    scenarios.sort((a, b) => (turn.get(a) ?? 0) - (turn.get(b) ?? 0))
    scenarios.sort((a, b) => Number(needsNewNode(a)) - Number(needsNewNode(b)))
  }
  if (scenarios.length === 0) throw new Error(`No scenario matches ${options.only}`)
  const verdicts: Verdict[] = []
  for (const scenario of scenarios) {
    if (verification.seconds > effort.secondsMax) break
    const verdict = await verification.verify(scenario)
    verdicts.push(verdict)
    tell(verdict)
  }
  const missing = scenarios.length - verdicts.length
  if (missing > 0)
    console.log(`${missing} scenarios are left out, from ${scenarios[verdicts.length]} on: the time is up.`)
  const leftovers = verification.leftovers()
  if (leftovers.length > 0) console.log(`FAILS: left in shared memory: ${leftovers.join(', ')}`)
  summarise(verdicts)
  return leftovers.length === 0 && verdicts.every(({ failures }) => failures.length === 0)
}

function summarise(verdicts: readonly Verdict[]): void {
  const sum = (numberIn: (verdict: Verdict) => number) =>
    verdicts.reduce((total, verdict) => total + numberIn(verdict), 0)
  const counts = {
    scenarios: verdicts.length,
    effects: sum(({ effects }) => effects.length),
    points: sum(({ points }) => points),
    kills: sum(({ kills }) => kills),
    stops: sum(({ stops }) => stops),
    slowestMs: Math.max(...verdicts.map(({ slowestMs }) => slowestMs)),
    seconds: verification.seconds,
  }
  const failed = verdicts.filter(({ failures }) => failures.length > 0).length
  console.log(
    `${counts.scenarios} scenarios, ${counts.effects} effects, ${counts.kills} kills, ${counts.stops} stops, ` +
      `slowest recovery ${counts.slowestMs.toFixed(0)} ms, ${counts.seconds.toFixed(0)} s, ` +
      `${((counts.kills + counts.stops) / counts.seconds).toFixed(0)} kills and stops a second`,
  )
  console.log(failed === 0 ? 'Everything stands.' : `${failed} scenarios fail.`)
  if (options.json !== undefined) writeFileSync(options.json, `${JSON.stringify({ ...counts, verdicts }, null, 2)}\n`)
}

const pattern = new RegExp(options.only)
const scenarios = killScenarios.map(({ name }) => name).filter((name) => pattern.test(name))
const effort = {
  ...(options.brief ? (scenarios.length > MANY ? BRIEF_OF_MANY : BRIEF) : FULL),
  lanes: Number(options.children),
  seed: Number(options.seed),
  killPoint: options.at === undefined ? undefined : killPointAt(options.at),
  hows: howsOf(options.how),
}
const verification = new Verification(effort, hookNativeCalls())
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    verification.clean()
    process.exit(1)
  })
}
let isRight = false
try {
  isRight = await verify()
} finally {
  const remaining = verification.clean()
  if (remaining.length > 0) console.log(`FAILS: could not be removed: ${remaining.join(', ')}`)
  process.exitCode = isRight && remaining.length === 0 ? 0 : 1
}
