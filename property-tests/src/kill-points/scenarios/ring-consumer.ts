import type { Consumer, Producer } from '@isthmus/ring'
import { type Attached, PeerDiedError } from '@isthmus/sync'
import { codeOf, expect, expectEqual, HAD_WITHIN_MS } from '../expectations.js'
import { type Scenario, scenario } from '../scenario.js'
import type { Survivor } from '../survivor.js'
import type { Victim } from '../victim.js'
import { LARGE_BYTES, messageOf, Received, ringLayout, SMALL_BYTES } from './messages.js'

// The survivor sends, the victim receives.

type Root = Attached<typeof ringLayout>

interface Sending {
  readonly producer: Producer
  /** How many messages were sent. */
  sent: number
  /** How often the producer was told that the consumer had died. */
  deathsTold: number
}

const SMALL_COUNT = 6

function prepare({ root }: Survivor<Root>): Sending {
  return { producer: root.ring.producer(), sent: 0, deathsTold: 0 }
}

function prepareFilled(survivor: Survivor<Root>): Sending {
  const sending = prepare(survivor)
  for (let count = 0; count < SMALL_COUNT; count++) sendSmall(sending, 0)
  return sending
}

function sendSmall(sending: Sending, timeoutMs: number): boolean {
  return send(sending, SMALL_BYTES, timeoutMs)
}

function send(sending: Sending, byteLength: number, timeoutMs: number): boolean {
  try {
    const isSent = sending.producer.sendSync(messageOf(sending.sent, byteLength), { timeoutMs })
    if (isSent) sending.sent++
    return isSent
  } catch (error) {
    if (!(error instanceof PeerDiedError)) throw error
    sending.deathsTold++
    return false
  }
}

/**
 * Checks that no message is lost, that no acknowledged message comes again, and that a producer that finds the ring
 * full is told of the death once.
 */
function check(survivor: Survivor<Root>, sending: Sending): void {
  const { root } = survivor
  const { state } = root.ring.describe().consumer
  while (sendSmall(sending, 10));
  while (sendSmall(sending, 10));
  const isDeath = state === 'held' || state === 'died'
  expectEqual(sending.deathsTold, isDeath ? 1 : 0, `How often the producer is told of a consumer that is ${state}`)
  const consumer = survivor.newcomer().root.ring.consumer()
  const received = new Received().takeSync(consumer, 0)
  const [receivedCount, acknowledgedCount, largeCount] = root.told
  const first = received.numbers[0] ?? sending.sent
  // A large message whose beginning the victim has received is lost; the next consumer gets an error instead.
  const lost = received.incomplete
  expect(lost <= largeCount, `${lost} messages broke off`)
  received.expectNumbers(first, sending.sent, 'What the next consumer gets')
  expect(first <= receivedCount + lost, `${receivedCount} messages were received, and the next one gets ${first} first`)
  expect(first >= acknowledgedCount, `Message ${first} was acknowledged, and came again`)
  expect(sendSmall(sending, HAD_WITHIN_MS), 'The next consumer makes no space')
  received
    .takeSync(consumer, 0)
    .expectNumbers(first, sending.sent, 'What the next consumer gets after one more message')
  expectEqual(received.end, 'nothing', 'The end of a producer that lives')
}

function consume(victim: Victim<Root>): { consumer: Consumer; told: Int32Array } {
  return { consumer: victim.root.ring.consumer(), told: victim.root.told }
}

/** States that one large message may be lost with this consumer. */
function expectLarge({ root }: Victim<Root>): void {
  root.told[2] = 1
}

/** A blocked producer: a large message, and a small one after it. Either outcome is right, as below. */
function sendMixed(_: unknown, sending: Sending): void {
  if (send(sending, LARGE_BYTES, 3_000)) send(sending, SMALL_BYTES, 3_000)
}

/** Goes on until all messages of `prepareFilled` and `sendMixed` have been counted. */
async function untilAborted(
  run: (signal: AbortSignal, count: (told: Int32Array) => void) => Promise<void>,
): Promise<void> {
  const controller = new AbortController()
  const count = (told: Int32Array) => {
    told[0]++
    if (told[0] === SMALL_COUNT + 2) controller.abort()
  }
  try {
    await run(controller.signal, count)
  } catch (error) {
    if (!controller.signal.aborted) throw error
  }
}

