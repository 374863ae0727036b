import { type Consumer, type Producer, spscRing } from '@isthmus/ring'
import type { Side } from '../../harness/timed-transfers.js'
import type { AwaitingSubject } from '../awaiting-subject.js'
import { openSharedRegion } from '../shared-region.js'
import { checkBytes, stampBytes, wrongMessageError } from '../stamp.js'
import type { Seat } from '../subject.js'

/** The same for all lengths; longer messages travel in parts. */
const CAPACITY_BYTES = 1024 * 1024

const layout = spscRing({ capacityBytes: CAPACITY_BYTES })

/** `await send` and `for await`: what a program is expected to be. */
export const isthmusAwaiting: AwaitingSubject = {
  name: 'isthmus',
  does: () => true,
  openers: { first: producing(send), second: consuming(receiveEach) },
}

type Send = (producer: Producer, messageBytes: number, messages: number) => Promise<void>
type Receive = (consumer: Consumer, messageBytes: number, messages: number) => Promise<void>

function producing(transfer: Send) {
  return async (seat: Seat): Promise<Side> => {
    const region = await openSharedRegion(seat, layout)
    const producer = region.root.producer()
    return {
      transfer: (messages) => transfer(producer, seat.messageBytes, messages),
      close: () => region.close(),
    }
  }
}

function consuming(transfer: Receive) {
  return async (seat: Seat): Promise<Side> => {
    const region = await openSharedRegion(seat, layout)
    const consumer = region.root.consumer()
    return {
      transfer: (messages) => transfer(consumer, seat.messageBytes, messages),
      close: () => region.close(),
    }
  }
}

async function send(producer: Producer, messageBytes: number, messages: number): Promise<void> {
  const message = new Uint8Array(messageBytes)
  for (let sequence = 0; sequence < messages; sequence++) {
    stampBytes(message, 0, messageBytes, sequence)
    await producer.send(message)
  }
}

async function receiveEach(consumer: Consumer, messageBytes: number, messages: number): Promise<void> {
  let sequence = 0
  for await (const message of consumer) {
    if (message.byteLength !== messageBytes) throw wrongMessageError(sequence)
    checkBytes(message, 0, messageBytes, sequence)
    if (++sequence === messages) return
  }
  throw wrongMessageError(sequence)
}
