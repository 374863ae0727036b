import { type Consumer, type Producer, spscRing } from '@isthmus/ring'
import type { Side } from '../../harness/timed-transfers.js'
import { type AwaitingSubject, BATCH_MESSAGES } from '../awaiting-subject.js'
import { openSharedRegion } from '../shared-region.js'
import { checkBytes, stampBytes, wrongMessageError } from '../stamp.js'
import type { Seat } from '../subject.js'

/** The same for all lengths; longer messages travel in parts. */
const CAPACITY_BYTES = 1024 * 1024

const layout = spscRing({ capacityBytes: CAPACITY_BYTES })

const KIB = 1024

/** `await send` and `for await`: what most programs do. */
export const isthmusAwaiting: AwaitingSubject = {
  name: 'isthmus',
  does: () => true,
  openers: { first: producing(send), second: consuming(receiveEach) },
}

/** `sendBatch` and `batches`. */
export const isthmusBatches: AwaitingSubject = {
  name: 'isthmus batches',
  does: (messageBytes) => messageBytes <= 16 * KIB,
  openers: { first: producing(sendBatches), second: consuming(receiveBatches) },
}

/** `await send` and `forEach`. */
export const isthmusForEach: AwaitingSubject = {
  name: 'isthmus forEach',
  does: (messageBytes) => messageBytes <= KIB,
  openers: { first: producing(send), second: consuming(callBack) },
}

/** `sendBatch` and `forEachInPlace`. */
export const isthmusForEachInPlace: AwaitingSubject = {
  name: 'isthmus forEachInPlace',
  does: (messageBytes) => messageBytes <= KIB,
  openers: { first: producing(sendBatches), second: consuming(callBackInPlace) },
}

/** `await send` and `receive` into memory that the program has, as the reader of the socket has. */
export const isthmusInto: AwaitingSubject = {
  name: 'isthmus into',
  does: (messageBytes) => messageBytes >= 1024 * KIB,
  openers: { first: producing(send), second: consuming(receiveInto) },
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

async function sendBatches(producer: Producer, messageBytes: number, messages: number): Promise<void> {
  const batch = Array.from({ length: BATCH_MESSAGES }, () => new Uint8Array(messageBytes))
  for (let sequence = 0; sequence < messages; ) {
    const count = Math.min(BATCH_MESSAGES, messages - sequence)
    for (let index = 0; index < count; index++) stampBytes(batch[index], 0, messageBytes, sequence++)
    await producer.sendBatch(count === BATCH_MESSAGES ? batch : batch.slice(0, count))
  }
}

async function receiveInto(consumer: Consumer, messageBytes: number, messages: number): Promise<void> {
  const into = new Uint8Array(messageBytes)
  for (let sequence = 0; sequence < messages; sequence++) {
    const message = await consumer.receive({ into })
    if (message?.byteLength !== messageBytes) throw wrongMessageError(sequence)
    checkBytes(message, 0, messageBytes, sequence)
  }
}

async function receiveBatches(consumer: Consumer, messageBytes: number, messages: number): Promise<void> {
  let sequence = 0
  for await (const batch of consumer.batches({ maxMessages: BATCH_MESSAGES })) {
    for (const message of batch) {
      if (message.byteLength !== messageBytes) throw wrongMessageError(sequence)
      checkBytes(message, 0, messageBytes, sequence++)
    }
    if (sequence === messages) return
  }
  throw wrongMessageError(sequence)
}

async function callBack(consumer: Consumer, messageBytes: number, messages: number): Promise<void> {
  let sequence = 0
  await untilAborted((ending) => {
    const check = (message: Uint8Array) => {
      if (message.byteLength !== messageBytes) throw wrongMessageError(sequence)
      checkBytes(message, 0, messageBytes, sequence)
      if (++sequence === messages) ending.abort()
    }
    return consumer.forEach(check, { signal: ending.signal })
  })
}

async function callBackInPlace(consumer: Consumer, messageBytes: number, messages: number): Promise<void> {
  let sequence = 0
  await untilAborted((ending) => {
    const check = (bytes: Uint8Array, byteOffset: number, byteLength: number) => {
      if (byteLength !== messageBytes) throw wrongMessageError(sequence)
      checkBytes(bytes, byteOffset, byteLength, sequence)
      if (++sequence === messages) ending.abort()
    }
    return consumer.forEachInPlace(check, { signal: ending.signal })
  })
}

/** Callbacks go on until the producer closes, which it does not do between transfers. */
async function untilAborted(callBack: (ending: AbortController) => Promise<void>): Promise<void> {
  const ending = new AbortController()
  try {
    await callBack(ending)
  } catch (error) {
    if (!ending.signal.aborted) throw error
    return
  }
  throw new Error('Receiving: the other side has closed')
}
