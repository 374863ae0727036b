import { writeSync } from 'node:fs'
import { fields } from '../soak/fields.js'
import { rehearse } from '../soak/rehearsal.js'
import { Round, RoundFailure } from '../soak/round.js'
import type { RunnerLine, RunnerTask } from '../soak/runner-line.js'

/** Plays rounds of the given fields, one after the other, until it gets SIGTERM or the command has ended. */

const task = JSON.parse(process.argv[2]) as RunnerTask
const commandPid = process.ppid
let isToldToStop = false

function tell(line: RunnerLine): void {
  writeSync(1, `${JSON.stringify(line)}\n`)
}

/** Signal handlers run only between rounds; the end of the command is noticed within a round. */
function isOver(): boolean {
  return isToldToStop || process.ppid !== commandPid
}

async function run(): Promise<boolean> {
  const played = task.fields.flatMap((name) => fields.find((field) => field.name === name) ?? [])
  for (const field of played) rehearse(field, `${task.prefix}-rehearsal`)
  for (let count = 0; !isOver(); count++) {
    const field = played[count % played.length]
    const seed = task.seed + count
    try {
      const kills = Math.min(field.killsPerRound, task.killsMax)
      const tally = new Round(field, `${task.prefix}-${count}`, seed, { kills }, isOver).run()
      tell({ kind: 'round', field: field.name, seed, tally })
    } catch (error) {
      if (!(error instanceof RoundFailure)) throw error
      tell({ kind: 'failure', field: field.name, seed, what: error.message, events: error.events })
      return false
    }
    // Lets signal handlers run.
    await new Promise((resolve) => setImmediate(resolve))
  }
  return true
}

for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  process.on(signal, () => {
    isToldToStop = true
  })
}

process.exitCode = (await run()) ? 0 : 1
