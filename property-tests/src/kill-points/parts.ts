import { type Board, sharedNowMs } from './board.js'
import { die } from './death.js'
import { Effects, type KillPoint } from './effects.js'
import { PASSING } from './expectations.js'
import { hookAtomics, hookFileSystem, type NativeHook } from './hooks.js'
import { checkThatNobodyIsLeft, checkThatNothingIsLeft, sweepAll } from './leftovers.js'
import type { Scenario } from './scenario.js'
import { Survivor } from './survivor.js'
import { Victim } from './victim.js'

export type Part = 'survivor' | 'predecessor' | 'victim'

/** What a process of a run needs to know. */
export interface Casting {
  readonly part: Part
  readonly scenario: string
  /** Of the segment. */
  readonly name: string
  readonly killPoint?: KillPoint
  /** The dead are swept before anybody looks at what they had. */
  readonly isSweptFirst?: boolean
}

const PREPARED_WITHIN_MS = 8_000
/** Two slices of 50 ms are what it should be; the rest is for a machine that has something else to do. */
const RECOVERED_WITHIN_MS = 1_000

/** Goes on at once where there is no promise: a copy of a process has no event loop. */
function after<R, N>(value: R | Promise<R>, next: (result: R) => N): N | Promise<N> {
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
    die()
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

/** Throws what it has found. */
export function playSurvivor(
  definition: Scenario<unknown>,
  { name, isSweptFirst = false }: Casting,
  board: Board,
): unknown {
  const survivor = new Survivor(name, definition, board)
  const prepared = definition.prepare?.(survivor)
  board.raise('victimWanted')
  board.await('victimPrepared', 1, PREPARED_WITHIN_MS)
  /** Before anybody takes the dead ones' slots. */
  let wereAllListed = false
  const meanwhile = after(definition.meanwhile?.(survivor, prepared), () => sharedNowMs())
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

/** How long those who live on were held up by the death. */
function noteRecovery(board: Board, ms: number, what: string): void {
  board.recoveredInMs = Math.max(board.recoveredInMs, ms)
  if (ms > RECOVERED_WITHIN_MS)
    throw new Error(`${PASSING}the survivor's ${what} took ${ms.toFixed(0)} ms after the death`)
}
