import { fileURLToPath } from 'node:url'
import { becomeProgram } from '../exec.js'
import { BEATS, type Calm, segmentField } from '../field.js'
import {
  LOOP_CAPACITIES_BYTES,
  LOOP_COUNT,
  LOOP_LEDGER_WORDS,
  LOOP_PERMITS,
  LOOP_ROLES,
  LOOP_STEPS,
  type LoopsRoot,
  loopsLayout,
} from '../loops-layout.js'
import { auditRing } from '../rings/ring-audit.js'
import { CONSUMER_DEATHS, CONSUMER_THERE, PRODUCER_DEATHS, PRODUCER_THERE, ringBase } from '../rings/ring-ledger.js'

const PATIENCE_MS = 12_000
const [CONSUMER, PRODUCER, LOCKER, ANY] = [0, 1, 2, 4]
const PROGRAM = fileURLToPath(new URL('./soak-loop-peer.js', import.meta.url))

/**
 * The same guarantees for the promise forms. Each peer is a program that sends, receives, locks and waits for several
 * things at once on its event loop. Role 0 receives from the small ring, role 4 from the large one, role 1 sends to
 * both.
 */
const field = segmentField({
  name: 'loops',
  roles: LOOP_ROLES,
  layout: loopsLayout,
  ledgerWords: LOOP_LEDGER_WORDS,
  killsPerRound: 15,
  pace: { startMaxMs: 80, lifeMaxMs: 80 },
  rehearsal: [],
  begin() {
    throw new Error('The roles of this field are programs')
  },
  audit(root, isSwept) {
    auditRing(root.small, root.ledger, { ring: 0, capacityBytes: LOOP_CAPACITIES_BYTES[0] }, isSwept)
    auditRing(root.large, root.ledger, { ring: 1, capacityBytes: LOOP_CAPACITIES_BYTES[1] }, isSwept)
    auditLocks(root)
  },
  hasRecovered,
})

export const loopsField = {
  ...field,
  play: (name: string, { role, incarnation, seed }: { role: number; incarnation: number; seed: number }) =>
    becomeProgram(PROGRAM, JSON.stringify({ name, role, incarnation, seed })),
}

/** Without its sender a receiver cannot get on, and the other way round; it must be told of the death instead. */
function hasRecovered({ before, now, isPresent, incarnationOf }: Calm): boolean {
  const hasBeaten = (role: number) => now.word(BEATS + role) !== before.word(BEATS + role)
  const isTold = (ring: number, there: number, deaths: number, absent: number) => {
    const base = ringBase(ring)
    const hadRole = now.word(base + there) === incarnationOf(absent)
    return !hadRole || now.word(base + deaths) !== before.word(base + deaths)
  }
  const haveLocked = [LOCKER, LOCKER + 1].every((role) => !isPresent(role) || hasBeaten(role))
  if (!isPresent(PRODUCER))
    return haveLocked && [0, 1].every((ring) => isTold(ring, PRODUCER_THERE, PRODUCER_DEATHS, PRODUCER))
  if (!isPresent(CONSUMER)) return haveLocked && isTold(0, CONSUMER_THERE, CONSUMER_DEATHS, CONSUMER)
  if (!isPresent(ANY)) return haveLocked && isTold(1, CONSUMER_THERE, CONSUMER_DEATHS, ANY)
  return haveLocked && [CONSUMER, PRODUCER, ANY].every(hasBeaten)
}

function auditLocks({ lock, permits, ledger }: LoopsRoot): void {
  const guard = lock.lockSync({ timeoutMs: PATIENCE_MS })
  if (guard === undefined)
    throw new Error(`All peers are dead, and the lock cannot be taken: ${JSON.stringify(lock.describe())}`)
  let steps = 0
  for (let role = 0; role < LOOP_ROLES; role++) steps += ledger[LOOP_STEPS + role]
  const ahead = ledger[LOOP_COUNT] - steps
  if (ahead < 0 || ahead > (guard.ownerDied ? 1 : 0)) {
    throw new Error(`${steps} steps are noted, ${ledger[LOOP_COUNT]} counted; told of a death: ${guard.ownerDied}`)
  }
  guard.unlock()
  const taken = Array.from({ length: LOOP_PERMITS }, () => permits.acquireSync({ timeoutMs: PATIENCE_MS }))
  if (taken.includes(undefined)) throw new Error(`Permits are missing: ${JSON.stringify(permits.describe())}`)
  for (const permit of taken) permit?.release()
}
