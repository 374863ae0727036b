import { spscRing } from '@isthmus/ring'
import { RECORDS_OFFSET } from '../../../../packages/ring/src/spsc/layout.js'
import { agent, scenario } from '../scenario.js'
import { spscRingNames } from '../word-names.js'
import { spscInvariant, startPositionsAt } from './spsc-invariants.js'
import { messageOf, messagesIn, receiveToEnd, type Told, wrongSequence } from './spsc-messages.js'

const CAPACITY_BYTES = 64
/** Records of 24, 24, 32 and 16 bytes, from index 32: padding, the 32-bit wrap, and a full ring. */
const LENGTHS = [16, 16, 24, 8]
const START_POSITION = 0x80000000 - 32
const layout = spscRing({ capacityBytes: CAPACITY_BYTES })

export const spscWrap = scenario({
  name: 'spsc-wrap',
  about:
    'A ring of 64 bytes whose positions stand just before the 32-bit wrap. The producer must wait for space and pads; all messages arrive.',
  layout,
  wordNames: spscRingNames('ring', 0, CAPACITY_BYTES),
  plainFromByteOffset: RECORDS_OFFSET,
  setUp: (region) => startPositionsAt(region, START_POSITION),
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
