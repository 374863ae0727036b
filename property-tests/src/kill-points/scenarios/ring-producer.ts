import type { Consumer, Producer } from '@isthmus/ring'
import type { Attached } from '@isthmus/sync'
import { expect, expectEqual } from '../expectations.js'
import { type Scenario, scenario } from '../scenario.js'
import type { Survivor } from '../survivor.js'
import type { Victim } from '../victim.js'
import { LARGE_BYTES, messageOf, Received, ringLayout, SMALL_BYTES } from './messages.js'

// The victim sends, the survivor receives.

type Root = Attached<typeof ringLayout>

interface Receiving {
  readonly consumer: Consumer
  readonly received: Received
  /** Whether the consumer was told of the end while it waited, which changes the role word. */
  isEndTold: boolean
}

function prepare({ root }: Survivor<Root>): Receiving {
  return { consumer: root.ring.consumer(), received: new Received(), isEndTold: false }
}

/** Sends small messages and counts each of them in `told`. */
function sendSmall(producer: Producer, told: Int32Array, count: number): void {
  for (let sent = 0; sent < count; sent++) {
    const number = told[0]
    if (producer.trySend(messageOf(number, SMALL_BYTES))) told[0] = number + 1
  }
}

const ALL_OR_NOTHING_WORD = 2

const ENDS = { vacant: 'nothing', held: 'died', died: 'died', closed: 'closed' } as const

/** Checks that all committed messages came, that the end is reported once, and that the next producer can send. */
function check(survivor: Survivor<Root>, { consumer, received, isEndTold }: Receiving): void {
  const { root } = survivor
  if (!isEndTold) {
    const { state } = root.ring.describe().producer
    received.takeSync(consumer, 20)
    expectEqual(received.end, ENDS[state], `What the consumer is told of a producer that is ${state}`)
  }
  const count = received.numbers.length
  received.expectNumbers(0, count, 'Messages')
  expect(count >= root.told[0], `${root.told[0]} messages were sent, and ${count} came`)
  expect(count <= root.told[0] + root.told[1], `${count} messages came, of ${root.told[0]} and ${root.told[1]}`)
  if (root.told[ALL_OR_NOTHING_WORD] === 1) {
    const isAllOrNothing = count === root.told[0] || count === root.told[0] + root.told[1]
    expect(isAllOrNothing, `${count} messages came of a batch of ${root.told[1]}`)
  }
  expect(received.incomplete <= 1, `${received.incomplete} messages broke off`)
  const { end } = received
  received.takeSync(consumer, 0)
  expectEqual(received.end, end === 'died' ? 'nothing' : end, 'The second time that the end is told')
  const successor = survivor.newcomer().root.ring.producer()
  expect(successor.trySend(messageOf(count, LARGE_BYTES / 3)), 'The next producer has no space')
  received.takeSync(consumer, 0).expectNumbers(0, count + 1, 'Messages, with that of the next producer')
  successor.close()
  received.takeSync(consumer, 0)
  expectEqual(received.end, 'closed', 'After the next producer has closed')
}

/** The survivor blocks and receives until it is told of the end. */
const blocked = {
  prepare,
  meanwhile(_: unknown, receiving: Receiving) {
    receiving.received.takeSync(receiving.consumer, 3_000)
    receiving.isEndTold = receiving.received.end !== 'nothing'
  },
  isMeanwhileWaiting: true,
  check,
} as const

const awaiting = {
  prepare,
  async meanwhile(_: unknown, receiving: Receiving) {
    await receiving.received.take(receiving.consumer, 3_000)
    receiving.isEndTold = receiving.received.end !== 'nothing'
  },
  isMeanwhileWaiting: true,
  isSurvivorAwaiting: true,
  check,
} as const

/** States how many messages may come that `told` does not count: one that was just committed, or a whole batch. */
function mayBeUntold(victim: Victim<Root>, count: number): void {
  victim.root.told[1] = count
}

/** Messages that become visible all at once. */
function batchOf(victim: Victim<Root>, count: number): Uint8Array[] {
  victim.root.told[ALL_OR_NOTHING_WORD] = 1
  return Array.from({ length: count }, (_, number) => messageOf(number, SMALL_BYTES))
}

/** The lengths of a batch that becomes visible in parts. */
const MIXED = [SMALL_BYTES, SMALL_BYTES, LARGE_BYTES, SMALL_BYTES]

function mixedFrom(first: number): Uint8Array[] {
  return MIXED.map((byteLength, at) => messageOf(first + at, byteLength))
}

function fill(victim: Victim<Root>, producer: Producer): void {
  const { told } = victim.root
  for (let before = -1; before !== told[0]; ) {
    before = told[0]
    sendSmall(producer, told, 1)
  }
}

function produce(victim: Victim<Root>, untold: number): Producer {
  mayBeUntold(victim, untold)
  return victim.root.ring.producer()
}

