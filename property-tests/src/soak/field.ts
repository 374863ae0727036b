import { setPriority } from 'node:os'
import { Segment } from '@isthmus/shm-posix'
import type { Layout } from '@isthmus/sync'
import { planHeader } from '@isthmus/sync/internal'
import { Random } from '../hostile/random.js'
import type { Ledger } from './ledger.js'
import { ownPid } from './process-life.js'

/** What one child does: whose successor it is, and where its dice come from. */
export interface Part {
  readonly role: number
  /** How many children had this role in this round before, and this one. */
  readonly incarnation: number
  readonly seed: number
  readonly random: Random
}

/** What a calm looks at: the ledger as it was, as it is, and who is missing. */
export interface Calm {
  readonly before: Ledger
  readonly now: Ledger
  readonly isPresent: (role: number) => boolean
  readonly incarnationOf: (role: number) => number
}

/** How long at most a child lives, in milliseconds: one that is killed early, from its start; any other, once it has attached. */
export interface Pace {
  readonly startMaxMs: number
  readonly lifeMaxMs: number
}

/** What copies of a process that is ready need. */
export const FORKED_PACE: Pace = { startMaxMs: 4, lifeMaxMs: 20 }

/** A way of using shared memory that is played by several children and stands random kills. */
export interface Field {
  readonly name: string
  readonly roles: number
  /** So many kills, then the segment is looked at, and a new one made. */
  readonly killsPerRound: number
  readonly pace: Pace
  /** Whether the others have to get on where one is killed and has no successor. */
  readonly standsAbsence: boolean
  /** Where the ledger begins in the file, and its length, for the parent, which cannot attach. */
  readonly ledgerByteOffset: number
  readonly ledgerWords: number
  create(name: string): void
  /** Plays a little in this process, and closes: what was compiled then need not be compiled in each child. */
  rehearse(name: string): void
  /** Never comes back: it ends with its process. */
  play(name: string, part: Part): void
  /** After all others were killed. Throws what is wrong. */
  audit(name: string): void
  /** For the one who looks into a stuck round. */
  describe(name: string): unknown
  steps(ledger: Ledger): number
  /** Whether everybody who is present has got on since `before`. */
  hasRecovered(calm: Calm): boolean
}

/** Every field's first words: in each role, how many steps it has done, and which incarnation has attached. */
export const ROLES_MAX = 16
export const BEATS = 0
export const AT_WORK = ROLES_MAX
/** From here on a field's own words. */
export const OWN_WORDS = 2 * ROLES_MAX

const REHEARSED_STEPS = 600
const BUSY_PRIORITY = 10

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
  /** Takes its place; what it returns does one step. */
  begin(root: Root, part: Part, segment: Segment<Root>): () => void
  /** Which roles the forking process plays, step by step in turn, before the first round; the first one if not given. */
  readonly rehearsal?: readonly number[]
  /** @param isSwept whether every slot of a dead peer has been taken since: then nothing may be left in its name */
  audit(root: Root, isSwept: boolean): void
  hasRecovered?(calm: Calm): boolean
  steps?(ledger: Ledger): number
}

/** A field of which everything lies in one segment, whose layout is a struct that begins with the ledger. */
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
        return plan.begin(segment.root, { role, incarnation: 1, seed: 1, random: new Random(role) }, segment)
      })
      for (let step = 0; step < REHEARSED_STEPS; step++) for (const play of players) unlessDeadlock(play)
      segment.close()
      this.audit(segmentName)
      Segment.unlink(segmentName)
    },
    play(segmentName, part) {
      const segment = Segment.open(segmentName, layout)
      Atomics.store(segment.root.ledger, AT_WORK + part.role, part.incarnation)
      const step = plan.begin(segment.root, part, segment)
      // Newcomers and the killer go first: otherwise few would get as far as this.
      setPriority(BUSY_PRIORITY)
      for (;;) step()
    },
    audit(segmentName) {
      const segment = Segment.open(segmentName, layout)
      assertAllDead(segment)
      // One time the slots are swept, the next the dead are left to be proven dead by those who find them in their way.
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

/** One step more in this role. */
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
  if (alive.length > 0) throw new Error(`Killed, and said to be alive: ${JSON.stringify(alive)}`)
}

/** Who takes a slot sweeps it of its last holder. */
function attachToAllDeadSlots<S extends Segment<unknown>>(segment: S, open: () => S): S[] {
  const sweepers: S[] = []
  while (segment.peers.hasDead()) {
    if (sweepers.length > ROLES_MAX) throw new Error('There are more dead slots than there were ever peers at a time')
    sweepers.push(open())
  }
  return sweepers
}

function descriptionOf(value: unknown): unknown {
  if (value instanceof Int32Array) return [...value.slice(0, 64)].join(' ')
  const describable = value as { describe?: () => unknown }
  return describable?.describe?.() ?? String(value)
}

/** In a rehearsal both sides are played by one thread, which would wait for itself now and then. */
function unlessDeadlock(play: () => void): void {
  try {
    play()
  } catch (error) {
    if ((error as { code?: unknown }).code !== 'EDEADLK') throw error
  }
}
