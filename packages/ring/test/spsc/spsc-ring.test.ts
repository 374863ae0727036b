import { HeapRegion, IsthmusRangeError, struct, u32 } from '@isthmus/sync'
import { MAX_ALIGNMENT, planHeader, readBacklogPairs, readHeader } from '@isthmus/sync/internal'
import { describe, expect, test } from 'vitest'
import { expectCode } from '../../../sync/test/support/expect-code.js'
import { spscRing } from '../../src/index.js'
import {
  arePositionsValid,
  READ_POSITION_OFFSET,
  RECORDS_OFFSET,
  WRITE_POSITION_OFFSET,
} from '../../src/spsc/layout.js'
import { createRing, expectSameMessages, payload, receiveAll } from '../support/ring-memory.js'

describe('spscRing: arguments', () => {
  test.each([64, 128, 4096, 2 ** 30])('spscRing takes a capacity of %s bytes', (capacityBytes) => {
    expect(spscRing({ capacityBytes }).byteLength).toBe(RECORDS_OFFSET + capacityBytes)
  })

  test.each([0, 1, 8, 32, 63, 65, 96, 100, 2 ** 31, 2 ** 32, -64, 64.5, Number.NaN, Number.POSITIVE_INFINITY])(
    'spscRing refuses a capacity of %s bytes',
    (capacityBytes) => {
      expectCode('ERR_ISTHMUS_INVALID_ARGUMENT', () => spscRing({ capacityBytes }))
      expect(() => spscRing({ capacityBytes })).toThrow(IsthmusRangeError)
    },
  )

  test('spscRing refuses a capacity that is no number', () => {
    // @ts-expect-error a string is no number of bytes
    expectCode('ERR_ISTHMUS_INVALID_ARGUMENT', () => spscRing({ capacityBytes: '64' }))
  })

  test.each([-1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53])('spscRing refuses %s maxMessageBytes', (max) => {
    expectCode('ERR_ISTHMUS_INVALID_ARGUMENT', () => spscRing({ capacityBytes: 64, maxMessageBytes: max }))
  })
})

describe('spscRing: layout', () => {
  test('spscRing.signature names everything that decides the bytes', () => {
    expect(spscRing({ capacityBytes: 64, maxMessageBytes: 7 }).signature).toBe(
      'spsc-ring@1(capacityBytes=64,maxMessageBytes=7)',
    )
    expect(spscRing({ capacityBytes: 64 }).signature).toBe('spsc-ring@1(capacityBytes=64,maxMessageBytes=268435456)')
  })

  test('spscRing keeps what different sides write 128 bytes apart', () => {
    expect(spscRing({ capacityBytes: 64 }).byteAlignment).toBe(MAX_ALIGNMENT)
    expect(READ_POSITION_OFFSET - WRITE_POSITION_OFFSET).toBe(128)
    expect(RECORDS_OFFSET % 128).toBe(0)
  })

  test('spscRing.backlog is a pair of words that differ exactly while something waits', () => {
    const layout = struct({ before: u32(), ring: spscRing({ capacityBytes: 64 }) })
    const region = HeapRegion.create(layout)
    const header = region.bytes.slice(0, planHeader(layout).rootByteOffset)
    const facts = readHeader(header.subarray(0, 128), { subject: 'it', byteLength: region.bytes.byteLength })
    const [pair] = readBacklogPairs(header, facts)
    const differs = () => region.words[pair[0] / 4] !== region.words[pair[1] / 4]
    const producer = region.root.ring.producer()
    const consumer = region.root.ring.consumer()
    expect(differs()).toBe(false)
    producer.trySend(payload(3))
    expect(differs()).toBe(true)
    consumer.tryReceive()
    consumer.acknowledge()
    expect(differs()).toBe(false)
  })

  test('SpscRing tells its sizes', () => {
    const { ring } = createRing({ capacityBytes: 4096, maxMessageBytes: 10_000 })
    expect([ring.capacityBytes, ring.maxRecordBytes, ring.maxMessageBytes]).toEqual([4096, 2040, 10_000])
    const small = createRing({ capacityBytes: 4096, maxMessageBytes: 100 }).ring
    expect([small.maxRecordBytes, small.producer().maxRecordBytes]).toEqual([100, 100])
  })

  test('SpscRing beside another one in a struct does not touch it', () => {
    const layout = struct({ a: spscRing({ capacityBytes: 64 }), b: spscRing({ capacityBytes: 64 }) })
    const { root } = HeapRegion.create(layout)
    const [a, b] = [root.a.producer(), root.b.producer()]
    for (let seed = 0; a.trySend(payload(5, seed)); seed++);
    b.trySend(payload(24, 9))
    expect(receiveAll(root.b.consumer())).toEqual([payload(24, 9)])
    expect(receiveAll(root.a.consumer())).toEqual([0, 1, 2, 3].map((seed) => payload(5, seed)))
  })
})

