import vm from 'node:vm'
import { beforeEach, describe, expect, test } from 'vitest'
import { expectCode, expectRejection } from '../../../sync/test/support/expect-code.js'
import { soon } from '../../../sync/test/support/waiting.js'
import { type Consumer, type Producer, spscRing } from '../../src/index.js'
import { createRing, payload, type RingSetup, receiveAll } from '../support/ring-memory.js'

let setup: RingSetup
let producer: Producer
let consumer: Consumer

beforeEach(() => {
  setup = createRing({ capacityBytes: 1024 })
  producer = setup.ring.producer()
  consumer = setup.attach().root.consumer()
})

const INVALID = 'ERR_ISTHMUS_INVALID_ARGUMENT'
/** The types do not know it yet. */
function resizable(byteLength: number): ArrayBuffer & { resize(byteLength: number): void } {
  return Reflect.construct(ArrayBuffer, [byteLength, { maxByteLength: 600 }])
}

/** What callers without types give. */
const wrong = (value: unknown) => value as never
const throwing = {
  get timeoutMs(): never {
    throw new Error('a getter')
  },
  get signal(): never {
    throw new Error('a getter')
  },
}

describe('arguments that are wrong', () => {
  test('a call with wrong arguments throws a typed error, and the message stays', () => {
    producer.trySend(payload(8))
    const strangers = [5n, Symbol('stranger'), '8', null, {}, Number.NaN, -1, 0.5]
    for (const stranger of strangers) expectCode(INVALID, () => producer.tryClaim(wrong(stranger)))
    for (const stranger of [undefined, null, 5, {}]) expectCode(INVALID, () => consumer.drain(wrong(stranger)))
    for (const stranger of [5n, Symbol('stranger'), '5', -1, Number.NaN, null]) {
      expectCode(INVALID, () => consumer.drain(() => {}, { limit: wrong(stranger) }))
    }
    for (const stranger of [null, 5, '5']) expectCode(INVALID, () => consumer.drain(() => {}, wrong(stranger)))
    for (const stranger of [null, 5, 'options']) {
      expectCode(INVALID, () => consumer.receiveSync(wrong(stranger)))
      expectCode(INVALID, () => consumer.tryReceiveChunk(wrong(stranger)))
      expectCode(INVALID, () => consumer.receiveChunkSync(wrong(stranger)))
      expectCode(INVALID, () => producer.sendSync(payload(1), wrong(stranger)))
      expectCode(INVALID, () => producer.trySendBatch(wrong(stranger === 5 ? undefined : stranger === null ? null : 5)))
    }
    for (const into of [5, 'array', [], new Uint16Array(600), new DataView(new ArrayBuffer(600))]) {
      expectCode(INVALID, () => consumer.tryReceiveChunk({ into: wrong(into) }))
    }
    for (const stranger of [undefined, null, 5n, 'text', [1], new Uint16Array(2), new DataView(new ArrayBuffer(2))]) {
      expectCode(INVALID, () => producer.trySend(wrong(stranger)))
    }
    expect([consumer.tryReceive(), consumer.tryReceive()]).toEqual([payload(8), undefined])
  })

  test('an asynchronous call with wrong options rejects, and neither the calls before nor the handle notice', async () => {
    const options = [null, 5, { timeoutMs: -1 }, { timeoutMs: '5' }, { signal: {} }, { signal: { aborted: false } }]
    const first = consumer.receive()
    for (const stranger of options) {
      await expectRejection(INVALID, consumer.receive(wrong(stranger)))
      await expectRejection(INVALID, consumer.receiveChunk(wrong(stranger)))
      await expectRejection(INVALID, producer.send(payload(1), wrong(stranger)))
    }
    await expect(consumer.receive(throwing)).rejects.toThrow('a getter')
    await expect(producer.send(payload(1), throwing)).rejects.toThrow('a getter')
    await expectRejection(INVALID, consumer.receiveChunk({ into: wrong('text') }))
    producer.trySend(payload(7))
    expect(await soon(first)).toEqual(payload(7))
    producer.trySend(payload(8))
    expect(await soon(consumer.receive())).toEqual(payload(8))
  })

  test.each([
    undefined,
    null,
    5,
    { capacityBytes: 64n },
    { capacityBytes: '64' },
    { capacityBytes: 64, maxMessageBytes: 5n },
    { capacityBytes: 64, codec: null },
    { capacityBytes: 64, codec: 'utf8' },
    { capacityBytes: 64, codec: { name: 'half', encode: () => new Uint8Array() } },
    { capacityBytes: 64, codec: { name: 'half', decode: () => 5 } },
  ])('spscRing refuses %s', (options) => {
    expectCode(INVALID, () => spscRing(wrong(options)))
  })
})

