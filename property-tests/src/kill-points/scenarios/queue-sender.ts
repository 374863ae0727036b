import type { Sender } from '@isthmus/ring'
import type { Scenario } from '../scenario.js'
import type { Victim } from '../victim.js'
import { GROUP, HAS_ENDED, messageOf, PACK_LIMIT, type QueueRoot, SENT, UNTOLD, VICTIM } from './queue-messages.js'
import { queueScenarios } from './queue-scenario.js'

// The victim sends, the survivor receives.

/** @param untold how many messages may be sent that the victim has not noted */
function sendWith(victim: Victim<QueueRoot>, untold = 1): Sender {
  victim.root.told[UNTOLD] = untold
  return victim.root.queue.sender()
}

function next({ root: { told } }: Victim<QueueRoot>): Uint8Array {
  return messageOf(VICTIM, told[SENT])
}

function batchOf({ root: { told } }: Victim<QueueRoot>, count: number): Uint8Array[] {
  return Array.from({ length: count }, (_, at) => messageOf(VICTIM, told[SENT] + at))
}

/** Until there is no free block. */
function fill(victim: Victim<QueueRoot>, sender: Sender): void {
  while (sender.sendSync(next(victim), { timeoutMs: 0 })) victim.root.told[SENT]++
}

function isSenderWaiting({ root }: { readonly root: QueueRoot }): boolean {
  return root.queue.describe().waitingSenders.length > 0
}

function isReceiverWaiting({ root }: { readonly root: QueueRoot }): boolean {
  return root.queue.describe().waitingReceivers.length > 0
}

