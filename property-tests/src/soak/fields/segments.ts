import { readdirSync } from 'node:fs'
import { Segment } from '@isthmus/shm-posix'
import { type Layout, mutex, struct, words } from '@isthmus/sync'
import { planHeader } from '@isthmus/sync/internal'
import { Random } from '../../hostile/random.js'
import { AT_WORK, beat, type Field, FORKED_PACE, haveAllBeaten, OWN_WORDS, ROLES_MAX } from '../field.js'
import { removeAll } from '../leftovers.js'

const NAMES = 3
/** Longer than any peer is stopped, so ERR_ISTHMUS_BUSY is a failure. */
const LOCK_TIMEOUT_MS = 12_000
const REHEARSED_STEPS = 80
const PATTERN_WORDS = 64
const FIRST_WORD = 0x15744

/** Words that must be complete as soon as the segment can be opened. */
const pattern: Layout<Int32Array> = {
  ...words(PATTERN_WORDS),
  signature: `soak-pattern(${PATTERN_WORDS})`,
  initialize(region, byteOffset) {
    for (let word = 0; word < PATTERN_WORDS; word++) region.words[(byteOffset >> 2) + word] = FIRST_WORD + word
  },
}
const layout = struct({ front: pattern, lock: mutex(), uses: words(1), back: pattern })
/** The ledger lies in a segment of its own, which no peer removes. */
const board = struct({ ledger: words(OWN_WORDS) })

/**
 * Peers create, open, use, close, unlink and prune under a few names. A segment with a name is whole, and can be
 * removed.
 */
export const segmentsField: Field = {
  name: 'segments',
  roles: 4,
  killsPerRound: 150,
  pace: FORKED_PACE,
  standsAbsence: true,
  ledgerByteOffset: planHeader(board).rootByteOffset,
  ledgerWords: OWN_WORDS,
  create: (name) => Segment.create(name, board).close(),
  rehearse(name) {
    const random = new Random(1)
    for (let step = 0; step < REHEARSED_STEPS; step++) takeStep(name, random, false)
    this.create(name)
    this.audit(name)
    removeAll(name)
  },
  play(name, { role, incarnation, random }) {
    const { ledger } = Segment.open(name, board).root
    Atomics.store(ledger, AT_WORK + role, incarnation)
    for (;;) {
      takeStep(name, random, true)
      beat(ledger, role)
    }
  },
  audit(name) {
    for (let at = 0; at < NAMES; at++) auditName(nameOf(name, at))
    Segment.prune({ prefix: nameOf(name, '') })
    const left = readdirSync('/dev/shm').filter((file) => `/${file}`.startsWith(nameOf(name, '')))
    if (left.length > 0) throw new Error(`After pruning there is still ${left.join(', ')}`)
  },
  describe: (name) => Segment.list().filter((segment) => segment.name.startsWith(name)),
  steps(ledger) {
    let steps = 0
    for (let role = 0; role < ROLES_MAX; role++) steps += ledger.word(role)
    return steps
  },
  hasRecovered: haveAllBeaten,
}

function nameOf(board: string, which: number | string): string {
  return `${board}-s${which}`
}

function takeStep(boardName: string, random: Random, mayForget: boolean): void {
  const name = nameOf(boardName, random.below(NAMES))
  const options = { lockTimeoutMs: LOCK_TIMEOUT_MS }
  // A program that forgets to close leaves that to the garbage collector.
  const forgetful = mayForget && random.isOneIn(50)
  const dice = random.below(8)
  if (dice < 2)
    use(
      unless('ENOENT', () => Segment.open(name, layout, options)),
      forgetful,
    )
  else if (dice < 4)
    use(
      unless('EEXIST', () => Segment.create(name, layout, options)),
      forgetful,
    )
  else if (dice < 6) use(Segment.openOrCreate(name, layout, options), forgetful)
  else if (dice < 7) unless('ENOENT', () => Segment.unlink(name, options))
  else Segment.prune({ prefix: nameOf(boardName, '') })
}

/** Runs the action, and ignores the one error that a quicker peer may cause. */
function unless<R>(code: string, action: () => R): R | undefined {
  try {
    return action()
  } catch (error) {
    if ((error as { code?: unknown }).code === code) return undefined
    throw error
  }
}

function use(segment: Segment<ReturnType<typeof layout.attach>> | undefined, isForgotten: boolean): void {
  if (segment === undefined) return
  const { front, back, lock, uses } = segment.root
  for (const part of [front, back]) {
    const wrong = part.findIndex((word, at) => word !== FIRST_WORD + at)
    if (wrong !== -1) throw new Error(`A half-made segment: word ${wrong} of its pattern is ${part[wrong]}`)
  }
  const guard = lock.lockSync({ timeoutMs: LOCK_TIMEOUT_MS })
  if (guard === undefined)
    throw new Error(`The mutex of a segment cannot be locked: ${JSON.stringify(lock.describe())}`)
  uses[0]++
  if (guard.ownerDied) guard.markConsistent()
  guard.unlock()
  if (!isForgotten) segment.close()
}

function auditName(name: string): void {
  const segment = Segment.openOrCreate(name, layout)
  const { self } = segment.peers
  const alive = segment.peers.list().filter(({ peer, isDead }) => peer !== self && !isDead)
  if (alive.length > 0) throw new Error(`Killed peers are listed as alive in ${name}: ${JSON.stringify(alive)}`)
  use(segment, false)
}
