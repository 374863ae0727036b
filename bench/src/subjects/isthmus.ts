import { type Consumer, type DrainCallback, type Producer, spscRing } from '@isthmus/ring'
import { Segment } from '@isthmus/shm-posix'
import type { Place } from '../harness/place.js'
import type { Side } from '../harness/timed-transfers.js'
import { checkStamp, stamp, viewOf, wrongMessageError } from './stamp.js'
import type { CopyingWork, InPlaceWork, SidedSubject, ThroughputWork } from './throughput-subject.js'

/** The SPSC ring in a named segment. */
export const isthmusThroughput: SidedSubject = {
  name: 'isthmus',
  openersFor: (work) => ({
    openProducer: (place) => openProducer(work, place),
    openConsumer: (place) => openConsumer(work, place),
  }),
}

function openProducer(work: ThroughputWork, place: Place): Side {
  const segment = Segment.create(ringName(place), ringLayout(work))
  const producer = segment.root.producer()
  const transfer = work.kind === 'copying' ? copyingSender(producer, work) : inPlaceSender(producer, work)
  return { transfer, close: () => segment.close() }
}

function openConsumer(work: ThroughputWork, place: Place): Side {
  const segment = Segment.open(ringName(place), ringLayout(work))
  const consumer = segment.root.consumer()
  const transfer = work.kind === 'copying' ? copyingReceiver(consumer, work) : inPlaceReceiver(consumer, work)
  return { transfer, close: () => segment.close() }
}

function ringName(place: Place): string {
  return `${place.segmentPrefix}ring`
}

function ringLayout({ capacityBytes }: ThroughputWork) {
  return spscRing({ capacityBytes })
}

type TransferFunction = (messages: number) => void

function inPlaceSender(
  producer: Producer,
  { messageBytes, batchMessages, touchedWords }: InPlaceWork,
): TransferFunction {
  const { words } = producer
  const write = touchedWords === 1 ? writeOneWord : writeSixteenWords
  return (messages) => {
    for (let sequence = 0; sequence < messages; ) {
      const batchEnd = Math.min(sequence + batchMessages, messages)
      producer.cork()
      for (; sequence < batchEnd; sequence++) {
        let byteOffset = producer.tryClaim(messageBytes)
        while (byteOffset < 0) byteOffset = producer.tryClaim(messageBytes)
        write(words, byteOffset >>> 2, sequence)
        producer.commit()
      }
      producer.uncork()
    }
  }
}

function inPlaceReceiver(consumer: Consumer, { messageBytes, touchedWords }: InPlaceWork): TransferFunction {
  const { words } = consumer
  const isRight = touchedWords === 1 ? isOneWordRight : areSixteenWordsRight
  let sequence = 0
  const check: DrainCallback = (_bytes, byteOffset, byteLength) => {
    if (byteLength !== messageBytes || !isRight(words, byteOffset >>> 2, sequence)) throw wrongMessageError(sequence)
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

const SIXTEEN = 16
const SUM_OF_WORD_NUMBERS = (SIXTEEN * (SIXTEEN - 1)) / 2

function writeSixteenWords(words: Int32Array, index: number, sequence: number): void {
  for (let word = 0; word < SIXTEEN; word++) words[index + word] = sequence + word
}

function areSixteenWordsRight(words: Int32Array, index: number, sequence: number): boolean {
  let sum = 0
  for (let word = 0; word < SIXTEEN; word++) sum = (sum + words[index + word]) | 0
  return sum === ((SIXTEEN * sequence + SUM_OF_WORD_NUMBERS) | 0)
}

function copyingSender(producer: Producer, { messageBytes }: CopyingWork): TransferFunction {
  const message = new Uint8Array(messageBytes)
  const messageView = viewOf(message)
  return (messages) => {
    for (let sequence = 0; sequence < messages; sequence++) {
      stamp(messageView, sequence)
      if (!producer.trySend(message)) producer.sendSync(message)
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
  return (messages) => {
    sequence = 0
    while (sequence < messages) consumer.drain(copyOut)
  }
}
