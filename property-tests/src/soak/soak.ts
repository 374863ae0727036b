import { Checkpoint } from './checkpoint.js'
import { removeAll } from './leftovers.js'
import { summaryOf, tableOf } from './report.js'
import { Runner } from './runner.js'
import type { RunnerLine } from './runner-line.js'
import { totalOf } from './tally.js'

export interface SoakOptions {
  readonly fields: readonly string[]
  readonly minutes: number
  readonly kills: number
  readonly seed: number
  /** How many processes play rounds at the same time. */
  readonly runners: number
  /** The file for the counts, written now and then and at the end. */
  readonly json: string | undefined
  /** A file of an earlier run whose counts are continued. */
  readonly resume: string | undefined
}

const CHECKPOINT_MS = 10_000
const TERMINAL_PROGRESS_MS = 3_000
const PROGRESS_MS = 30_000
/** The distance between the seeds of one runner and of the next. */
const SEEDS_APART = 100_000_000

/** The whole run: starts the runners and collects their reports. */
export class Soak {
  readonly #options: SoakOptions
  readonly #checkpoint: Checkpoint
  readonly #prefix = `/isthmus-soak-${process.pid}`
  #runners: readonly Runner[] = []
  #isStopping = false
  #failure: string | undefined

  constructor(options: SoakOptions) {
    this.#options = options
    this.#checkpoint = Checkpoint.open(options.json, options.resume, options.seed)
  }

  /** Returns whether no round failed. */
  async run(): Promise<boolean> {
    const { minutes, seed, fields } = this.#options
    console.log(`Seed ${seed}. Fields: ${fields.join(', ')}.`)
    const timers = [
      setInterval(() => this.#checkpoint.save(), CHECKPOINT_MS),
      setInterval(() => this.#showProgress(), process.stdout.isTTY ? TERMINAL_PROGRESS_MS : PROGRESS_MS),
    ]
    if (Number.isFinite(minutes)) timers.push(setTimeout(() => this.stop(), minutes * 60_000))
    try {
      this.#runners = this.#startRunners()
      await Promise.all(this.#runners.map((runner) => this.#accompany(runner)))
    } finally {
      for (const timer of timers) clearInterval(timer)
      removeAll(this.#prefix)
    }
    this.#checkpoint.save()
    this.#conclude()
    return this.#failure === undefined
  }

  /** Lets the rounds under way end. With a reason, the run counts as failed. */
  stop(reason?: string): void {
    if (reason !== undefined) this.#fail(reason)
    if (this.#isStopping) return
    this.#isStopping = true
    for (const runner of this.#runners) runner.stop()
  }

  #startRunners(): Runner[] {
    const { fields, seed, kills } = this.#options
    const onLine = (line: RunnerLine) => this.#take(line)
    const count = this.#options.runners
    return Array.from({ length: count }, (_, at) => {
      // Each runner begins with another field, so that all fields are reached soon.
      const share = Math.floor((at * fields.length) / count)
      const order = [...fields.slice(share), ...fields.slice(0, share)]
      const prefix = `${this.#prefix}-${at}`
      // JSON has no infinity.
      const killsMax = Math.min(kills, Number.MAX_SAFE_INTEGER)
      const task = { fields: order, seed: (seed + at * SEEDS_APART) | 0, prefix, killsMax }
      return new Runner(task, onLine)
    })
  }

  /** Follows a runner to its end. If it fails, the others are stopped. */
  async #accompany(runner: Runner): Promise<void> {
    const failure = await runner.ended
    if (failure !== undefined) this.stop(failure)
  }

  #take(line: RunnerLine): void {
    if (line.kind === 'failure') {
      this.#checkpoint.countLoss(line.field)
      const events = line.events.map((event) => `    ${event}`).join('\n')
      this.stop(`${line.field}, round with seed ${line.seed}: ${line.what}\nWhat happened last:\n${events}`)
      return
    }
    this.#checkpoint.count(line.field, line.tally)
    if (totalOf(this.#checkpoint.tallies).kills >= this.#options.kills) this.stop()
  }

  #fail(what: string): void {
    console.error(what)
    this.#failure ??= what
  }

  #showProgress(): void {
    console.log(summaryOf(this.#checkpoint.tallies, this.#checkpoint.seconds))
  }

  #conclude(): void {
    console.log(tableOf(this.#checkpoint.tallies))
    this.#showProgress()
    console.log(this.#failure === undefined ? 'Nothing was lost, no peer was stuck, nothing leaked.' : 'FAILED.')
  }
}
