import { spscRing } from '@isthmus/ring'
import { RECORDS_OFFSET } from '../../../../packages/ring/src/spsc/layout.js'
import { agent, scenario } from '../scenario.js'
import { spscRingNames } from '../word-names.js'
import { meeting, waitFor } from './event-count.js'
import { messageOf, wrongSequence } from './spsc-messages.js'
import { meetingWords, notifier, UNTIMED } from './wake-up.js'

/** The sleeper word changes between a notifier's load of it and its wake-up: the wake-up goes to the sleeper of before. */

export const staleSleeperLoop = scenario({
  name: 'stale-sleeper-loop',
  about: 'A sleeper blocks for the first change of a notifier and awaits the second one. No wake-up is lost.',
  layout: meeting,
  wordNames: meetingWords,
  agents: {
    sleeper: agent(meeting, {
      prepare: (tools) => tools.attach().root,
      async run({ condition, events }) {
        events.waitSync(
          waitFor(() => condition.value >= 1),
          UNTIMED,
        )
        return events.wait(
          waitFor(() => condition.value >= 2),
          UNTIMED,
          undefined,
        )
      },
    }),
    notifier,
  },
  check: ({ returned }) => (returned('sleeper') === true ? undefined : 'a wait ended without its condition'),
})

export const staleSleeperThread = scenario({
  name: 'stale-sleeper-thread',
  about: 'A sleeper awaits the first change of a notifier and blocks for the second one. No wake-up is lost.',
  layout: meeting,
  wordNames: meetingWords,
  agents: {
    sleeper: agent(meeting, {
      prepare: (tools) => tools.attach().root,
      async run({ condition, events }) {
        await events.wait(
          waitFor(() => condition.value >= 1),
          UNTIMED,
          undefined,
        )
        return events.waitSync(
          waitFor(() => condition.value >= 2),
          UNTIMED,
        )
      },
    }),
    notifier,
  },
  check: ({ returned }) => (returned('sleeper') === true ? undefined : 'a wait ended without its condition'),
})

const CAPACITY_BYTES = 64
const LENGTHS = [8, 3]
const ring = spscRing({ capacityBytes: CAPACITY_BYTES })

const producer = agent(ring, {
  prepare: (tools) => tools.attach().root.producer(),
  run(producer) {
    for (const [number, byteLength] of LENGTHS.entries()) producer.sendSync(messageOf(number, byteLength))
  },
})

export const staleSleeperReceive = scenario({
  name: 'stale-sleeper-receive',
  about: 'A consumer receives the first message by receiveSync and the second one by receive. No wake-up is lost.',
  layout: ring,
  wordNames: spscRingNames('ring', 0, CAPACITY_BYTES),
  plainFromByteOffset: RECORDS_OFFSET,
  agents: {
    producer,
    consumer: agent(ring, {
      prepare: (tools) => tools.attach().root.consumer(),
      async run(consumer) {
        const first = consumer.receiveSync()
        const second = await consumer.receive()
        return [[...(first ?? [])], [...(second ?? [])]]
      },
    }),
  },
  check: ({ returned }) => wrongSequence(returned('consumer') as number[][], LENGTHS),
})

export const staleSleeperTakeover = scenario({
  name: 'stale-sleeper-takeover',
  about:
    'A consumer receives one message on its event loop and closes; another one takes over and awaits the second. Both live, and no wake-up is lost.',
  layout: ring,
  wordNames: spscRingNames('ring', 0, CAPACITY_BYTES),
  plainFromByteOffset: RECORDS_OFFSET,
  agents: {
    producer,
    consumer: agent(ring, {
      prepare: (tools) => tools.attach().root.consumer(),
      async run(consumer) {
        const message = await consumer.receive()
        consumer.close()
        return [...(message ?? [])]
      },
    }),
    successor: agent(ring, {
      prepare: (tools) => tools.attach().root,
      async run(root) {
        // If the role is taken, it is not the schedule that this is about.
        const consumer = root.tryConsumer()
        return consumer && [...((await consumer.receive()) ?? [])]
      },
    }),
  },
  check({ returned }) {
    const received = [returned('consumer'), returned('successor')].filter(
      (message) => message !== undefined,
    ) as number[][]
    return wrongSequence(received, LENGTHS.slice(0, received.length))
  },
})
