import { agentOf, agentsIn, crashOf, isCrash, stepOf } from '../choice.js'
import { MAX_AGENTS } from '../control.js'
import type { Crew, Plan } from '../crew.js'
import type { Execution } from '../execution.js'
import { AWAIT_CRASH, areDependent, changesQueue, END_SLICES, readsValue, writesValue } from '../operation.js'
import { crashCandidates } from './crash-candidates.js'
import type { Search } from './search.js'

interface Node {
  readonly enabled: number
  readonly kinds: readonly number[]
  readonly words: readonly number[]
  choice: number
  /** Agents whose next step has been taken here, with everything that follows from it. */
  done: number
  /** Agents whose next step must be taken here. */
  wanted: number
  /** Agents that need not be tried: their next step was taken earlier, and nothing since then depends on it. */
  readonly asleep: number
  crashes: number
}

/**
 * All schedules, without a bound, but only one of those that differ in the order of independent steps: dynamic
 * partial-order reduction (Flanagan and Godefroid, 2005) with sleep sets. If a step turns out to depend on an earlier one
 * of another agent, and nothing between forces their order, the other order is tried too.
 *
 * A crash has no order of its own (see crash-candidates.ts): it is tried at each of its places, whatever else is skipped.
 */
export class ReducedSearch implements Search {
  readonly #crew: Crew
  readonly #stack: Node[] = []
  #asleep = 0
  #isDone = false

  constructor(crew: Crew) {
    this.#crew = crew
  }

  next(): Plan | undefined {
    if (this.#isDone) return undefined
    return { choices: this.#stack.map(({ choice }) => choice), asleep: this.#asleep }
  }

  learn(execution: Execution): void {
    const known = this.#stack.length
    for (let step = known; step < execution.steps; step++) this.#stack.push(this.#nodeAt(execution, step))
    this.#wantReversals(execution, known)
    this.#backtrack()
  }

  #nodeAt(execution: Execution, step: number): Node {
    const choice = execution.choiceAt(step)
    const chosen = 1 << agentOf(choice)
    return {
      enabled: execution.enabledAt(step),
      kinds: Array.from({ length: MAX_AGENTS }, (_, agent) => execution.pendingKindAt(step, agent)),
      words: Array.from({ length: MAX_AGENTS }, (_, agent) => execution.pendingWordAt(step, agent)),
      choice,
      done: chosen,
      wanted: chosen,
      asleep: execution.asleepAt(step),
      crashes: crashCandidates(execution, step, this.#crew.crashable),
    }
  }

  /** For each new state and each agent: finds the latest step with which the agent's next one races. */
  #wantReversals(execution: Execution, known: number): void {
    const clocks = new Clocks(execution)
    for (let step = 0; step <= execution.steps; step++) {
      if (step >= known) {
        for (const agent of agentsIn(execution.aliveAt(step))) this.#wantReversal(execution, clocks, step, agent)
      }
      if (step === execution.steps) return
      // The last step that was planned is new as well.
      if (step >= known - 1) this.#wantTimeouts(execution, step)
      clocks.advance(step)
    }
  }

  /**
   * A step that wakes a sleeper disables the end of its timeout. So the two race, but no later state shows it: the order in
   * which the timeout ends first is wanted here.
   */
  #wantTimeouts(execution: Execution, step: number): void {
    for (const agent of agentsIn(execution.wokenAt(step))) {
      if (execution.isTimeoutAt(step, agent)) this.#stack[step].wanted |= 1 << agent
    }
  }

