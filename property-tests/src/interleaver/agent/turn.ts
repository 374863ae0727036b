import type { PeerId } from '@isthmus/sync'
import { agentOf, isCrash } from '../choice.js'
import {
  ABORTING,
  AGENT_COUNT,
  CAN_TIME_OUT,
  type Control,
  CRASHED,
  DONE,
  FINISHED,
  GATHERING,
  HAS_TIMEOUTS,
  IDLE,
  KIND,
  LISTENER_TICKET,
  LISTENER_WORD,
  MAX_AGENTS,
  MAX_NOTES,
  MAX_PARK_WORDS,
  MUST_CRASH,
  NOTES,
  OUTCOME,
  PARK,
  PARK_COUNT,
  PEER,
  PHASE,
  QUEUE_TICKET,
  READY,
  RESULT,
  RUNNING,
  SLEEPING,
  SLICE_DUE,
  STARTING,
  STATUS,
  STEP_EXPECTED,
  STEP_OPERAND,
  STEPS,
  TICKET,
  TURN,
  VIOLATED,
  VIOLATION_BYTES,
  WOKEN,
  WORD,
} from '../control.js'
import {
  type AWAIT_CRASH,
  AWAIT_WAKE_UP,
  COMPARE_EXCHANGE,
  changesQueue,
  type END,
  END_SLICES,
  readsValue,
  TIME_OUT,
  WAKE,
  writesValue,
} from '../operation.js'
import type { Step } from '../scenario.js'
import { Halt } from './halt.js'
import { NextChoice } from './next-choice.js'
import { ReadStreak } from './read-streak.js'

/** The turns themselves must not be simulated: these are the real operations. */
const { load, store, add, wait, notify } = Atomics

/** The clock never goes back, since the packages keep times from one schedule to the next. By then they are long past. */
const MS_BETWEEN_SCHEDULES = 1_000_000

/** How often the thread polls for its turn before it sleeps: turns that go back and forth are then much faster. */
const POLLS = 400

/**
 * One agent's place in the schedule. It stops before each operation, publishes what it is about to do, and goes on when
 * it has the turn. The agent with the turn also makes the next choice, see next-choice.ts.
 */
export class Turn {
  readonly #control: Control
  readonly #words: Int32Array
  readonly #self: number
  readonly #at: number
  readonly #region: Int32Array
  readonly #savedRegion: Int32Array
  readonly #invariant: (step: Step) => string | undefined
  readonly #nextChoice: NextChoice
  readonly #streak = new ReadStreak()
  /** False in `prepare` and outside of a schedule: operations then are what they always are. */
  isStepping = false
  #isHalted = false
  /** The agent's own clock. It stands still but for timeouts and timers. */
  nowMs = 0

  constructor(control: Control, self: number, region: Int32Array, invariant: (step: Step) => string | undefined) {
    this.#control = control
    this.#words = control.words
    this.#self = self
    this.#at = control.agentAt(self)
    this.#region = region
    this.#savedRegion = new Int32Array(region.length)
    this.#invariant = invariant
    this.#nextChoice = new NextChoice(control, region)
  }

  /** Waits until this agent may run up to its first operation; false if the schedule is over before. */
  begin(): boolean {
    this.isStepping = false
    this.#isHalted = false
    this.nowMs += MS_BETWEEN_SCHEDULES
    this.#streak.clear()
    this.#awaitTurn()
    return this.#words[PHASE] === GATHERING
  }

  /** Whether reading this word is no step, since no agent writes it. */
  isQuiet(word: number): boolean {
    return this.#control.isQuiet(word)
  }

  /** Called before a write: quiet words must not change. */
  assertLoud(word: number): void {
    if (this.isQuiet(word)) throw new Error(`The interleaver takes word ${word} for one that nobody writes`)
  }

