import { writeSync } from 'node:fs'
import { inspect } from 'node:util'
import { Segment } from '@isthmus/shm-posix'
import { ForkedChild } from '../fork/forked-child.js'
import { Random } from '../hostile/random.js'
import { Crew } from './crew.js'
import { Events } from './events.js'
import type { Field } from './field.js'
import { type Ledger, LedgerFile } from './ledger.js'
import { leftoversOf, removeAll } from './leftovers.js'
import { RunningClock } from './running-clock.js'
import { NOTHING, type Tally } from './tally.js'

/** A child that has not got on for this long is stuck. */
const STUCK_MS = 15_000
const LOOK_MS = 0.3
/** How many kills come between two calms. Each round has at least one calm. */
const KILLS_BETWEEN_CALMS = 20

const sleeper = new Int32Array(new SharedArrayBuffer(4))

/** When a round ends. */
export interface KillGoal {
  readonly kills: number
  /** Whether only those count that hit a child which had attached. */
  readonly onlyAtWork?: boolean
}

/** A failed round, with what is needed to investigate it. */
export class RoundFailure extends Error {
  readonly events: readonly string[]

  constructor(what: string, events: readonly string[]) {
    super(what)
    this.events = events
  }
}

/**
 * One segment, from its creation to its removal. Its children are killed and stopped at random. Now and then there is a
 * calm, a time without kills and stops, in which all must get on. At the end an auditor attaches and checks what is
 * left.
 */
export class Round {
  readonly #field: Field
  readonly #name: string
  readonly #random: Random
  readonly #events = new Events()
  readonly #clock = new RunningClock()
  readonly #crew: Crew
  readonly #goal: KillGoal
  readonly #isOver: () => boolean
  #file: LedgerFile | undefined
  #slowestMs = 0

  /** @param isOver called now and then; true ends the round early and in good order */
  constructor(field: Field, name: string, seed: number, goal: KillGoal, isOver: () => boolean) {
    this.#field = field
    this.#name = name
    this.#random = new Random(seed)
    this.#crew = new Crew(field, name, seed, this.#events, this.#clock)
    this.#goal = goal
    this.#isOver = isOver
  }

  /** @throws RoundFailure */
  run(): Tally {
    try {
      this.#inChild('creating', () => this.#field.create(this.#name))
      this.#file = new LedgerFile(this.#name, this.#field.ledgerByteOffset, this.#field.ledgerWords)
      this.#disturb()
      this.#endAll()
      this.#inChild('auditing', () => this.#field.audit(this.#name))
      const steps = this.#field.steps(this.#ledger)
      Segment.unlink(this.#name)
      const leftovers = leftoversOf(this.#name)
      if (leftovers.length > 0) throw new Error(`Left in /dev/shm: ${leftovers.join(', ')}`)
      const { kills, killsAtWork, stops, restarts } = this.#crew
      return { ...NOTHING, rounds: 1, kills, killsAtWork, stops, restarts, steps, slowestMs: this.#slowestMs }
    } catch (error) {
      throw new RoundFailure(error instanceof Error ? `${error.stack}` : String(error), this.#events.last)
    } finally {
      this.#crew.endAll()
      this.#file?.close()
      removeAll(this.#name)
    }
  }

  get #ledger(): Ledger {
    if (this.#file === undefined) throw new Error('There is no segment yet')
    return this.#file.read()
  }

  get #killsDone(): number {
    return this.#goal.onlyAtWork === true ? this.#crew.killsAtWork : this.#crew.kills
  }

  #disturb(): void {
    let killsAtCalm = 0
    const killsBetweenCalms = Math.min(KILLS_BETWEEN_CALMS, this.#goal.kills / 2)
    while (this.#killsDone < this.#goal.kills && !this.#isOver()) {
      this.#crew.reap()
      this.#crew.startMissing(false)
      const ledger = this.#ledger
      this.#assertNobodyIsLate(ledger)
      this.#crew.strike(ledger)
      if (this.#crew.kills - killsAtCalm >= killsBetweenCalms) {
        this.#calm()
        killsAtCalm = this.#crew.kills
      }
      Atomics.wait(sleeper, 0, 0, LOOK_MS)
    }
  }

  /** A time without stops and kills, in which all must get on: every role, or all but one that gets no successor. */
  #calm(): void {
    this.#crew.continueAll()
    const startedMs = this.#clock.nowMs()
    const isOneAbsent = this.#field.standsAbsence && this.#random.isOneIn(2)
    const absent = isOneAbsent ? this.#random.below(this.#field.roles) : undefined
    this.#events.note(absent === undefined ? 'calm' : `calm without role ${absent}`)
    this.#gather()
    const before = this.#ledger
    if (absent !== undefined) this.#crew.kill(absent, before)
    for (;;) {
      this.#crew.reap()
      this.#crew.startMissing(true, absent)
      const now = this.#ledger
      const { isPresent, incarnationOf } = this.#crew
      const calm = { before, now, isPresent: isPresent.bind(this.#crew), incarnationOf: incarnationOf.bind(this.#crew) }
      if (this.#field.hasRecovered(calm)) break
      const forMs = this.#clock.nowMs() - startedMs
      if (forMs > STUCK_MS) this.#failStuck(`at least one role has not got on for ${forMs.toFixed(0)} ms`)
      Atomics.wait(sleeper, 0, 0, LOOK_MS)
    }
    this.#slowestMs = Math.max(this.#slowestMs, this.#clock.nowMs() - startedMs)
  }

  /** Waits until each role has a child that has attached. */
  #gather(): void {
    for (;;) {
      this.#crew.reap()
      this.#crew.startMissing(true)
      const ledger = this.#ledger
      this.#assertNobodyIsLate(ledger)
      let attached = 0
      for (let role = 0; role < this.#field.roles; role++) if (this.#crew.hasAttached(role, ledger)) attached++
      if (attached === this.#field.roles) return
      Atomics.wait(sleeper, 0, 0, LOOK_MS)
    }
  }

  #assertNobodyIsLate(ledger: Ledger): void {
    const late = this.#crew.lateMember(ledger, STUCK_MS)
    if (late !== undefined) this.#failStuck(late)
  }

  #endAll(): void {
    this.#crew.killAll()
    const startedMs = performance.now()
    while (this.#crew.isAnybodyDying) {
      this.#crew.reap()
      if (performance.now() - startedMs > STUCK_MS) throw new Error('Killed processes do not end')
      Atomics.wait(sleeper, 0, 0, LOOK_MS)
    }
  }

  /**
   * Runs in a child what attaches to a segment: the forking process must have nothing that its copies would inherit.
   */
  #inChild(what: string, body: () => void): void {
    const child = ForkedChild.start(body)
    this.#events.note(`${what}, process ${child.pid}`)
    const ending = child.waitForEnd(2 * STUCK_MS)
    if (ending === undefined) {
      child.end()
      throw new Error(`Stuck: ${what} takes longer than ${2 * STUCK_MS} ms`)
    }
    if (!('exitCode' in ending) || ending.exitCode !== 0) {
      throw new Error(`${what} failed: ${JSON.stringify(ending)}; its error is printed above`)
    }
  }

  #failStuck(what: string): never {
    try {
      this.#inChild('describing', () => {
        const text = inspect(this.#field.describe(this.#name), { depth: 8, breakLength: 140 })
        writeSync(2, `${this.#field.name}, described:\n${text}\n`)
      })
    } catch (error) {
      throw new Error(`Stuck: ${what}. Describing the segment failed: ${error}`)
    }
    throw new Error(`Stuck: ${what}`)
  }
}
