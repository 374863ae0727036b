import { createHash } from 'node:crypto'
import { agentOf, isCrash } from './choice.js'
import {
  ALIVE,
  ASLEEP,
  CHOICE,
  type Control,
  CRASHED,
  CRASHED_AGENT,
  DEADLOCK,
  DONE,
  ENABLED,
  FINISHED,
  FIRST_NOTE,
  MAX_AGENTS,
  NOTES,
  OUTCOME,
  OUTCOME_NAMES,
  PENDING,
  PRUNED,
  RESULT,
  RESULT_BYTES,
  STATUS,
  STEP_EXPECTED,
  STEP_OPERAND,
  STEPS,
  VIOLATED,
  VIOLATION_BYTES,
  WOKEN,
} from './control.js'
import { findDataRace } from './data-race.js'
import { TIME_OUT } from './operation.js'
import type { AgentEnd, Ending, RegionWords, Scenario } from './scenario.js'
import { WordNames } from './word-names.js'

/** The record of one schedule, as its agents have written it. */
export class Execution {
  readonly control: Control
  readonly scenario: Scenario
  readonly #words: Int32Array
  readonly #region: RegionWords

  constructor(control: Control, scenario: Scenario, region: RegionWords) {
    this.control = control
    this.scenario = scenario
    this.#words = control.words
    this.#region = region
  }

  get steps(): number {
    return this.#words[STEPS]
  }

  get outcome(): number {
    return this.#words[OUTCOME]
  }

  get agentCount(): number {
    return Object.keys(this.scenario.agents).length
  }

  choiceAt(step: number): number {
    return this.#field(step, CHOICE)
  }

  choices(): number[] {
    return Array.from({ length: this.steps }, (_, step) => this.choiceAt(step))
  }

  enabledAt(step: number): number {
    return this.#field(step, ENABLED)
  }

  aliveAt(step: number): number {
    return this.#field(step, ALIVE)
  }

  asleepAt(step: number): number {
    return this.#field(step, ASLEEP)
  }

  wokenAt(step: number): number {
    return this.#field(step, WOKEN)
  }

  resultAt(step: number): number {
    return this.#field(step, RESULT)
  }

  operandAt(step: number): number {
    return this.#field(step, STEP_OPERAND)
  }

  expectedAt(step: number): number {
    return this.#field(step, STEP_EXPECTED)
  }

  /** The operation that an agent was about to do when this step was chosen; good for step === steps, the end, too. */
  pendingKindAt(step: number, agent: number): number {
    return this.#field(step, PENDING + agent * 2)
  }

  pendingWordAt(step: number, agent: number): number {
    return this.#field(step, PENDING + agent * 2 + 1)
  }

  /** Whether the agent could only go on because its wait may time out. */
  isTimeoutAt(step: number, agent: number): boolean {
    return this.pendingKindAt(step, agent) === TIME_OUT
  }

  kindAt(step: number): number {
    return this.pendingKindAt(step, agentOf(this.choiceAt(step)))
  }

  wordAt(step: number): number {
    return this.pendingWordAt(step, agentOf(this.choiceAt(step)))
  }

  notesBefore(): { from: number; to: number } {
    return { from: 0, to: this.#field(0, FIRST_NOTE) }
  }

  /** The plain accesses between this step and the next one are the notes from here up to here. */
  notesOf(step: number): { from: number; to: number } {
    return {
      from: this.#field(step, FIRST_NOTE),
      to: step + 1 < this.steps ? this.#field(step + 1, FIRST_NOTE) : this.#words[NOTES],
    }
  }

  nameOf(word: number): string {
    return new WordNames(this.scenario, this.#region).nameOf(word)
  }

  /** Says what is wrong with the schedule; undefined if nothing is. */
  failure(): string | undefined {
    const race = findDataRace(this)
    if (race !== undefined) return race
    if (this.outcome === PRUNED) return undefined
    if (this.outcome === VIOLATED) return this.control.readText(MAX_AGENTS, VIOLATION_BYTES)
    const ends = this.#ends()
    for (const [name, end] of Object.entries(ends)) {
      if (end.how === 'threw') return `${name} threw ${end.code} ${end.message}\n${end.stack}`
    }
    if (this.outcome === DEADLOCK) return `deadlock: ${this.#stuck().join(', ')} can never go on`
    if (this.outcome !== FINISHED) return OUTCOME_NAMES[this.outcome]
    return this.scenario.check(this.ending(ends))
  }

  /** The same text for schedules that no agent can tell apart: each saw the same values at the same operations. */
  histories(): string {
    const histories = Array.from({ length: this.agentCount }, () => createHash('md5'))
    for (let step = 0; step < this.steps; step++) {
      const choice = this.choiceAt(step)
      const seen = isCrash(choice) ? 'crash' : `${this.kindAt(step)} ${this.wordAt(step)} ${this.resultAt(step)};`
      histories[agentOf(choice)].update(seen)
    }
    return histories.map((history) => history.digest('base64')).join()
  }

  ending(agents = this.#ends()): Ending {
    const crashed = this.#words[CRASHED_AGENT]
    return {
      agents,
      returned(name) {
        const end = agents[name]
        return end.how === 'returned' ? end.value : undefined
      },
      crashed: crashed < 0 ? undefined : Object.keys(agents)[crashed],
      region: this.#region,
    }
  }

  #ends(): Record<string, AgentEnd> {
    const names = Object.keys(this.scenario.agents)
    return Object.fromEntries(names.map((name, agent): [string, AgentEnd] => [name, this.#endOf(agent)]))
  }

  #endOf(agent: number): AgentEnd {
    const at = this.control.agentAt(agent)
    if (this.#words[at + STATUS] === CRASHED) return { how: 'crashed' }
    const text = this.control.readText(agent, at + RESULT_BYTES)
    return text === '' ? { how: 'unfinished' } : JSON.parse(text)
  }

  #stuck(): string[] {
    return Object.keys(this.scenario.agents).filter((_, agent) => {
      return this.#words[this.control.agentAt(agent) + STATUS] < DONE
    })
  }

  #field(step: number, field: number): number {
    return this.#words[this.control.stepAt(step) + field]
  }
}
