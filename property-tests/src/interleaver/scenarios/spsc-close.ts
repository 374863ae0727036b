import { spscRing } from '@isthmus/ring'
import { RECORDS_OFFSET } from '../../../../packages/ring/src/spsc/layout.js'
import { agent, scenario } from '../scenario.js'
import { spscRingNames } from '../word-names.js'
import { spscInvariant } from './spsc-invariants.js'
import { messageOf, receiveOne, type Told, wrongSequence } from './spsc-messages.js'

const CAPACITY_BYTES = 64
const LENGTHS = [8]
const layout = spscRing({ capacityBytes: CAPACITY_BYTES })

export const spscClose = scenario({
  name: 'spsc-close',
  about:
    'A producer sends one message and closes while the consumer may wait. The end is reported to one consumer only: its successor is told nothing.',
  layout,
  wordNames: spscRingNames('ring', 0, CAPACITY_BYTES),
  plainFromByteOffset: RECORDS_OFFSET,
  agents: {
    producer: agent(layout, {
      prepare: (tools) => tools.attach().root.producer(),
      run(producer) {
        producer.sendSync(messageOf(0, LENGTHS[0]))
        producer.close()
      },
    }),
    consumer: agent(layout, {
      prepare: (tools) => tools.attach().root,
      run(ring) {
        const consumer = ring.consumer()
        const told = [receiveOne(consumer), receiveOne(consumer)]
        consumer.close()
        // The end of an epoch is reported to one consumer: its successor waits for the next producer.
        return { told, successor: ring.consumer().tryReceive() === undefined ? 'nothing' : 'something' }
      },
    }),
  },
  invariant: spscInvariant(CAPACITY_BYTES),
  check({ returned }) {
    const { told, successor } = returned('consumer') as { told: Told[]; successor: string }
    if (told[1] !== 'end') return `the second receive gave ${told[1]}`
    if (successor !== 'nothing') return 'the next consumer was not left waiting'
    return wrongSequence([told[0]] as number[][], LENGTHS)
  },
})
