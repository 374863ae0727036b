import { writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { type Effort, Siege, type Verdict } from '../hostile/siege.js'
import { targetPlans, targetsMatching } from '../hostile/targets.js'

/** Attacks the structures in shared memory, and reports the failures. See ../hostile/README.md. */

const { values: options } = parseArgs({
  options: {
    brief: { type: 'boolean', default: false },
    only: { type: 'string', default: '' },
    seed: { type: 'string', default: '1' },
    cases: { type: 'string' },
    seconds: { type: 'string' },
    children: { type: 'string', default: '2' },
    json: { type: 'string' },
  },
})

const SCRIBBLED = /scribbled$/

function effort(places: readonly number[], isScribbled: boolean): Effort {
  const children = Number(options.children)
  const inAll = Number(options.seconds ?? (options.brief ? 30 : 540)) * 1000
  // Targets with a scribbler use two cores and count no mutations, so they get a third of the time.
  const targets = places.filter((place) => SCRIBBLED.test(targetPlans[place].name) === isScribbled).length
  const share = targets === places.length ? 1 : isScribbled ? 1 / 3 : 2 / 3
  return {
    seed: Number(options.seed),
    casesMax: Number(options.cases ?? Number.POSITIVE_INFINITY),
    mutationsMax: options.brief ? 20_000 : 100_000,
    msMax: (inAll * share * children) / targets,
    children,
  }
}

function line(verdict: Verdict): string {
  const { target, cases, mutations, calls, scribbles, seconds, what } = verdict
  const scribbled = scribbles === 0 ? '' : `  ${scribbles} scribbles`
  return (
    `${target.padEnd(32)} ${String(cases).padStart(7)} cases ${String(mutations).padStart(8)} mutations ` +
    `${String(calls).padStart(8)} calls ${seconds.toFixed(1).padStart(6)} s  ${what === undefined ? 'stands' : 'FAILS'}${scribbled}`
  )
}

function tell(verdict: Verdict): void {
  console.log(line(verdict))
  const log = verdict.failure?.log ?? verdict.log ?? []
  if (log.length > 0) console.log(log.map((step) => `    ${step}`).join('\n'))
  if (verdict.what === undefined) return
  console.log(`\n${verdict.what}\n`)
  console.log(`To see it again: --seed ${verdict.failedSeed} --only '^${verdict.target}$' --cases 1\n`)
}

async function verify(): Promise<boolean> {
  const places = targetsMatching(options.only)
  if (places.length === 0) throw new Error(`No target matches ${options.only}`)
  const startedMs = performance.now()
  const verdicts: Verdict[] = []
  for (const isScribbled of [false, true]) {
    const chosen = places.filter((place) => SCRIBBLED.test(targetPlans[place].name) === isScribbled)
    if (chosen.length > 0) verdicts.push(...(await siegeOf(effort(places, isScribbled)).run(chosen, tell)))
  }
  const sum = (key: 'cases' | 'mutations' | 'calls' | 'scribbles') =>
    verdicts.reduce((total, verdict) => total + verdict[key], 0)
  const seconds = (performance.now() - startedMs) / 1000
  const rate = Math.round(sum('mutations') / seconds)
  console.log(
    `${sum('mutations')} mutations in ${sum('cases')} cases, ${sum('calls')} calls, ${sum('scribbles')} scribbles, ` +
      `${seconds.toFixed(0)} s, ${rate} mutations a second`,
  )
  const failed = verdicts.filter(({ what }) => what !== undefined)
  console.log(failed.length === 0 ? 'Everything stands.' : `${failed.length} targets fail.`)
  if (options.json !== undefined) {
    const counts = {
      mutations: sum('mutations'),
      cases: sum('cases'),
      calls: sum('calls'),
      scribbles: sum('scribbles'),
    }
    writeFileSync(options.json, `${JSON.stringify({ ...counts, seconds, verdicts }, null, 2)}\n`)
  }
  return failed.length === 0
}

let siege: Siege | undefined

function siegeOf(effort: Effort): Siege {
  siege = new Siege(effort)
  return siege
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    siege?.clean()
    process.exit(1)
  })
}

process.exitCode = (await verify()) ? 0 : 1