describe('SpscRing.tryProducer and tryConsumer', () => {
  test('they give the handle of a free role, and undefined if a live agent has it', () => {
    const { ring, attach } = createRing({ capacityBytes: 64 })
    const other = attach().root
    const producer = ring.tryProducer()
    const consumer = other.tryConsumer()
    expect([ring.tryProducer(), other.tryProducer(), ring.tryConsumer(), other.tryConsumer()]).toEqual(
      new Array(4).fill(undefined),
    )
    producer?.trySend(payload(3))
    expect(consumer?.tryReceive()).toEqual(payload(3))
    producer?.close()
    consumer?.close()
    other.tryProducer()?.trySend(payload(4))
    expect(ring.tryConsumer()?.tryReceive()).toEqual(payload(4))
  })

  test('they take the role of a dead agent, and its unfinished message is told', () => {
    const { region, ring, attach } = createRing({ capacityBytes: 64 })
    const mortal = attach()
    const consumer = ring.consumer()
    mortal.root.producer().sendSync(payload(100), { timeoutMs: 0 })
    expect(ring.tryProducer()).toBeUndefined()
    region.declareDead(mortal.peers.self)
    expect(ring.tryProducer()?.trySend(payload(1))).toBe(true)
    expectCode('ERR_ISTHMUS_MESSAGE_INCOMPLETE', () => consumer.tryReceive())
    expect(consumer.tryReceive()).toEqual(payload(1))
  })

  test('they give the role back if the ring is corrupt', () => {
    const { ring, memory } = createRing({ capacityBytes: 64 })
    memory.writePosition = 4
    expectCode('ERR_ISTHMUS_CORRUPT', () => ring.tryProducer())
    expectCode('ERR_ISTHMUS_CORRUPT', () => ring.tryConsumer())
    expect([ring.describe().producer.state, ring.describe().consumer.state]).toEqual(['closed', 'closed'])
  })
})

describe('SPSC layout arithmetic', () => {
  test.each([
    [0, 0, true],
    [64, 0, true],
    [72, 0, false],
    [-8, 0, false],
    [0, -8, true],
    [-(2 ** 31), 2 ** 31 - 8, true],
    [2 ** 31 - 8, -(2 ** 31), false],
    [4, 0, false],
    [8, 4, false],
    [4, 4, false],
  ])('arePositionsValid(%s, %s) of a ring of 64 bytes is %s', (writePosition, readPosition, isValid) => {
    expect(arePositionsValid(writePosition, readPosition, 64)).toBe(isValid)
  })
})

describe('SPSC ring: messages at every place', () => {
  test.each([64, 128, 256])('a ring of %s bytes carries every length from every position', (capacityBytes) => {
    for (let start = -capacityBytes; start < capacityBytes; start += 8) {
      const { ring, memory } = createRing({ capacityBytes }, start)
      const producer = ring.producer()
      const consumer = ring.consumer()
      for (let byteLength = 0; byteLength <= ring.maxRecordBytes; byteLength++) {
        const message = payload(byteLength, byteLength)
        expect(producer.trySend(message)).toBe(true)
        expectSameMessages(receiveAll(consumer), [message])
        expect(consumer.tryReceive()).toBeUndefined()
        expect(memory.usedBytes).toBe(0)
      }
    }
  })

  test.each([64, 128, 256])(
    'a ring of %s bytes carries maxRecordBytes from every position, again and again',
    (capacityBytes) => {
      for (let start = 0; start < capacityBytes; start += 8) {
        const { ring } = createRing({ capacityBytes }, start)
        const producer = ring.producer()
        const consumer = ring.consumer()
        for (let seed = 0; seed < 5; seed++) {
          const message = payload(ring.maxRecordBytes, seed)
          expect(producer.trySend(message)).toBe(true)
          const drained: Uint8Array[] = []
          consumer.drain((bytes, from, byteLength) => void drained.push(bytes.slice(from, from + byteLength)))
          consumer.acknowledge()
          expect(drained).toEqual([message])
        }
      }
    },
  )

  test('messages of 0 bytes are messages', () => {
    const { ring } = createRing({ capacityBytes: 64 })
    const producer = ring.producer()
    const consumer = ring.consumer()
    expect(producer.trySendBatch(new Array(20).fill(new Uint8Array()))).toBe(8)
    const lengths: number[] = []
    expect(consumer.drain((_bytes, _from, byteLength) => void lengths.push(byteLength), { limit: 3 })).toBe(3)
    expect(lengths).toEqual([0, 0, 0])
    expect(receiveAll(consumer)).toEqual(new Array(5).fill(new Uint8Array()))
  })
})

describe('spscRing: memory that cannot be mapped', () => {
  const layout = spscRing({ capacityBytes: 64 })

  test.each(['producer', 'tryProducer', 'consumer', 'tryConsumer'] as const)('%s takes no role', (take) => {
    const region = HeapRegion.create(layout)
    const unmapped = new Proxy(region, {
      get(target, name) {
        if (name === 'bytes') throw new Error('no memory')
        const found = Reflect.get(target, name, target)
        return typeof found === 'function' ? found.bind(target) : found
      },
    })
    const ring = layout.attach(unmapped, planHeader(layout).rootByteOffset)
    expect(() => ring[take]()).toThrow('no memory')
    expect(region.root.describe()).toMatchObject({ producer: { state: 'vacant' }, consumer: { state: 'vacant' } })
  })
})
