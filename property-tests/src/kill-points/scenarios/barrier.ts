import { type Attached, type Barrier, type BarrierMember, barrier, PeerDiedError, struct, words } from '@isthmus/sync'
import { expect, expectEqual, HAD_WITHIN_MS } from '../expectations.js'
import { type Scenario, scenario } from '../scenario.js'
import type { Survivor } from '../survivor.js'
import type { Victim } from '../victim.js'

const breaking = struct({ meeting: barrier({ onDeath: 'break' }), told: words(4) })
const dropping = struct({ meeting: barrier({ onDeath: 'drop' }), told: words(4) })
type Root = Attached<typeof breaking>

const IS_MEMBER = 1
const IS_THROUGH = 2
const HAS_LEFT = 3

/** Resets a barrier that a death has broken. */
function repair(meeting: Barrier, error: unknown, breaks: number): void {
  if (!(error instanceof PeerDiedError)) throw error
  expect(breaks < 2, 'The barrier breaks again after its reset')
  meeting.reset()
}

/** Waits; if a death breaks the barrier, resets it and waits again. */
function pass(meeting: Barrier, member: BarrierMember, timeoutMs: number): void {
  for (let breaks = 0; ; breaks++) {
    try {
      expect(member.waitSync({ timeoutMs }), 'The phase does not end')
      return
    } catch (error) {
      repair(meeting, error, breaks)
    }
  }
}

async function passAwaiting(meeting: Barrier, member: BarrierMember, timeoutMs: number): Promise<void> {
  for (let breaks = 0; ; breaks++) {
    try {
      expect(await member.wait({ timeoutMs }), 'The phase does not end')
      return
    } catch (error) {
      repair(meeting, error, breaks)
    }
  }
}

function join({ root }: Survivor<Root>): BarrierMember {
  return root.meeting.join()
}

/** Checks that the dead peer is no member any more, and that phases end with the members that are left. */
function check(survivor: Survivor<Root>, member: BarrierMember): void {
  const { meeting, told } = survivor.root
  const isMember = meeting.describe().members.some(({ isDead }) => isDead)
  if (told[0] === HAS_LEFT) expect(!isMember, 'The victim has left, and is still listed as a member')
  pass(meeting, member, HAD_WITHIN_MS)
  const newcomer = survivor.newcomer().root.meeting
  const second = newcomer.join()
  second.arrive()
  pass(meeting, member, HAD_WITHIN_MS)
  pass(newcomer, second, HAD_WITHIN_MS)
  expectEqual(meeting.describe().members.length, 2, 'Members')
  expectEqual(meeting.describe().waiters, [], 'Waiters')
  second.leave()
}

/** Checks that no dead peer is a member or waits. */
function checkSwept(survivor: Survivor<Root>, member: BarrierMember): void {
  const { members, waiters } = survivor.root.meeting.describe()
  expectEqual([members.length, waiters], [1, []], 'Members and waiters after a sweep')
  check(survivor, member)
}

function scenariosOf(kind: 'break' | 'drop'): Scenario<unknown>[] {
  const layout = kind === 'break' ? breaking : dropping
  /** The victim's arrival ends the phase in which the survivor waits. */
  const arriveLast = (victim: Victim<Root>) => {
    const member = victim.root.meeting.join()
    victim.root.told[0] = IS_MEMBER
    victim.beginsWhen(() => victim.root.meeting.describe().waiters.length > 0)
    return () => {
      member.waitSync()
      victim.root.told[0] = IS_THROUGH
    }
  }
  return [
    scenario({
      name: `barrier ${kind}: joins`,
      layout,
      prepare: join,
      victim: ({ root }) => {
        return () => root.meeting.join()
      },
      check,
      checkSwept,
    }),
    scenario({
      name: `barrier ${kind}: arrives last, after one who blocks`,
      layout,
      prepare: join,
      meanwhile: ({ root }, member) => pass(root.meeting, member, 3_000),
      isMeanwhileWaiting: true,
      victim: arriveLast,
      check,
    }),
    scenario({
      name: `barrier ${kind}: arrives last, after one who awaits`,
      layout,
      prepare: join,
      meanwhile: ({ root }, member) => passAwaiting(root.meeting, member, 3_000),
      isMeanwhileWaiting: true,
      isSurvivorAwaiting: true,
      victim: arriveLast,
      check,
    }),
    scenario({
      name: `barrier ${kind}: blocks for the others`,
      layout,
      prepare: join,
      meanwhile({ root, untilVictim }, member) {
        untilVictim(() => root.meeting.describe().waiters.length > 0)
        return pass(root.meeting, member, HAD_WITHIN_MS)
      },
      victim(victim) {
        const member = victim.root.meeting.join()
        return () => {
          member.waitSync()
          victim.root.told[0] = IS_THROUGH
        }
      },
      check,
      checkSwept,
    }),
    scenario({
      name: `barrier ${kind}: awaits the others`,
      isVictimAwaiting: true,
      layout,
      prepare: join,
      meanwhile({ root, untilVictim }, member) {
        untilVictim(() => root.meeting.describe().waiters.length > 0)
        return pass(root.meeting, member, HAD_WITHIN_MS)
      },
      victim(victim) {
        const member = victim.root.meeting.join()
        return async () => {
          await member.wait()
          victim.root.told[0] = IS_THROUGH
        }
      },
      check,
    }),
    scenario({
      name: `barrier ${kind}: leaves one who blocks`,
      layout,
      prepare: join,
      meanwhile: ({ root }, member) => pass(root.meeting, member, 3_000),
      isMeanwhileWaiting: true,
      victim(victim) {
        const member = victim.root.meeting.join()
        victim.beginsWhen(() => victim.root.meeting.describe().waiters.length > 0)
        return () => {
          member.leave()
          victim.root.told[0] = HAS_LEFT
        }
      },
      check,
    }),
  ]
}

export const barrierScenarios: Scenario<unknown>[] = [
  ...scenariosOf('break'),
  ...scenariosOf('drop'),
  scenario({
    name: 'barrier break: resets it after a death',
    layout: breaking,
    prepare(survivor) {
      const member = join(survivor)
      survivor.bury()
      return member
    },
    predecessor: ({ root }) => {
      return () => root.meeting.join()
    },
    // The victim's attaching sweeps the dead peer's slot, which breaks the barrier.
    victim({ root }) {
      root.meeting.join()
      return () => root.meeting.reset()
    },
    check,
  }),
]
