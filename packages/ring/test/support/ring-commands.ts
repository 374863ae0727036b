import fc from 'fast-check'
import { expect } from 'vitest'
import { expectCode } from '../../../sync/test/support/expect-code.js'
import type { Consumer, Producer } from '../../src/index.js'
import { createRing, expectSameMessages, payload, type RingSetup } from './ring-memory.js'

/** What the ring should hold: a plain array of everything that was sent, and the end of each message. */
export interface Model {
  readonly sent: Uint8Array[]
  readonly ends: number[]
  readonly startPosition: number
  visibleCount: number
  receivedCount: number
  /** How many messages the last call gave: their space is returned with the next one. */
  givenCount: number
  corkDepth: number
}

export interface Real extends RingSetup {
  producer: Producer
  consumer: Consumer
}

export type Command = fc.Command<Model, Real>

export function setUpCase(capacityBytes: number, startPosition: number): { model: Model; real: Real } {
  const setup = createRing({ capacityBytes }, startPosition)
  return {
    model: { sent: [], ends: [], startPosition, visibleCount: 0, receivedCount: 0, givenCount: 1, corkDepth: 0 },
    real: { ...setup, producer: setup.ring.producer(), consumer: setup.ring.consumer() },
  }
}

/** Capacities from the smallest on; start positions at 0, just before both wraps of 32-bit numbers, and anywhere. */
export const capacityBytes = fc.integer({ min: 6, max: 12 }).map((exponent) => 2 ** exponent)
export const startPosition = fc.oneof(
  fc.constant(0),
  fc.integer({ min: 1, max: 64 }).map((steps) => -8 * steps),
  fc.integer({ min: 1, max: 64 }).map((steps) => 2 ** 31 - 8 * steps),
  fc.nat(2 ** 29 - 1).map((steps) => (steps * 8) | 0),
)

/** Stands for the longest message: its length depends on the capacity. */
const LONGEST = -1
const length = fc.oneof(
  { weight: 1, arbitrary: fc.constant(LONGEST) },
  { weight: 2, arbitrary: fc.nat(40) },
  { weight: 2, arbitrary: fc.nat(2_040) },
)

const send = length.map((asked) =>
  command(`trySend ${asked}`, (model, { producer, ...real }) => {
    const message = nextMessage(model, real, asked)
    expectSent(model, real, message, producer.trySend(message))
  }),
)

const claimAndCommit = length.map((asked) =>
  command(`tryClaim ${asked}, commit`, (model, { producer, ...real }) => {
    const message = nextMessage(model, real, asked)
    const byteOffset = producer.tryClaim(message.byteLength)
    if (byteOffset !== -1) {
      expectInsideRecords(real, byteOffset, message.byteLength)
      producer.bytes.set(message, byteOffset)
      producer.commit()
    }
    expectSent(model, real, message, byteOffset !== -1)
  }),
)

const claimAndAbort = length.map((asked) =>
  command(`tryClaim ${asked}, abort`, (model, { producer, ...real }) => {
    const message = nextMessage(model, real, asked)
    const byteOffset = producer.tryClaim(message.byteLength)
    expect(byteOffset !== -1).toBe(fits(model, real, message.byteLength))
    if (byteOffset === -1) return publish(model)
    expectInsideRecords(real, byteOffset, message.byteLength)
    producer.bytes.fill(0x7f, byteOffset, byteOffset + message.byteLength)
    producer.abort()
  }),
)

const sendBatch = fc.tuple(fc.array(length, { maxLength: 12 }), fc.boolean()).map(([lengths, isBlocking]) =>
  command(`${isBlocking ? 'sendBatchSync' : 'trySendBatch'} ${lengths}`, (model, { producer, ...real }) => {
    const messages = lengths.map((asked, at) => nextMessage(model, real, asked, at))
    const sentCount = isBlocking ? producer.sendBatchSync(messages, { timeoutMs: 0 }) : producer.trySendBatch(messages)
    model.corkDepth++
    for (const message of messages.slice(0, sentCount)) expectSent(model, real, message, true)
    if (sentCount < messages.length) expectSent(model, real, messages[sentCount], false)
    if (--model.corkDepth === 0) publish(model)
  }),
)