export const ringProducerScenarios: Scenario<unknown>[] = [
  scenario({
    name: 'ring producer: takes the role',
    layout: ringLayout,
    prepare,
    victim: ({ root }) => {
      return () => root.ring.producer()
    },
    check,
    checkSwept: check,
  }),
  scenario({
    name: 'ring producer: sends',
    layout: ringLayout,
    prepare,
    victim(victim) {
      const producer = produce(victim, 1)
      return () => sendSmall(producer, victim.root.told, 5)
    },
    check,
    checkSwept: check,
  }),
  scenario({
    name: 'ring producer: claims and commits',
    layout: ringLayout,
    prepare,
    victim(victim) {
      const producer = produce(victim, 1)
      const { told } = victim.root
      return () => {
        for (let number = 0; number < 3; number++) {
          producer.tryClaim(100)
          producer.abort()
          producer.bytes.set(messageOf(number, SMALL_BYTES), producer.tryClaim(SMALL_BYTES))
          producer.commit()
          told[0] = number + 1
        }
      }
    },
    check,
    checkSwept: check,
  }),
  scenario({
    name: 'ring producer: sends a corked batch',
    layout: ringLayout,
    prepare,
    victim(victim) {
      const producer = produce(victim, 3)
      const batch = batchOf(victim, 3)
      return () => {
        producer.cork()
        for (const message of batch) producer.trySend(message)
        producer.uncork()
        victim.root.told[0] = 3
      }
    },
    check,
    checkSwept: check,
  }),
  scenario({
    name: 'ring producer: sends batches',
    layout: ringLayout,
    prepare,
    victim(victim) {
      const producer = produce(victim, 3)
      const batch = batchOf(victim, 6)
      return () => {
        for (let sent = 0; sent < 6; sent += 3) {
          producer.trySendBatch(batch.slice(sent, sent + 3))
          victim.root.told[0] = sent + 3
        }
      }
    },
    check,
    checkSwept: check,
  }),
  scenario({
    name: 'ring producer: sends batches, in a blocking call',
    layout: ringLayout,
    prepare,
    victim(victim) {
      const producer = produce(victim, 3)
      const batch = batchOf(victim, 6)
      return () => {
        for (let sent = 0; sent < 6; sent += 3) {
          producer.sendBatchSync(batch.slice(sent, sent + 3))
          victim.root.told[0] = sent + 3
        }
      }
    },
    check,
    checkSwept: check,
  }),
  scenario({
    name: 'ring producer: sends a batch with a large message to a blocked consumer',
    layout: ringLayout,
    ...blocked,
    victim(victim) {
      const producer = produce(victim, MIXED.length)
      return () => {
        producer.sendBatchSync(mixedFrom(0))
        victim.root.told[0] = MIXED.length
      }
    },
  }),
  scenario({
    name: 'ring producer: gives up a batch inside a large message',
    layout: ringLayout,
    prepare,
    victim(victim) {
      const producer = produce(victim, 2)
      return () => {
        victim.root.told[0] = producer.sendBatchSync(mixedFrom(0), { timeoutMs: 5 })
      }
    },
    check,
    checkSwept: check,
  }),
  scenario({
    name: 'ring producer: awaits space for a batch with a large message',
    isVictimAwaiting: true,
    layout: ringLayout,
    ...blocked,
    meanwhile(survivor, receiving) {
      survivor.untilVictim(() => survivor.root.ring.describe().producer.isWaiting)
      blocked.meanwhile(survivor, receiving)
    },
    victim(victim) {
      const producer = produce(victim, MIXED.length)
      fill(victim, producer)
      return async () => {
        const { told } = victim.root
        await producer.sendBatch(mixedFrom(told[0]))
        told[0] += MIXED.length
      }
    },
  }),
  scenario({
    name: 'ring producer: blocks for space, then tries',
    layout: ringLayout,
    prepare,
    meanwhile({ root, untilVictim }, { consumer, received }) {
      untilVictim(() => root.ring.describe().producer.isWaiting)
      received.takeSync(consumer, 20)
    },
    victim(victim) {
      const producer = produce(victim, 1)
      fill(victim, producer)
      return () => {
        producer.spaceFor(SMALL_BYTES).waitSync()
        sendSmall(producer, victim.root.told, 1)
      }
    },
    check: checkAgain,
  }),
  scenario({
    name: 'ring producer: awaits space, then tries',
    isVictimAwaiting: true,
    layout: ringLayout,
    prepare,
    meanwhile({ root, untilVictim }, { consumer, received }) {
      untilVictim(() => root.ring.describe().producer.isWaiting)
      received.takeSync(consumer, 20)
    },
    victim(victim) {
      const producer = produce(victim, 1)
      fill(victim, producer)
      return async () => {
        await producer.spaceFor(SMALL_BYTES).wait()
        sendSmall(producer, victim.root.told, 1)
      }
    },
    check: checkAgain,
  }),
  scenario({
    name: 'ring producer: gives up a large message',
    layout: ringLayout,
    prepare,
    victim(victim) {
      const producer = produce(victim, 0)
      sendSmall(producer, victim.root.told, 1)
      return () => producer.sendSync(messageOf(1, LARGE_BYTES), { timeoutMs: 5 })
    },
    check,
    checkSwept: check,
  }),
  scenario({
    name: 'ring producer: takes the place of one who closed, and closes',
    layout: ringLayout,
    prepare(survivor) {
      const receiving = prepare(survivor)
      survivor.newcomer().root.ring.producer().close()
      receiving.received.takeSync(receiving.consumer, 0)
      return receiving
    },
    victim: ({ root }) => {
      return () => root.ring.producer().close()
    },
    // The end of the producer before is reported already.
    check(survivor, receiving) {
      const { state } = survivor.root.ring.describe().producer
      receiving.received.takeSync(receiving.consumer, 20)
      const { end } = receiving.received
      expect(state === 'held' ? end === 'died' : end === 'closed', `The end is ${end} of a producer that is ${state}`)
      checkAgain(survivor, receiving)
    },
  }),
  scenario({
    name: 'ring producer: closes what is corked',
    layout: ringLayout,
    prepare,
    victim(victim) {
      const producer = produce(victim, 2)
      producer.cork()
      for (const message of batchOf(victim, 2)) producer.trySend(message)
      return () => {
        producer.close()
        victim.root.told[0] = 2
      }
    },
    check,
    checkSwept: check,
  }),
  scenario({
    name: 'ring producer: sends a large message to a blocked consumer',
    layout: ringLayout,
    ...blocked,
    victim(victim) {
      const producer = produce(victim, 1)
      return () => {
        for (let number = 0; number < 2; number++) {
          producer.sendSync(messageOf(number, LARGE_BYTES))
          victim.root.told[0] = number + 1
        }
      }
    },
  }),
  scenario({
    name: 'ring producer: sends a large message to an awaiting consumer',
    layout: ringLayout,
    ...awaiting,
    victim(victim) {
      const producer = produce(victim, 1)
      return () => {
        producer.sendSync(messageOf(0, LARGE_BYTES))
        victim.root.told[0] = 1
      }
    },
  }),
  scenario({
    name: 'ring producer: wakes a blocked consumer',
    layout: ringLayout,
    ...blocked,
    victim(victim) {
      const producer = produce(victim, 1)
      victim.beginsWhen(() => victim.root.ring.describe().consumer.isWaiting)
      return () => {
        sendSmall(producer, victim.root.told, 2)
        producer.close()
      }
    },
  }),
  scenario({
    name: 'ring producer: wakes an awaiting consumer',
    layout: ringLayout,
    ...awaiting,
    victim(victim) {
      const producer = produce(victim, 1)
      victim.beginsWhen(() => victim.root.ring.describe().consumer.isWaiting)
      return () => {
        sendSmall(producer, victim.root.told, 2)
        producer.close()
      }
    },
  }),
  scenario({
    name: 'ring producer: takes the role, and wakes a blocked consumer',
    layout: ringLayout,
    prepare,
    // The death of a peer that never had the role is not reported, so the consumer waits for a limited time.
    meanwhile(_, receiving) {
      receiving.received.takeSync(receiving.consumer, 150)
      receiving.isEndTold = receiving.received.end !== 'nothing'
    },
    victim(victim) {
      victim.beginsWhen(() => victim.root.ring.describe().consumer.isWaiting)
      return () => victim.root.ring.producer()
    },
    check,
  }),
  scenario({
    name: 'ring producer: blocks while the ring is full',
    layout: ringLayout,
    prepare,
    meanwhile({ root, untilVictim }, { consumer, received }) {
      untilVictim(() => root.ring.describe().producer.isWaiting)
      received.takeSync(consumer, 20)
    },
    victim(victim) {
      const producer = produce(victim, 1)
      fill(victim, producer)
      return () => {
        producer.sendSync(messageOf(victim.root.told[0], SMALL_BYTES))
        victim.root.told[0]++
      }
    },
    check: checkAgain,
  }),
  scenario({
    name: 'ring producer: awaits space while the ring is full',
    isVictimAwaiting: true,
    layout: ringLayout,
    prepare,
    meanwhile({ root, untilVictim }, { consumer, received }) {
      untilVictim(() => root.ring.describe().producer.isWaiting)
      received.takeSync(consumer, 20)
    },
    victim(victim) {
      const producer = produce(victim, 1)
      fill(victim, producer)
      return async () => {
        await producer.send(messageOf(victim.root.told[0], SMALL_BYTES))
        victim.root.told[0]++
      }
    },
    check: checkAgain,
  }),
  scenario({
    name: 'ring producer: takes over from a dead one inside a large message',
    layout: ringLayout,
    prepare(survivor) {
      const receiving = prepare(survivor)
      survivor.bury()
      return receiving
    },
    predecessor(victim) {
      const producer = produce(victim, 1)
      sendSmall(producer, victim.root.told, 1)
      return () => {
        victim.dieBefore(3, 'store')
        producer.sendSync(messageOf(1, LARGE_BYTES))
      }
    },
    victim(victim) {
      return () => {
        const producer = victim.root.ring.producer()
        sendSmall(producer, victim.root.told, 1)
      }
    },
    check,
    checkSwept: check,
  }),
]

/** The same check, if the end may have been reported already while the survivor received. */
function checkAgain(survivor: Survivor<Root>, receiving: Receiving): void {
  receiving.isEndTold = receiving.received.end !== 'nothing'
  check(survivor, receiving)
}
