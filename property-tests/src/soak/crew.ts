import { type Ending, ForkedChild } from '../fork/forked-child.js'
import { Random } from '../hostile/random.js'
import type { Events } from './events.js'
import { AT_WORK, type Field } from './field.js'
import type { Ledger } from './ledger.js'
import type { RunningClock } from './running-clock.js'

/** Constants of signal.h on Linux. */
const SIGKILL = 9
const SIGCONT = 18
const SIGSTOP = 19

const STOP_MAX_MS = 15
const REST_MAX_MS = 8

/** A child process that plays a role. */
interface Member {
  readonly role: number
  readonly incarnation: number
  readonly child: ForkedChild
  /** By the running clock. */
  readonly startedMs: number
  /**
   * When the child is killed, stopped or continued; undefined until it has attached, if it must not be killed before.
   */
  dueMs: number | undefined
  isStopped: boolean
  isDying: boolean
}

/** The child processes of a round: starts, kills, stops and continues them. */
export class Crew {
  readonly #field: Field
  readonly #name: string
  readonly #seed: number
  readonly #random: Random
  readonly #events: Events
  readonly #clock: RunningClock
  readonly #members = new Map<number, Member>()
  readonly #incarnations: number[]
  /** When each role may get its next child. */
  readonly #restMs: number[]
  kills = 0
  /** Of these, how many had attached: the others were killed on the way. */
  killsAtWork = 0
  stops = 0

  constructor(field: Field, name: string, seed: number, events: Events, clock: RunningClock) {
    this.#clock = clock
    this.#field = field
    this.#name = name
    this.#seed = seed
    this.#random = new Random(seed)
    this.#events = events
    this.#incarnations = new Array(field.roles).fill(0)
    this.#restMs = new Array(field.roles).fill(0)
  }

  get restarts(): number {
    return this.#incarnations.reduce((sum, count) => sum + count, 0) - this.#incarnations.filter(Boolean).length
  }

  incarnationOf(role: number): number {
    return this.#incarnations[role]
  }

  isPresent(role: number): boolean {
    return this.#members.get(role)?.isDying === false
  }

  get isAnybodyDying(): boolean {
    return [...this.#members.values()].some(({ isDying }) => isDying)
  }

  hasAttached(role: number, ledger: Ledger): boolean {
    return this.isPresent(role) && ledger.word(AT_WORK + role) === this.#incarnations[role]
  }

  /** Starts a child in each role that has none, once the role's rest is over. */
  startMissing(isAtOnce: boolean, absent?: number): void {
    for (let role = 0; role < this.#field.roles; role++) {
      const isDue = isAtOnce || performance.now() >= this.#restMs[role]
      if (!this.#members.has(role) && role !== absent && isDue) this.#start(role)
    }
  }

  /** Strikes (kills, stops or continues) each child that is due. */
  strike(ledger: Ledger): void {
    const now = performance.now()
    for (const member of this.#members.values()) {
      if (member.isDying) continue
      if (member.dueMs === undefined && ledger.word(AT_WORK + member.role) === member.incarnation) {
        // Early moments are likelier.
        const share = (this.#random.below(1000) / 1000) ** 2
        member.dueMs = now + share * this.#field.pace.lifeMaxMs
      }
      if (member.dueMs !== undefined && now >= member.dueMs) this.#strikeOne(member, now, ledger)
    }
  }

  /** Removes the children that have ended. @throws Error if a child ended otherwise than by our SIGKILL */
  reap(): void {
    for (const member of this.#members.values()) {
      const ending = member.child.poll()
      if (ending === undefined) continue
      this.#members.delete(member.role)
      this.#assertKilled(member, ending)
      const isResting = this.#random.isOneIn(4)
      this.#restMs[member.role] = performance.now() + (isResting ? this.#random.below(REST_MAX_MS) : 0)
    }
  }

  kill(role: number, ledger?: Ledger): void {
    const member = this.#members.get(role)
    if (member === undefined || member.isDying) return
    if (ledger !== undefined && this.hasAttached(role, ledger)) this.killsAtWork++
    member.isDying = true
    member.child.send(SIGKILL)
    this.kills++
    this.#note('killed', member)
  }

  killAll(): void {
    for (const role of this.#members.keys()) this.kill(role)
  }

  continueAll(): void {
    for (const member of this.#members.values()) if (member.isStopped && !member.isDying) this.#continue(member)
  }

  /** Ends all children of a round that failed, without a note. */
  endAll(): void {
    for (const { child } of this.#members.values()) child.end()
    this.#members.clear()
  }

  /** Describes a child that has not attached within that time. */
  lateMember(ledger: Ledger, limitMs: number): string | undefined {
    const now = this.#clock.nowMs()
    for (const { role, incarnation, startedMs, isStopped, child } of this.#members.values()) {
      if (isStopped || now - startedMs < limitMs || ledger.word(AT_WORK + role) === incarnation) continue
      return `role ${role} (process ${child.pid}) has not attached`
    }
    return undefined
  }

  #start(role: number): void {
    const incarnation = ++this.#incarnations[role]
    const seed = (this.#seed * 31 + role * 7 + incarnation * 101) | 0
    const child = ForkedChild.start(() => {
      this.#field.play(this.#name, { role, incarnation, seed: this.#seed, random: new Random(seed) })
    })
    const startedMs = this.#clock.nowMs()
    const isKilledEarly = this.#random.isOneIn(4)
    const dueMs = isKilledEarly
      ? performance.now() + (this.#random.below(1000) / 1000) * this.#field.pace.startMaxMs
      : undefined
    const member = { role, incarnation, child, startedMs, dueMs, isStopped: false, isDying: false }
    this.#members.set(role, member)
    this.#note('started', member)
  }

  #strikeOne(member: Member, now: number, ledger: Ledger): void {
    if (member.isStopped && this.#random.isOneIn(2)) {
      this.#continue(member)
      member.dueMs = now + this.#random.below(this.#field.pace.lifeMaxMs)
    } else if (!member.isStopped && this.#random.isOneIn(5)) {
      member.child.send(SIGSTOP)
      member.isStopped = true
      member.dueMs = now + this.#random.below(STOP_MAX_MS)
      this.stops++
      this.#note('stopped', member)
    } else {
      this.kill(member.role, ledger)
    }
  }

  #continue(member: Member): void {
    member.child.send(SIGCONT)
    member.isStopped = false
    this.#note('continued', member)
  }

  #assertKilled(member: Member, ending: Ending): void {
    if ('signal' in ending && ending.signal === SIGKILL && member.isDying) return
    throw new Error(`Role ${member.role} (process ${member.child.pid}) ended by itself: ${JSON.stringify(ending)}`)
  }

  #note(what: string, { role, incarnation, child }: Member): void {
    this.#events.note(`${what.padEnd(10)} role ${role}, child ${incarnation}, process ${child.pid}`)
  }
}
