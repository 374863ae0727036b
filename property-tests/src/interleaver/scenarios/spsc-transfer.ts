import { type SpscRing, spscRing } from '@isthmus/ring'
import { RECORDS_OFFSET } from '../../../../packages/ring/src/spsc/layout.js'
import { startPositionsAt } from '../../harness/ring-positions.js'
import { type AgentProgram, agent, type Ending, type Scenario, scenario } from '../scenario.js'
import { spscRingNames } from '../word-names.js'
import { spscInvariant } from './spsc-invariants.js'
import { messageOf, messagesIn, receiveOne, receiveToEnd, type Told, wrongSequence } from './spsc-messages.js'

const CAPACITY_BYTES = 64
const layout = spscRing({ capacityBytes: CAPACITY_BYTES })

/** A producer blocks to send messages of these lengths and closes; a consumer receives them. */
interface Transfer {
  readonly name: string
  readonly about: string
  readonly lengths: readonly number[]
  /** The ring's positions at the start; 0 by default. */
  readonly startPosition?: number
  /** By default it blocks to receive until the end. */
  readonly consumer?: AgentProgram<SpscRing>
  /** By default all messages must arrive, in order and whole. */
  check?(ending: Ending): string | undefined
}

function spscTransfer({ name, about, lengths, startPosition = 0, consumer = receiver, check }: Transfer) {
  return scenario({
    name,
    about,
    layout,
    wordNames: spscRingNames('ring', 0, CAPACITY_BYTES),
    plainFromByteOffset: RECORDS_OFFSET,
    setUp: (region) => startPositionsAt(region, startPosition),
    agents: { producer: senderOf(lengths), consumer },
    invariant: spscInvariant(CAPACITY_BYTES),
    check: check ?? (({ returned }) => wrongSequence(messagesIn(returned('consumer') as Told[]), lengths)),
  })
}

function senderOf(lengths: readonly number[]): AgentProgram<SpscRing> {
  return agent(layout, {
    prepare: (tools) => tools.attach().root.producer(),
    run(producer) {
      for (const [number, byteLength] of lengths.entries()) producer.sendSync(messageOf(number, byteLength))
      producer.close()
    },
  })
}

const receiver = agent(layout, {
  prepare: (tools) => tools.attach().root.consumer(),
  run: (consumer) => receiveToEnd(consumer),
})

/** Receives a message and the end, and gives the role to a successor. */
const handsOver = agent(layout, {
  prepare: (tools) => tools.attach().root,
  run(ring) {
    const consumer = ring.consumer()
    const told = [receiveOne(consumer), receiveOne(consumer)]
    consumer.close()
    // The end of an epoch is reported to one consumer: its successor waits for the next producer.
    return { told, successor: ring.consumer().tryReceive() === undefined ? 'nothing' : 'something' }
  },
})

export const spscTransfers: readonly Scenario<SpscRing>[] = [
  spscTransfer({
    name: 'spsc-send-receive',
    about: 'A producer sends two messages and closes; a blocking consumer gets both, in order and whole, and the end.',
    lengths: [8, 3],
  }),
  spscTransfer({
    name: 'spsc-close',
    about:
      'A producer sends one message and closes while the consumer may wait. The end is reported to one consumer only: its successor is told nothing.',
    lengths: [8],
    consumer: handsOver,
    check({ returned }) {
      const { told, successor } = returned('consumer') as { told: Told[]; successor: string }
      if (told[1] !== 'end') return `the second receive gave ${told[1]}`
      if (successor !== 'nothing') return 'the next consumer was not left waiting'
      return wrongSequence([told[0]] as number[][], [8])
    },
  }),
  spscTransfer({
    name: 'spsc-wrap',
    about:
      'A ring of 64 bytes whose positions stand just before the 32-bit wrap. The producer must wait for space and pads; all messages arrive.',
    // Records of 24, 24, 32 and 16 bytes, from index 32: padding, the 32-bit wrap, and a full ring.
    lengths: [16, 16, 24, 8],
    startPosition: 0x80000000 - 32,
  }),
  spscTransfer({
    name: 'spsc-chunked',
    about: 'A message that is larger than the ring travels in fragments; producer and consumer both block on the way.',
    // Fragments of 16, 24 and 20 bytes: 92 bytes of records, more than the ring holds.
    lengths: [60],
  }),
]
