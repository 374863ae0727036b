import type { HeapRegion } from '@isthmus/sync'
import fc from 'fast-check'
import { expect } from 'vitest'
import { expectCode } from '../../../sync/test/support/expect-code.js'
import { type Consumer, IncompleteMessageError, type Producer, type SpscRing } from '../../src/index.js'
import { ABORT, advance, kindOf, recordBytesOf } from '../../src/record/layout.js'
import { createRing, payload, type RingMemory, type RingSetup } from './ring-memory.js'

/** What the consumer still has to see, in order. */
export interface LargeModel {
  readonly pending: { readonly message: Uint8Array; readonly isAbandoned: boolean }[]
  sentCount: number
}

/** Producer and consumer have an attachment each, so that a send never counts as a deadlock. */
export interface LargeReal extends RingSetup {
  producerRegion: HeapRegion<SpscRing>
  producer: Producer
  consumer: Consumer
}

type Command = fc.Command<LargeModel, LargeReal>

export function setUpLargeCase(capacityBytes: number, startPosition: number): { model: LargeModel; real: LargeReal } {
  const setup = createRing({ capacityBytes }, startPosition)
  const producerRegion = setup.attach()
  return {
    model: { pending: [], sentCount: 0 },
    real: { ...setup, producerRegion, producer: producerRegion.root.producer(), consumer: setup.ring.consumer() },
  }
}

/** In percent of the capacity: up to a half it is one record, beyond the whole it never fits at once. */
const sendSync = fc.nat(250).map((percent) =>
  command(`sendSync ${percent} %`, (model, { producer, memory }) => {
    const message = payload(Math.floor((memory.capacityBytes * percent) / 100), model.sentCount++)
    const { writePosition } = memory
    const wasSent = producer.sendSync(message, { timeoutMs: 0 })
    const hasBegun = memory.writePosition !== writePosition
    if (wasSent) expect(hasBegun).toBe(true)
    if (hasBegun) model.pending.push({ message, isAbandoned: !wasSent })
  }),
)

const sendBatchSync = fc.array(fc.nat(250), { maxLength: 6 }).map((percents) =>
  command(`sendBatchSync ${percents} %`, (model, { producer, memory }) => {
    const messages = percents.map((percent, at) =>
      payload(Math.floor((memory.capacityBytes * percent) / 100), model.sentCount + at),
    )
    model.sentCount += messages.length
    const { writePosition } = memory
    const sentCount = producer.sendBatchSync(messages, { timeoutMs: 0 })
    model.pending.push(...messages.slice(0, sentCount).map((message) => ({ message, isAbandoned: false })))
    if (sentCount === messages.length || memory.writePosition === writePosition) return
    const isBrokenOff = endsWithAbort(memory, writePosition)
    expect(isBrokenOff || sentCount > 0).toBe(true)
    if (isBrokenOff) model.pending.push({ message: messages[sentCount], isAbandoned: true })
  }),
)

/** Whether the last of the records from this position on is an ABORT. */
function endsWithAbort(memory: RingMemory, position: number): boolean {
  let kind = 0
  for (let at = position; at !== memory.writePosition; at = advance(at, recordBytesOf(memory.wordAt(at, 0)))) {
    kind = kindOf(memory.wordAt(at, 1))
  }
  return kind === ABORT
}

const trySend = fc.nat(100).map((percent) =>
  command(`trySend ${percent} %`, (model, { producer, memory }) => {
    const message = payload(Math.floor((producer.maxRecordBytes * percent) / 100), model.sentCount++)
    const { writePosition } = memory
    const wasSent = producer.trySend(message)
    expect(memory.writePosition !== writePosition).toBe(wasSent)
    if (wasSent) model.pending.push({ message, isAbandoned: false })
  }),
)

const reopenProducer = fc.constant(
  command('close producer, reopen', (_model, real) => {
    real.producer.close()
    real.producer = real.producerRegion.root.producer()
  }),
)

const replaceDeadProducer = fc.constant(
  command('producer dies, successor', (_model, real) => {
    real.region.declareDead(real.producerRegion.peers.self)
    real.producerRegion = real.attach()
    real.producer = real.producerRegion.root.producer()
  }),
)

const receiveWhole = fc.constant(
  command('tryReceive', (model, { consumer }) => expectNext(model, () => consumer.tryReceive())),
)

/** Memory that is too short refuses the message, which stays. */
const receiveInto = fc.nat(260).map((percent) =>
  command(`tryReceive into ${percent} %`, (model, { consumer, memory }) => {
    const into = new Uint8Array(Math.floor((memory.capacityBytes * percent) / 100))
    const next = model.pending.at(0)
    if (next !== undefined && !next.isAbandoned && next.message.byteLength > into.byteLength) {
      expectCode('ERR_ISTHMUS_MESSAGE_TOO_LARGE', () => consumer.tryReceive({ into }))
    } else if (next === undefined || !next.isAbandoned) {
      const received = consumer.tryReceive({ into })
      expect(received).toEqual(next?.message)
      if (received) expect(received.buffer).toBe(into.buffer)
      model.pending.shift()
    }
  }),
)

