import { fileURLToPath } from 'node:url'
import { fallbackPolling } from '@isthmus/sync/internal'
import koffi from 'koffi'
import { ForkedChild } from '../fork/forked-child.js'
import type { Board } from './board.js'
import { correctProcessId, die } from './death.js'
import type { NativeHook } from './hooks.js'
import { type Casting, playSurvivor, playVictim } from './parts.js'
import { scenarioNamed } from './scenarios/index.js'

// An effect caused by a timer would not come at the same place in every run.
fallbackPolling.handOffMs = Number.POSITIVE_INFINITY

const c = koffi.load(null)
const execv = c.func('int execv(const char *path, const char **parameters)')

/**
 * Starts a process for one part (survivor, victim, predecessor): a copy of this one, or a new Node.js if the part
 * awaits.
 */
export function startActor(casting: Casting, board: Board, native: NativeHook): ForkedChild {
  const definition = scenarioNamed(casting.scenario)
  const isSurvivor = casting.part === 'survivor'
  const needsLoop = isSurvivor ? definition.isSurvivorAwaiting : definition.isVictimAwaiting
  return ForkedChild.start(() => {
    correctProcessId()
    if (needsLoop) becomeNewNode(casting, board)
    const result = play(casting, board, native)
    if (result instanceof Promise) throw new Error(`${casting.scenario}: this ${casting.part} has no event loop`)
  })
}

function becomeNewNode(casting: Casting, board: Board): never {
  const program = fileURLToPath(new URL('./kill-agent.js', import.meta.url))
  const parameters = [process.execPath, '--no-warnings', program, board.path, JSON.stringify(casting), null]
  execv(process.execPath, parameters)
  throw new Error(`Starting Node.js failed with error number ${koffi.errno()}`)
}

/** Plays the part and reports what it found on the board. Returns a promise only if the part awaits. */
export function play(casting: Casting, board: Board, native: NativeHook): unknown {
  const definition = scenarioNamed(casting.scenario)
  const isSurvivor = casting.part === 'survivor'
  const fail = (error: unknown): never => {
    board.write(isSurvivor ? 'survivorFailure' : 'victimFailure', textOf(error))
    die()
  }
  try {
    const result = isSurvivor
      ? playSurvivor(definition, casting, board)
      : playVictim(definition, casting, board, native)
    return result instanceof Promise ? result.catch(fail) : result
  } catch (error) {
    return fail(error)
  }
}

function textOf(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error)
}
