import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { ForkedChild } from '../fork/forked-child.js'
import type { How, KillPoint } from './effects.js'
import type { NativeHook } from './hooks.js'
import { Lane, type Result, type Task } from './lane.js'
import { filesOf, removeAll } from './leftovers.js'
import { scenarioNamed } from './scenarios/index.js'
import { bothSidesOf, killPointsOf, sampleOf } from './selection.js'
import type { Failure, Verdict } from './verdict.js'

export interface Effort {
  /** How many processes try kill points at the same time. */
  readonly lanes: number
  readonly seed: number
  /** How often the effects are counted. */
  readonly counts: number
  /** How many runs with a kill or a stop there are of each scenario, taken at random. */
  readonly runsMax: number
  /** The same for scenarios in which each run needs a new Node.js, which is slow. */
  readonly awaitingRunsMax: number
  /** No kill point begins after this time. */
  readonly secondsMax: number
  /** The only kill point to try, if given. */
  readonly killPoint: KillPoint | undefined
  /** What happens at kill points: the victim is killed, or stopped. */
  readonly hows: readonly How[]
}

const FAILURES_MAX = 5
const MOMENT_MS = 20
const PATIENCE_MS = 10_000
/** How many effects beyond the counted ones are tried: with a partner, a victim may do more in another run. */
const BEYOND_MAX = 40
const POLL_MS = 5

/** Counts the effects of a scenario, then kills a victim before and after each of them. */
export class Verification {
  readonly #effort: Effort
  readonly #native: NativeHook
  readonly #folder = mkdtempSync(join(tmpdir(), 'isthmus-kill-'))
  readonly #prefix = `/isthmus-kill-${process.pid}-`
  readonly #startedMs = performance.now()
  #lanes: Lane[] = []

  constructor(effort: Effort, native: NativeHook) {
    this.#effort = effort
    this.#native = native
  }

  get seconds(): number {
    return (performance.now() - this.#startedMs) / 1000
  }

  async verify(scenario: string): Promise<Verdict> {
    // Counted more than once: a victim does less if its partner does not sleep.
    const counted = await this.#run(Array.from({ length: this.#effort.counts }, () => ({ scenario })))
    const effects = counted.map((result) => result.effects ?? []).reduce((a, b) => (b.length > a.length ? b : a))
    if (counted.some(({ failure }) => failure !== undefined)) return verdictOf(scenario, effects, 0, counted)
    const all = killPointsOf(effects)
    const { killPoint, seed, hows } = this.#effort
    const runsMax = needsNewNode(scenario) ? this.#effort.awaitingRunsMax : this.#effort.runsMax
    if (killPoint !== undefined) {
      return verdictOf(scenario, effects, all.length, await this.#run(tasksAt(scenario, killPoint, hows)))
    }
    const tasks = all.flatMap((killPoint) => tasksAt(scenario, killPoint, hows))
    const results = await this.#run(sampleOf(tasks, runsMax, seed))
    if (runsMax === Number.POSITIVE_INFINITY) results.push(...(await this.#goBeyond(scenario, effects.length)))
    return verdictOf(scenario, effects, 2 * effects.length, results)
  }

  /** Tries further effects until a victim completes its operation. */
  async #goBeyond(scenario: string, counted: number): Promise<Result[]> {
    const results: Result[] = []
    for (let effect = counted + 1; effect <= counted + BEYOND_MAX; effect++) {
      const tasks = bothSidesOf(effect).flatMap((killPoint) => tasksAt(scenario, killPoint, this.#effort.hows))
      const found = await this.#run(tasks)
      const reached = found.filter((result) => result.isReached || result.failure !== undefined)
      results.push(...reached)
      if (reached.length < found.length) break
    }
    return results
  }

  async #run(tasks: readonly Task[]): Promise<Result[]> {
    const { lanes } = this.#effort
    const shares = Array.from({ length: Math.min(lanes, tasks.length) }, (_, lane) =>
      tasks.filter((_, index) => index % lanes === lane),
    )
    this.#lanes = shares.map((share) => new Lane(share, this.#folder, this.#prefix, this.#native))
    const started = this.#lanes
    // The wait is not blocking, so that signal handlers run.
    while (!started.every((lane) => lane.isDone)) {
      if (this.#isOver(started)) {
        await this.#breakOff(started)
        break
      }
      await sleep(POLL_MS)
    }
    return started.flatMap((lane) => lane.results())
  }

  async #breakOff(lanes: readonly Lane[]): Promise<void> {
    for (const lane of lanes) lane.end()
    // The processes that a lane has started die a moment after it.
    await sleep(MOMENT_MS)
    this.#removeAll()
  }

  /** Runs in another process, since this one must not use the packages. */
  #removeAll(): void {
    ForkedChild.start(() => removeAll(this.#prefix)).waitForEnd(PATIENCE_MS)
  }

  #isOver(lanes: readonly Lane[]): boolean {
    if (this.seconds > this.#effort.secondsMax && lanes.some((lane) => lane.results().length > 0)) return true
    return lanes.flatMap((lane) => lane.results()).filter(({ failure }) => failure !== undefined).length >= FAILURES_MAX
  }

  /** Ends all processes and removes what they left. Returns the files that could not be removed. */
  clean(): string[] {
    for (const lane of this.#lanes) lane.end()
    this.#removeAll()
    rmSync(this.#folder, { recursive: true, force: true })
    return filesOf(this.#prefix)
  }

  /** The files of this run in /dev/shm. */
  leftovers(): string[] {
    return filesOf(this.#prefix)
  }
}

function tasksAt(scenario: string, killPoint: KillPoint, hows: readonly How[]): Task[] {
  const { checkSwept, whileStopped } = scenarioNamed(scenario)
  const tasks: Task[] = []
  if (hows.includes('kill')) tasks.push({ scenario, killPoint })
  if (hows.includes('kill') && checkSwept !== undefined) tasks.push({ scenario, killPoint, isSweptFirst: true })
  if (hows.includes('stop') && whileStopped !== undefined) tasks.push({ scenario, killPoint, how: 'stop' })
  return tasks
}

/** Whether a run needs a new Node.js, which takes ten times as long as a copy. */
export function needsNewNode(name: string): boolean {
  const { isVictimAwaiting = false, isSurvivorAwaiting = false } = scenarioNamed(name)
  return isVictimAwaiting || isSurvivorAwaiting
}

function verdictOf(scenario: string, effects: readonly string[], points: number, results: readonly Result[]): Verdict {
  const taken = results.filter((result) => result.task.killPoint !== undefined)
  const stopped = taken.filter(({ isReached, task }) => isReached && task.how === 'stop')
  const killed = taken.filter(({ isReached, task }) => isReached && task.how !== 'stop')
  const tried = new Set(taken.map(({ task: { killPoint } }) => `${killPoint?.effect} ${killPoint?.side}`))
  return {
    scenario,
    effects,
    points,
    omitted: Math.max(0, points - tried.size),
    kills: killed.length,
    stops: stopped.length,
    unreached: taken.length - killed.length - stopped.length,
    slowestMs: Math.max(0, ...results.map(({ recoveredInMs }) => recoveredInMs)),
    failures: results.filter(({ failure }) => failure !== undefined).map(failureOf),
  }
}

function failureOf({ task, diedAt, failure }: Result): Failure {
  return { killPoint: task.killPoint, how: task.how ?? 'kill', effect: diedAt, what: failure ?? '' }
}