const receiveInChunks = fc.constant(
  command('tryReceiveChunk until the last', (model, { consumer }) => {
    const expected = model.pending.at(0)?.message
    expectNext(model, () => {
      const bytes: number[] = []
      for (let chunk = consumer.tryReceiveChunk(); chunk; chunk = consumer.tryReceiveChunk()) {
        expect([chunk.messageOffset, chunk.messageByteLength]).toEqual([bytes.length, expected?.byteLength])
        expect(chunk.bytes).toEqual(expected?.slice(bytes.length, bytes.length + chunk.bytes.byteLength))
        bytes.push(...chunk.bytes)
        if (chunk.isLast) return Uint8Array.from(bytes)
      }
      expect(bytes).toEqual([])
      return undefined
    })
  }),
)

/** What follows a message is in the batch only if it came whole; an error is left to the next call. */
const receiveBatch = fc.integer({ min: 1, max: 5 }).map((limit) =>
  command(`tryReceiveBatch ${limit}`, (model, { consumer }) => {
    if (model.pending.length === 0 || model.pending[0].isAbandoned) {
      expectNext(model, () => consumer.tryReceiveBatch(limit)?.[0])
      return
    }
    const batch = consumer.tryReceiveBatch(limit) ?? []
    expect(batch.length).toBeGreaterThan(0)
    expect(batch.length).toBeLessThanOrEqual(limit)
    const given = model.pending.splice(0, batch.length)
    expect(given.some(({ isAbandoned }) => isAbandoned)).toBe(false)
    expect(batch).toEqual(given.map(({ message }) => message))
  }),
)

const drain = fc.nat(3).map((limit) =>
  command(`drain ${limit}`, (model, { consumer }) => {
    const messages: Uint8Array[] = []
    const expected = model.pending.slice(0, limit)
    const brokenOff = expected.findIndex(({ isAbandoned }) => isAbandoned)
    const whole = brokenOff === -1 ? expected : expected.slice(0, brokenOff)
    const drainAll = () =>
      consumer.drain(
        (bytes, byteOffset, byteLength) => {
          messages.push(bytes.slice(byteOffset, byteOffset + byteLength))
        },
        { limit },
      )
    if (brokenOff === -1) expect(drainAll()).toBe(whole.length)
    else expect(drainAll).toThrow(IncompleteMessageError)
    expect(messages).toEqual(whole.map(({ message }) => message))
    model.pending.splice(0, whole.length + (brokenOff === -1 ? 0 : 1))
  }),
)

const acknowledge = fc.constant(command('acknowledge', (_model, { consumer }) => consumer.acknowledge()))

const reopenConsumer = fc.constant(
  command('acknowledge, close consumer, reopen', (_model, real) => {
    real.consumer.acknowledge()
    real.consumer.close()
    real.consumer = real.ring.consumer()
  }),
)

export const largeProducerCommand: fc.Arbitrary<Command> = fc.oneof(
  { weight: 6, arbitrary: sendSync },
  { weight: 3, arbitrary: sendBatchSync },
  { weight: 2, arbitrary: trySend },
  { weight: 1, arbitrary: reopenProducer },
  { weight: 1, arbitrary: replaceDeadProducer },
)

export const largeConsumerCommand: fc.Arbitrary<Command> = fc.oneof(
  { weight: 4, arbitrary: receiveWhole },
  { weight: 4, arbitrary: receiveInChunks },
  { weight: 2, arbitrary: receiveInto },
  { weight: 3, arbitrary: receiveBatch },
  { weight: 2, arbitrary: drain },
  { weight: 1, arbitrary: acknowledge },
  { weight: 1, arbitrary: reopenConsumer },
)

/** The next message, or that it was abandoned, or nothing. */
export function expectNext(model: LargeModel, receive: () => Uint8Array | undefined | null): void {
  const next = model.pending.shift()
  if (next?.isAbandoned) {
    const messageByteLength = next.message.byteLength
    expect(receive).toThrow(expect.objectContaining({ reason: 'abandoned', messageByteLength }))
  } else {
    expect(receive()).toEqual(next?.message)
  }
}

function command(name: string, run: (model: LargeModel, real: LargeReal) => void): Command {
  return {
    check: () => true,
    run(model, real) {
      run(model, real)
      const { writePosition, readPosition, usedBytes, capacityBytes } = real.memory
      expect([writePosition % 8, readPosition % 8].map(Math.abs)).toEqual([0, 0])
      expect(usedBytes).toBeGreaterThanOrEqual(0)
      expect(usedBytes).toBeLessThanOrEqual(capacityBytes)
    },
    toString: () => name,
  }
}
