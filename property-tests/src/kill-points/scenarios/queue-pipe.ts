import type { Scenario } from '../scenario.js'
import type { Survivor } from '../survivor.js'
import type { Victim } from '../victim.js'
import {
  LARGE_BYTES,
  messageOf,
  Notes,
  type Partner,
  PIPE_OPTIONS,
  type QueueRoot,
  SENT,
  UNNOTED,
  UNTOLD,
  unlessBroken,
  VICTIM,
} from './queue-messages.js'
import { queueScenarios } from './queue-scenario.js'

// A message that is larger than a block: one side is the victim, the other one the survivor.

/** How long the survivor goes on with a message that the victim has left in the midst. */
const PATIENT_MS = 100

/** Beside a stopped victim it gives up; a message that breaks off is followed by the next one. */
function receiveMeanwhile(partner: Partner, survivor: Survivor<QueueRoot>): void {
  while (survivor.isVictimAtWork) partner.takeSync(20)
}

function sendMeanwhile(partner: Partner): void {
  partner.sendLarge(PATIENT_MS)
}

function sendWith(victim: Victim<QueueRoot>, timeoutMs?: number): () => void {
  const { told, queue } = victim.root
  told[UNTOLD] = 1
  const sender = queue.sender()
  const message = messageOf(VICTIM, told[SENT], LARGE_BYTES)
  return () => {
    if (unlessBroken(() => sender.sendSync(message, timeoutMs === undefined ? {} : { timeoutMs }))) told[SENT]++
  }
}

function receiverOf({ root: { told, queue } }: Victim<QueueRoot>) {
  told[UNNOTED] = 1
  return { receiver: queue.receiver(), notes: new Notes(told) }
}

const plan = { options: PIPE_OPTIONS, isMeanwhileWaiting: true } as const

export const queuePipeScenarios: Scenario<unknown>[] = [
  ...queueScenarios({
    ...plan,
    name: 'queue pipe: sends a large message',
    victim: (victim) => sendWith(victim),
    meanwhile: receiveMeanwhile,
  }),
  ...queueScenarios({
    ...plan,
    name: 'queue pipe: gives up sending a large message',
    victim: (victim) => sendWith(victim, 2),
    meanwhile: receiveMeanwhile,
  }),
  ...queueScenarios({
    ...plan,
    name: 'queue pipe: receives a large message',
    victim(victim) {
      const { receiver, notes } = receiverOf(victim)
      return () => {
        const message = unlessBroken(() => receiver.receiveSync({ timeoutMs: PATIENT_MS }))
        if (message) notes.got(message)
        receiver.acknowledge()
        notes.acknowledged()
      }
    },
    meanwhile: sendMeanwhile,
  }),
  ...queueScenarios({
    ...plan,
    name: 'queue pipe: receives a large message in chunks, and gives it up',
    victim(victim) {
      const { receiver } = receiverOf(victim)
      return () => {
        for (let count = 0; count < 2; count++) unlessBroken(() => receiver.receiveChunkSync({ timeoutMs: PATIENT_MS }))
        receiver.skipMessage()
        receiver.close()
      }
    },
    meanwhile: sendMeanwhile,
  }),
]
