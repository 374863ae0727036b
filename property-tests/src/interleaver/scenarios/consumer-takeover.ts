import { spscRing } from '@isthmus/ring'
import { PeerDiedError } from '@isthmus/sync'
import { planHeader } from '@isthmus/sync/internal'
import { recordBytesOf } from '../../../../packages/ring/src/record/layout.js'
import { READ_POSITION_OFFSET, RECORDS_OFFSET } from '../../../../packages/ring/src/spsc/layout.js'
import { agent, scenario } from '../scenario.js'
import { spscRingNames } from '../word-names.js'
import { spscInvariant } from './spsc-invariants.js'
import { isMessage, messageOf, messagesIn, receiveToEnd, type Told } from './spsc-messages.js'

const CAPACITY_BYTES = 64
const layout = spscRing({ capacityBytes: CAPACITY_BYTES })

export const consumerTakeover = takeover('consumer-takeover', [8])

/** 72 bytes of records: more than the ring holds, so the producer waits. */
export const consumerTakeoverFull = takeover('consumer-takeover-full', [16, 16, 16])

/** What the successor found and received. */
interface Succession {
  /** The position up to which the dead consumer had returned space. */
  readonly readPosition: number
  readonly told: Told[]
}

/** How many messages of these lengths, sent from position 0, lie before a position. */
function countBefore(position: number, lengths: readonly number[]): number {
  let end = 0
  return lengths.filter((byteLength) => {
    const bytesUntilEnd = CAPACITY_BYTES - (end % CAPACITY_BYTES)
    if (recordBytesOf(byteLength) > bytesUntilEnd) end += bytesUntilEnd
    end += recordBytesOf(byteLength)
    return end <= position
  }).length
}

/** @param lengths the lengths of the producer's messages */
function takeover(name: string, lengths: readonly number[]) {
  return scenario({
    name,
    about:
      'A consumer may crash at any operation. Its death is declared, and a successor receives the rest: no message is left out, and only messages whose space the dead consumer had not returned come again. A producer that waits is told of the death at most once.',
    layout,
    wordNames: spscRingNames('ring', 0, CAPACITY_BYTES),
    plainFromByteOffset: RECORDS_OFFSET,
    mayCrash: ['consumer'],
    agents: {
      producer: agent(layout, {
        prepare: (tools) => tools.attach().root.producer(),
        run(producer) {
          let deaths = 0
          for (const [number, byteLength] of lengths.entries()) {
            for (;;) {
              try {
                producer.sendSync(messageOf(number, byteLength))
                break
              } catch (error) {
                if (!(error instanceof PeerDiedError)) throw error
                deaths++
              }
            }
          }
          producer.close()
          return deaths
        },
      }),
      consumer: agent(layout, {
        prepare: (tools) => tools.attach().root.consumer(),
        run: (consumer) => receiveToEnd(consumer),
      }),
      successor: agent(layout, {
        prepare: (tools) => tools.attach(),
        run(region, tools): Succession | undefined {
          const dead = tools.awaitCrash()
          if (dead === undefined) return undefined
          region.declareDead(dead)
          const readPosition = region.words[(planHeader(layout).rootByteOffset + READ_POSITION_OFFSET) >>> 2]
          const consumer = region.root.consumer()
          const told: Told[] = []
          for (;;) {
            const message = consumer.tryReceive()
            if (message === null) return { readPosition, told: [...told, 'end'] }
            if (message !== undefined) told.push([...message])
            // The end may have been reported to the dead consumer. It is not reported again, so nothing comes after the
            // last message.
            else if (
              told.length > 0 &&
              isMessage(told.at(-1) as number[], lengths.length - 1, lengths[lengths.length - 1])
            )
              return { readPosition, told }
          }
        },
      }),
    },
    invariant: spscInvariant(CAPACITY_BYTES),
    check({ returned, crashed }) {
      const deaths = returned('producer') as number
      if (deaths > (crashed === undefined ? 0 : 1)) return `the producer was told of ${deaths} deaths`
      const { readPosition, told } = (
        crashed === undefined ? { readPosition: 0, told: returned('consumer') } : returned('successor')
      ) as Succession
      const messages = messagesIn(told)
      const numbers = messages.map((bytes) => lengths.findIndex((length, number) => isMessage(bytes, number, length)))
      const first = numbers.length === 0 ? lengths.length : numbers[0]
      const isGapless =
        numbers.every((number, at) => number === first + at) && first + numbers.length === lengths.length
      if (!isGapless || first !== countBefore(readPosition, lengths))
        return `the successor received the messages ${numbers.join(', ')}; space was returned up to position ${readPosition}`
      return undefined
    },
  })
}
