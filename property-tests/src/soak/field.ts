import { setPriority } from 'node:os'
import { Segment } from '@isthmus/shm-posix'
import type { Layout } from '@isthmus/sync'
import { planHeader } from '@isthmus/sync/internal'
import { Random } from '../hostile/random.js'
import type { Ledger } from './ledger.js'
import { ownPid } from './process-life.js'

/** What one child gets: its role, and the source of its random numbers. */
export interface Part {
  readonly role: number
  /** The number of this child among the children that had this role in this round, from 1. */
  readonly incarnation: number
  readonly seed: number
  readonly random: Random
  /** One thread plays all roles in turns: a wait without a timeout would not end. */
  readonly isRehearsal?: boolean
}

/** A calm is a time without kills and stops, in which all must get on. This is what its check sees. */
export interface Calm {
  readonly before: Ledger
  readonly now: Ledger
  readonly isPresent: (role: number) => boolean
  readonly incarnationOf: (role: number) => number
}

/**
 * How long a child lives at most, in milliseconds: from its start if it is killed early, otherwise from its attaching.
 */
export interface Pace {
  readonly startMaxMs: number
  readonly lifeMaxMs: number
}

/** Lifetimes of copies of a process. */
export const FORKED_PACE: Pace = { startMaxMs: 4, lifeMaxMs: 20 }

/** A use of shared memory that several children play, each in a role, and that must survive random kills. */
export interface Field {
  readonly name: string
  readonly roles: number
  /** After this many kills the segment is audited, and a new one is made. */
  readonly killsPerRound: number
  readonly pace: Pace
  /** Whether the other children must get on if one is killed and has no successor. */
  readonly standsAbsence: boolean
  /** Where the ledger (the children's own counts) begins in the file, and its length: the parent reads the file. */
  readonly ledgerByteOffset: number
  readonly ledgerWords: number
  create(name: string): void
  /** Plays a little in this process, and closes: children then need not compile the same code again. */
  rehearse(name: string): void
  /** Plays until its process is killed. */
  play(name: string, part: Part): void
  /** Checks the segment after all children were killed. Throws what is wrong. */
  audit(name: string): void
  /** A description of the segment for the report of a stuck round. */
  describe(name: string): unknown
  steps(ledger: Ledger): number
  /** Whether all children that are present have got on since `before`. */
  hasRecovered(calm: Calm): boolean
}

/**
 * The first words of every ledger: for each role, how many steps it has done (beats), and which incarnation has
 * attached.
 */
export const ROLES_MAX = 16
export const BEATS = 0
export const AT_WORK = ROLES_MAX
/** Where a field's own words begin. */
export const OWN_WORDS = 2 * ROLES_MAX

const REHEARSED_STEPS = 600
const BUSY_PRIORITY = 10
/** Longer than any peer is stopped while it attaches, also on a machine that stands still for seconds. */
const LOCK_TIMEOUT_MS = 12_000

interface HasLedger {
  readonly ledger: Int32Array
}

interface FieldPlan<Root extends HasLedger> {
  readonly name: string
  readonly roles: number
  readonly layout: Layout<Root>
  readonly ledgerWords: number
  readonly killsPerRound?: number
  readonly standsAbsence?: boolean
  readonly pace?: Pace
  /** Prepares the child; the function that it returns does one step. */
  begin(root: Root, part: Part, segment: Segment<Root>): () => void
  /** Which roles the forking process plays in turns before the first round; by default the first. */
  readonly rehearsal?: readonly number[]
  /**
   * @param isSwept whether newcomers have taken the slot of every dead peer, so that the dead must hold nothing any
   * more
   */
  audit(root: Root, isSwept: boolean): void
  hasRecovered?(calm: Calm): boolean
  steps?(ledger: Ledger): number
}

