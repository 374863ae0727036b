import { type ReadGuard, type RwLock, rwLock, struct, type WriteGuard, words } from '@isthmus/sync'
import type { Random } from '../../hostile/random.js'
import { beat, OWN_WORDS, ROLES_MAX, segmentField } from '../field.js'

/** Guarded: two words that are equal outside of a write. */
const LEFT = OWN_WORDS
const RIGHT = OWN_WORDS + 1
/** Guarded: for each role, how many writes it has completed. Written after both words. */
const WRITES = OWN_WORDS + 2
const LEDGER_WORDS = WRITES + ROLES_MAX
const PATIENCE_MS = 12_000

const layout = struct({ ledger: words(LEDGER_WORDS), lock: rwLock() })

/** Peers are killed while they read, write and wait: readers see equal pairs, and each completed write counts. */
export const rwLockField = segmentField({
  name: 'locks/rw-lock',
  roles: 5,
  layout,
  ledgerWords: LEDGER_WORDS,
  begin({ lock, ledger }, { role, random }) {
    return () => {
      const isDone = random.isOneIn(3) ? write(lock, ledger, role, random) : read(lock, ledger, random)
      if (isDone) beat(ledger, role)
    }
  },
  audit({ lock, ledger }, isSwept) {
    const before = lock.describe()
    if (isSwept && (before.readers.length > 0 || before.writers.state !== 'free')) {
      throw new Error(`A dead peer has the lock: ${JSON.stringify(before)}`)
    }
    const writing = lock.writeLockSync({ timeoutMs: PATIENCE_MS })
    if (writing === undefined)
      throw new Error(`All peers are dead, and the lock cannot be taken: ${JSON.stringify(lock.describe())}`)
    checkOrRepair(ledger, writing)
    writing.unlock()
    const { readers, writers } = lock.describe()
    if (readers.length > 0 || writers.state !== 'free' || writers.isInconsistent) {
      throw new Error(`After the audit the lock is ${JSON.stringify(lock.describe())}`)
    }
  },
})

function write(lock: RwLock, ledger: Int32Array, role: number, random: Random): boolean {
  const guard = writeLockSomehow(lock, random)
  if (guard === undefined) return false
  checkOrRepair(ledger, guard)
  const before = ledger[LEFT]
  ledger[LEFT] = before + 1
  for (let look = random.below(200); look > 0; look--) Math.sqrt(look)
  if (ledger[RIGHT] !== before) throw new Error(`Two write at once: ${ledger[RIGHT]} instead of ${before}`)
  ledger[RIGHT] = before + 1
  ledger[WRITES + role]++
  guard.unlock()
  return true
}

function read(lock: RwLock, ledger: Int32Array, random: Random): boolean {
  const guard = readLockSomehow(lock, random)
  if (guard === undefined) return false
  const left = ledger[LEFT]
  for (let look = random.below(200); look > 0; look--) Math.sqrt(look)
  const right = ledger[RIGHT]
  const isDifferent = left !== right || ledger[LEFT] !== left
  if (isDifferent && !guard.ownerDied) throw new Error(`A reader sees ${left} and ${right}, and no death was reported`)
  guard.unlock()
  return true
}

function writeLockSomehow(lock: RwLock, random: Random): WriteGuard | undefined {
  if (random.isOneIn(6)) return lock.tryWriteLock()
  if (random.isOneIn(6)) return lock.writeLockSync({ timeoutMs: random.below(30) / 10 })
  return lock.writeLockSync()
}

function readLockSomehow(lock: RwLock, random: Random): ReadGuard | undefined {
  if (random.isOneIn(6)) return lock.tryReadLock()
  if (random.isOneIn(6)) return lock.readLockSync({ timeoutMs: random.below(30) / 10 })
  return lock.readLockSync()
}

/** A dead writer may have written one word, or both without counting it, and only if we are told of the death. */
function checkOrRepair(ledger: Int32Array, guard: WriteGuard): void {
  let writes = 0
  for (let role = 0; role < ROLES_MAX; role++) writes += ledger[WRITES + role]
  const [left, right] = [ledger[LEFT] - writes, ledger[RIGHT] - writes]
  const isPossible = (left === 0 && right === 0) || (left === 1 && (right === 0 || right === 1))
  const isWhole = left === 0 && right === 0
  if (!isPossible || (!isWhole && !guard.ownerDied)) {
    throw new Error(
      `${writes} writes are noted; counted ${left} and ${right} more; told of a death: ${guard.ownerDied}`,
    )
  }
  if (!guard.ownerDied) return
  ledger[LEFT] = writes
  ledger[RIGHT] = writes
  guard.markConsistent()
}
