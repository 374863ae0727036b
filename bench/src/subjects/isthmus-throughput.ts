import type { Consumer, DrainCallback, Producer } from '@isthmus/ring'
import type { Side } from '../harness/timed-transfers.js'
import { openRings } from './isthmus-messages.js'
import { areSixteenWordsRight, writeSixteenWords } from './sixteen-words.js'
import { checkStamp, stamp, viewOf, wrongMessageError } from './stamp.js'
import type { Seat } from './subject.js'
import type { CopyingWork, InPlaceWork, SidedSubject, ThroughputWork } from './throughput-subject.js'

/** The SPSC ring in a named segment. */
export const isthmusThroughput: SidedSubject = {
  name: 'isthmus',
  arrangement: 'processes',
  openersFor: (work) => ({
    first: (seat) => openSender(work, seat),
    second: (seat) => openReceiver(work, seat),
  }),
}

/** The same in a SharedArrayBuffer, between the threads of a process. */
export const isthmusThreadsThroughput: SidedSubject = {
  ...isthmusThroughput,
  name: 'isthmus threads',
  arrangement: 'threads',
}

async function openSender(work: ThroughputWork, seat: Seat): Promise<Side> {
  const { producer, close } = await openRings(seat)
  return { transfer: work.kind === 'copying' ? copyingSender(producer, work) : inPlaceSender(producer, work), close }
}

async function openReceiver(work: ThroughputWork, seat: Seat): Promise<Side> {
  const { consumer, close } = await openRings(seat)
  return {
    transfer: work.kind === 'copying' ? copyingReceiver(consumer, work) : inPlaceReceiver(consumer, work),
    close,
  }
}

type TransferFunction = (messages: number) => void

function inPlaceSender(
  producer: Producer,
  { messageBytes, batchMessages, touchedWords }: InPlaceWork,
): TransferFunction {
  const { words } = producer
  const write = touchedWords === 1 ? writeOneWord : touchedWords === 16 ? writeSixteenWords : writeWords
  return (messages) => {
    for (let sequence = 0; sequence < messages; ) {
      const batchEnd = Math.min(sequence + batchMessages, messages)
      producer.cork()
      for (; sequence < batchEnd; sequence++) {
        let byteOffset = producer.tryClaim(messageBytes)
        while (byteOffset < 0) byteOffset = producer.tryClaim(messageBytes)
        write(words, byteOffset >>> 2, sequence, touchedWords)
        producer.commit()
      }
      producer.uncork()
    }
  }
}

function inPlaceReceiver(consumer: Consumer, { messageBytes, touchedWords }: InPlaceWork): TransferFunction {
  const { words } = consumer
  const isRight = touchedWords === 1 ? isOneWordRight : touchedWords === 16 ? areSixteenWordsRight : areWordsRight
  let sequence = 0
  const check: DrainCallback = (_bytes, byteOffset, byteLength) => {
    if (byteLength !== messageBytes || !isRight(words, byteOffset >>> 2, sequence, touchedWords))
      throw wrongMessageError(sequence)
    sequence++
  }
  return (messages) => {
    sequence = 0
    while (sequence < messages) consumer.drain(check)
  }
}

function writeOneWord(words: Int32Array, index: number, sequence: number): void {
  words[index] = sequence
}

function isOneWordRight(words: Int32Array, index: number, sequence: number): boolean {
  return words[index] === sequence
}

function writeWords(words: Int32Array, index: number, sequence: number, count: number): void {
  for (let word = 0; word < count; word++) words[index + word] = sequence + word
}

function areWordsRight(words: Int32Array, index: number, sequence: number, count: number): boolean {
  let sum = 0
  for (let word = 0; word < count; word++) sum = (sum + words[index + word]) | 0
  return sum === ((Math.imul(count, sequence) + (count * (count - 1)) / 2) | 0)
}

function copyingSender(producer: Producer, { messageBytes }: CopyingWork): TransferFunction {
  const isLarge = messageBytes > producer.maxRecordBytes
  const message = new Uint8Array(messageBytes)
  const messageView = viewOf(message)
  return (messages) => {
    for (let sequence = 0; sequence < messages; sequence++) {
      stamp(messageView, sequence)
      if (isLarge || !producer.trySend(message)) producer.sendSync(message)
    }
  }
}

function copyingReceiver(consumer: Consumer, { messageBytes }: CopyingWork): TransferFunction {
  const message = new Uint8Array(messageBytes)
  const messageView = viewOf(message)
  let sequence = 0
  const copyOut: DrainCallback = (bytes, byteOffset, byteLength) => {
    if (byteLength !== messageBytes) throw wrongMessageError(sequence)
    message.set(bytes.subarray(byteOffset, byteOffset + byteLength))
    checkStamp(messageView, sequence)
    sequence++
  }
  const receiveParts = () => {
    let receivedBytes = 0
    while (receivedBytes < messageBytes) {
      // Chunks are copied straight to their place. A whole message of many records would first be put together elsewhere.
      const part = consumer.tryReceiveChunk({ into: message.subarray(receivedBytes) })
      if (part === null) throw wrongMessageError(sequence)
      if (part !== undefined) receivedBytes += part.bytes.byteLength
    }
    checkStamp(messageView, sequence)
    sequence++
  }
  const isLarge = messageBytes > consumer.maxRecordBytes
  return (messages) => {
    sequence = 0
    while (sequence < messages) {
      if (isLarge) receiveParts()
      else consumer.drain(copyOut)
    }
  }
}