/** A field that lies in one segment, whose layout is a struct that begins with the ledger. */
export function segmentField<Root extends HasLedger>(plan: FieldPlan<Root>): Field {
  const { name, roles, layout, ledgerWords } = plan
  return {
    name,
    roles,
    ledgerWords,
    killsPerRound: plan.killsPerRound ?? 150,
    pace: plan.pace ?? FORKED_PACE,
    standsAbsence: plan.standsAbsence ?? true,
    ledgerByteOffset: planHeader(layout).rootByteOffset,
    create: (segmentName) => Segment.create(segmentName, layout).close(),
    rehearse(segmentName) {
      Segment.create(segmentName, layout).close()
      const segment = Segment.open(segmentName, layout)
      const players = (plan.rehearsal ?? [0]).map((role) => {
        return plan.begin(
          segment.root,
          { role, incarnation: 1, seed: 1, random: new Random(role), isRehearsal: true },
          segment,
        )
      })
      for (let step = 0; step < REHEARSED_STEPS; step++) for (const play of players) unlessDeadlock(play)
      segment.close()
      this.audit(segmentName)
      Segment.unlink(segmentName)
    },
    play(segmentName, part) {
      const segment = Segment.open(segmentName, layout, { lockTimeoutMs: LOCK_TIMEOUT_MS })
      Atomics.store(segment.root.ledger, AT_WORK + part.role, part.incarnation)
      const step = plan.begin(segment.root, part, segment)
      // Newcomers and the killing process have priority; otherwise few children would get this far.
      setPriority(BUSY_PRIORITY)
      for (;;) step()
    },
    audit(segmentName) {
      const segment = Segment.open(segmentName, layout)
      assertAllDead(segment)
      // In every other round the slots are swept; in the others the audit's own calls must reap the dead.
      const isSwept = ownPid() % 2 === 0
      const sweepers = isSwept ? attachToAllDeadSlots(segment, () => Segment.open(segmentName, layout)) : []
      plan.audit(segment.root, isSwept)
      for (const each of [...sweepers, segment]) each.close()
    },
    describe: (segmentName) => {
      const { root } = Segment.open(segmentName, layout)
      return Object.fromEntries(Object.entries(root).map(([key, value]) => [key, descriptionOf(value)]))
    },
    steps: plan.steps ?? beats,
    hasRecovered: plan.hasRecovered ?? haveAllBeaten,
  }
}

/** Counts one step of this role. */
export function beat(ledger: Int32Array, role: number): void {
  Atomics.add(ledger, BEATS + role, 1)
}

export function haveAllBeaten({ before, now, isPresent }: Calm): boolean {
  for (let role = 0; role < ROLES_MAX; role++) {
    if (isPresent(role) && before.word(BEATS + role) === now.word(BEATS + role)) return false
  }
  return true
}

function beats(ledger: Ledger): number {
  let sum = 0
  for (let role = 0; role < ROLES_MAX; role++) sum += ledger.word(BEATS + role)
  return sum
}

function assertAllDead(segment: Segment<unknown>): void {
  const { self } = segment.peers
  const alive = segment.peers.list().filter(({ peer, isDead }) => peer !== self && !isDead)
  if (alive.length > 0) throw new Error(`Killed peers are listed as alive: ${JSON.stringify(alive)}`)
}

/** Attaches until no slot belongs to a dead peer: each newcomer sweeps the slot that it takes. */
function attachToAllDeadSlots<S extends Segment<unknown>>(segment: S, open: () => S): S[] {
  const sweepers: S[] = []
  while (segment.peers.hasDead()) {
    if (sweepers.length > ROLES_MAX)
      throw new Error('There are more dead slots than there were ever peers at the same time')
    sweepers.push(open())
  }
  return sweepers
}

function descriptionOf(value: unknown): unknown {
  if (value instanceof Int32Array) return [...value.slice(0, 64)].join(' ')
  const describable = value as { describe?: () => unknown }
  return describable?.describe?.() ?? String(value)
}

/** In a rehearsal one thread plays both sides, so now and then it would wait for itself. */
function unlessDeadlock(play: () => void): void {
  try {
    play()
  } catch (error) {
    if ((error as { code?: unknown }).code !== 'EDEADLK') throw error
  }
}
