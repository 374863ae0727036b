import type { Segment } from '@isthmus/shm-posix'
import { type PeerId, type Permit, type Semaphore, semaphore, struct, words } from '@isthmus/sync'
import type { Random } from '../../hostile/random.js'
import { beat, OWN_WORDS, ROLES_MAX, segmentField } from '../field.js'

const PERMITS = 2
const ROLES = 5
/** For each role, how often it has begun or ended work under a permit: odd while it works. */
const WORK = OWN_WORDS
/** For each role, its peer id. */
const PEER = OWN_WORDS + ROLES_MAX
const LEDGER_WORDS = PEER + ROLES_MAX
const PATIENCE_MS = 12_000

const layout = struct({ ledger: words(LEDGER_WORDS), permits: semaphore({ permits: PERMITS }) })
type Root = { readonly ledger: Int32Array; readonly permits: Semaphore }

/** Peers work under permits and are killed meanwhile: never too many work at once, and no permit is lost. */
export const semaphoreField = segmentField({
  name: 'locks/semaphore',
  roles: ROLES,
  layout,
  ledgerWords: LEDGER_WORDS,
  begin(root, { role, random }, segment) {
    const { ledger } = root
    // A predecessor may have been killed while it worked.
    if ((ledger[WORK + role] & 1) === 1) Atomics.add(ledger, WORK + role, 1)
    Atomics.store(ledger, PEER + role, segment.peers.self)
    return () => {
      const permit = acquireSomehow(root.permits, random)
      if (permit === undefined) return
      Atomics.add(ledger, WORK + role, 1)
      assertNotTooMany(root, segment)
      for (let look = random.below(300); look > 0; look--) Math.sqrt(look)
      Atomics.add(ledger, WORK + role, 1)
      permit.release()
      beat(ledger, role)
    }
  },
  audit({ permits }, isSwept) {
    const before = permits.describe()
    if (isSwept && before.available !== PERMITS) throw new Error(`Dead peers have permits: ${JSON.stringify(before)}`)
    const taken = Array.from({ length: PERMITS }, () => permits.acquireSync({ timeoutMs: PATIENCE_MS }))
    if (taken.includes(undefined)) throw new Error(`Permits are missing: ${JSON.stringify(permits.describe())}`)
    if (permits.tryAcquire() !== undefined) throw new Error('There are more permits than there were')
    for (const permit of taken) permit?.release()
    const { available, holders } = permits.describe()
    if (available !== PERMITS || holders.length > 0) throw new Error(`After the audit: ${JSON.stringify(holders)}`)
  },
})

function acquireSomehow(permits: Semaphore, random: Random): Permit | undefined {
  if (random.isOneIn(6)) return permits.tryAcquire()
  if (random.isOneIn(6)) return permits.acquireSync({ timeoutMs: random.below(30) / 10 })
  return permits.acquireSync()
}

/**
 * If two reads of all words give the same, all of these roles worked at the same moment. Killed ones do not count; only
 * a proven death can have freed their permits.
 */
function assertNotTooMany({ ledger }: Root, segment: Segment<Root>): void {
  const first = stateOfWork(ledger)
  const { self } = segment.peers
  const working = first.filter(({ work, peer }) => {
    return (work & 1) === 1 && (peer === self || !segment.peers.isDead(peer))
  })
  const second = stateOfWork(ledger)
  const isUnchanged = first.every(({ work, peer }, role) => work === second[role].work && peer === second[role].peer)
  if (isUnchanged && working.length > PERMITS) {
    throw new Error(`${working.length} roles work under ${PERMITS} permits: ${JSON.stringify(working)}`)
  }
}

function stateOfWork(ledger: Int32Array): { work: number; peer: PeerId }[] {
  return Array.from({ length: ROLES }, (_, role) => {
    const peer = Atomics.load(ledger, PEER + role) as PeerId
    return { work: Atomics.load(ledger, WORK + role), peer }
  })
}
