import { spscRing } from '@isthmus/ring'
import { RECORDS_OFFSET } from '../../../../packages/ring/src/spsc/layout.js'
import { agent, scenario } from '../scenario.js'
import { spscRingNames } from '../word-names.js'
import { spscInvariant } from './spsc-invariants.js'
import { messageOf, messagesIn, receiveToEnd, type Told, wrongSequence } from './spsc-messages.js'

const CAPACITY_BYTES = 64
const LENGTHS = [8, 3]
const layout = spscRing({ capacityBytes: CAPACITY_BYTES })

export const spscSendReceive = scenario({
  name: 'spsc-send-receive',
  about: 'A producer sends two messages and closes; a blocking consumer gets both, in order and whole, and the end.',
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
