import type { Receiver } from '@isthmus/ring'
import type { Scenario } from '../scenario.js'
import type { Victim } from '../victim.js'
import { copyOf, Notes, type Partner, type QueueRoot, UNNOTED } from './queue-messages.js'
import { queueScenarios } from './queue-scenario.js'

// The survivor sends, the victim receives.

interface Receiving {
  readonly receiver: Receiver
  readonly notes: Notes
}

/** @param unnoted how many messages it may have taken and not noted */
function receiveWith({ root: { queue, told } }: Victim<QueueRoot>, unnoted = 1): Receiving {
  told[UNNOTED] = unnoted
  return { receiver: queue.receiver(), notes: new Notes(told) }
}

/** Single messages, and a batch in two blocks. */
function fill(partner: Partner): void {
  for (let count = 0; count < 3; count++) partner.trySend()
  partner.sendBatch(4)
}
const FILLED = 7

function receiveAll({ receiver, notes }: Receiving): void {
  for (;;) {
    const message = receiver.tryReceive()
    notes.acknowledged()
    if (message === undefined || message === null) return
    notes.got(message)
  }
}

/** Ends once as many messages were counted as `fill` sends. */
async function untilAborted(run: (signal: AbortSignal, count: () => void) => Promise<void>): Promise<void> {
  const controller = new AbortController()
  let got = 0
  const count = () => {
    if (++got >= FILLED) controller.abort()
  }
  try {
    await run(controller.signal, count)
  } catch (error) {
    if (!controller.signal.aborted) throw error
  }
}

