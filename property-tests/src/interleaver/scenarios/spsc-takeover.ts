import { spscRing } from '@isthmus/ring'
import { RECORDS_OFFSET } from '../../../../packages/ring/src/spsc/layout.js'
import { agent, scenario } from '../scenario.js'
import { spscRingNames } from '../word-names.js'
import { spscInvariant } from './spsc-invariants.js'
import { countOf, isMessage, messageOf, messagesIn, receiveToEnd, type Told } from './spsc-messages.js'

const CAPACITY_BYTES = 64
const layout = spscRing({ capacityBytes: CAPACITY_BYTES })

/** Each message is one record. */
export const spscTakeover = takeover('spsc-takeover', 'a message', [8, 8])

/** The first producer's message travels in fragments, of 16 bytes at first. */
export const spscTakeoverChunked = takeover('spsc-takeover-chunked', 'a message in fragments', [40, 8])

/** @param lengths the lengths of the first producer's message and of the successor's */
function takeover(name: string, what: string, lengths: readonly [number, number]) {
  return scenario({
    name,
    about: `A producer may crash at any operation while it sends ${what}. Its death is declared, a successor sends one message and closes. Each committed message arrives whole, an unfinished one is reported, and the successor's message arrives.`,
    layout,
    wordNames: spscRingNames('ring', 0, CAPACITY_BYTES),
    plainFromByteOffset: RECORDS_OFFSET,
    mayCrash: ['producer'],
    agents: {
      producer: agent(layout, {
        prepare: (tools) => tools.attach().root.producer(),
        run(producer) {
          producer.sendSync(messageOf(0, lengths[0]))
          producer.close()
        },
      }),
      consumer: agent(layout, {
        prepare: (tools) => tools.attach().root.consumer(),
        run: (consumer) => receiveToEnd(consumer),
      }),
      successor: agent(layout, {
        prepare: (tools) => tools.attach(),
        run(region, tools) {
          const dead = tools.awaitCrash()
          if (dead === undefined) return
          region.declareDead(dead)
          const producer = region.root.producer()
          producer.sendSync(messageOf(1, lengths[1]))
          producer.close()
        },
      }),
    },
    invariant: spscInvariant(CAPACITY_BYTES),
    check({ returned, crashed }) {
      const told = returned('consumer') as Told[]
      const messages = messagesIn(told)
      const numbers = messages.map((bytes) => lengths.findIndex((length, number) => isMessage(bytes, number, length)))
      const wrong = `the consumer was told ${told.map((one) => (Array.isArray(one) ? `[${one.join(' ')}]` : one)).join(', ')}`
      if (countOf(told, 'death') > 1 || countOf(told, 'incomplete') > 1) return wrong
      if (crashed === undefined) return numbers.join() === '0' && told.length === 2 ? undefined : wrong
      // The producer may have closed before it crashed; then that end is reported.
      if (numbers.join() === '0' && told.length === 2) return undefined
      return numbers.join() === '0,1' || numbers.join() === '1' ? undefined : wrong
    },
  })
}
