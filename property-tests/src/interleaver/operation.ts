/**
 * The operations at which an agent stops. Each is one indivisible step of a schedule, together with the code that follows
 * it, up to the agent's next operation.
 */
export const LOAD = 1
export const STORE = 2
export const ADD = 3
export const SUB = 4
export const AND = 5
export const OR = 6
export const XOR = 7
export const EXCHANGE = 8
export const COMPARE_EXCHANGE = 9
export const NOTIFY = 10
/** Loads the word and, if it has the expected value, goes to sleep on it. */
export const WAIT = 11
/** The return from a sleep that a notify has ended. */
export const WAKE = 12
/** The return from a sleep whose time is over. Only scenarios with `hasTimeouts` or `timersMax` have it. */
export const TIME_OUT = 13
/** A plain read of a word that other agents change through Atomics. */
export const PLAIN_LOAD = 14
export const PLAIN_STORE = 15
/** The wait of a janitor until an agent has crashed, or none can crash any more. */
export const AWAIT_CRASH = 16
/** The agent's program is over. A step of its own, so that it can crash between its last operation and its end. */
export const END = 17
/** Time passes: for each agent, the slice ends of its present sleep, or else of its next one. */
export const END_SLICES = 18
/** `Atomics.waitAsync`: loads the word and, if it has the expected value, listens there from now on. */
export const LISTEN = 19
/** An event loop with nothing to do: sleeps until a notify has reached its listener, unless one already has. */
export const AWAIT_WAKE_UP = 20

export const OPERATION_NAMES: readonly string[] = [
  'none',
  'load',
  'store',
  'add',
  'sub',
  'and',
  'or',
  'xor',
  'exchange',
  'compareExchange',
  'notify',
  'wait',
  'wake',
  'timeout',
  'plain load',
  'plain store',
  'awaitCrash',
  'end',
  'endSlices',
  'waitAsync',
  'awaitWakeUp',
]

/** One word has two things: its value, and the queue of agents that sleep on it. */
const READS_VALUE = 1
const WRITES_VALUE = 2
const CHANGES_QUEUE = 4

function effectOf(kind: number): number {
  switch (kind) {
    case LOAD:
    case PLAIN_LOAD:
      return READS_VALUE
    case NOTIFY:
    case TIME_OUT:
    case END_SLICES:
    case AWAIT_WAKE_UP:
      return CHANGES_QUEUE
    case WAIT:
    case LISTEN:
      return READS_VALUE | CHANGES_QUEUE
    case WAKE:
    case AWAIT_CRASH:
    case END:
      return 0
    // A compareExchange that fails only reads. Counted as a write all the same: that never leaves a schedule out.
    default:
      return READS_VALUE | WRITES_VALUE
  }
}

const EFFECTS = OPERATION_NAMES.map((_, kind) => effectOf(kind))

export function writesValue(kind: number): boolean {
  return (EFFECTS[kind] & WRITES_VALUE) !== 0
}

export function readsValue(kind: number): boolean {
  return (EFFECTS[kind] & READS_VALUE) !== 0
}

export function touchesWord(kind: number): boolean {
  return EFFECTS[kind] !== 0
}

export function changesQueue(kind: number): boolean {
  return (EFFECTS[kind] & CHANGES_QUEUE) !== 0
}

/** Whether the order of these two, by different agents, can make a difference. */
export function areDependent(kind: number, word: number, otherKind: number, otherWord: number): boolean {
  if (kind === END_SLICES || otherKind === END_SLICES) return changesQueue(kind) && changesQueue(otherKind)
  if (word !== otherWord) return false
  const one = EFFECTS[kind]
  const other = EFFECTS[otherKind]
  const isValueRace = ((one | other) & WRITES_VALUE) !== 0 && (one & 3) !== 0 && (other & 3) !== 0
  return isValueRace || (one & other & CHANGES_QUEUE) !== 0
}
