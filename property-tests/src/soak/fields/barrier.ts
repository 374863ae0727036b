import { barrier, struct, words } from '@isthmus/sync'
import { AT_WORK, beat, OWN_WORDS, ROLES_MAX, segmentField } from '../field.js'

const ROLES = 4
/** How often this role has arrived. */
const ARRIVALS = OWN_WORDS
const LEDGER_WORDS = ARRIVALS + ROLES_MAX
const PATIENCE_MS = 12_000

const layout = struct({ ledger: words(LEDGER_WORDS), meeting: barrier({ parties: 1, onDeath: 'drop' }) })

/** Members pass phase after phase; killed ones are dropped. No member may pass twice while another has not arrived. */
export const barrierField = segmentField({
  name: 'locks/barrier',
  roles: ROLES,
  layout,
  ledgerWords: LEDGER_WORDS,
  begin({ meeting, ledger }, { role, random }) {
    const member = meeting.join()
    let seen = attendanceIn(ledger)
    return () => {
      Atomics.add(ledger, ARRIVALS + role, 1)
      while (!member.waitSync(random.isOneIn(6) ? { timeoutMs: random.below(20) / 10 } : {}));
      const now = attendanceIn(ledger)
      assertNobodyWentOnWithout(role, seen, now)
      seen = now
      beat(ledger, role)
    }
  },
  audit({ meeting }, isSwept) {
    const before = meeting.describe()
    if (isSwept && before.members.length > 0) throw new Error(`Dead peers are members: ${JSON.stringify(before)}`)
    const member = meeting.join()
    if (!member.waitSync({ timeoutMs: PATIENCE_MS })) {
      throw new Error(`Dead peers hold up the phase: ${JSON.stringify(meeting.describe())}`)
    }
    member.leave()
    const { members, isBroken } = meeting.describe()
    if (members.length > 0 || isBroken) throw new Error(`After the audit: ${JSON.stringify(meeting.describe())}`)
  },
})

interface Attendance {
  readonly incarnation: number
  readonly arrivals: number
}

function attendanceIn(ledger: Int32Array): Attendance[] {
  return Array.from({ length: ROLES }, (_, role) => {
    const arrivals = Atomics.load(ledger, ARRIVALS + role)
    return { incarnation: Atomics.load(ledger, AT_WORK + role), arrivals }
  })
}

/**
 * Between two of our passes one phase ends. Another member can arrive in that phase and, right after it, in the next
 * one: at most two arrivals more than at our last check.
 */
function assertNobodyWentOnWithout(self: number, seen: Attendance[], now: Attendance[]): void {
  for (const [role, { incarnation, arrivals }] of now.entries()) {
    if (role === self || incarnation !== seen[role].incarnation) continue
    const grown = arrivals - seen[role].arrivals
    if (grown > 2) throw new Error(`Role ${role} has passed ${grown} times while role ${self} passed once`)
  }
}
