import fc from 'fast-check'
import { describe, expect, expectTypeOf, test } from 'vitest'
import { expectCode } from '../../sync/test/support/expect-code.js'
import { type Decoder, type Encoder, json, type MessageChunk, utf8 } from '../src/index.js'
import { createRing } from './support/ring-memory.js'

describe('utf8', () => {
  test('utf8 gives back every string that is well formed', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        expect(utf8.decode(utf8.encode(text))).toBe(text)
      }),
      { examples: [[''], ['\0'], ['größer → 𝄞']] },
    )
  })

  test('utf8 gives back a byte order mark in front of a text', () => {
    expect(utf8.decode(utf8.encode('\uFEFFtext'))).toBe('\uFEFFtext')
  })

  test('utf8 decodes what is no UTF-8 to replacement characters', () => {
    expect(utf8.decode(Uint8Array.of(0x61, 0xff, 0x62))).toBe('a\uFFFDb')
    expect(utf8.decode(utf8.encode('\uD800'))).toBe('\uFFFD')
  })
})

describe('json', () => {
  const codec = json<unknown>()

  test('json() gives back whatever JSON can say', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        expect(codec.decode(codec.encode(value))).toEqual(JSON.parse(JSON.stringify(value)))
      }),
    )
  })

  test('json().decode throws a SyntaxError for other bytes', () => {
    expect(() => codec.decode(Uint8Array.of(0x7b))).toThrow(SyntaxError)
  })

  test('json().encode refuses what JSON cannot say', () => {
    expectCode('ERR_ISTHMUS_INVALID_ARGUMENT', () => codec.encode(undefined))
    expectCode('ERR_ISTHMUS_INVALID_ARGUMENT', () => codec.encode(() => {}))
  })
})

describe('codecs on a ring', () => {
  test('Producer encodes and Consumer decodes', () => {
    const { ring } = createRing({ capacityBytes: 256 })
    const producer = ring.producer({ encode: json<unknown>() })
    const consumer = ring.consumer({ decode: json<unknown>() })
    producer.trySend({ price: 12.5 })
    producer.sendSync(['a', null])
    expect(consumer.tryReceive()).toEqual({ price: 12.5 })
    expect(consumer.receiveSync()).toEqual(['a', null])
  })

  test('TextEncoder and TextDecoder are codecs', () => {
    const { ring } = createRing({ capacityBytes: 64 })
    const producer = ring.producer<string>({ encode: new TextEncoder() })
    const consumer = ring.consumer<string>({ decode: new TextDecoder() })
    producer.trySend('größer')
    expect(consumer.tryReceive()).toBe('größer')
  })

  test('Consumer.tryReceive whose decoder throws has received the message', () => {
    const { ring } = createRing({ capacityBytes: 256 })
    const producer = ring.producer({ encode: utf8 })
    const consumer = ring.consumer({ decode: json<unknown>() })
    producer.trySendBatch(['{', '5'])
    expect(() => consumer.tryReceive()).toThrow(SyntaxError)
    expect(consumer.tryReceive()).toBe(5)
  })

  test('Consumer gives decoders a private copy', () => {
    const { ring } = createRing({ capacityBytes: 64 })
    const decoded: Uint8Array[] = []
    const consumer = ring.consumer<number>({ decode: { decode: (bytes) => decoded.push(bytes) } })
    ring.producer().trySend(Uint8Array.of(1, 2))
    consumer.tryReceive()
    expect(decoded[0].buffer).toBeInstanceOf(ArrayBuffer)
    expect([...decoded[0]]).toEqual([1, 2])
  })

  test('Encoder and Decoder carry the type of what is sent and received', () => {
    const { ring } = createRing({ capacityBytes: 64 })
    const consumer = ring.consumer({ decode: utf8 })
    expectTypeOf(consumer.tryReceive()).toEqualTypeOf<string | undefined | null>()
    expectTypeOf(ring.producer({ encode: utf8 }).trySend)
      .parameter(0)
      .toEqualTypeOf<string>()
    expectTypeOf(utf8).toExtend<Encoder<string> & Decoder<string>>()
    consumer.close()
    const orders = ring.consumer({ decode: json<{ price: number }>() })
    expectTypeOf(orders.tryReceive()).toEqualTypeOf<{ price: number } | undefined | null>()
    expectTypeOf(orders.receiveSync).returns.toEqualTypeOf<{ price: number } | undefined | null>()
    orders.close()
    const plain = ring.consumer()
    expectTypeOf(plain.tryReceive()).toEqualTypeOf<Uint8Array | undefined | null>()
    // Options in a variable: the overload without a timeout must not take those with one.
    const options = { into: new Uint8Array(64), timeoutMs: 0 }
    const chunk = plain.receiveChunkSync(options)
    expectTypeOf(chunk).toEqualTypeOf<MessageChunk | undefined | null>()
    expectTypeOf(plain.receiveChunk(options)).resolves.toEqualTypeOf<MessageChunk | undefined | null>()
    expectTypeOf(plain.receiveChunkSync).toBeCallableWith({ into: options.into })
    expect(chunk).toBe(undefined)
  })
})