  /** Stops before an operation. When it returns, the caller executes the operation, and then calls `done`. */
  before(kind: number, word: number): void {
    if (this.#isHalted) throw new Halt()
    const words = this.#words
    words[this.#at + KIND] = kind
    words[this.#at + WORD] = word
    this.#park(kind, word)
    this.#yield(READY)
  }

  /** Records the operation that was executed. */
  done(kind: number, word: number, operand: number, expected: number, result: number): void {
    const words = this.#words
    const record = this.#control.stepAt(words[STEPS] - 1)
    words[record + RESULT] = result
    words[record + STEP_OPERAND] = operand
    words[record + STEP_EXPECTED] = expected
    const isFailedExchange = kind === COMPARE_EXCHANGE && result !== expected
    if (writesValue(kind) && !isFailedExchange) this.#streak.clear()
    else if (readsValue(kind)) this.#streak.add(word, result)
    const peer = words[this.#at + PEER] as PeerId | 0
    const violation = this.#invariant({ peer, kind, word, expected, result })
    if (violation !== undefined) this.#violate(violation)
  }

  /** Whether the timeouts of blocking waits may end them in this scenario. */
  get hasTimeouts(): boolean {
    return this.#words[HAS_TIMEOUTS] !== 0
  }

  /** Goes to sleep on a word. Returns whether another agent has woken it; false for a timeout. */
  sleep(word: number, canTimeOut: boolean): boolean {
    const words = this.#words
    if (!canTimeOut && words[this.#at + SLICE_DUE] !== 0) {
      words[this.#at + SLICE_DUE] = 0
      return false
    }
    words[this.#at + KIND] = canTimeOut ? TIME_OUT : WAKE
    words[this.#at + WORD] = word
    words[this.#at + CAN_TIME_OUT] = canTimeOut ? 1 : 0
    words[this.#at + TICKET] = words[QUEUE_TICKET]++
    words[this.#at + PARK_COUNT] = 0
    this.#streak.clear()
    this.#yield(SLEEPING)
    const isWoken = words[this.#at + STATUS] === READY
    this.done(isWoken ? WAKE : TIME_OUT, word, 0, 0, 0)
    return isWoken
  }

  /** Ends the sleep of up to `count` agents, the longest sleeper first. Returns how many it has woken. */
  wake(word: number, count: number): number {
    const words = this.#words
    const record = this.#control.stepAt(words[STEPS] - 1)
    let woken = 0
    for (; woken < count; woken++) {
      let first = -1
      for (let agent = 0; agent < words[AGENT_COUNT]; agent++) {
        const at = this.#control.agentAt(agent)
        if (!this.#isInQueue(at, word)) continue
        if (first < 0 || this.#ticketAt(at, word) < this.#ticketAt(this.#control.agentAt(first), word)) first = agent
      }
      if (first < 0) break
      const at = this.#control.agentAt(first)
      const isAsleep = words[at + STATUS] === SLEEPING && words[at + WORD] === word
      if (words[at + LISTENER_WORD] === word) words[at + LISTENER_WORD] = -1
      // An event loop that is busy learns of it when it has nothing else to do.
      if (!isAsleep) continue
      words[at + STATUS] = READY
      words[at + KIND] = WAKE
      words[record + WOKEN] |= 1 << first
    }
    return woken
  }

  /** From now on this agent's event loop listens at the word, until a notify. */
  listen(word: number): void {
    this.#words[this.#at + LISTENER_WORD] = word
    this.#words[this.#at + LISTENER_TICKET] = this.#words[QUEUE_TICKET]++
  }

  /** The event loop sleeps until its listener has been notified. Returns false if time has passed instead. */
  awaitWakeUp(word: number, canTimeOut: boolean): boolean {
    this.before(AWAIT_WAKE_UP, word)
    const isNotified = (): boolean => this.#words[this.#at + LISTENER_WORD] !== word
    this.done(AWAIT_WAKE_UP, word, 0, 0, isNotified() ? 1 : 0)
    if (!isNotified()) this.sleep(word, canTimeOut)
    if (!isNotified()) this.#words[this.#at + SLICE_DUE] = 0
    return isNotified()
  }

  #isInQueue(at: number, word: number): boolean {
    const words = this.#words
    if (words[at + STATUS] === CRASHED) return false
    return words[at + LISTENER_WORD] === word || (words[at + STATUS] === SLEEPING && words[at + WORD] === word)
  }

  #ticketAt(at: number, word: number): number {
    return this.#words[at + (this.#words[at + LISTENER_WORD] === word ? LISTENER_TICKET : TICKET)]
  }

  /** Ends the slice of each present sleep, and for each agent that is awake, that of its next sleep. */
  endSlices(): void {
    this.before(END_SLICES, -1)
    const words = this.#words
    const record = this.#control.stepAt(words[STEPS] - 1)
    for (let agent = 0; agent < words[AGENT_COUNT]; agent++) {
      const at = this.#control.agentAt(agent)
      if (agent === this.#self || words[at + CAN_TIME_OUT] !== 0) continue
      if (words[at + STATUS] !== SLEEPING) {
        words[at + SLICE_DUE] = 1
        continue
      }
      words[at + STATUS] = READY
      words[record + WOKEN] |= 1 << agent
      const isLoop = words[at + LISTENER_WORD] === words[at + WORD]
      // A notify may still reach the listener of an event loop first. Then its time passes at the next sleep.
      words[at + KIND] = isLoop ? TIME_OUT : WAKE
      words[at + SLICE_DUE] = isLoop ? 1 : 0
    }
    this.done(END_SLICES, -1, 0, 0, 0)
  }

  /** A step without an effect on memory. */
  pass(kind: typeof AWAIT_CRASH | typeof END): void {
    this.before(kind, -1)
    this.done(kind, -1, 0, 0, 0)
  }

  /** Notes a plain access to memory that is only accessed plainly. It is no step; the search for data races uses the note. */
  note(kind: number, word: number, count: number): void {
    const words = this.#words
    if (this.#isHalted || words[NOTES] === MAX_NOTES) return
    const note = this.#control.noteAt(words[NOTES]++)
    words[note] = this.#self
    words[note + 1] = kind
    words[note + 2] = word
    words[note + 3] = count
  }

  /** The agent's program is over, or was stopped. The turn goes to another agent, and this one waits for the next schedule. */
  end(): void {
    const words = this.#words
    const wasStopped = words[this.#at + STATUS] === CRASHED
    // What a crashed agent has written while it unwound is taken back.
    if (wasStopped) this.#region.set(this.#savedRegion)
    this.isStepping = false
    // A program that fails before its first operation is a mistake in the scenario.
    if (words[PHASE] === GATHERING) this.#finish(FINISHED)
    if (words[PHASE] !== ABORTING) {
      if (!wasStopped) words[this.#at + STATUS] = DONE
      const next = this.#decide()
      if (next >= 0) this.#give(next)
    }
    if (add(words, IDLE, 1) + 1 === words[AGENT_COUNT]) notify(words, IDLE)
  }

  #park(kind: number, word: number): void {
    const pairs = readsValue(kind) && !writesValue(kind) && !changesQueue(kind) ? this.#streak.loopAt(word) : []
    const words = this.#words
    words[this.#at + PARK_COUNT] = Math.min(pairs.length, MAX_PARK_WORDS)
    pairs.slice(0, MAX_PARK_WORDS).forEach(([parkedWord, value], pair) => {
      words[this.#at + PARK + pair * 2] = parkedWord
      words[this.#at + PARK + pair * 2 + 1] = value
    })
  }

  /** Lets the other agents go on until it is this agent's turn. */
  #yield(status: typeof READY | typeof SLEEPING): void {
    const words = this.#words
    words[this.#at + STATUS] = status
    if (words[PHASE] === GATHERING) this.#gatherNext()
    else {
      const next = this.#decide()
      if (next < 0) this.#halt()
      if (next !== this.#self) {
        this.#give(next)
        this.#awaitTurn()
      }
    }
    if (words[PHASE] === ABORTING) this.#halt()
    if (words[this.#at + MUST_CRASH] === 0) return
    words[this.#at + STATUS] = CRASHED
    this.#savedRegion.set(this.#region)
    this.#halt()
  }

  #gatherNext(): void {
    const words = this.#words
    if (this.#self + 1 < words[AGENT_COUNT]) {
      this.#give(this.#self + 1)
      this.#awaitTurn()
      return
    }
    words[PHASE] = RUNNING
    const next = this.#decide()
    if (next === this.#self) return
    if (next >= 0) this.#give(next)
    if (next >= 0) this.#awaitTurn()
  }

  /** Returns the agent whose turn it is; -1 if the schedule has ended. */
  #decide(): number {
    const decision = this.#nextChoice.make()
    if ('outcome' in decision) {
      this.#finish(decision.outcome)
      return -1
    }
    const agent = agentOf(decision.choice)
    if (isCrash(decision.choice)) this.#words[this.#control.agentAt(agent) + MUST_CRASH] = 1
    return agent
  }

  #violate(violation: string): never {
    this.#control.writeText(MAX_AGENTS, VIOLATION_BYTES, violation)
    this.#finish(VIOLATED)
    this.#halt()
  }

  /** Unwinds all agents that have not ended. */
  #finish(outcome: number): void {
    const words = this.#words
    words[OUTCOME] = outcome
    words[PHASE] = ABORTING
    for (let agent = 0; agent < words[AGENT_COUNT]; agent++) {
      const status = words[this.#control.agentAt(agent) + STATUS]
      const isStopped = status === STARTING || status === READY || status === SLEEPING
      if (isStopped && agent !== this.#self) this.#give(agent)
    }
  }

  #halt(): never {
    this.#isHalted = true
    throw new Halt()
  }

  #give(agent: number): void {
    const turn = this.#control.agentAt(agent) + TURN
    store(this.#words, turn, 1)
    notify(this.#words, turn)
  }

  #awaitTurn(): void {
    const turn = this.#at + TURN
    for (let poll = 0; poll < POLLS && load(this.#words, turn) === 0; poll++);
    while (load(this.#words, turn) === 0) wait(this.#words, turn, 0)
    store(this.#words, turn, 0)
  }
}
