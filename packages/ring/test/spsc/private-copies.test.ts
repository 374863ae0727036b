import { MessageChannel, receiveMessageOnPort } from 'node:worker_threads'
import { beforeEach, describe, expect, test } from 'vitest'
import { expectCode } from '../../../sync/test/support/expect-code.js'
import type { Consumer, Producer } from '../../src/index.js'
import { DATA } from '../../src/record/layout.js'
import { createRing, payload, type RingSetup, receiveAll } from '../support/ring-memory.js'

let setup: RingSetup
let producer: Producer
let consumer: Consumer

beforeEach(() => {
  setup = createRing({ capacityBytes: 1 << 16 })
  producer = setup.ring.producer()
  consumer = setup.attach().root.consumer()
})

/** Whatever the producer's process does with its memory. */
function overwriteRecords(): void {
  setup.region.bytes.fill(0xee, setup.memory.recordsByteOffset)
}

/** Small ones, which are copied together, and large ones, of all alignments. */
const lengths = [1, 0, 8, 64, 250, 257, 1000, 4096, 4097, 9, 9000, 3, 4095, 5000, 7, 16]
const messages = lengths.map((byteLength, seed) => payload(byteLength, seed))

describe('private copies', () => {
  test('of messages of all lengths never change, and begin at a multiple of 8 bytes', () => {
    expect(producer.trySendBatch(messages)).toBe(messages.length)
    const received = receiveAll(consumer)
    overwriteRecords()
    expect(received).toEqual(messages)
    for (const { byteOffset } of received) expect(byteOffset % 8).toBe(0)
  })

  test('do not change each other: a view cannot be written through another one', () => {
    producer.trySendBatch([payload(105, 1), payload(105, 2), payload(105, 3)])
    const [first, second, third] = receiveAll(consumer)
    second.fill(0xff)
    producer.trySend(payload(105, 4))
    expect([first, third, consumer.tryReceive()]).toEqual([payload(105, 1), payload(105, 3), payload(105, 4)])
  })

  test('of thousands of messages are all intact: each byte of a block is used once', () => {
    const sent: Uint8Array[] = []
    const received: Uint8Array[] = []
    for (let round = 0; round < 200; round++) {
      for (let at = 0; at < 20; at++) sent.push(payload((round * 37 + at * 101) % 900, round + at))
      expect(producer.trySendBatch(sent.slice(-20))).toBe(20)
      received.push(...receiveAll(consumer))
    }
    expect(received.every((message, at) => Buffer.compare(message, sent[at]) === 0)).toBe(true)
    expect(received.length).toBe(4000)
  })

  test('calls of all kinds can take turns: each message comes once, in order', () => {
    producer.trySendBatch(messages)
    const received: Uint8Array[] = []
    for (let at = 0; at < messages.length; at++) {
      if (at % 4 === 1) received.push(consumer.tryReceiveChunk()?.bytes ?? new Uint8Array())
      else if (at % 4 === 3) {
        consumer.drain((bytes, from, byteLength) => received.push(bytes.slice(from, from + byteLength)), { limit: 1 })
      } else received.push(consumer.tryReceive() ?? new Uint8Array())
    }
    expect(received).toEqual(messages)
    expect(consumer.tryReceive()).toBeUndefined()
  })

  test('keep no space: what was copied and not given goes to the next consumer', () => {
    producer.trySendBatch([payload(105, 1), payload(105, 2), payload(105, 3)])
    expect(consumer.tryReceive()).toEqual(payload(105, 1))
    expect(setup.memory.readPosition).toBe(0)
    consumer.close()
    expect(setup.memory.readPosition).toBe(120)
    expect(receiveAll(setup.ring.consumer())).toEqual([payload(105, 2), payload(105, 3)])
  })

  test.each(['drain', 'in chunks'])('4 GiB later, at the same position, an old copy is not valid: %s', (way) => {
    producer.trySendBatch([payload(72, 1), payload(72, 2)])
    // From now on the consumer has a copy of the second message, which begins at position 80.
    expect(consumer.tryReceive()).toEqual(payload(72, 1))
    const { memory } = setup
    const into = new Uint8Array(consumer.maxRecordBytes)
    const takeInAnotherWay = () => {
      if (way === 'drain') expect(consumer.drain(() => {})).toBe(1)
      else expect(consumer.tryReceiveChunk({ into })).toMatchObject({ isLast: true })
    }
    const appendTo = (position: number) => {
      memory.setWordAt(memory.writePosition, 0, position - memory.writePosition - 8)
      memory.setWordAt(memory.writePosition, 1, DATA)
      memory.writePosition = position | 0
    }
    takeInAnotherWay()
    // Half the ring at a time. The loop does no more than it must.
    for (let lap = 1; lap < 2 ** 17; lap++) {
      appendTo(memory.writePosition + (lap === 1 ? 2 ** 15 - 160 : 2 ** 15))
      if (way === 'drain') consumer.drain(() => {})
      else consumer.tryReceiveChunk({ into })
    }
    appendTo(memory.writePosition + 2 ** 15)
    takeInAnotherWay()
    expect(memory.writePosition).toBe(0)
    memory.append({ kind: DATA, payload: payload(72, 3) })
    takeInAnotherWay()
    memory.append({ kind: DATA, payload: payload(72, 4) })
    expect(consumer.tryReceive()).toEqual(payload(72, 4))
  })

  test('a header that the copy shows to be no message is judged as it stands in the ring', () => {
    producer.trySendBatch([payload(72, 1), payload(72, 2)])
    setup.memory.setWordAt(80, 0, 4000)
    expect(consumer.tryReceive()).toEqual(payload(72, 1))
    expectCode('ERR_ISTHMUS_CORRUPT', () => consumer.tryReceive())
    setup.memory.setWordAt(80, 0, 72)
    expect(consumer.tryReceive()).toEqual(payload(72, 2))
  })

  test.each([
    ['length of the first', 0, 0, 4000, 0],
    ['kind of the first', 0, 1, 77, 0],
    ['length of a later one', 208, 0, 4000, 1],
    ['kind of a later one', 208, 1, 77, 1],
  ])('a header that changes while it is copied: %s', (_what, position, word, value, goodCount) => {
    producer.trySendBatch([payload(200, 1), payload(200, 2), payload(200, 3)])
    const { memory } = setup
    Object.defineProperty(consumer.bytes, 'subarray', {
      configurable: true,
      value(from: number, to: number) {
        memory.setWordAt(position, word, value)
        return Uint8Array.prototype.subarray.call(this, from, to)
      },
    })
    for (let at = 1; at <= goodCount; at++) expect(consumer.tryReceive()).toEqual(payload(200, at))
    expectCode('ERR_ISTHMUS_CORRUPT', () => consumer.tryReceive())
    Reflect.deleteProperty(consumer.bytes, 'subarray')
    memory.setWordAt(position, word, [200, DATA][word])
    expect(receiveAll(consumer)).toEqual([1, 2, 3].slice(goodCount).map((seed) => payload(200, seed)))
  })

  test('a message that is longer than maxMessageBytes is refused, also within a run', () => {
    const { ring, memory } = createRing({ capacityBytes: 1 << 12, maxMessageBytes: 100 })
    for (const byteLength of [50, 101]) memory.append({ kind: DATA, payload: payload(byteLength) })
    const reader = ring.consumer()
    expect(reader.tryReceive()).toEqual(payload(50))
    expectCode('ERR_ISTHMUS_CORRUPT', () => reader.tryReceive())
  })
})

describe('the block of a private copy', () => {
  test('cannot be transferred to another thread together with one of its messages', () => {
    producer.trySendBatch([payload(105, 1), payload(105, 2), payload(105, 3)])
    const first = consumer.tryReceive() as Uint8Array
    const { port1, port2 } = new MessageChannel()
    try {
      port1.postMessage(first, [first.buffer as ArrayBuffer])
      // Node.js 20 copies what it must not transfer.
      expect(receiveMessageOnPort(port2)?.message).toEqual(payload(105, 1))
    } catch (error) {
      expect(error).toMatchObject({ name: 'DataCloneError' })
    } finally {
      port1.close()
    }
    expect([first, consumer.tryReceive()]).toEqual([payload(105, 1), payload(105, 2)])
  })
})
