import { PRUNED } from './control.js'
import { Crew } from './crew.js'
import { BoundedSearch } from './exploration/bounded-search.js'
import { RandomSearch } from './exploration/random-search.js'
import { ReducedSearch } from './exploration/reduced-search.js'
import type { Search } from './exploration/search.js'
import { SharedWords } from './exploration/shared-words.js'
import type { Scenario } from './scenario.js'
import { scheduleText } from './schedule-text.js'
import { shrink } from './shrink.js'
import { traceOf } from './trace.js'
import { WordNames } from './word-names.js'

export interface Effort {
  /** The highest preemption bound that is tried. */
  readonly preemptions: number
  /** For each scenario. */
  readonly secondsMax: number
  readonly randomSchedules: number
  readonly seed: number
  /** Only search by this preemption bound, without the reduction: to compare what the two see. */
  readonly isPlain: boolean
  readonly countsHistories: boolean
}

export interface Failure {
  readonly what: string
  readonly schedule: string
  readonly trace: string
}

export interface Verdict {
  readonly scenario: string
  readonly schedules: number
  /** How many of these were cut short, since the search had seen all continuations before. */
  readonly pruned: number
  /** All schedules with up to this many preemptions were run: Infinity for all schedules, -1 for not even those without any. */
  readonly preemptionBound: number
  readonly isExhaustive: boolean
  readonly seconds: number
  /** How many schedules of the last search differ in the values that an agent saw; counted if the effort asks for it. */
  readonly histories: number
  readonly failure: Failure | undefined
}

/** Searches the schedules of one scenario: those with few preemptions first, then all; if time is up before, random ones. */
export class Verification {
  readonly #crew: Crew
  readonly #effort: Effort
  readonly #startMs = performance.now()
  #pruned = 0
  readonly #histories = new Set<string>()
  #failure: Failure | undefined

  static async of(scenario: Scenario, effort: Effort): Promise<Verdict> {
    const crew = await Crew.gather(scenario)
    try {
      return new Verification(crew, effort).#verdict()
    } finally {
      await crew.dismiss()
    }
  }

  private constructor(crew: Crew, effort: Effort) {
    this.#crew = crew
    this.#effort = effort
  }

  #verdict(): Verdict {
    const { preemptions, randomSchedules, seed } = this.#effort
    let bound = -1
    if (this.#effort.isPlain) bound = this.#searchBounded(preemptions) ? preemptions : -1
    else for (let next = 0; next <= Math.min(1, preemptions) && this.#searchBounded(next); next++) bound = next
    const isReduced = this.#failure === undefined && !this.#effort.isPlain
    const isExhaustive = isReduced && this.#search(new ReducedSearch(this.#crew), this.#effort.secondsMax * 1.5)
    if (isExhaustive) bound = Number.POSITIVE_INFINITY
    else if (!this.#effort.isPlain) {
      for (let next = bound + 1; next <= preemptions && this.#searchBounded(next); next++) bound = next
      this.#search(new RandomSearch(seed, randomSchedules), Number.POSITIVE_INFINITY)
    }
    return {
      scenario: this.#crew.scenario.name,
      schedules: this.#crew.schedules,
      pruned: this.#pruned,
      preemptionBound: bound,
      isExhaustive,
      seconds: (performance.now() - this.#startMs) / 1000,
      histories: this.#histories.size,
      failure: this.#failure,
    }
  }

  /** Begins again if words turn out to be shared that the search has skipped. */
  #searchBounded(bound: number): boolean {
    const sharedWords = new SharedWords()
    for (;;) {
      const before = sharedWords.size
      if (!this.#search(new BoundedSearch(this.#crew, bound, sharedWords))) return false
      if (sharedWords.size === before) return true
    }
  }

  /** True if the search has come to its end without a failure. */
  #search(search: Search, secondsMax = this.#effort.secondsMax): boolean {
    this.#histories.clear()
    const deadlineMs = performance.now() + secondsMax * 1000
    for (let plan = search.next(); plan !== undefined; plan = search.next()) {
      if (this.#failure !== undefined || performance.now() > deadlineMs) return false
      const execution = this.#crew.run(plan)
      if (execution.outcome === PRUNED) this.#pruned++
      else if (this.#effort.countsHistories) this.#histories.add(execution.histories())
      const what = execution.failure()
      if (what !== undefined) {
        this.#failure = this.#explain(execution.choices())
        return false
      }
      search.learn(execution)
    }
    return this.#failure === undefined
  }

  #explain(choices: readonly number[]): Failure {
    const shortest = shrink(this.#crew, choices)
    return explain(this.#crew, shortest) ?? { what: 'it does not fail again', schedule: '', trace: '' }
  }
}

/** Runs one schedule again; undefined if it does not fail. */
export function explain(crew: Crew, choices: readonly number[]): Failure | undefined {
  const execution = crew.run({ choices })
  const what = execution.failure()
  if (what === undefined) return undefined
  return {
    what,
    schedule: scheduleText(crew.scenario.name, crew.agentNames, choices),
    trace: traceOf(execution, new WordNames(crew.scenario, crew.region)),
  }
}
