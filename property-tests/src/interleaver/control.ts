/**
 * The memory that the scheduler and the agents of one scenario share beside the region: which agent has the turn, what each
 * agent is about to do, the plan, and the record of the schedule. Only the agent with the turn reads or writes it, so plain
 * accesses suffice; the turns themselves are handed over through Atomics.
 *
 * The scheduler plans a schedule as a list of choices, and reads the record afterwards. In between, each agent that has
 * finished a step makes the next choice by the same rules (see turn.ts): if one agent takes several steps in a row, no
 * thread needs to be woken.
 */
export const MAX_AGENTS = 6
export const MAX_STEPS = 3000
export const MAX_NOTES = 12_000
export const MAX_PARK_WORDS = 24
const TEXT_BYTES = 32 * 1024
const MAX_QUIET_RANGES = 32

export const GATHERING = 0
export const RUNNING = 1
export const ABORTING = 2

/** How a schedule ended. */
export const FINISHED = 1
/** The search has explored all possible continuations before, in another order. */
export const PRUNED = 2
export const DEADLOCK = 3
export const VIOLATED = 4
export const ENDLESS = 5
/** The plan asked for an agent that could not run: the agents have not repeated what they did before. */
export const UNREPEATABLE = 6

export const OUTCOME_NAMES = ['', 'finished', 'pruned', 'deadlock', 'invariant violated', 'endless', 'not repeatable']

/** Before its first operation. */
export const STARTING = 0
/** Stopped before an operation. */
export const READY = 1
/** In the queue of agents that sleep on a word. */
export const SLEEPING = 2
export const DONE = 3
export const CRASHED = 4

/** How choices are made after the end of the plan. */
export const GO_ON = 0
export const AT_RANDOM = 1

let next = 0
function fields(count: number): number {
  const at = next
  next += count
  return at
}

/** Words of the head. IDLE, the count of agents that wait for the next schedule, is accessed through Atomics. */
export const IDLE = fields(1)
export const PHASE = fields(1)
export const OUTCOME = fields(1)
export const AGENT_COUNT = fields(1)
export const PLAN_LENGTH = fields(1)
export const PLAN_CURSOR = fields(1)
/** A plan that is being shrunk may name agents that cannot run: then they are skipped. */
export const IS_LENIENT = fields(1)
export const STEPS = fields(1)
export const NOTES = fields(1)
export const LAST_AGENT = fields(1)
/** Agents whose next step need not be taken before something that depends on it happens. */
export const SLEEP_SET = fields(1)
export const CRASHABLE = fields(1)
export const CRASHES_LEFT = fields(1)
export const CRASHED_AGENT = fields(1)
export const HAS_TIMEOUTS = fields(1)
export const POLICY = fields(1)
export const RANDOM_STATE = fields(1)
export const QUEUE_TICKET = fields(1)
export const VIOLATION_BYTES = fields(1)

/** Words of each agent. TURN is accessed through Atomics. */
const AGENT_WORDS = 64
const AGENTS = fields(AGENT_WORDS * MAX_AGENTS)
export const TURN = 0
export const STATUS = 1
/** The operation that it is about to execute, and its word. */
export const KIND = 2
export const WORD = 3
/** Its place in the queue of sleeping agents. */
export const TICKET = 4
export const CAN_TIME_OUT = 5
export const MUST_CRASH = 6
export const PEER = 7
export const RESULT_BYTES = 8
export const PARK_COUNT = 9
/** Pairs: a word that the agent has read in vain, and what it held. */
export const PARK = 10
/** The safety slice of the next sleep is over at once. */
export const SLICE_DUE = PARK + 2 * MAX_PARK_WORDS
/** The word at which its event loop listens, -1 for none; and the listener's place in the queue. */
export const LISTENER_WORD = SLICE_DUE + 1
export const LISTENER_TICKET = SLICE_DUE + 2

const PLAN = fields(MAX_STEPS)

/** Pairs: words of the region from here up to there are quiet, see Control.quiet. */
const QUIET = fields(2 * MAX_QUIET_RANGES)

/** Words of each step's record. */
export const CHOICE = 0
export const ENABLED = 1
export const ASLEEP = 2
export const RESULT = 3
export const WOKEN = 4
export const FIRST_NOTE = 5
export const STEP_OPERAND = 6
export const STEP_EXPECTED = 7
/** Agents that have neither ended nor crashed. */
export const ALIVE = 8
/** What each agent was about to do: its operation, and the word. */
export const PENDING = 9
const STEP_WORDS = PENDING + 2 * MAX_AGENTS
const RECORD = fields(STEP_WORDS * (MAX_STEPS + 1))

/** A plain access between two steps: agent, kind, first word, count of words. */
const NOTE_WORDS = 4
const NOTE_RECORD = fields(NOTE_WORDS * MAX_NOTES)
const WORDS = next

export class Control {
  readonly buffer: SharedArrayBuffer
  readonly words: Int32Array
  readonly #texts: Uint8Array

  constructor(buffer?: SharedArrayBuffer) {
    this.buffer = buffer ?? new SharedArrayBuffer(WORDS * 4 + TEXT_BYTES * (MAX_AGENTS + 1))
    this.words = new Int32Array(this.buffer, 0, WORDS)
    this.#texts = new Uint8Array(this.buffer, WORDS * 4)
  }

  /**
   * Words that agents read and none writes in this scenario: those of unused peer slots. Such a read is no step. To be set
   * before the agents start.
   */
  set quiet(byteRanges: readonly (readonly [fromByte: number, toByte: number])[]) {
    if (byteRanges.length > MAX_QUIET_RANGES) throw new Error(`There are more than ${MAX_QUIET_RANGES} quiet ranges`)
    byteRanges.forEach(([fromByte, toByte], range) => {
      this.words[QUIET + 2 * range] = fromByte >>> 2
      this.words[QUIET + 2 * range + 1] = toByte >>> 2
    })
  }

  isQuiet(word: number): boolean {
    for (let at = QUIET; at < QUIET + 2 * MAX_QUIET_RANGES && this.words[at + 1] !== 0; at += 2) {
      if (word >= this.words[at] && word < this.words[at + 1]) return true
    }
    return false
  }

  agentAt(agent: number): number {
    return AGENTS + agent * AGENT_WORDS
  }

  planAt(position: number): number {
    return PLAN + position
  }

  stepAt(step: number): number {
    return RECORD + step * STEP_WORDS
  }

  noteAt(note: number): number {
    return NOTE_RECORD + note * NOTE_WORDS
  }

  /** Writes the result of agent `owner`; MAX_AGENTS stands for the violated invariant. */
  writeText(owner: number, lengthIndex: number, text: string): void {
    const bytes = Buffer.from(text).subarray(0, TEXT_BYTES)
    this.#texts.set(bytes, owner * TEXT_BYTES)
    this.words[lengthIndex] = bytes.byteLength
  }

  readText(owner: number, lengthIndex: number): string {
    const start = owner * TEXT_BYTES
    return Buffer.from(this.#texts.slice(start, start + this.words[lengthIndex])).toString('utf8')
  }
}
