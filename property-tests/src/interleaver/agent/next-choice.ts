import { agentOf, agentsIn, crashOf, isCrash, stepOf } from '../choice.js'
import {
  AGENT_COUNT,
  ALIVE,
  ASLEEP,
  AT_RANDOM,
  CAN_TIME_OUT,
  CHOICE,
  type Control,
  CRASHABLE,
  CRASHED,
  CRASHED_AGENT,
  CRASHES_LEFT,
  DEADLOCK,
  DONE,
  ENABLED,
  ENDLESS,
  FINISHED,
  FIRST_NOTE,
  IS_LENIENT,
  KIND,
  LAST_AGENT,
  MAX_STEPS,
  NOTES,
  PARK,
  PARK_COUNT,
  PENDING,
  PLAN_CURSOR,
  PLAN_LENGTH,
  POLICY,
  PRUNED,
  RANDOM_STATE,
  READY,
  SLEEP_SET,
  SLEEPING,
  STATUS,
  STEPS,
  UNREPEATABLE,
  WOKEN,
  WORD,
} from '../control.js'
import { AWAIT_CRASH, areDependent } from '../operation.js'

/** The next choice, or how the schedule ends here. */
export type Decision = { readonly choice: number } | { readonly outcome: number }

/** In random schedules: about how many steps lie between two crashes, and between two switches of the agent. */
const STEPS_PER_CRASH = 24
const STEPS_PER_SWITCH = 3

/**
 * Makes the next choice of a schedule: that of the plan. After the end of the plan, the agent that took the last step goes
 * on for as long as it can. Records which choices were possible.
 */
export class NextChoice {
  readonly #control: Control
  readonly #words: Int32Array
  readonly #region: Int32Array

  constructor(control: Control, region: Int32Array) {
    this.#control = control
    this.#words = control.words
    this.#region = region
  }

  make(): Decision {
    const words = this.#words
    const step = words[STEPS]
    const record = this.#control.stepAt(step)
    let enabled = 0
    let alive = 0
    for (let agent = 0; agent < words[AGENT_COUNT]; agent++) {
      const at = this.#control.agentAt(agent)
      words[record + PENDING + agent * 2] = words[at + KIND]
      words[record + PENDING + agent * 2 + 1] = words[at + WORD]
      if (words[at + STATUS] !== DONE && words[at + STATUS] !== CRASHED) alive |= 1 << agent
      if (this.#canRun(at)) enabled |= 1 << agent
    }
    // Within the plan, the scheduler knows the sleep set.
    const asleep = words[PLAN_CURSOR] < words[PLAN_LENGTH] ? 0 : words[SLEEP_SET]
    words[record + CHOICE] = -1
    words[record + ENABLED] = enabled
    words[record + ASLEEP] = asleep
    words[record + ALIVE] = alive
    words[record + WOKEN] = 0
    words[record + FIRST_NOTE] = words[NOTES]
    if (alive === 0) return { outcome: FINISHED }
    if (enabled === 0) return { outcome: DEADLOCK }
    if (step === MAX_STEPS) return { outcome: ENDLESS }
    const decision = this.#choose(enabled, alive, asleep)
    if ('choice' in decision) this.#commit(decision.choice, record)
    return decision
  }

  #commit(choice: number, record: number): void {
    const words = this.#words
    const chosen = agentOf(choice)
    const isBehindPlan = words[PLAN_CURSOR] >= words[PLAN_LENGTH]
    if (isBehindPlan) words[SLEEP_SET] = this.#sleepAfter(choice, words[SLEEP_SET], record)
    else words[PLAN_CURSOR]++
    words[record + CHOICE] = choice
    words[LAST_AGENT] = chosen
    words[STEPS]++
    if (isCrash(choice)) {
      words[CRASHES_LEFT]--
      words[CRASHED_AGENT] = chosen
    }
  }

  #sleepAfter(choice: number, asleep: number, record: number): number {
    const words = this.#words
    const chosen = agentOf(choice)
    let remaining = asleep & ~(1 << chosen)
    if (isCrash(choice)) return remaining
    const pending = record + PENDING
    for (const agent of agentsIn(remaining)) {
      const isWoken = areDependent(
        words[pending + chosen * 2],
        words[pending + chosen * 2 + 1],
        words[pending + agent * 2],
        words[pending + agent * 2 + 1],
      )
      if (isWoken) remaining &= ~(1 << agent)
    }
    return remaining
  }

  #choose(enabled: number, alive: number, asleep: number): Decision {
    const words = this.#words
    while (words[PLAN_CURSOR] < words[PLAN_LENGTH]) {
      const choice = words[this.#control.planAt(words[PLAN_CURSOR])]
      const bit = 1 << agentOf(choice)
      if (isCrash(choice) ? this.#crashable(alive) & bit : enabled & bit) return { choice }
      if (!words[IS_LENIENT]) return { outcome: UNREPEATABLE }
      words[PLAN_CURSOR]++
    }
    const candidates = enabled & ~asleep
    if (candidates === 0) return { outcome: PRUNED }
    return { choice: words[POLICY] === AT_RANDOM ? this.#atRandom(candidates, alive) : this.#goOn(candidates) }
  }

  #goOn(candidates: number): number {
    const last = this.#words[LAST_AGENT]
    const prompt = this.#withoutTimeouts(candidates)
    if ((prompt >>> last) & 1) return stepOf(last)
    return stepOf(agentsIn(prompt === 0 ? candidates : prompt)[0])
  }

  #atRandom(candidates: number, alive: number): number {
    const crashable = agentsIn(this.#crashable(alive))
    if (crashable.length > 0 && this.#random(STEPS_PER_CRASH) === 0) {
      return crashOf(crashable[this.#random(crashable.length)])
    }
    const last = this.#words[LAST_AGENT]
    if ((this.#withoutTimeouts(candidates) >>> last) & 1 && this.#random(STEPS_PER_SWITCH) !== 0) return stepOf(last)
    const agents = agentsIn(candidates)
    return stepOf(agents[this.#random(agents.length)])
  }

  #withoutTimeouts(mask: number): number {
    let rest = mask
    for (const agent of agentsIn(mask)) {
      if (this.#words[this.#control.agentAt(agent) + STATUS] === SLEEPING) rest &= ~(1 << agent)
    }
    return rest
  }

  #crashable(alive: number): number {
    return this.#words[CRASHES_LEFT] > 0 ? alive & this.#words[CRASHABLE] : 0
  }

  #canRun(at: number): boolean {
    const words = this.#words
    if (words[at + STATUS] === SLEEPING) return words[at + CAN_TIME_OUT] !== 0
    if (words[at + STATUS] !== READY) return false
    if (words[at + KIND] === AWAIT_CRASH) return words[CRASHED_AGENT] >= 0 || !this.#canAnybodyCrash()
    const parkCount = words[at + PARK_COUNT]
    if (parkCount === 0) return true
    for (let pair = 0; pair < parkCount; pair++) {
      if (this.#region[words[at + PARK + pair * 2]] !== words[at + PARK + pair * 2 + 1]) return true
    }
    return false
  }

  #canAnybodyCrash(): boolean {
    const words = this.#words
    return agentsIn(words[CRASHABLE]).some((agent) => words[this.#control.agentAt(agent) + STATUS] < DONE)
  }

  /** Marsaglia's xorshift. */
  #random(limit: number): number {
    let x = this.#words[RANDOM_STATE] | 1
    x ^= x << 13
    x ^= x >>> 17
    x ^= x << 5
    this.#words[RANDOM_STATE] = x
    return (x >>> 1) % limit
  }
}
