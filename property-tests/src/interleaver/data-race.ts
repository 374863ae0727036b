import { agentOf, agentsIn, isCrash } from './choice.js'
import { MAX_AGENTS } from './control.js'
import type { Execution } from './execution.js'
import { AWAIT_CRASH, COMPARE_EXCHANGE, NOTIFY, PLAIN_LOAD, PLAIN_STORE, readsValue, writesValue } from './operation.js'

interface Access {
  /** For each agent: the step of its last read, and of its last write; -1 for none. */
  readonly reads: number[]
  readonly writes: number[]
}

/**
 * Finds two accesses to a plain word that no Atomics operations order: by different agents, and one of them a write. The
 * order is that of the language's memory model, kept in vector clocks: an atomic read comes after the write that it sees,
 * and the end of a sleep after the notify. Without a race, the memory behaves as if it were sequentially consistent, on
 * any machine.
 */
export function findDataRace(execution: Execution): string | undefined {
  const clocks = Array.from({ length: MAX_AGENTS }, () => new Array<number>(MAX_AGENTS).fill(-1))
  let crash: number[] | undefined
  const released = new Map<number, number[]>()
  const accesses = new Map<number, Access>()
  const names = Object.keys(execution.scenario.agents)
  let racingWord: { word: number; one: number; other: number } | undefined

  const unordered = (steps: number[], agent: number): number => {
    return steps.findIndex((step, other) => other !== agent && step > clocks[agent][other])
  }

  const look = ({ from, to }: { from: number; to: number }, step: number): void => {
    for (let note = from; note < to; note++) {
      const at = execution.control.noteAt(note)
      const agent = execution.control.words[at]
      const kind = execution.control.words[at + 1]
      const first = execution.control.words[at + 2]
      const end = first + execution.control.words[at + 3]
      for (let word = first; word < end; word++) {
        let access = accesses.get(word)
        if (access === undefined) {
          access = { reads: new Array(MAX_AGENTS).fill(-1), writes: new Array(MAX_AGENTS).fill(-1) }
          accesses.set(word, access)
        }
        const writer = unordered(access.writes, agent)
        const reader = kind === PLAIN_STORE ? unordered(access.reads, agent) : -1
        if (writer >= 0 || reader >= 0) racingWord ??= { word, one: agent, other: writer >= 0 ? writer : reader }
        if (kind === PLAIN_STORE) access.writes[agent] = step
        else access.reads[agent] = step
      }
    }
  }

  // The accesses of an agent before its first operation come before that operation, and after nothing.
  look(execution.notesBefore(), -0.5)
  for (let step = 0; step < execution.steps; step++) {
    const choice = execution.choiceAt(step)
    const agent = agentOf(choice)
    const clock = clocks[agent]
    clock[agent] = step
    if (!isCrash(choice)) {
      const kind = execution.kindAt(step)
      const word = execution.wordAt(step)
      const isAtomic = kind !== PLAIN_LOAD && kind !== PLAIN_STORE
      const isFailedExchange = kind === COMPARE_EXCHANGE && execution.resultAt(step) !== execution.expectedAt(step)
      if (isAtomic && readsValue(kind)) join(clock, released.get(word))
      if (isAtomic && writesValue(kind) && !isFailedExchange) released.set(word, clock.slice())
      if (kind === NOTIFY) for (const woken of agentsIn(execution.wokenAt(step))) join(clocks[woken], clock)
      // An agent that declares a death knows of it.
      if (kind === AWAIT_CRASH) join(clock, crash)
    } else crash = clock.slice()
    // These accesses come after the step, so they are not published by it.
    look(execution.notesOf(step), step + 0.5)
    if (racingWord !== undefined) {
      const { word, one, other } = racingWord
      return `data race: after step ${step}, ${names[one]} accesses ${execution.nameOf(word)}, and nothing orders that with an access by ${names[other]}`
    }
  }
  return undefined
}

function join(clock: number[], other: readonly number[] | undefined): void {
  if (other === undefined) return
  for (let agent = 0; agent < clock.length; agent++) clock[agent] = Math.max(clock[agent], other[agent])
}
