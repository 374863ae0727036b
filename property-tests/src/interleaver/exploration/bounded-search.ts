import { agentOf, agentsIn, crashOf, isCrash, stepOf } from '../choice.js'
import type { Crew, Plan } from '../crew.js'
import type { Execution } from '../execution.js'
import { crashCandidates } from './crash-candidates.js'
import type { Search } from './search.js'
import type { SharedWords } from './shared-words.js'

interface Node {
  choice: number
  /** Choices that remain to be made here. */
  readonly open: number[]
}

/**
 * All schedules with up to `bound` preemptions, depth first. A preemption is a switch away from an agent that could go on;
 * when an agent ends, sleeps or polls in vain, the switch is free.
 *
 * The only reduction: an agent is not preempted before an operation on a word that no other agent uses, or that no agent
 * writes. A preemption right after that operation costs the same and shows the same. Sleep sets are not used here: with a
 * bound they are not sound, since the schedule that stands for a skipped one may exceed the bound.
 */
export class BoundedSearch implements Search {
  readonly #crew: Crew
  readonly #bound: number
  readonly #sharedWords: SharedWords
  readonly #stack: Node[] = []
  #isDone = false

  constructor(crew: Crew, bound: number, sharedWords: SharedWords) {
    this.#crew = crew
    this.#bound = bound
    this.#sharedWords = sharedWords
  }

  next(): Plan | undefined {
    return this.#isDone ? undefined : { choices: this.#stack.map(({ choice }) => choice) }
  }

  learn(execution: Execution): void {
    this.#sharedWords.learn(execution)
    let preemptions = 0
    for (let step = 0; step < execution.steps; step++) {
      const isNew = step >= this.#stack.length
      const last = step === 0 ? -1 : agentOf(execution.choiceAt(step - 1))
      const canLastGoOn =
        last >= 0 && ((execution.enabledAt(step) >>> last) & 1) !== 0 && !execution.isTimeoutAt(step, last)
      const choice = execution.choiceAt(step)
      if (isNew) {
        const isFree = !canLastGoOn || preemptions < this.#bound
        const open = isFree ? this.#alternatives(execution, step, canLastGoOn ? last : -1) : []
        const crashes = crashCandidates(execution, step, this.#crew.crashable)
        this.#stack.push({ choice, open: [...open, ...agentsIn(crashes).map(crashOf)] })
      }
      if (canLastGoOn && !isCrash(choice) && agentOf(choice) !== last) preemptions++
    }
    this.#backtrack()
  }

  #alternatives(execution: Execution, step: number, last: number): number[] {
    if (last >= 0) {
      const isUnshared = !this.#sharedWords.isShared(
        execution.pendingKindAt(step, last),
        execution.pendingWordAt(step, last),
      )
      if (isUnshared) return []
    }
    const chosen = agentOf(execution.choiceAt(step))
    return agentsIn(execution.enabledAt(step) & ~(1 << chosen)).map(stepOf)
  }

  #backtrack(): void {
    for (let node = this.#stack.at(-1); node !== undefined; node = this.#stack.at(-1)) {
      const choice = node.open.pop()
      if (choice !== undefined) {
        node.choice = choice
        return
      }
      this.#stack.pop()
    }
    this.#isDone = true
  }
}
