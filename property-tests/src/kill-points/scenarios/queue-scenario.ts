import type { MpmcQueueOptions } from '@isthmus/ring'
import { type Operation, type Scenario, scenario } from '../scenario.js'
import type { Survivor } from '../survivor.js'
import type { Victim } from '../victim.js'
import { type Delivery, Partner, PREDECESSORS, type QueueRoot, queueLayout, SIGN } from './queue-messages.js'

/** What the scenarios of the queue differ in. */
export interface QueuePlan {
  readonly name: string
  /** Both if not given. */
  readonly deliveries?: readonly Delivery[]
  readonly options?: Partial<MpmcQueueOptions>
  readonly isVictimAwaiting?: boolean
  readonly isSurvivorAwaiting?: boolean
  readonly isVictimDetached?: boolean
  readonly isMeanwhileWaiting?: boolean
  /** How many blocks a victim may keep while it is stopped; 1 if not given. */
  readonly holdsMax?: number
  /** How many messages may come twice at least once, beyond one that the victim has had itself. */
  readonly mayDouble?: number
  /** What is in the queue before the victim starts. */
  prepare?(partner: Partner): void
  /** The survivor has a peer attach that does this, and dies. */
  predecessor?(victim: Victim<QueueRoot>): Operation
  /** Whether the victim is attached before the predecessor dies, so that it does not sweep its slot. */
  readonly isPredecessorLate?: boolean
  victim(victim: Victim<QueueRoot>, delivery: Delivery): Operation
  /** Runs again after a stopped victim was continued. */
  meanwhile?(partner: Partner, survivor: Survivor<QueueRoot>): unknown
  /** False if the queue may have ended: then messages cannot pass beside the stopped victim. */
  readonly isOpen?: boolean
}

/** A plan as scenarios: for each delivery, with kills and with stops. */
export function queueScenarios(plan: QueuePlan): Scenario<unknown>[] {
  const { deliveries = ['at most once', 'at least once'] } = plan
  return deliveries.map((delivery) => scenarioOf(plan, delivery))
}

function scenarioOf(plan: QueuePlan, delivery: Delivery): Scenario<unknown> {
  const { options, holdsMax = 1, mayDouble = 0, predecessor, isPredecessorLate = false, isOpen = true } = plan
  const check = (partner: Partner) => {
    partner.checkMessages(mayDouble)
    partner.checkBlocks()
  }
  return scenario({
    name: `${plan.name}, ${delivery}`,
    layout: queueLayout(delivery, options),
    isVictimAwaiting: plan.isVictimAwaiting ?? false,
    isSurvivorAwaiting: plan.isSurvivorAwaiting ?? false,
    isVictimDetached: plan.isVictimDetached ?? false,
    isMeanwhileWaiting: plan.isMeanwhileWaiting ?? false,
    prepare(survivor: Survivor<QueueRoot>) {
      const partner = new Partner(survivor, delivery, options)
      plan.prepare?.(partner)
      if (predecessor !== undefined && !isPredecessorLate) survivor.bury()
      return partner
    },
    ...(predecessor === undefined
      ? {}
      : {
          predecessor(victim: Victim<QueueRoot>) {
            victim.root.told[PREDECESSORS]++
            return predecessor(victim)
          },
        }),
    victim(victim: Victim<QueueRoot>) {
      const operate = plan.victim(victim, delivery)
      if (isPredecessorLate) victim.beginsWhen(() => victim.root.told[SIGN] === 1)
      return operate
    },
    meanwhile(survivor: Survivor<QueueRoot>, partner: Partner) {
      if (isPredecessorLate && !partner.hasBuried) {
        partner.hasBuried = true
        survivor.bury()
        survivor.root.told[SIGN] = 1
      }
      return plan.meanwhile?.(partner, survivor)
    },
    check: (_: unknown, partner: Partner) => check(partner),
    ...(plan.isMeanwhileWaiting === true || plan.isVictimAwaiting === true
      ? {}
      : {
          checkSwept(_: unknown, partner: Partner) {
            check(partner)
            partner.checkWaiters()
          },
        }),
    whileStopped: (_: unknown, partner: Partner) => (isOpen ? partner.exchange(holdsMax) : partner.takeSync(0)),
  })
}