const cork = fc.constant(
  command('cork', (model, { producer }) => {
    producer.cork()
    model.corkDepth++
  }),
)

const uncork = fc.constant(
  command('uncork', (model, { producer }) => {
    if (model.corkDepth === 0) {
      expectCode('ERR_ISTHMUS_CALL_ORDER', () => producer.uncork())
      return
    }
    producer.uncork()
    if (--model.corkDepth === 0) publish(model)
  }),
)

const reopenProducer = fc.boolean().map((hasOpenClaim) =>
  command(`close producer${hasOpenClaim ? ' with an open claim' : ''}, reopen`, (model, real) => {
    if (hasOpenClaim) real.producer.tryClaim(1)
    real.producer.close()
    publish(model)
    model.corkDepth = 0
    real.producer = real.ring.producer()
  }),
)

const receive = fc.constant(
  command('tryReceive', (model, { consumer, memory }) => {
    const message = consumer.tryReceive()
    expectReceived(model, message === undefined ? [] : [message], 1)
    if (message === undefined) expect(memory.readPosition).toBe(consumedPosition(model))
  }),
)

const receiveChunk = fc.constant(
  command('tryReceiveChunk', (model, { consumer }) => {
    const chunk = consumer.tryReceiveChunk()
    if (chunk) {
      const { byteLength } = chunk.bytes
      expect(chunk).toMatchObject({ messageOffset: 0, messageByteLength: byteLength, isLast: true })
    }
    expectReceived(model, chunk ? [chunk.bytes] : [], 1)
  }),
)

const receiveBatch = fc.tuple(fc.integer({ min: 1, max: 12 }), fc.boolean()).map(([limit, isBlocking]) =>
  command(`${isBlocking ? 'receiveBatchSync' : 'tryReceiveBatch'} ${limit}`, (model, { consumer }) => {
    const batch = isBlocking
      ? consumer.receiveBatchSync({ maxMessages: limit, timeoutMs: 0 })
      : consumer.tryReceiveBatch(limit)
    if (batch !== undefined) expect(batch?.length).toBeGreaterThan(0)
    expectReceived(model, batch ?? [], limit)
    model.givenCount = Math.max(1, batch?.length ?? 0)
  }),
)

const drain = fc.option(fc.nat(20), { nil: undefined }).map((limit) =>
  command(`drain ${limit ?? 'all'}`, (model, { consumer, ...real }) => {
    const messages: Uint8Array[] = []
    const count = consumer.drain(
      (bytes, byteOffset, byteLength) => {
        expectInsideRecords(real, byteOffset, byteLength)
        messages.push(bytes.slice(byteOffset, byteOffset + byteLength))
      },
      limit === undefined ? undefined : { limit },
    )
    expect(count).toBe(messages.length)
    expectReceived(model, messages, limit ?? Number.POSITIVE_INFINITY)
  }),
)

const acknowledge = fc.constant(
  command('acknowledge', (model, { consumer, memory }) => {
    consumer.acknowledge()
    expect(memory.readPosition).toBe(consumedPosition(model))
  }),
)

const reopenConsumer = fc.boolean().map((hasAcknowledged) =>
  command(`${hasAcknowledged ? 'acknowledge, ' : ''}close consumer, reopen`, (model, real) => {
    if (hasAcknowledged) real.consumer.acknowledge()
    real.consumer.close()
    expect(real.memory.readPosition).toBe(consumedPosition(model))
    real.consumer = real.ring.consumer()
  }),
)

export const producerCommand: fc.Arbitrary<Command> = fc.oneof(
  { weight: 4, arbitrary: send },
  { weight: 4, arbitrary: claimAndCommit },
  { weight: 3, arbitrary: claimAndAbort },
  { weight: 2, arbitrary: sendBatch },
  { weight: 1, arbitrary: cork },
  { weight: 1, arbitrary: uncork },
  { weight: 1, arbitrary: reopenProducer },
)