export const ringConsumerScenarios: Scenario<unknown>[] = [
  scenario({
    name: 'ring consumer: takes the role',
    layout: ringLayout,
    prepare: prepareFilled,
    victim: ({ root }) => {
      return () => root.ring.consumer()
    },
    check,
    checkSwept: check,
  }),
  scenario({
    name: 'ring consumer: receives',
    layout: ringLayout,
    prepare: prepareFilled,
    victim(victim) {
      const { consumer, told } = consume(victim)
      return () => {
        while (consumer.tryReceive() !== undefined) told[0]++
      }
    },
    check,
    checkSwept: check,
  }),
  scenario({
    name: 'ring consumer: drains',
    layout: ringLayout,
    prepare: prepareFilled,
    victim(victim) {
      const { consumer, told } = consume(victim)
      // A message counts as received once the callback has it; its space is returned after the callback.
      return () => {
        consumer.drain(() => told[0]++, { limit: 4 })
        consumer.drain(() => told[0]++)
      }
    },
    check,
    checkSwept: check,
  }),
  scenario({
    name: 'ring consumer: receives batches',
    layout: ringLayout,
    prepare: prepareFilled,
    victim(victim) {
      const { consumer, told } = consume(victim)
      return () => {
        for (let batch = consumer.tryReceiveBatch(4); batch; batch = consumer.tryReceiveBatch(4))
          told[0] += batch.length
      }
    },
    check,
    checkSwept: check,
  }),
  scenario({
    name: 'ring consumer: blocks for batches of a blocked producer',
    layout: ringLayout,
    prepare: prepareFilled,
    meanwhile: sendMixed,
    isMeanwhileWaiting: true,
    victim(victim) {
      const { consumer, told } = consume(victim)
      expectLarge(victim)
      return () => {
        while (told[0] < SMALL_COUNT + 2) told[0] += consumer.receiveBatchSync({ maxMessages: 4 })?.length ?? 0
      }
    },
    check,
  }),
  scenario({
    name: 'ring consumer: awaits batches of a blocked producer',
    isVictimAwaiting: true,
    layout: ringLayout,
    prepare: prepareFilled,
    meanwhile: sendMixed,
    isMeanwhileWaiting: true,
    victim(victim) {
      const { consumer, told } = consume(victim)
      expectLarge(victim)
      return async () => {
        while (told[0] < SMALL_COUNT + 2) told[0] += (await consumer.receiveBatch({ maxMessages: 4 }))?.length ?? 0
      }
    },
    check,
  }),
  scenario({
    name: 'ring consumer: is called back for each message',
    isVictimAwaiting: true,
    layout: ringLayout,
    prepare: prepareFilled,
    meanwhile: sendMixed,
    isMeanwhileWaiting: true,
    victim(victim) {
      const { consumer, told } = consume(victim)
      expectLarge(victim)
      return () =>
        untilAborted((signal, count) => {
          const callback = () => count(told)
          return consumer.forEach(callback, { signal })
        })
    },
    check,
  }),
  scenario({
    name: 'ring consumer: is called back in place',
    isVictimAwaiting: true,
    layout: ringLayout,
    prepare: prepareFilled,
    meanwhile: sendMixed,
    isMeanwhileWaiting: true,
    victim(victim) {
      const { consumer, told } = consume(victim)
      expectLarge(victim)
      return () =>
        untilAborted((signal, count) => {
          return consumer.forEachInPlace(
            async () => {
              await undefined
              count(told)
            },
            { signal },
          )
        })
    },
    check,
  }),
  scenario({
    name: 'ring consumer: receives into its own memory from a blocked producer',
    layout: ringLayout,
    prepare: prepareFilled,
    meanwhile: sendMixed,
    isMeanwhileWaiting: true,
    victim(victim) {
      const { consumer, told } = consume(victim)
      expectLarge(victim)
      const into = new Uint8Array(LARGE_BYTES)
      return () => {
        while (told[0] < SMALL_COUNT + 2) if (consumer.receiveSync({ into })) told[0]++
      }
    },
    check,
  }),
  scenario({
    name: 'ring consumer: awaits into its own memory from a blocked producer',
    isVictimAwaiting: true,
    layout: ringLayout,
    prepare: prepareFilled,
    meanwhile: sendMixed,
    isMeanwhileWaiting: true,
    victim(victim) {
      const { consumer, told } = consume(victim)
      expectLarge(victim)
      const into = new Uint8Array(LARGE_BYTES)
      return async () => {
        while (told[0] < SMALL_COUNT + 2) if (await consumer.receive({ into })) told[0]++
      }
    },
    check,
  }),
  scenario({
    name: 'ring consumer: refuses a message that does not fit, then receives it',
    layout: ringLayout,
    prepare: prepareFilled,
    victim(victim) {
      const { consumer, told } = consume(victim)
      const tooShort = new Uint8Array(SMALL_BYTES - 1)
      const into = new Uint8Array(SMALL_BYTES)
      return () => {
        for (; told[0] < SMALL_COUNT; told[0]++) {
          expectEqual(
            codeOf(() => consumer.tryReceive({ into: tooShort })),
            'ERR_ISTHMUS_MESSAGE_TOO_LARGE',
            'Too short',
          )
          consumer.tryReceive({ into })
        }
      }
    },
    check,
    checkSwept: check,
  }),
  scenario({
    name: 'ring consumer: acknowledges',
    layout: ringLayout,
    prepare: prepareFilled,
    victim(victim) {
      const { consumer, told } = consume(victim)
      consumer.tryReceive()
      told[0]++
      return () => {
        consumer.acknowledge()
        told[1] = 1
      }
    },
    check,
    checkSwept: check,
  }),
  scenario({
    name: 'ring consumer: closes',
    layout: ringLayout,
    prepare: prepareFilled,
    victim(victim) {
      const { consumer, told } = consume(victim)
      for (; told[0] < 2; told[0]++) consumer.tryReceive()
      return () => {
        consumer.close()
        told[1] = 2
      }
    },
    check,
    checkSwept: check,
  }),
  scenario({
    name: 'ring consumer: blocks until a message comes',
    layout: ringLayout,
    prepare,
    meanwhile({ root, untilVictim }, sending) {
      untilVictim(() => root.ring.describe().consumer.isWaiting)
      sendSmall(sending, 0)
    },
    victim(victim) {
      const { consumer, told } = consume(victim)
      return () => {
        consumer.receiveSync()
        told[0]++
      }
    },
    check,
  }),
  scenario({
    name: 'ring consumer: awaits a message',
    isVictimAwaiting: true,
    layout: ringLayout,
    prepare,
    meanwhile({ root, untilVictim }, sending) {
      untilVictim(() => root.ring.describe().consumer.isWaiting)
      sendSmall(sending, 0)
    },
    victim(victim) {
      const { consumer, told } = consume(victim)
      return async () => {
        await consumer.receive()
        told[0]++
      }
    },
    check,
  }),
  scenario({
    name: 'ring consumer: receives a large message of a blocked producer',
    layout: ringLayout,
    prepare,
    // Either outcome is right: the message is sent, or the death that is reported ends the call.
    meanwhile: (_, sending) => send(sending, LARGE_BYTES, 3_000),
    isMeanwhileWaiting: true,
    victim(victim) {
      const { consumer, told } = consume(victim)
      expectLarge(victim)
      return () => {
        consumer.receiveSync()
        told[0]++
      }
    },
    check,
  }),
  scenario({
    name: 'ring consumer: receives a large message of a blocked producer in chunks',
    layout: ringLayout,
    prepare,
    meanwhile: (_, sending) => send(sending, LARGE_BYTES, 3_000),
    isMeanwhileWaiting: true,
    victim(victim) {
      const { consumer, told } = consume(victim)
      expectLarge(victim)
      return () => {
        while (consumer.receiveChunkSync()?.isLast === false);
        told[0]++
      }
    },
    check,
  }),
  scenario({
    name: 'ring consumer: awaits the chunks of a large message of a blocked producer',
    isVictimAwaiting: true,
    layout: ringLayout,
    prepare,
    meanwhile: (_, sending) => send(sending, LARGE_BYTES, 3_000),
    isMeanwhileWaiting: true,
    victim(victim) {
      const { consumer, told } = consume(victim)
      expectLarge(victim)
      return async () => {
        while ((await consumer.receiveChunk())?.isLast === false);
        told[0]++
      }
    },
    check,
  }),
  scenario({
    name: 'ring consumer: makes space for an awaiting producer',
    layout: ringLayout,
    prepare: prepareFilled,
    async meanwhile(_, sending) {
      try {
        for (let count = 0; count < 3; count++) {
          if (await sending.producer.send(messageOf(sending.sent, 100), { timeoutMs: 3_000 })) sending.sent++
        }
      } catch (error) {
        if (!(error instanceof PeerDiedError)) throw error
        sending.deathsTold++
      }
    },
    isMeanwhileWaiting: true,
    isSurvivorAwaiting: true,
    victim(victim) {
      const { consumer, told } = consume(victim)
      victim.beginsWhen(() => victim.root.ring.describe().producer.isWaiting)
      return () => {
        while (told[0] < SMALL_COUNT + 3) {
          consumer.receiveSync()
          told[0]++
        }
        consumer.acknowledge()
        told[1] = told[0]
      }
    },
    check,
  }),
  scenario({
    name: 'ring consumer: takes over from a dead one',
    layout: ringLayout,
    prepare(survivor) {
      const sending = prepareFilled(survivor)
      survivor.bury()
      return sending
    },
    predecessor(victim) {
      const { consumer, told } = consume(victim)
      return () => {
        for (; told[0] < 3; told[0]++) consumer.tryReceive()
      }
    },
    victim(victim) {
      return () => {
        const { consumer, told } = consume(victim)
        const again = consumer.tryReceive()
        told[0] = (again?.[0] ?? 0) + 1
      }
    },
    check,
    checkSwept: check,
  }),
]
