import { type BroadcastRing, broadcastRing, OverrunError } from '@isthmus/ring'
import { yieldCore } from '../../harness/libc.js'
import type { Side } from '../../harness/timed-transfers.js'
import { ringCapacityBytes } from '../ring-capacity.js'
import { openSharedRegion } from '../shared-region.js'
import { areSixteenWordsRight, writeSixteenWords } from '../sixteen-words.js'
import { Batches } from './batches.js'
import {
  type BroadcastSeat,
  type BroadcastSubject,
  type BroadcastWork,
  batchMessagesFor,
  type SubscriberSide,
} from './broadcast-subject.js'
import type { Listener } from './listener.js'

const CLAIMED_BYTES = 64
const LOOKS_BETWEEN_YIELDS = 16

type Publisher = ReturnType<BroadcastRing['publisher']>
type Subscriber = ReturnType<BroadcastRing['subscriber']>

/** Subscribers with gates. `publishBatch` and `forEachInPlace`. */
export const isthmusBroadcast: BroadcastSubject = {
  name: 'isthmus',
  arrangement: 'processes',
  does: () => true,
  openPublisher: openAwaitingPublisher,
  openSubscriber: (seat, listener) => openSubscriber(seat, true, (subscriber) => callBackInPlace(subscriber, listener)),
}

/** Subscribers with gates. `publishBatch` and `batches`: each message is a private copy. */
export const isthmusBroadcastBatches: BroadcastSubject = {
  ...isthmusBroadcast,
  name: 'isthmus batches',
  openSubscriber: (seat, listener) => openSubscriber(seat, true, (subscriber) => receiveBatches(subscriber, listener)),
}

/** Subscribers without gates. `publishBatch` and `batches`. */
export const isthmusBroadcastLossy: BroadcastSubject = {
  ...isthmusBroadcast,
  name: 'isthmus lossy',
  openSubscriber: (seat, listener) => openSubscriber(seat, false, (subscriber) => receiveBatches(subscriber, listener)),
}

/**
 * Subscribers with gates; nobody sleeps. 64 B: written and read in place, all words, 64 messages published at once. Longer ones:
 * `tryPublishBatch`, and `tryReceive` into memory that the subscriber has.
 */
export const isthmusBroadcastSpinning: BroadcastSubject = {
  name: 'isthmus spinning',
  arrangement: 'processes',
  does: () => true,
  openPublisher: openSpinningPublisher,
  openSubscriber: (seat, listener) => openSubscriber(seat, true, spinning(seat, listener, drainAll)),
}

/** The same, without gates. */
export const isthmusBroadcastLossySpinning: BroadcastSubject = {
  ...isthmusBroadcastSpinning,
  name: 'isthmus lossy spinning',
  openSubscriber: (seat, listener) => openSubscriber(seat, false, spinning(seat, listener, drainLossily)),
}

async function openAwaitingPublisher(seat: BroadcastSeat): Promise<Side> {
  const { publisher, close } = await openPublisher(seat)
  const batches = new Batches(seat)
  return {
    async transfer(messages) {
      for (const batch of batches.of(messages)) await publisher.publishBatch(batch)
    },
    close,
  }
}

async function openSpinningPublisher(seat: BroadcastSeat): Promise<Side> {
  const { publisher, close } = await openPublisher(seat)
  return { transfer: isClaimed(seat) ? claimer(publisher, seat) : copier(publisher, seat), close }
}

/** Publishes in place. */
export function claimer(publisher: Publisher, { messageBytes }: Pick<BroadcastWork, 'messageBytes'>) {
  const { words } = publisher
  const batchMessages = batchMessagesFor(messageBytes)
  let sequence = 0
  return (messages: number) => {
    for (const end = sequence + messages; sequence < end; ) {
      const batchEnd = Math.min(sequence + batchMessages, end)
      publisher.cork()
      for (; sequence < batchEnd; sequence++) {
        let byteOffset = publisher.tryClaim(messageBytes)
        for (let looks = 1; byteOffset < 0; looks++) {
          if (looks % LOOKS_BETWEEN_YIELDS === 0) yieldCore()
          byteOffset = publisher.tryClaim(messageBytes)
        }
        writeSixteenWords(words, byteOffset >>> 2, sequence)
        publisher.commit()
      }
      publisher.uncork()
    }
  }
}

