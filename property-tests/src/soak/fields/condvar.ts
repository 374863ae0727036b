import { type Condvar, condvar, type Mutex, type MutexGuard, mutex, struct, words } from '@isthmus/sync'
import type { Random } from '../../hostile/random.js'
import { beat, OWN_WORDS, ROLES_MAX, segmentField } from '../field.js'

const TOKENS_MAX = 2
/** Guarded: how many tokens there are. */
const TOKENS = OWN_WORDS
/** Guarded: for each role, how many tokens it has given (even roles) or taken (odd ones). Written after TOKENS. */
const MOVED = OWN_WORDS + 1
const LEDGER_WORDS = MOVED + ROLES_MAX
const PATIENCE_MS = 12_000

const layout = struct({ ledger: words(LEDGER_WORDS), lock: mutex(), notFull: condvar(), notEmpty: condvar() })
type Root = { ledger: Int32Array; lock: Mutex; notFull: Condvar; notEmpty: Condvar }

/**
 * Even roles hand tokens over to odd ones through a place for two. Waits have no timeout, so a notification that is
 * lost with a killed waiter would leave another one stuck.
 *
 * A program that is killed with the lock before it notifies has not notified: the next owner is told of the death and
 * does it. There must be a next owner, so in this field each role gets a successor.
 */
export const condvarField = segmentField({
  name: 'locks/condvar',
  roles: 6,
  layout,
  ledgerWords: LEDGER_WORDS,
  standsAbsence: false,
  rehearsal: [0, 1],
  begin(root, { role, random }) {
    // An owner that was killed may have left waiters asleep that could go on.
    repairIfTold(root, root.lock.lockSync()).unlock()
    return role % 2 === 0 ? () => move(root, role, random, give) : () => move(root, role, random, take)
  },
  audit(root, isSwept) {
    const waiters = [root.notFull, root.notEmpty].flatMap((condvar) => condvar.describe().waiters)
    if (isSwept && waiters.length > 0) throw new Error(`Dead peers wait: ${JSON.stringify(waiters)}`)
    const guard = root.lock.lockSync({ timeoutMs: PATIENCE_MS })
    if (guard === undefined)
      throw new Error(`All peers are dead, and the lock cannot be taken: ${JSON.stringify(root.lock.describe())}`)
    repairIfTold(root, guard)
    guard.unlock()
  },
})

interface Move {
  readonly change: number
  mayMove(ledger: Int32Array): boolean
  readonly waitAt: 'notFull' | 'notEmpty'
  readonly thenNotify: 'notFull' | 'notEmpty'
}

const give: Move = {
  change: 1,
  mayMove: (ledger) => ledger[TOKENS] < TOKENS_MAX,
  waitAt: 'notFull',
  thenNotify: 'notEmpty',
}
const take: Move = { change: -1, mayMove: (ledger) => ledger[TOKENS] > 0, waitAt: 'notEmpty', thenNotify: 'notFull' }

function move(root: Root, role: number, random: Random, { change, mayMove, waitAt, thenNotify }: Move): void {
  const { ledger } = root
  const guard = repairIfTold(root, root.lock.lockSync())
  while (!mayMove(ledger)) {
    const options = random.isOneIn(8) ? { timeoutMs: random.below(20) / 10 } : {}
    root[waitAt].waitSync(guard, () => guard.ownerDied || mayMove(ledger), options)
    repairIfTold(root, guard)
  }
  assertConsistent(ledger, guard)
  ledger[TOKENS] += change
  for (let look = random.below(100); look > 0; look--) Math.sqrt(look)
  ledger[MOVED + role]++
  // Before the unlock: if we are killed earlier, the next owner is told of our death and notifies.
  if (random.isOneIn(4)) root[thenNotify].notifyAll()
  else root[thenNotify].notifyOne()
  guard.unlock()
  beat(ledger, role)
}

function repairIfTold(root: Root, guard: MutexGuard): MutexGuard {
  assertConsistent(root.ledger, guard)
  if (!guard.ownerDied) return guard
  root.ledger[TOKENS] = tokensNoted(root.ledger)
  root.notFull.notifyAll()
  root.notEmpty.notifyAll()
  guard.markConsistent()
  // The death is handled: later checks of this guard must not see it again.
  guard.ownerDied = false
  return guard
}

function assertConsistent(ledger: Int32Array, guard: MutexGuard): void {
  const noted = tokensNoted(ledger)
  const difference = Math.abs(ledger[TOKENS] - noted)
  if (difference > 1 || (difference === 1 && !guard.ownerDied) || noted < 0 || noted > TOKENS_MAX) {
    throw new Error(`${ledger[TOKENS]} tokens are there, ${noted} are noted; told of a death: ${guard.ownerDied}`)
  }
}

function tokensNoted(ledger: Int32Array): number {
  let tokens = 0
  for (let role = 0; role < ROLES_MAX; role++) tokens += role % 2 === 0 ? ledger[MOVED + role] : -ledger[MOVED + role]
  return tokens
}
