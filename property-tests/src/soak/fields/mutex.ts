import { type Mutex, type MutexGuard, mutex, struct, words } from '@isthmus/sync'
import type { Random } from '../../hostile/random.js'
import { beat, OWN_WORDS, ROLES_MAX, segmentField } from '../field.js'

/** Guarded: grows by one with every step of any role. */
const COUNT = OWN_WORDS
/** Guarded: the role that is in a step, plus one; 0 outside of a step. */
const INSIDE = OWN_WORDS + 1
/** Guarded: for each role, how many steps it has taken. Written after COUNT. */
const STEPS = OWN_WORDS + 2
const LEDGER_WORDS = STEPS + ROLES_MAX
const PATIENCE_MS = 12_000

const layout = struct({ ledger: words(LEDGER_WORDS), lock: mutex() })

/** Peers count under a mutex and are killed meanwhile: each completed step counts, and no other. */
export const mutexField = segmentField({
  name: 'locks/mutex',
  roles: 5,
  layout,
  ledgerWords: LEDGER_WORDS,
  begin({ lock, ledger }, { role, random }) {
    return () => {
      const guard = lockSomehow(lock, random)
      if (guard === undefined) return
      takeStep(ledger, guard, role, random)
      guard.unlock()
      beat(ledger, role)
    }
  },
  audit({ lock, ledger }, isSwept) {
    const before = lock.describe()
    if (isSwept && before.state !== 'free') throw new Error(`A dead peer has the mutex: ${JSON.stringify(before)}`)
    const guard = lock.lockSync({ timeoutMs: PATIENCE_MS })
    if (guard === undefined) throw new Error('The mutex of dead peers cannot be locked')
    checkOrRepair(ledger, guard, true)
    guard.unlock()
    const { state, isInconsistent, waiters } = lock.describe()
    if (state !== 'free' || isInconsistent || waiters.some(({ isDead }) => !isDead)) {
      throw new Error(`After the audit the mutex is ${JSON.stringify(lock.describe())}`)
    }
  },
})

function lockSomehow(lock: Mutex, random: Random): MutexGuard | undefined {
  if (random.isOneIn(6)) return lock.tryLock()
  if (random.isOneIn(6)) return lock.lockSync({ timeoutMs: random.below(30) / 10 })
  return lock.lockSync()
}

function takeStep(ledger: Int32Array, guard: MutexGuard, role: number, random: Random): void {
  checkOrRepair(ledger, guard, !random.isOneIn(4))
  ledger[INSIDE] = role + 1
  const before = ledger[COUNT]
  for (let look = random.below(200); look > 0; look--) Math.sqrt(look)
  if (ledger[INSIDE] !== role + 1) throw new Error(`Two have the mutex: role ${role} and ${ledger[INSIDE] - 1}`)
  ledger[COUNT] = before + 1
  ledger[STEPS + role]++
  ledger[INSIDE] = 0
}

/** A dead owner may have left one step half done, and only if we are told of the death. */
function checkOrRepair(ledger: Int32Array, guard: MutexGuard, isToBeMarked: boolean): void {
  const steps = stepsIn(ledger)
  const ahead = ledger[COUNT] - steps
  const isHalfDone = ahead === 1 || ledger[INSIDE] !== 0
  if (ahead < 0 || ahead > 1) throw new Error(`${steps} steps are noted, and ${ledger[COUNT]} counted`)
  if (isHalfDone && !guard.ownerDied) throw new Error('A step is half done, and no death was reported')
  if (!guard.ownerDied) return
  ledger[COUNT] = steps
  ledger[INSIDE] = 0
  // Without markConsistent the next owner is told of the death as well.
  if (isToBeMarked) guard.markConsistent()
}

function stepsIn(ledger: Int32Array): number {
  let steps = 0
  for (let role = 0; role < ROLES_MAX; role++) steps += ledger[STEPS + role]
  return steps
}