function copier(publisher: Publisher, seat: BroadcastSeat) {
  const batches = new Batches(seat)
  return (messages: number) => {
    for (const batch of batches.of(messages)) {
      for (let sent = publisher.tryPublishBatch(batch); sent < batch.length; ) {
        yieldCore()
        sent += publisher.tryPublishBatch(batch.slice(sent))
      }
    }
  }
}

async function callBackInPlace(subscriber: Subscriber, listener: Listener): Promise<void> {
  const ending = new AbortController()
  const take = (bytes: Uint8Array, byteOffset: number, byteLength: number) => {
    listener.take(bytes, byteOffset, byteLength)
    if (listener.isComplete) ending.abort()
  }
  try {
    await subscriber.forEachInPlace(take, { signal: ending.signal })
  } catch (error) {
    if (!ending.signal.aborted) throw error
  }
}

async function receiveBatches(subscriber: Subscriber, listener: Listener): Promise<void> {
  for await (const batch of subscriber.batches()) {
    for (const message of batch) listener.take(message, 0, message.byteLength)
    if (listener.isComplete) return
  }
}

function spinning(
  seat: BroadcastSeat,
  listener: Listener,
  drain: (subscriber: Subscriber, listener: Listener) => void,
) {
  if (isClaimed(seat)) return (subscriber: Subscriber) => drain(subscriber, listener)
  const into = new Uint8Array(seat.messageBytes)
  return (subscriber: Subscriber) => receiveInto(subscriber, listener, into)
}

function drainAll(subscriber: Subscriber, listener: Listener): void {
  const { words } = subscriber
  const check = (_bytes: Uint8Array, byteOffset: number, byteLength: number) => {
    const sequence = words[byteOffset >>> 2]
    listener.hear(sequence, byteLength === CLAIMED_BYTES && areSixteenWordsRight(words, byteOffset >>> 2, sequence))
  }
  for (let looks = 1; !listener.isComplete; looks++) {
    if (subscriber.drain(check) === 0 && looks % LOOKS_BETWEEN_YIELDS === 0) yieldCore()
  }
}

/** What a callback has seen counts when drain has gone on: until then it may have been overwritten. */
function drainLossily(subscriber: Subscriber, listener: Listener): void {
  const { words } = subscriber
  let isPending = false
  let sequence = 0
  let isWhole = false
  const look = (_bytes: Uint8Array, byteOffset: number, byteLength: number) => {
    if (isPending) listener.hear(sequence, isWhole)
    sequence = words[byteOffset >>> 2]
    isWhole = byteLength === CLAIMED_BYTES && areSixteenWordsRight(words, byteOffset >>> 2, sequence)
    isPending = true
  }
  for (let looks = 1; !listener.isComplete; looks++) {
    try {
      if (subscriber.drain(look) === 0 && looks % LOOKS_BETWEEN_YIELDS === 0) yieldCore()
      if (isPending) listener.hear(sequence, isWhole)
    } catch (error) {
      if (!(error instanceof OverrunError)) throw error
    }
    isPending = false
  }
}

function receiveInto(subscriber: Subscriber, listener: Listener, into: Uint8Array): void {
  const options = { into }
  for (let looks = 1; !listener.isComplete; looks++) {
    const message = subscriber.tryReceive(options)
    if (message) listener.take(message, 0, message.byteLength)
    else if (looks % LOOKS_BETWEEN_YIELDS === 0) yieldCore()
  }
}

async function openPublisher(seat: BroadcastSeat) {
  const { ring, close } = await openRing(seat)
  return { publisher: ring.publisher(), close }
}

async function openSubscriber(
  seat: BroadcastSeat,
  gate: boolean,
  receive: (subscriber: Subscriber) => void | Promise<void>,
): Promise<SubscriberSide> {
  const { ring, close } = await openRing(seat)
  const subscriber = ring.subscriber({ gate })
  return {
    transfer: () => receive(subscriber),
    get lost() {
      return subscriber.lost
    },
    close,
  }
}

/** With a gate for each subscriber, whether they take them or not. */
export async function openRing(seat: BroadcastSeat) {
  const layout = broadcastRing({ capacityBytes: ringCapacityBytes(seat.messageBytes), gates: seat.crowd.second })
  const region = await openSharedRegion(seat, layout)
  return { ring: region.root, close: () => region.close() }
}

function isClaimed({ messageBytes }: BroadcastSeat): boolean {
  return messageBytes === CLAIMED_BYTES
}