export const consumerCommand: fc.Arbitrary<Command> = fc.oneof(
  { weight: 5, arbitrary: receive },
  { weight: 3, arbitrary: drain },
  { weight: 2, arbitrary: receiveChunk },
  { weight: 3, arbitrary: receiveBatch },
  { weight: 1, arbitrary: acknowledge },
  { weight: 1, arbitrary: reopenConsumer },
)

function command(name: string, run: (model: Model, real: Real) => void): Command {
  return {
    check: () => true,
    run(model, real) {
      run(model, real)
      expectInvariants(model, real)
    },
    toString: () => name,
  }
}

/** The invariants of layout.ts, and that exactly what should be visible is. */
function expectInvariants(model: Model, { memory }: Real): void {
  const { writePosition, readPosition, usedBytes } = memory
  expect([writePosition % 8, readPosition % 8].map(Math.abs)).toEqual([0, 0])
  expect(usedBytes).toBeGreaterThanOrEqual(0)
  expect(usedBytes).toBeLessThanOrEqual(memory.capacityBytes)
  expect(writePosition).toBe(endOf(model, model.visibleCount))
  expect((consumedPosition(model) - readPosition) | 0).toBeGreaterThanOrEqual(0)
  // What was given last may still be in use; what came before it is returned in quarters.
  const previousEnd = endOf(model, Math.max(0, model.receivedCount - model.givenCount))
  expect((previousEnd - readPosition) | 0).toBeLessThan(memory.capacityBytes / 4)
}

function expectSent(model: Model, real: Pick<Real, 'memory'>, message: Uint8Array, wasSent: boolean): void {
  expect(wasSent).toBe(fits(model, real, message.byteLength))
  if (wasSent) {
    const { recordBytes, paddingBytes } = spaceFor(model, real, message.byteLength)
    model.ends.push((endOf(model, model.sent.length) + paddingBytes + recordBytes) | 0)
    model.sent.push(message)
  }
  // A full ring shows the consumer all there is.
  if (!wasSent || model.corkDepth === 0) publish(model)
}

function expectReceived(model: Model, messages: (Uint8Array | null)[], limit: number): void {
  const expectedCount = Math.min(limit, model.visibleCount - model.receivedCount)
  expectSameMessages(messages, model.sent.slice(model.receivedCount, model.receivedCount + expectedCount))
  model.receivedCount += expectedCount
  model.givenCount = 1
}

function expectInsideRecords({ memory }: Pick<Real, 'memory'>, byteOffset: number, byteLength: number): void {
  expect(byteOffset).toBeGreaterThanOrEqual(memory.recordsByteOffset)
  expect(byteOffset + byteLength).toBeLessThanOrEqual(memory.recordsByteOffset + memory.capacityBytes)
}

function publish(model: Model): void {
  model.visibleCount = model.sent.length
}

function endOf(model: Model, messageCount: number): number {
  return messageCount === 0 ? model.startPosition : model.ends[messageCount - 1]
}

function consumedPosition(model: Model): number {
  return endOf(model, model.receivedCount)
}

function spaceFor(model: Model, { memory }: Pick<Real, 'memory'>, byteLength: number) {
  const recordBytes = 8 + Math.ceil(byteLength / 8) * 8
  const bytesUntilEnd = memory.capacityBytes - (endOf(model, model.sent.length) & (memory.capacityBytes - 1))
  return { recordBytes, paddingBytes: recordBytes > bytesUntilEnd ? bytesUntilEnd : 0 }
}

function fits(model: Model, real: Pick<Real, 'memory'>, byteLength: number): boolean {
  const { recordBytes, paddingBytes } = spaceFor(model, real, byteLength)
  const usedBytes = (endOf(model, model.sent.length) - real.memory.readPosition) | 0
  return usedBytes + paddingBytes + recordBytes <= real.memory.capacityBytes
}

function nextMessage(model: Model, { ring }: Pick<Real, 'ring'>, asked: number, ahead = 0): Uint8Array {
  const { maxRecordBytes } = ring
  return payload(asked === LONGEST ? maxRecordBytes : asked % (maxRecordBytes + 1), model.sent.length + ahead)
}