  #wantReversal(execution: Execution, clocks: Clocks, step: number, agent: number): void {
    const kind = execution.pendingKindAt(step, agent)
    const word = execution.pendingWordAt(step, agent)
    for (let earlier = step - 1; earlier >= 0; earlier--) {
      const choice = execution.choiceAt(earlier)
      const other = agentOf(choice)
      if (other === agent || isCrash(choice)) continue
      if (!areDependent(kind, word, execution.kindAt(earlier), execution.wordAt(earlier))) continue
      if (clocks.isBefore(earlier, other, agent)) continue
      const node = this.#stack[earlier]
      if ((node.enabled >>> agent) & 1) node.wanted |= 1 << agent
      else {
        // An agent that can run there, and whose step leads to the one of `agent`.
        const leading = agentsIn(node.enabled).find((candidate) => clocks.leads(earlier, candidate, agent))
        node.wanted |= leading === undefined ? node.enabled : 1 << leading
      }
      return
    }
  }

  #backtrack(): void {
    for (let node = this.#stack.at(-1); node !== undefined; node = this.#stack.at(-1)) {
      const open = node.wanted & node.enabled & ~node.done & ~node.asleep
      if (open !== 0) {
        const agent = agentsIn(open)[0]
        this.#asleep = this.#asleepAfter(node, agent)
        node.choice = stepOf(agent)
        node.done |= 1 << agent
        return
      }
      if (node.crashes !== 0) {
        const agent = agentsIn(node.crashes)[0]
        node.crashes &= ~(1 << agent)
        // Steps that were taken here do not sleep: a crash after one of them has another place.
        this.#asleep = node.asleep & ~(1 << agent)
        node.choice = crashOf(agent)
        return
      }
      this.#stack.pop()
    }
    this.#isDone = true
  }

  #asleepAfter({ asleep, done, kinds, words }: Node, agent: number): number {
    let remaining = (asleep | done) & ~(1 << agent)
    for (const other of agentsIn(remaining)) {
      if (areDependent(kinds[agent], words[agent], kinds[other], words[other])) remaining &= ~(1 << other)
    }
    return remaining
  }
}

/** The order of steps by dependence, as vector clocks of step numbers. */
class Clocks {
  readonly #execution: Execution
  readonly #agents: number[][] = Array.from({ length: MAX_AGENTS }, () => new Array<number>(MAX_AGENTS).fill(-1))
  readonly #writes = new Map<number, number[]>()
  readonly #reads = new Map<number, number[]>()
  readonly #queues = new Map<number, number[]>()
  #crash: number[] | undefined
  #slices: number[] | undefined
  /** The steps of each agent, to find the first one after a given step. */
  readonly #stepsOf: number[][] = Array.from({ length: MAX_AGENTS }, () => [])

  constructor(execution: Execution) {
    this.#execution = execution
  }

  /** Whether this step, by `other`, comes before the next step of `agent`. */
  isBefore(step: number, other: number, agent: number): boolean {
    return this.#agents[agent][other] >= step
  }

  /** Whether a step of `candidate` after `step` comes before the next step of `agent`. */
  leads(step: number, candidate: number, agent: number): boolean {
    const first = this.#stepsOf[candidate].find((own) => own > step)
    return first !== undefined && this.#agents[agent][candidate] >= first
  }

  advance(step: number): void {
    const choice = this.#execution.choiceAt(step)
    const agent = agentOf(choice)
    const clock = this.#agents[agent]
    clock[agent] = step
    this.#stepsOf[agent].push(step)
    if (isCrash(choice)) {
      this.#crash = clock.slice()
      return
    }
    const kind = this.#execution.kindAt(step)
    if (kind === AWAIT_CRASH) join(clock, this.#crash)
    const word = this.#execution.wordAt(step)
    if (readsValue(kind) || writesValue(kind)) join(clock, this.#writes.get(word))
    if (writesValue(kind)) join(clock, this.#reads.get(word))
    if (changesQueue(kind)) for (const queue of [this.#queues.get(word), this.#slices]) join(clock, queue)
    if (kind === END_SLICES) {
      for (const queue of this.#queues.values()) join(clock, queue)
      this.#slices = clock.slice()
    }
    if (writesValue(kind)) this.#writes.set(word, clock.slice())
    if (readsValue(kind)) this.#reads.set(word, joined(clock, this.#reads.get(word)))
    if (changesQueue(kind)) this.#queues.set(word, clock.slice())
    for (const woken of agentsIn(this.#execution.wokenAt(step))) join(this.#agents[woken], clock)
  }
}

function join(clock: number[], other: readonly number[] | undefined): void {
  if (other === undefined) return
  for (let agent = 0; agent < clock.length; agent++) if (other[agent] > clock[agent]) clock[agent] = other[agent]
}

function joined(clock: readonly number[], other: readonly number[] | undefined): number[] {
  const both = clock.slice()
  join(both, other)
  return both
}
