import { type Board, nap, sharedNowMs } from './board.js'
import { die, halt } from './death.js'
import { Effects, type How, type KillPoint } from './effects.js'
import { PASSING } from './expectations.js'
import { hookAtomics, hookFileSystem, type NativeHook } from './hooks.js'
import { checkThatNobodyIsLeft, checkThatNothingIsLeft, sweepAll } from './leftovers.js'
import type { Scenario } from './scenario.js'
import { Survivor } from './survivor.js'
import { Victim } from './victim.js'

export type Part = 'survivor' | 'predecessor' | 'victim'

/** What a process of a run needs to know, such as the part it plays: survivor, victim or predecessor. */
export interface Casting {
  readonly part: Part
  readonly scenario: string
  /** The segment's name. */
  readonly name: string
  readonly killPoint?: KillPoint
  readonly how?: How
  /** Newcomers sweep the dead before the survivor checks what they held. */
  readonly isSweptFirst?: boolean
}

const PREPARED_WITHIN_MS = 8_000
/** Recovery should take at most two slices of 50 ms; the rest is for a busy machine. */
const RECOVERED_WITHIN_MS = 1_000

/** Continues synchronously unless there is a promise: a copy of a process has no event loop. */
function after<R, N>(value: R | Promise<R>, next: (result: R) => N | Promise<N>): N | Promise<N> {
  return value instanceof Promise ? value.then(next) : next(value)
}

export function playVictim(
  definition: Scenario<unknown>,
  casting: Casting,
  board: Board,
  native: NativeHook,
): unknown | Promise<unknown> {
  const effects = new Effects((text) => {
    board.write('diedAtEffect', text)
    if (casting.part !== 'victim' || casting.how !== 'stop') die()
    board.raise('victimHalting')
    halt()
  })
  hookAtomics(effects)
  hookFileSystem(effects)
  native.effects = effects
  native.onFifo = (path) => board.append('fifos', path)
  const victim = new Victim(casting.name, definition.layout, effects)
  const begin = casting.part === 'victim' ? definition.victim : definition.predecessor
  if (begin === undefined) throw new Error(`${definition.name} has no ${casting.part}`)
  const isDetached = casting.part === 'victim' && definition.isVictimDetached === true
  if (!definition.isWithoutSegment && !isDetached) victim.attach()
  const operate = begin.call(definition, victim)
  if (casting.part === 'victim') board.raise('victimPrepared')
  victim.awaitBeginning()
  if (casting.part === 'victim') effects.arm(casting.killPoint)
  return after(operate(), () => {
    effects.disarm()
    if (casting.part === 'victim') {
      board.write('effects', effects.texts.join('\n'))
      board.raise('victimThrough')
    }
    die()
  })
}

/** Throws the first failure that it finds. */
export function playSurvivor(
  definition: Scenario<unknown>,
  { name, how = 'kill', isSweptFirst = false }: Casting,
  board: Board,
): unknown {
  const survivor = new Survivor(name, definition, board)
  const prepared = definition.prepare?.(survivor)
  board.raise('victimWanted')
  board.await('victimPrepared', 1, PREPARED_WITHIN_MS)
  /** Whether all dead peers were listed before newcomers took their slots. */
  let wereAllListed = false
  const work = () => after(definition.meanwhile?.(survivor, prepared), () => sharedNowMs())
  const meanwhile = after(work(), (endedMs) => {
    if (how === 'kill' || !untilHalted(board)) return endedMs
    const startedMs = sharedNowMs()
    definition.whileStopped?.(survivor, prepared)
    noteRecovery(board, sharedNowMs() - startedMs, 'work beside the stopped victim')
    board.raise('continuationWanted')
    return work()
  })
  const checked = after(meanwhile, (endedMs) => {
    board.await('victimDead', 1, PREPARED_WITHIN_MS)
    wereAllListed = definition.isWithoutSegment !== true && survivor.strangers().length === survivor.deaths
    if (definition.isMeanwhileWaiting) noteRecovery(board, Math.max(0, endedMs - board.diedAtMs), 'wait')
    const startedMs = sharedNowMs()
    if (isSweptFirst) sweepAll(survivor)
    const check = isSweptFirst ? definition.checkSwept : definition.check
    return after(check?.call(definition, survivor, prepared), () =>
      noteRecovery(board, sharedNowMs() - startedMs, 'check'),
    )
  })
  return after(checked, () => {
    if (definition.isWithoutSegment !== true) checkThatNobodyIsLeft(survivor, board, wereAllListed)
    survivor.close()
    checkThatNothingIsLeft(name, board)
  })
}

/** Waits until the victim is stopped or dead, and returns whether it is stopped. */
function untilHalted(board: Board): boolean {
  const deadline = sharedNowMs() + PREPARED_WITHIN_MS
  while (board.read('victimHalted') === 0) {
    if (board.read('victimDead') > 0) return false
    if (sharedNowMs() > deadline)
      throw new Error('The victim neither came to its kill point nor completed its operation')
    nap()
  }
  return true
}

/** Notes how long the death, or the stop, held up the survivor. */
function noteRecovery(board: Board, ms: number, what: string): void {
  board.recoveredInMs = Math.max(board.recoveredInMs, ms)
  if (ms > RECOVERED_WITHIN_MS) throw new Error(`${PASSING}the survivor's ${what} took ${ms.toFixed(0)} ms`)
}