export const queueSenderScenarios: Scenario<unknown>[] = [
  ...queueScenarios({
    name: 'queue sender: sends',
    victim(victim) {
      const sender = sendWith(victim)
      return () => {
        for (let count = 0; count < 3; count++) if (sender.trySend(next(victim))) victim.root.told[SENT]++
      }
    },
  }),
  ...queueScenarios({
    name: 'queue sender: blocks while the queue is full',
    victim(victim) {
      const sender = sendWith(victim)
      fill(victim, sender)
      return () => {
        sender.sendSync(next(victim))
        victim.root.told[SENT]++
      }
    },
    meanwhile(partner, survivor) {
      survivor.untilVictim(() => isSenderWaiting(survivor))
      partner.takeSync(0)
    },
  }),
  ...queueScenarios({
    name: 'queue sender: awaits space while the queue is full',
    isVictimAwaiting: true,
    victim(victim) {
      const sender = sendWith(victim)
      fill(victim, sender)
      return async () => {
        await sender.send(next(victim))
        victim.root.told[SENT]++
      }
    },
    meanwhile(partner, survivor) {
      survivor.untilVictim(() => isSenderWaiting(survivor))
      partner.takeSync(0)
    },
  }),
  ...queueScenarios({
    name: 'queue sender: gives up waiting for space',
    victim(victim) {
      const sender = sendWith(victim)
      fill(victim, sender)
      return () => {
        if (sender.sendSync(next(victim), { timeoutMs: 5 })) victim.root.told[SENT]++
      }
    },
  }),
  ...queueScenarios({
    name: 'queue sender: wakes a blocked receiver',
    isMeanwhileWaiting: true,
    victim(victim) {
      const sender = sendWith(victim)
      victim.beginsWhen(() => isReceiverWaiting(victim))
      return () => {
        for (let count = 0; count < 2; count++) if (sender.trySend(next(victim))) victim.root.told[SENT]++
      }
    },
    meanwhile(partner, survivor) {
      while (survivor.isVictimAtWork) partner.takeSync(100)
    },
  }),
  ...queueScenarios({
    name: 'queue sender: wakes an awaiting receiver',
    isMeanwhileWaiting: true,
    isSurvivorAwaiting: true,
    victim(victim) {
      const sender = sendWith(victim)
      victim.beginsWhen(() => isReceiverWaiting(victim))
      return () => {
        for (let count = 0; count < 2; count++) if (sender.trySend(next(victim))) victim.root.told[SENT]++
      }
    },
    async meanwhile(partner, survivor) {
      while (survivor.isVictimAtWork) await partner.take(100)
    },
  }),
  ...queueScenarios({
    name: 'queue sender: sends a batch',
    victim(victim) {
      const sender = sendWith(victim, 2 * PACK_LIMIT)
      victim.root.told[GROUP] = PACK_LIMIT
      const batch = batchOf(victim, 2 * PACK_LIMIT)
      return () => {
        victim.root.told[SENT] += sender.trySendBatch(batch)
        victim.root.told[UNTOLD] = 0
      }
    },
  }),
  ...queueScenarios({
    name: 'queue sender: sends a corked batch',
    victim(victim) {
      const sender = sendWith(victim, PACK_LIMIT)
      victim.root.told[GROUP] = PACK_LIMIT
      const batch = batchOf(victim, PACK_LIMIT)
      return () => {
        sender.cork()
        for (const message of batch) sender.trySend(message)
        sender.uncork()
        victim.root.told[SENT] += PACK_LIMIT
        victim.root.told[UNTOLD] = 0
      }
    },
  }),
  ...queueScenarios({
    name: 'queue sender: closes what is corked',
    victim(victim) {
      const sender = sendWith(victim, 2)
      victim.root.told[GROUP] = 2
      sender.cork()
      for (const message of batchOf(victim, 2)) sender.trySend(message)
      return () => {
        sender.close()
        victim.root.told[SENT] += 2
        victim.root.told[UNTOLD] = 0
      }
    },
  }),
  ...queueScenarios({
    name: 'queue sender: blocks for space for a batch',
    victim(victim) {
      const sender = sendWith(victim, 2 * PACK_LIMIT)
      fill(victim, sender)
      const batch = batchOf(victim, 2 * PACK_LIMIT)
      return () => {
        victim.root.told[SENT] += sender.sendBatchSync(batch)
        victim.root.told[UNTOLD] = 0
      }
    },
    meanwhile(partner, survivor) {
      survivor.untilVictim(() => isSenderWaiting(survivor))
      partner.takeSync(0)
    },
  }),
  ...queueScenarios({
    name: 'queue sender: awaits space for a batch',
    isVictimAwaiting: true,
    victim(victim) {
      const sender = sendWith(victim, 2 * PACK_LIMIT)
      fill(victim, sender)
      const batch = batchOf(victim, 2 * PACK_LIMIT)
      return async () => {
        victim.root.told[SENT] += await sender.sendBatch(batch)
        victim.root.told[UNTOLD] = 0
      }
    },
    meanwhile(partner, survivor) {
      survivor.untilVictim(() => isSenderWaiting(survivor))
      partner.takeSync(0)
    },
  }),
  ...queueScenarios({
    name: 'queue sender: lends blocks, sends one and discards one',
    holdsMax: 2,
    victim(victim) {
      const sender = sendWith(victim)
      return () => {
        const [sent, discarded] = [sender.tryLoan(), sender.tryLoan()]
        const message = next(victim)
        sent?.bytes.set(message)
        sent?.send(message.byteLength)
        victim.root.told[SENT]++
        discarded?.discard()
      }
    },
  }),
  ...queueScenarios({
    name: 'queue sender: sends an urgent message into a reserved block',
    options: { lanes: 2, reserved: 1 },
    victim(victim) {
      const sender = sendWith(victim)
      fill(victim, sender)
      return () => {
        sender.tryLoan({ priority: 1 })?.discard()
        if (sender.trySend(next(victim), { priority: 1 })) victim.root.told[SENT]++
      }
    },
  }),
  ...queueScenarios({
    name: 'queue: is ended and reopened',
    options: { lanes: 2 },
    isOpen: false,
    victim(victim) {
      const { queue, told } = victim.root
      return () => {
        queue.end()
        told[HAS_ENDED] = 1
        queue.reopen()
        told[HAS_ENDED] = 0
        queue.end()
      }
    },
  }),
  ...queueScenarios({
    name: 'queue: is ended while a receiver is blocked',
    isMeanwhileWaiting: true,
    isOpen: false,
    victim(victim) {
      const { queue } = victim.root
      victim.beginsWhen(() => isReceiverWaiting(victim))
      return () => queue.end()
    },
    meanwhile(partner, survivor) {
      while (survivor.isVictimAtWork && !partner.hasEnded) partner.takeSync(100)
    },
  }),
]
