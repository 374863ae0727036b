import { readFileSync, truncateSync } from 'node:fs'
import type { Ending, ForkedChild } from '../fork/forked-child.js'
import { startActor } from './actor.js'
import { type Board, nap, sharedNowMs } from './board.js'
import { isHalted } from './death.js'
import type { How, KillPoint } from './effects.js'
import type { NativeHook } from './hooks.js'
import type { Task } from './lane.js'
import type { Part } from './parts.js'

/** Constants of signal.h on Linux. */
const SIGKILL = 9
const SIGCONT = 18
/** A run takes a few milliseconds; nothing that it waits for takes this long. */
const PATIENCE_MS = 15_000

export interface Outcome {
  /** The effects of the victim, if it completed its operation. */
  readonly effects: readonly string[] | undefined
  /** Whether it came to its kill point. */
  readonly isReached: boolean
  /** The effect at which it was killed or stopped. */
  readonly diedAt: string
  failure: string | undefined
  readonly recoveredInMs: number
}

/** One run: starts the processes, tells the survivor when the victim has ended, and collects what they found. */
export class Execution {
  readonly #scenario: string
  readonly #name: string
  readonly #board: Board
  readonly #native: NativeHook
  readonly #errorsPath: string
  readonly #killPoint: KillPoint | undefined
  readonly #isSweptFirst: boolean
  readonly #how: How
  #victim: ForkedChild | undefined
  #failure: string | undefined
  #isContinued = false

  /** @param errorsPath where the processes' standard error goes */
  constructor(
    { scenario, killPoint, how = 'kill', isSweptFirst = false }: Task,
    name: string,
    shared: { board: Board; native: NativeHook; errorsPath: string },
  ) {
    this.#scenario = scenario
    this.#name = name
    this.#killPoint = killPoint
    this.#isSweptFirst = isSweptFirst
    this.#how = how
    this.#board = shared.board
    this.#native = shared.native
    this.#errorsPath = shared.errorsPath
  }

  run(): Outcome {
    const board = this.#board
    board.clear()
    const survivor = this.#start('survivor')
    try {
      this.#watch(survivor)
    } finally {
      survivor.end()
      this.#victim?.end()
    }
    const failure = this.#failure ?? this.#told()
    const isThrough = board.read('victimThrough') > 0
    return {
      isReached: this.#how === 'stop' ? board.read('victimHalted') > 0 : !isThrough,
      effects: isThrough ? board.lines('effects') : undefined,
      diedAt: board.text('diedAtEffect'),
      failure,
      recoveredInMs: board.recoveredInMs,
    }
  }

  /** Returns once the survivor has ended. */
  #watch(survivor: ForkedChild): void {
    const board = this.#board
    const deadline = performance.now() + PATIENCE_MS
    for (;;) {
      if (board.read('burialsWanted') > board.read('burialsDone')) this.#bury()
      if (board.read('victimWanted') > 0) this.#victim ??= this.#start('victim')
      this.#noteDeath()
      this.#noteHalt()
      const ending = survivor.poll()
      if (ending !== undefined) {
        if (!('exitCode' in ending) || ending.exitCode !== 0)
          this.#failure ??= this.#told() ?? `The survivor ended: ${told(ending)}`
        return
      }
      if (performance.now() > deadline) {
        this.#failure = `Hangs: the survivor has not ended after ${PATIENCE_MS} ms (the victim is ${this.#victimState})`
        return
      }
      nap()
    }
  }

  get #isVictimDead(): boolean {
    return this.#board.read('victimDead') > 0
  }

  get #victimState(): string {
    if (this.#isVictimDead) return 'dead'
    if (this.#board.read('victimHalted') === 0) return 'alive'
    return this.#board.read('continuationWanted') === 0 ? 'stopped' : 'alive again'
  }

  /** A stopped victim is told to the survivor, and continued when the survivor says so. */
  #noteHalt(): void {
    const board = this.#board
    const victim = this.#victim
    if (victim === undefined || board.read('victimHalting') === 0 || this.#isContinued) return
    if (board.read('victimHalted') === 0) {
      if (isHalted(victim.pid)) board.raise('victimHalted')
    } else if (board.read('continuationWanted') > 0) {
      this.#isContinued = true
      victim.send(SIGCONT)
    }
  }

  #noteDeath(): void {
    if (this.#isVictimDead) return
    const ending = this.#victim?.poll()
    if (ending === undefined) return
    this.#board.diedAtMs = sharedNowMs()
    if (!isKilled(ending)) this.#failure ??= `The victim ended: ${told(ending)}`
    this.#board.raise('victimDead')
    // The victim may have died before it was prepared.
    this.#board.raise('victimPrepared')
  }

  #bury(): void {
    const predecessor = this.#start('predecessor')
    const ending = predecessor.waitForEnd(PATIENCE_MS) ?? predecessor.end()
    if (!isKilled(ending)) this.#failure ??= `The predecessor ended: ${told(ending)}`
    this.#board.raise('burialsDone')
  }

  #start(part: Part): ForkedChild {
    const casting = {
      part,
      scenario: this.#scenario,
      name: this.#name,
      how: this.#how,
      isSweptFirst: this.#isSweptFirst,
    }
    const killPoint = part === 'victim' ? this.#killPoint : undefined
    return startActor(killPoint === undefined ? casting : { ...casting, killPoint }, this.#board, this.#native)
  }

  /** What the processes reported. Any text on their standard error is a failure as well. */
  #told(): string | undefined {
    const board = this.#board
    const printed = readFileSync(this.#errorsPath, 'utf8')
    if (printed !== '') truncateSync(this.#errorsPath)
    const texts = [
      ['The victim: ', board.text('victimFailure')],
      ['', board.text('survivorFailure')],
      ['Printed: ', printed],
    ]
    const found = texts.filter(([, text]) => text !== '').map((parts) => parts.join(''))
    return found.length === 0 ? undefined : found.join('\n')
  }
}

function isKilled(ending: Ending): boolean {
  return 'signal' in ending && ending.signal === SIGKILL
}

function told(ending: Ending): string {
  return 'signal' in ending ? `signal ${ending.signal}` : `exit code ${ending.exitCode}`
}
