import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { ForkedChild } from '../fork/forked-child.js'
import type { KillPoint } from './effects.js'
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
  /** How many kill points of each scenario are taken, at random. */
  readonly pointsMax: number
  /** The same for scenarios in which each kill point needs a new Node.js, which is slow. */
  readonly awaitingPointsMax: number
  /** No kill point begins after this time. */
  readonly secondsMax: number
  /** The only kill point to try, if given. */
  readonly killPoint: KillPoint | undefined
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
    const { killPoint, seed } = this.#effort
    const pointsMax = needsNewNode(scenario) ? this.#effort.awaitingPointsMax : this.#effort.pointsMax
    if (killPoint !== undefined) {
      return verdictOf(scenario, effects, all.length, await this.#run(tasksAt(scenario, killPoint)))
    }
    const chosen = sampleOf(all, pointsMax, seed).flatMap((killPoint) => tasksAt(scenario, killPoint))
    const results = await this.#run(chosen)
    if (pointsMax === Number.POSITIVE_INFINITY) results.push(...(await this.#goBeyond(scenario, effects.length)))
    return verdictOf(scenario, effects, 2 * effects.length, results)
  }

  /** Tries further effects until a victim completes its operation. */
  async #goBeyond(scenario: string, counted: number): Promise<Result[]> {
    const results: Result[] = []
    for (let effect = counted + 1; effect <= counted + BEYOND_MAX; effect++) {
      const found = await this.#run(bothSidesOf(effect).flatMap((killPoint) => tasksAt(scenario, killPoint)))
      const reached = found.filter((result) => result.effects === undefined || result.failure !== undefined)
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

function tasksAt(scenario: string, killPoint: KillPoint): Task[] {
  const task = { scenario, killPoint }
  return scenarioNamed(scenario).checkSwept === undefined ? [task] : [task, { ...task, isSweptFirst: true }]
}

/** Whether a run needs a new Node.js, which takes ten times as long as a copy. */
export function needsNewNode(name: string): boolean {
  const { isVictimAwaiting = false, isSurvivorAwaiting = false } = scenarioNamed(name)
  return isVictimAwaiting || isSurvivorAwaiting
}

function verdictOf(scenario: string, effects: readonly string[], points: number, results: readonly Result[]): Verdict {
  const killed = results.filter((result) => result.task.killPoint !== undefined && result.effects === undefined)
  const taken = results.filter((result) => result.task.killPoint !== undefined)
  return {
    scenario,
    effects,
    points,
    omitted: Math.max(0, points - taken.filter(({ task }) => task.isSweptFirst !== true).length),
    kills: killed.length,
    unreached: taken.length - killed.length,
    slowestMs: Math.max(0, ...results.map(({ recoveredInMs }) => recoveredInMs)),
    failures: results.filter(({ failure }) => failure !== undefined).map(failureOf),
  }
}

function failureOf({ task, diedAt, failure }: Result): Failure {
  return { killPoint: task.killPoint, effect: diedAt, what: failure ?? '' }
}
