import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { queueFields } from '../soak/fields/queues.js'
import { rehearse } from '../soak/rehearsal.js'
import { tableOf } from '../soak/report.js'
import { Round, RoundFailure } from '../soak/round.js'
import type { Tally } from '../soak/tally.js'

/**
 * Kills thousands of senders and receivers of one queue at random moments, one after the other, without ever making the queue anew;
 * in the end, everything that was sent has come as promised, and all blocks are free. Once for each kind of delivery. See the field
 * `queues` in ../soak/README.md.
 */

const { values: options } = parseArgs({
  options: {
    brief: { type: 'boolean', default: false },
    kills: { type: 'string' },
    only: { type: 'string', default: '' },
    seed: { type: 'string', default: '1' },
    json: { type: 'string' },
    /** The process id of the command, for the process that plays the rounds. */
    under: { type: 'string' },
  },
})

/** How many kills of attached peers each queue gets, and how long that may take. */
const KILLS = 10_000
const BRIEF_KILLS = 1_000
const BRIEF_SECONDS_MAX = 40

const fields = queueFields.filter(({ name }) => new RegExp(options.only).test(name))
if (fields.length === 0)
  throw new Error(`No queue matches ${options.only}: there are ${queueFields.map(({ name }) => name).join(', ')}`)
const kills = Number(options.kills ?? (options.brief ? BRIEF_KILLS : KILLS))
if (!(kills > 0)) throw new Error(`--kills ${options.kills}: give a number above 0`)

/** Rounds do not let signal handlers run, so another process plays them. It ends in good order once the command has ended. */
async function command(): Promise<number> {
  const parameters = ['--single-threaded', fileURLToPath(import.meta.url), '--under', `${process.pid}`]
  // Detached, so that Ctrl-C reaches only the command.
  const player = spawn(process.execPath, [...parameters, ...process.argv.slice(2)], {
    detached: true,
    stdio: 'inherit',
  })
  const [exitCode, signal] = await once(player, 'exit')
  if (signal !== null) console.error(`The process that played the rounds was ended by ${signal}`)
  return exitCode ?? 1
}

function play(commandPid: number): boolean {
  const prefix = `/isthmus-queue-${commandPid}`
  const tallies: Record<string, Tally> = {}
  let isRight = true
  for (const field of fields) rehearse(field, `${prefix}-rehearsal`)
  for (const [at, field] of fields.entries()) {
    const startedMs = performance.now()
    const isLate = () => options.brief && performance.now() - startedMs > BRIEF_SECONDS_MAX * 1000
    const isOver = () => process.ppid !== commandPid || isLate()
    try {
      const goal = { kills, onlyAtWork: true }
      tallies[field.name] = new Round(field, `${prefix}-${at}`, Number(options.seed), goal, isOver).run()
    } catch (error) {
      if (!(error instanceof RoundFailure)) throw error
      isRight = false
      console.error(`${field.name}: ${error.message}\nWhat happened last:`)
      for (const event of error.events) console.error(`    ${event}`)
    }
    if (process.ppid !== commandPid) return false
  }
  console.log(tableOf(tallies))
  if (options.json !== undefined) writeFileSync(options.json, `${JSON.stringify(tallies, null, 2)}\n`)
  console.log(isRight ? 'Nothing was lost or doubled, no peer was stuck, and all blocks are free.' : 'FAILED.')
  return isRight
}

if (options.under === undefined) process.exitCode = await command()
else process.exitCode = play(Number(options.under)) ? 0 : 1
