import { createRequire } from 'node:module'
import { yieldCore } from '../../harness/libc.js'
import { disruptor } from '../couriers/disruptor.js'
import { ringCapacityBytes } from '../ring-capacity.js'
import { stampBytes } from '../stamp.js'
import { type BroadcastSeat, type BroadcastSubject, batchMessagesFor } from './broadcast-subject.js'

const NO_CONSUMER = -1
/** Longer messages are made elsewhere, and copied in. */
const WRITTEN_BYTES_MAX = 64

interface Disruptor {
  /** Empty if there is no room. */
  produceClaimManySync(slots: number): Buffer[]
  produceCommitSync(): boolean
  /** Empty if there is nothing. Returns the slots that were read before. */
  consumeNewSync(): Buffer[]
  consumeCommit(): void
  release(): void
}

const require = createRequire(import.meta.url)

/**
 * Each consumer has a cursor, which holds the producer back. Slots of one message each, 64 claimed at once, read in place. Its
 * calls return at once, and a side that finds nothing yields its core: with its own spinning, more sides than cores hardly get on.
 */
export const disruptorBroadcast: BroadcastSubject = {
  name: disruptor.name,
  arrangement: 'processes',
  prepare: disruptor.prepare,
  does: () => true,
  openPublisher(seat) {
    const { messageBytes } = seat
    const ring = openRing(seat, NO_CONSUMER)
    const batchMessages = batchMessagesFor(messageBytes)
    const message = new Uint8Array(messageBytes)
    let sequence = 0
    return {
      transfer(messages) {
        for (const end = sequence + messages; sequence < end; ) {
          const count = Math.min(batchMessages, end - sequence)
          let stretches = ring.produceClaimManySync(count)
          while (stretches.length === 0) {
            yieldCore()
            stretches = ring.produceClaimManySync(count)
          }
          for (const stretch of stretches) {
            for (let start = 0; start < stretch.length; start += messageBytes) {
              if (messageBytes > WRITTEN_BYTES_MAX) stretch.set(message, start)
              stampBytes(stretch, start, messageBytes, sequence++)
            }
          }
          ring.produceCommitSync()
        }
      },
      close: () => ring.release(),
    }
  },
  openSubscriber(seat, listener) {
    const { messageBytes } = seat
    const ring = openRing(seat, seat.index)
    return {
      transfer() {
        while (!listener.isComplete) {
          const stretches = ring.consumeNewSync()
          if (stretches.length === 0) yieldCore()
          for (const stretch of stretches) {
            for (let start = 0; start < stretch.length; start += messageBytes) {
              listener.take(stretch, start, messageBytes)
            }
          }
        }
        ring.consumeCommit()
      },
      close: () => ring.release(),
    }
  },
}

function openRing({ role, place, messageBytes, crowd }: BroadcastSeat, consumer: number): Disruptor {
  const { Disruptor } = require(disruptor.name)
  const slots = ringCapacityBytes(messageBytes) / messageBytes
  const isFirst = role === 'first'
  return new Disruptor(`${place.segmentPrefix}disruptor`, slots, messageBytes, crowd.second, consumer, isFirst, false)
}
