import { HeapRegion, type Layout, struct } from '@isthmus/sync'
import fc from 'fast-check'
import { describe, expect, expectTypeOf, test } from 'vitest'
import { expectCode } from '../../sync/test/support/expect-code.js'
import {
  type Codec,
  type Consumer,
  json,
  type MessageChunk,
  type Producer,
  type SpscRing,
  type SpscRingOptions,
  spscRing,
  utf8,
} from '../src/index.js'
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

describe('a codec in the layout', () => {
  const ringWith = <T>(codec: Codec<T>) => createRing({ capacityBytes: 256, codec }).ring

  test('the handles of a ring encode and decode', () => {
    const ring = ringWith(json<unknown>())
    const producer = ring.producer()
    const consumer = ring.consumer()
    producer.trySend({ price: 12.5 })
    producer.sendSync(['a', null])
    expect(consumer.tryReceive()).toEqual({ price: 12.5 })
    expect(consumer.receiveSync()).toEqual(['a', null])
  })

  test('a codec of the program’s own: two numbers, claimed and drained in place as what it reads and writes', () => {
    const point: Codec<[number, number]> = {
      name: 'point@1',
      encode: (xy) => new Uint8Array(Float64Array.from(xy).buffer),
      decode({ buffer, byteOffset }) {
        const [x, y] = new Float64Array(buffer, byteOffset, 2)
        return [x, y]
      },
    }
    const ring = ringWith(point)
    const producer = ring.producer()
    const consumer = ring.consumer()
    producer.trySend([1.5, -2])
    expect(consumer.tryReceive()).toEqual([1.5, -2])
    producer.doubles.set([3, 4], producer.tryClaim(16) / 8)
    producer.commit()
    expect(consumer.tryReceive()).toEqual([3, 4])
    producer.trySend([5, 6])
    const seen: number[] = []
    consumer.drain((_bytes, byteOffset) => seen.push(...consumer.doubles.subarray(byteOffset / 8, byteOffset / 8 + 2)))
    expect(seen).toEqual([5, 6])
  })

  test('a codec may be an object of a class', () => {
    class Digit implements Codec<number> {
      readonly name = 'digit'
      readonly #zero = 48
      encode(value: number) {
        return Uint8Array.of(this.#zero + value)
      }
      decode([byte]: Uint8Array) {
        return byte - this.#zero
      }
    }
    const ring = ringWith(new Digit())
    ring.producer().trySend(7)
    expect(ring.consumer().tryReceive()).toBe(7)
  })

  test('Consumer.tryReceive whose codec throws has received the message', () => {
    const ring = ringWith<unknown>({ ...utf8, decode: json().decode })
    const consumer = ring.consumer()
    ring.producer().trySendBatch(['{', '5'])
    expect(() => consumer.tryReceive()).toThrow(SyntaxError)
    expect(consumer.tryReceive()).toBe(5)
  })

  test('Consumer gives a codec a private copy at a multiple of 8 bytes', () => {
    const decoded: Uint8Array[] = []
    const ring = ringWith({ name: 'spy', encode: () => Uint8Array.of(1, 2), decode: (bytes) => decoded.push(bytes) })
    const consumer = ring.consumer()
    ring.producer().trySendBatch([0, 0, 0])
    for (let message = 0; message < 3; message++) consumer.tryReceive()
    expect(decoded).toEqual(Array(3).fill(Uint8Array.of(1, 2)))
    for (const bytes of decoded) expect(bytes.byteOffset % 8).toBe(0)
    expect(decoded[0].buffer).toBeInstanceOf(ArrayBuffer)
  })

  test('a codec carries the type of what is sent and received to the handles', () => {
    const ring = ringWith(utf8)
    const consumer = ring.consumer()
    expectTypeOf(consumer).toEqualTypeOf<Consumer<string>>()
    expectTypeOf(consumer.tryReceive()).toEqualTypeOf<string | undefined | null>()
    expectTypeOf(ring.producer()).toEqualTypeOf<Producer<string>>()
    const layout = spscRing({ capacityBytes: 64, codec: json<{ price: number }>() })
    expectTypeOf(layout).toEqualTypeOf<Layout<SpscRing<{ price: number }>>>()
    expectTypeOf(spscRing({ capacityBytes: 64 })).toEqualTypeOf<Layout<SpscRing<Uint8Array>>>()
    const bytesOrNot: SpscRingOptions = { capacityBytes: 64 }
    expectTypeOf(spscRing(bytesOrNot)).toEqualTypeOf<Layout<SpscRing<Uint8Array>>>()
    const perhapsCoded: SpscRingOptions<string> = { capacityBytes: 64 }
    // @ts-expect-error without its codec this would be a ring of bytes that says it carries strings
    spscRing(perhapsCoded)
  })

  test('only a timeout makes a receive resolve to undefined, not a signal; also if the options come in a variable', () => {
    const plain = createRing({ capacityBytes: 64 }).ring.consumer()
    const { signal } = new AbortController()
    type Received = Uint8Array | null
    expectTypeOf(() => plain.receive()).returns.resolves.toEqualTypeOf<Received>()
    expectTypeOf(() => plain.receive({ signal })).returns.resolves.toEqualTypeOf<Received>()
    expectTypeOf(() => plain.receive({ signal, timeoutMs: 5 })).returns.resolves.toEqualTypeOf<Received | undefined>()
    expectTypeOf(() => plain.receiveSync({})).returns.toEqualTypeOf<Received>()
    expectTypeOf(() => plain.receiveSync({ timeoutMs: 5 })).returns.toEqualTypeOf<Received | undefined>()
    expectTypeOf(() => plain.receiveChunk({ signal })).returns.resolves.toEqualTypeOf<MessageChunk | null>()
    expectTypeOf(() => plain.receiveChunkSync()).returns.toEqualTypeOf<MessageChunk | null>()
    const given: { signal: AbortSignal; timeoutMs?: number } = { signal }
    expectTypeOf(() => plain.receive(given)).returns.resolves.toEqualTypeOf<Received | undefined>()
    expectTypeOf(plain.tryReceive()).toEqualTypeOf<Uint8Array | undefined | null>()
    const options = { into: new Uint8Array(64), timeoutMs: 0 }
    const chunk = plain.receiveChunkSync(options)
    expectTypeOf(chunk).toEqualTypeOf<MessageChunk | undefined | null>()
    expectTypeOf(plain.receiveChunk(options)).resolves.toEqualTypeOf<MessageChunk | undefined | null>()
    expectTypeOf(plain.receiveChunkSync).toBeCallableWith({ into: options.into })
    expect(chunk).toBe(undefined)
  })
})

describe('the name of a codec', () => {
  const named = (name: unknown) => ({ ...utf8, name }) as Codec<string>
  const signatureOf = (name: string) => spscRing({ capacityBytes: 64, codec: named(name) }).signature

  test('stands in the signature of the ring, also inside of a struct', () => {
    expect(signatureOf('@shop/order@2')).toBe(
      'spsc-ring@1(capacityBytes=64,maxMessageBytes=268435456,codec=@shop/order@2)',
    )
    const layout = struct({ orders: spscRing({ capacityBytes: 64, codec: json<unknown>() }) })
    expect(layout.signature).toBe('struct{orders:spsc-ring@1(capacityBytes=64,maxMessageBytes=268435456,codec=json)}')
  })

  test('two programs that disagree about the codec are told when they open the memory', () => {
    const layoutWith = (codec: Codec<unknown>) => struct({ orders: spscRing({ capacityBytes: 64, codec }) })
    const first = { ...json<unknown>(), name: 'order@1' }
    const region = HeapRegion.create(layoutWith(first))
    const { message } = expectCode('ERR_ISTHMUS_LAYOUT_MISMATCH', () =>
      HeapRegion.attach(region.handle, layoutWith({ ...first, name: 'order@2' })),
    )
    expect(message).toMatch(/codec=order@1(.|\n)*codec=order@2/)
    expectCode('ERR_ISTHMUS_LAYOUT_MISMATCH', () =>
      HeapRegion.attach(region.handle, struct({ orders: spscRing({ capacityBytes: 64 }) })),
    )
    HeapRegion.attach(region.handle, layoutWith({ ...first })).close()
  })

  test.each([
    undefined,
    null,
    5,
    '',
    ' ',
    'a b',
    'a,b',
    'a)',
    '(a',
    'a=b',
    'a"b',
    'a{b}',
    'größe',
    'a\n',
    'x'.repeat(101),
  ])('is refused if it is %j', (name) => {
    const { message } = expectCode('ERR_ISTHMUS_INVALID_ARGUMENT', () =>
      spscRing({ capacityBytes: 64, codec: named(name) }),
    )
    expect(message).toContain('name')
  })
})