describe('messages of other worlds', () => {
  test('bytes of another realm are bytes, from the program and from a codec, and to copy chunks into', () => {
    const foreign = vm.runInNewContext('new Uint8Array([1, 2, 3])') as Uint8Array
    expect(foreign).not.toBeInstanceOf(Uint8Array)
    expect(producer.trySend(foreign)).toBe(true)
    const codec = { name: 'foreign', encode: () => foreign, decode: (bytes: Uint8Array) => bytes }
    const encoding = createRing({ capacityBytes: 64, codec }).ring
    expect(encoding.producer().sendSync(new Uint8Array())).toBe(true)
    expect(encoding.consumer().tryReceive()).toEqual(new Uint8Array([1, 2, 3]))
    const into = vm.runInNewContext('new Uint8Array(600)') as Uint8Array
    expect([...(consumer.tryReceiveChunk({ into })?.bytes ?? [])]).toEqual([1, 2, 3])
  })

  test('a buffer that is detached, or cut off, is refused with a code, and leaves no claim open', async () => {
    const detached = () => {
      const bytes = new Uint8Array(8)
      structuredClone(bytes.buffer, { transfer: [bytes.buffer] })
      return bytes
    }
    const buffer = resizable(16)
    const cutOff = new Uint8Array(buffer, 8, 8)
    buffer.resize(4)
    for (const bytes of [detached(), cutOff]) {
      expectCode(INVALID, () => producer.trySend(bytes))
      expectCode(INVALID, () => producer.sendSync(bytes))
      await expectRejection(INVALID, producer.send(bytes))
    }
    expect(producer.trySend(new Uint8Array(0))).toBe(true)
    expect(producer.trySend(payload(3))).toBe(true)
    expect([consumer.tryReceive(), consumer.tryReceive()]).toEqual([new Uint8Array(0), payload(3)])
  })

  test('a message of a resizable buffer is as long as it is when it is sent', () => {
    const buffer = resizable(4)
    const bytes = new Uint8Array(buffer)
    producer.trySend(bytes)
    buffer.resize(300)
    producer.trySend(bytes)
    expect([consumer.tryReceive()?.byteLength, consumer.tryReceive()?.byteLength]).toEqual([4, 300])
  })
})

describe('what fails between looking and taking', () => {
  test('a message for whose copy there is no memory stays', () => {
    const { ring } = createRing({ capacityBytes: 1 << 15 })
    const producer = ring.producer()
    const consumer = ring.consumer()
    const large = payload(5_000)
    producer.trySend(large)
    const slice = Object.getOwnPropertyDescriptor(Object.getPrototypeOf(Uint8Array.prototype), 'slice')
    Object.defineProperty(consumer.bytes, 'slice', {
      configurable: true,
      value() {
        throw new RangeError('Array buffer allocation failed')
      },
    })
    expect(() => consumer.tryReceive()).toThrow('Array buffer allocation failed')
    expect(() => consumer.tryReceiveChunk()).toThrow('Array buffer allocation failed')
    Object.defineProperty(consumer.bytes, 'slice', slice as PropertyDescriptor)
    expect(consumer.tryReceive()).toEqual(large)
  })

  test('a large message for which there is no memory stays, and can be received in chunks', () => {
    const { ring, memory } = createRing({ capacityBytes: 64, maxMessageBytes: 2 ** 52 })
    const reader = ring.consumer()
    memory.appendFirst(payload(8), 2 ** 45)
    for (let attempt = 0; attempt < 2; attempt++) {
      expectCode('ERR_ISTHMUS_MESSAGE_TOO_LARGE', () => reader.tryReceive())
    }
    expect(reader.tryReceiveChunk()).toMatchObject({ bytes: payload(8), messageOffset: 0, messageByteLength: 2 ** 45 })
  })

  test('a codec that throws, closes the producer, or calls back into it', () => {
    let encode: (value: number) => Uint8Array = (value) => new Uint8Array([value])
    const codec = { name: 'byte', encode: (value: number) => encode(value), decode: ([value]: Uint8Array) => value }
    const { ring } = createRing({ capacityBytes: 1024, codec })
    const sender = ring.producer()
    const plain = encode
    encode = () => {
      throw new Error('no form')
    }
    expect(() => sender.trySend(1)).toThrow('no form')
    expect(() => sender.trySendBatch([1])).toThrow('no form')
    encode = (value) => {
      encode = plain
      sender.trySend(value + 1)
      return plain(value)
    }
    expect(sender.trySend(1)).toBe(true)
    encode = (value) => {
      // What a batch holds back is its own business: it is not corked.
      if (value === 4) sender.uncork()
      return plain(value)
    }
    expect(sender.trySendBatch([3, 4, 5])).toBe(1)
    expectCode('ERR_ISTHMUS_CALL_ORDER', () => sender.trySendBatch([4, 5]))
    encode = (value) => {
      if (value === 4) sender.cork()
      return plain(value)
    }
    expect(sender.trySendBatch([4, 5])).toBe(2)
    sender.uncork()
    expectCode('ERR_ISTHMUS_CALL_ORDER', () => sender.uncork())
    encode = (value) => {
      sender.close()
      return plain(value)
    }
    expectCode('ERR_ISTHMUS_CLOSED', () => sender.trySend(6))
    expect(receiveAll(ring.consumer())).toEqual([2, 1, 3, 4, 5])
  })
})
