import { appendFileSync, closeSync, openSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import koffi from 'koffi'
import { ForkedChild } from '../fork/forked-child.js'
import { Board } from './board.js'
import { correctProcessId } from './death.js'
import type { How, KillPoint } from './effects.js'
import { Execution, type Outcome } from './execution.js'
import { PASSING } from './expectations.js'
import type { NativeHook } from './hooks.js'
import { removeAll } from './leftovers.js'

const dup2 = koffi.load(null).func('int dup2(int from, int to)')

export interface Task {
  readonly scenario: string
  /** Undefined: the victim completes its operation, and its effects are counted. */
  readonly killPoint?: KillPoint
  /** See Scenario.whileStopped. */
  readonly how?: How
  /** See Scenario.checkSwept. */
  readonly isSweptFirst?: boolean
}

export interface Result extends Outcome {
  readonly task: Task
}

/**
 * How often a run is tried: if its failure may be due to load on the machine, or if the victim did not reach its kill
 * point, which can happen because counts vary.
 */
const TRIES = 3

let lanes = 0

/** A copy of this process that executes its tasks one after the other, by making copies of itself. */
export class Lane {
  readonly #child: ForkedChild
  readonly #resultsPath: string
  readonly #prefix: string
  readonly #results: Result[] = []
  #readBytes = 0

  constructor(tasks: readonly Task[], folder: string, prefix: string, native: NativeHook) {
    const lane = ++lanes
    this.#resultsPath = join(folder, `results-${lane}`)
    this.#prefix = `${prefix}${lane}-`
    writeFileSync(this.#resultsPath, '')
    this.#child = ForkedChild.start(() => {
      correctProcessId()
      const errorsPath = join(folder, `errors-${lane}`)
      const errors = openSync(errorsPath, 'a')
      dup2(errors, 2)
      closeSync(errors)
      const shared = { board: new Board(join(folder, `board-${lane}`)), native, errorsPath }
      tasks.forEach((task, index) => {
        const result = runTask(task, (turn) => `${this.#prefix}${index}.${turn}-`, shared)
        appendFileSync(this.#resultsPath, `${JSON.stringify(result)}\n`)
      })
    })
  }

  /** Whether all tasks are done. */
  get isDone(): boolean {
    const ending = this.#child.poll()
    if (ending === undefined) return false
    if ('exitCode' in ending && ending.exitCode === 0) return true
    throw new Error(`A lane ended: ${JSON.stringify(ending)}`)
  }

  /** The results so far. */
  results(): readonly Result[] {
    const { size } = statSync(this.#resultsPath)
    if (size === this.#readBytes) return this.#results
    this.#readBytes = size
    // What follows the last line end may be half-written.
    const lines = readFileSync(this.#resultsPath, 'utf8').split('\n').slice(0, -1)
    for (const line of lines.slice(this.#results.length)) this.#results.push(JSON.parse(line))
    return this.#results
  }

  /** Ends the lane and the processes it has started, which die with it. */
  end(): void {
    this.#child.end()
  }
}

function runTask(
  task: Task,
  nameOf: (turn: number) => string,
  shared: { board: Board; native: NativeHook; errorsPath: string },
): Result {
  for (let turn = 1; ; turn++) {
    const name = nameOf(turn)
    const outcome = new Execution(task, name, shared).run()
    if (outcome.failure !== undefined) removeAll(name)
    const isUnreached = task.killPoint !== undefined && !outcome.isReached
    const isPassing = outcome.failure?.includes(PASSING) === true
    if (turn === TRIES && isPassing) outcome.failure = outcome.failure?.replace(PASSING, `${TRIES} times in a row: `)
    if (turn === TRIES || !(isPassing || (outcome.failure === undefined && isUnreached))) return { task, ...outcome }
  }
}
