import type { Operation, Scenario } from '../scenario.js'
import type { Victim } from '../victim.js'
import {
  messageOf,
  Notes,
  type Partner,
  PREDECESSORS,
  type QueueRoot,
  SENT,
  UNNOTED,
  UNTOLD,
  VICTIM,
} from './queue-messages.js'
import { queueScenarios } from './queue-scenario.js'

// A predecessor has died with blocks in every state, and the victim brings them back.

/** Blocks that a dead peer may have at most, and a victim that has taken them over. */
const HOLDS_MAX = 7

function fill(partner: Partner): void {
  for (let count = 0; count < 2; count++) partner.trySend()
  partner.sendBatch(3)
}

/**
 * It has taken two single messages and three of one block, of which it has got one; it has lent a block, and has another one in
 * which it packs messages.
 */
function holdBlocks({ root: { queue, told } }: Victim<QueueRoot>): void {
  told[UNNOTED] += 2
  const receiver = queue.receiver()
  receiver.tryTake()
  receiver.tryTake()
  const message = receiver.tryReceive()
  if (message) new Notes(told).got(message)
  const sender = queue.sender()
  sender.tryLoan()
  sender.cork()
  sender.trySend(messageOf(VICTIM, 0))
}

function predecessor(victim: Victim<QueueRoot>): Operation {
  return () => holdBlocks(victim)
}

/** What a call takes that brings back what the dead had, and gets one message. */
function receiveOnce(victim: Victim<QueueRoot>): Operation {
  victim.root.told[UNNOTED]++
  const receiver = victim.root.queue.receiver()
  const notes = new Notes(victim.root.told)
  return () => {
    const message = receiver.receiveSync({ timeoutMs: 0 })
    if (message) notes.got(message)
    receiver.acknowledge()
    notes.acknowledged()
  }
}

export const queueRecoveryScenarios: Scenario<unknown>[] = [
  ...queueScenarios({
    name: 'queue: a newcomer sweeps a dead peer',
    isVictimDetached: true,
    prepare: fill,
    predecessor,
    holdsMax: HOLDS_MAX,
    victim: (victim) => () => victim.attach(),
  }),
  ...queueScenarios({
    name: 'queue: a receiver brings back what a dead peer had',
    isPredecessorLate: true,
    prepare: fill,
    predecessor,
    victim: receiveOnce,
  }),
  ...queueScenarios({
    name: 'queue: a receiver brings back what a dead peer had, behind the end',
    isOpen: false,
    isPredecessorLate: true,
    prepare: fill,
    predecessor(victim) {
      return () => {
        holdBlocks(victim)
        victim.root.queue.end()
      }
    },
    victim: receiveOnce,
  }),
  ...queueScenarios({
    name: 'queue: a receiver brings back what another was bringing back',
    isPredecessorLate: true,
    prepare(partner) {
      fill(partner)
      partner.survivor.bury()
    },
    predecessor(victim) {
      // The first one dies with its blocks. The second one begins to bring them back.
      if (victim.root.told[PREDECESSORS] === 1) return () => holdBlocks(victim)
      const receive = receiveOnce(victim)
      return () => {
        victim.dieBefore(3, 'compareExchange')
        return receive()
      }
    },
    victim: receiveOnce,
  }),
  ...queueScenarios({
    name: 'queue: a sender brings back what a dead peer had',
    isPredecessorLate: true,
    prepare: fill,
    predecessor(victim) {
      return () => {
        holdBlocks(victim)
        const sender = victim.root.queue.sender()
        while (sender.tryLoan() !== undefined);
      }
    },
    victim(victim) {
      const { queue, told } = victim.root
      told[UNTOLD] = 1
      const sender = queue.sender()
      return () => {
        if (sender.sendSync(messageOf(VICTIM, 0), { timeoutMs: 0 })) told[SENT] = 1
        told[UNTOLD] = 0
      }
    },
  }),
]