export const queueReceiverScenarios: Scenario<unknown>[] = [
  ...queueScenarios({
    name: 'queue receiver: receives',
    prepare: fill,
    victim(victim) {
      const receiving = receiveWith(victim)
      return () => receiveAll(receiving)
    },
  }),
  ...queueScenarios({
    name: 'queue receiver: receives batches',
    prepare: fill,
    holdsMax: 4,
    victim(victim) {
      const { receiver, notes } = receiveWith(victim, 4)
      return () => {
        for (let batch = receiver.tryReceiveBatch(4); batch; batch = receiver.tryReceiveBatch(4)) {
          notes.acknowledged()
          for (const message of batch) notes.got(message)
        }
        notes.acknowledged()
      }
    },
  }),
  ...queueScenarios({
    name: 'queue receiver: drains',
    prepare: fill,
    victim(victim) {
      const { receiver, notes } = receiveWith(victim)
      return () => {
        receiver.drain((...message) => notes.got(copyOf(...message)), { limit: 4 })
        notes.acknowledged()
        receiver.drain((...message) => notes.got(copyOf(...message)))
        notes.acknowledged()
      }
    },
  }),
  ...queueScenarios({
    name: 'queue receiver: takes loans and releases them',
    prepare: fill,
    holdsMax: 2,
    victim(victim) {
      const { receiver, notes } = receiveWith(victim)
      return () => {
        for (let first = receiver.tryTake(); first; first = receiver.tryTake()) {
          notes.got(first.bytes)
          const second = receiver.tryTake()
          if (second) notes.got(second.bytes)
          second?.release()
          first.release()
          notes.acknowledged()
        }
      }
    },
  }),
  ...queueScenarios({
    name: 'queue receiver: takes loans and puts them back',
    // Beside a stopped victim others take the rest, and it takes the same message again and again.
    options: { maxDeliveries: 100 },
    prepare: fill,
    holdsMax: 2,
    // One message of a block is sent again as a copy, before the block says that it is settled.
    mayDouble: 1,
    victim(victim) {
      const receiving = receiveWith(victim, FILLED)
      return () => {
        for (let count = 0; count < FILLED; count++) receiving.receiver.tryTake()?.requeue()
        receiveAll(receiving)
      }
    },
  }),
  ...queueScenarios({
    name: 'queue receiver: acknowledges',
    deliveries: ['at least once'],
    prepare: fill,
    holdsMax: 4,
    victim(victim) {
      const { receiver, notes } = receiveWith(victim, 0)
      for (const message of receiver.tryReceiveBatch(5) ?? []) notes.got(message)
      return () => {
        receiver.acknowledge()
        notes.acknowledged()
      }
    },
  }),
  ...queueScenarios({
    name: 'queue receiver: closes, with messages that are not acknowledged or not given',
    prepare: fill,
    holdsMax: 4,
    victim(victim) {
      const { receiver, notes } = receiveWith(victim, 0)
      for (const message of receiver.tryReceiveBatch(4) ?? []) notes.got(message)
      return () => receiver.close()
    },
  }),
  ...queueScenarios({
    name: 'queue receiver: closes its segment',
    prepare: fill,
    holdsMax: 6,
    victim(victim) {
      const { receiver, notes } = receiveWith(victim, 1)
      for (const message of receiver.tryReceiveBatch(2) ?? []) notes.got(message)
      receiver.tryTake()
      const sender = victim.root.queue.sender()
      sender.tryLoan()
      return () => victim.segment.close()
    },
  }),
  ...queueScenarios({
    name: 'queue receiver: blocks until messages come',
    victim(victim) {
      const { receiver, notes } = receiveWith(victim)
      return () => {
        for (let count = 0; count < 2; count++) {
          const message = receiver.receiveSync()
          notes.acknowledged()
          if (message !== null) notes.got(message)
        }
      }
    },
    meanwhile(partner, survivor) {
      survivor.untilVictim(() => partner.queue.describe().waitingReceivers.length > 0)
      partner.feed()
    },
  }),
  ...queueScenarios({
    name: 'queue receiver: awaits messages',
    isVictimAwaiting: true,
    victim(victim) {
      const { receiver, notes } = receiveWith(victim)
      return async () => {
        for (let count = 0; count < 2; count++) {
          const message = await receiver.receive()
          notes.acknowledged()
          if (message !== null) notes.got(message)
        }
      }
    },
    meanwhile(partner, survivor) {
      survivor.untilVictim(() => partner.queue.describe().waitingReceivers.length > 0)
      partner.feed()
    },
  }),
  ...queueScenarios({
    name: 'queue receiver: awaits a batch',
    isVictimAwaiting: true,
    holdsMax: 4,
    victim(victim) {
      const { receiver, notes } = receiveWith(victim, 4)
      return async () => {
        for (const message of (await receiver.receiveBatch({ maxMessages: 4 })) ?? []) notes.got(message)
      }
    },
    meanwhile(partner, survivor) {
      survivor.untilVictim(() => partner.queue.describe().waitingReceivers.length > 0)
      partner.feed()
    },
  }),
  ...queueScenarios({
    name: 'queue receiver: is called back for each message',
    isVictimAwaiting: true,
    prepare: fill,
    victim(victim) {
      const { receiver, notes } = receiveWith(victim)
      return () =>
        untilAborted((signal, count) => {
          const callback = (message: Uint8Array) => {
            notes.acknowledged()
            notes.got(message)
            count()
          }
          return receiver.forEach(callback, { signal })
        })
    },
    meanwhile: (partner) => partner.feed(),
  }),
  ...queueScenarios({
    name: 'queue receiver: is called back in place',
    isVictimAwaiting: true,
    prepare: fill,
    victim(victim) {
      const { receiver, notes } = receiveWith(victim)
      return () =>
        untilAborted((signal, count) => {
          const callback = async (bytes: Uint8Array, byteOffset: number, byteLength: number) => {
            notes.acknowledged()
            notes.got(copyOf(bytes, byteOffset, byteLength))
            await undefined
            count()
          }
          return receiver.forEachInPlace(callback, { signal })
        })
    },
    meanwhile: (partner) => partner.feed(),
  }),
  ...queueScenarios({
    name: 'queue receiver: makes space for a blocked sender',
    prepare(partner) {
      while (partner.trySend());
    },
    isMeanwhileWaiting: true,
    victim(victim) {
      const { receiver, notes } = receiveWith(victim)
      victim.beginsWhen(() => victim.root.queue.describe().waitingSenders.length > 0)
      return () => {
        for (let count = 0; count < 3; count++) {
          const message = receiver.tryReceive()
          notes.acknowledged()
          if (message) notes.got(message)
        }
        receiver.acknowledge()
        notes.acknowledged()
      }
    },
    meanwhile(partner, survivor) {
      while (survivor.isVictimAtWork) partner.sendSync(50)
    },
  }),
  ...queueScenarios({
    name: 'queue receiver: comes to the end',
    isOpen: false,
    prepare(partner) {
      fill(partner)
      partner.queue.end()
    },
    victim(victim) {
      const receiving = receiveWith(victim)
      return () => receiveAll(receiving)
    },
  }),
  ...queueScenarios({
    name: 'queue receiver: gives messages up, and receives a dead letter',
    deliveries: ['at least once'],
    options: { lanes: 2, deadLetters: true, maxDeliveries: 1 },
    prepare: fill,
    mayDouble: 1,
    holdsMax: 2,
    victim(victim) {
      const { receiver, notes } = receiveWith(victim, FILLED)
      const letters = victim.root.queue.deadLetters()
      return () => {
        for (let count = 0; count < FILLED; count++) receiver.tryTake()?.requeue()
        for (let letter = letters.tryReceive(); letter; letter = letters.tryReceive()) {
          notes.acknowledged()
          notes.got(letter)
        }
        notes.acknowledged()
      }
    },
  }),
]
