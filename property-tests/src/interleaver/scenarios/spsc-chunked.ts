import { spscRing } from '@isthmus/ring'
import { RECORDS_OFFSET } from '../../../../packages/ring/src/spsc/layout.js'
import { agent, scenario } from '../scenario.js'
import { spscRingNames } from '../word-names.js'
import { spscInvariant } from './spsc-invariants.js'
import { messageOf, messagesIn, receiveToEnd, type Told, wrongSequence } from './spsc-messages.js'

const CAPACITY_BYTES = 64
/** The message travels in fragments of 16, 24 and 20 bytes: 92 bytes of records, more than the ring holds. */
const LENGTHS = [60]
const layout = spscRing({ capacityBytes: CAPACITY_BYTES })

export const spscChunked = scenario({
  name: 'spsc-chunked',
  about: 'A message that is larger than the ring travels in fragments; producer and consumer both block on the way.',
  layout,
  wordNames: spscRingNames('ring', 0, CAPACITY_BYTES),
  plainFromByteOffset: RECORDS_OFFSET,
  agents: {
    producer: agent(layout, {
      prepare: (tools) => tools.attach().root.producer(),
      run(producer) {
        for (const [number, byteLength] of LENGTHS.entries()) producer.sendSync(messageOf(number, byteLength))
        producer.close()
      },
    }),
    consumer: agent(layout, {
      prepare: (tools) => tools.attach().root.consumer(),
      run: (consumer) => receiveToEnd(consumer),
    }),
  },
  invariant: spscInvariant(CAPACITY_BYTES),
  check: ({ returned }) => wrongSequence(messagesIn(returned('consumer') as Told[]), LENGTHS),
})
