import { availableParallelism } from 'node:os'
import { parseArgs } from 'node:util'
import { fields as all } from '../soak/fields.js'
import { Soak } from '../soak/soak.js'

/** Kills, stops and restarts peers at random for a given time or number of kills. See ../soak/README.md. */

const { values: options } = parseArgs({
  options: {
    minutes: { type: 'string' },
    kills: { type: 'string' },
    brief: { type: 'boolean', default: false },
    only: { type: 'string', default: '' },
    seed: { type: 'string' },
    runners: { type: 'string' },
    json: { type: 'string' },
    resume: { type: 'string' },
  },
})

/** Without `--minutes`, `--kills` ends it; without either, it takes ten minutes. */
function minutesAsked(): number {
  if (options.minutes !== undefined) return positive('minutes', options.minutes)
  if (options.brief) return 1
  return options.kills === undefined ? 10 : Number.POSITIVE_INFINITY
}

function positive(name: string, text: string): number {
  const value = Number(text)
  if (value > 0) return value
  throw new Error(`--${name} ${text}: give a number above 0`)
}

const fieldNames = all.map(({ name }) => name)
const fields = fieldNames.filter((name) => new RegExp(options.only).test(name))
if (fields.length === 0) throw new Error(`No field matches ${options.only}: there are ${fieldNames.join(', ')}`)

const soak = new Soak({
  fields,
  minutes: minutesAsked(),
  kills: options.kills === undefined ? Number.POSITIVE_INFINITY : positive('kills', options.kills),
  seed: options.seed === undefined ? Date.now() % 1_000_000 : Number(options.seed),
  // The runner needs one core, and its children another.
  runners: Number(options.runners ?? Math.max(1, availableParallelism() >> 1)),
  json: options.json,
  resume: options.resume,
})
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => soak.stop(`ended by ${signal}`))
process.exitCode = (await soak.run()) ? 0 : 1
