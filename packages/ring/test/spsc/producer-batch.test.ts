import { getEventListeners } from 'node:events'
import type { HeapRegion } from '@isthmus/sync'
import { beforeEach, describe, expect, test, vi } from 'vitest'
import { expectRejection } from '../../../sync/test/support/expect-code.js'
import { withoutSafetyNet } from '../../../sync/test/support/safety-net.js'
import { soon, stateOf, turns, until } from '../../../sync/test/support/waiting.js'
import { type BatchError, type Codec, type Consumer, type Producer, type SpscRing, utf8 } from '../../src/index.js'
import { createRing, payload, type RingSetup, receiveAll } from '../support/ring-memory.js'

withoutSafetyNet()

let setup: RingSetup
let producer: Producer
let consumer: Consumer
let consumerRegion: HeapRegion<SpscRing>

/** A ring of 64 bytes: four messages of 8 bytes fill it, and one above 24 bytes travels in fragments. */
beforeEach(() => {
  setup = createRing({ capacityBytes: 64 })
  producer = setup.ring.producer()
  consumerRegion = setup.attach()
  consumer = consumerRegion.root.consumer()
})

const isWaiting = () => setup.ring.describe().producer.isWaiting
const messagesOf = (lengths: number[]) => lengths.map((byteLength, at) => payload(byteLength, at))
const eights = (count: number) => messagesOf(Array(count).fill(8))

/** Receives this many messages; a large one that is broken off counts as `undefined`. */
async function receive(count: number): Promise<(Uint8Array | null | undefined)[]> {
  const received: (Uint8Array | null | undefined)[] = []
  while (received.length < count) {
    received.push(
      await soon(consumer.receive(), 'a message').catch((error) => {
        expect(error).toMatchObject({ code: 'ERR_ISTHMUS_MESSAGE_INCOMPLETE' })
        return undefined
      }),
    )
  }
  return received
}

/** What ended a batch, and how many messages went before it. */
async function failureOf(sending: Promise<number> | (() => number)): Promise<{ code: unknown; sent: number }> {
  try {
    if (typeof sending === 'function') sending()
    else await soon(sending, 'the end of the batch')
  } catch (error) {
    return { code: (error as { code?: unknown }).code, sent: (error as BatchError).sent }
  }
  throw new Error('the batch did not fail')
}

/** Both forms: a batch that finds space, or fails, without having to wait. */
const forms: [string, (messages: Uint8Array[], options?: { timeoutMs: number }) => Promise<number>][] = [
  ['sendBatch', (messages, options) => producer.sendBatch(messages, options)],
  ['sendBatchSync', async (messages, options) => producer.sendBatchSync(messages, options)],
]

describe.each(forms)('Producer.%s', (_name, sendBatch) => {
  test('sends all in order, visible at once', async () => {
    const messages = messagesOf([8, 0, 13])
    expect(await sendBatch(messages)).toBe(3)
    expect(receiveAll(consumer)).toEqual(messages)
    expect(await sendBatch([])).toBe(0)
  })

  test('publishes once for all that fits', async () => {
    const spy = vi.spyOn(Atomics, 'store')
    expect(await sendBatch(eights(4))).toBe(4)
    const publications = spy.mock.calls.length
    spy.mockRestore()
    expect([publications, receiveAll(consumer).length]).toEqual([1, 4])
  })

  test('inside a cork holds back until uncork', async () => {
    producer.cork()
    expect(await sendBatch(eights(2))).toBe(2)
    expect(setup.memory.usedBytes).toBe(0)
    producer.uncork()
    expect(receiveAll(consumer)).toEqual(eights(2))
  })

  test('says after its time how many were sent', async () => {
    expect(await sendBatch(eights(6), { timeoutMs: 0 })).toBe(4)
    expect(await sendBatch(eights(6), { timeoutMs: 5 })).toBe(0)
    expect(receiveAll(consumer)).toEqual(eights(4))
    expect(isWaiting()).toBe(false)
    expect(await sendBatch(eights(1), { timeoutMs: 0 })).toBe(1)
  })

  test('a message in fragments that is broken off counts as not sent, and its receiver is told', async () => {
    expect(await sendBatch(messagesOf([8, 500, 8]), { timeoutMs: 1 })).toBe(1)
    expect(await receive(2)).toEqual([payload(8, 0), undefined])
    expect(await sendBatch(messagesOf([3]))).toBe(1)
    expect(await receive(1)).toEqual(messagesOf([3]))
  })

  test('a message that cannot be sent ends it: those before are sent, and the error says how many', async () => {
    const tooLarge = { byteLength: 2 ** 40, length: 2 ** 40 } as Uint8Array
    const cases: [string, Uint8Array][] = [
      ['ERR_ISTHMUS_INVALID_ARGUMENT', 'text' as never],
      ['ERR_ISTHMUS_INVALID_ARGUMENT', tooLarge],
      ['ERR_ISTHMUS_INVALID_ARGUMENT', undefined as never],
    ]
    for (const [code, unsendable] of cases) {
      expect(await failureOf(sendBatch([payload(8), payload(9), unsendable, payload(8)]))).toEqual({ code, sent: 2 })
      expect(receiveAll(consumer)).toEqual([payload(8), payload(9)])
      expect(await failureOf(sendBatch([unsendable, payload(8)]))).toEqual({ code, sent: 0 })
    }
    expect(receiveAll(consumer)).toEqual([])
  })

  test('refuses what is no array, and options that are none', async () => {
    for (const values of [undefined, null, 5, 'text']) {
      await expectRejection('ERR_ISTHMUS_INVALID_ARGUMENT', sendBatch(values as never))
    }
    await expectRejection('ERR_ISTHMUS_INVALID_ARGUMENT', sendBatch(eights(1), { timeoutMs: -1 }))
    await expectRejection('ERR_ISTHMUS_INVALID_ARGUMENT', sendBatch(eights(1), 5 as never))
    expect(receiveAll(consumer)).toEqual([])
  })

  test('while a claim is open is refused, and the claim stays open', async () => {
    producer.tryClaim(1)
    expect(await failureOf(sendBatch(eights(2)))).toEqual({ code: 'ERR_ISTHMUS_CALL_ORDER', sent: 0 })
    expect(await failureOf(sendBatch(messagesOf([60])))).toEqual({ code: 'ERR_ISTHMUS_CALL_ORDER', sent: 0 })
    producer.commit()
    expect(receiveAll(consumer)).toHaveLength(1)
  })

  test('of a closed producer is refused', async () => {
    producer.close()
    expect(await failureOf(sendBatch(eights(2)))).toEqual({ code: 'ERR_ISTHMUS_CLOSED', sent: 0 })
  })

  test('is told of a dead consumer once the ring is full, once; then it waits for a successor', async () => {
    setup.region.declareDead(consumerRegion.peers.self)
    expect(await failureOf(sendBatch(eights(6)))).toEqual({ code: 'ERR_ISTHMUS_PEER_DIED', sent: 4 })
    expect(await sendBatch(eights(6), { timeoutMs: 1 })).toBe(0)
    consumer = setup.attach().root.consumer()
    expect(receiveAll(consumer)).toEqual(eights(4))
  })

  test('that blocks for a consumer of this very thread is refused, and says how many it has sent', async () => {
    const own = createRing({ capacityBytes: 64 })
    producer = own.ring.producer()
    consumer = own.ring.consumer()
    if (_name === 'sendBatch') {
      const sending = sendBatch(eights(9))
      expect(await receive(9)).toEqual(eights(9))
      expect(await soon(sending)).toBe(9)
    } else {
      expect(await failureOf(sendBatch(eights(9), { timeoutMs: 1_000 }))).toEqual({ code: 'EDEADLK', sent: 4 })
    }
  })

  test('after padding that is followed by a message that fails never writes past the end of the ring', async () => {
    const { ring, memory } = createRing({ capacityBytes: 64 }, 48)
    producer = ring.producer()
    const reader = ring.consumer()
    const shrinking = payload(24)
    Object.defineProperty(producer.bytes, 'set', {
      configurable: true,
      value() {
        throw new Error('no copy')
      },
    })
    await expect(sendBatch([shrinking])).rejects.toThrow('no copy')
    Reflect.deleteProperty(producer.bytes, 'set')
    expect(await sendBatch([payload(24)])).toBe(1)
    expect([memory.wordAt(48, 0), memory.writePosition]).toEqual([8, 96])
    expect(reader.tryReceive()).toEqual(payload(24))
  })
})

describe('Producer.sendBatch', () => {
  test('Producer.sendBatch of messages of any length through a tiny ring, with receives at the same time', async () => {
    const messages = messagesOf([8, 1_000, 0, 25, 24, 24, 24, 5_000, 33, 8, 8, 8, 8, 8, 8])
    const sending = producer.sendBatch(messages)
    expect(await receive(messages.length)).toEqual(messages)
    expect(await soon(sending)).toBe(messages.length)
  })

  test('Producer.sendBatch is one among the sends: they go out in the order of the calls, and tries are refused', async () => {
    const sending = [
      producer.sendBatch(messagesOf([8, 8, 8, 8, 30, 8])),
      producer.send(payload(5, 50)),
      producer.sendBatch(messagesOf([1, 2])),
    ]
    expect([producer.trySend(payload(0)), producer.tryClaim(0), producer.trySendBatch(eights(1))]).toEqual([
      false,
      -1,
      0,
    ])
    expect(await failureOf(() => producer.sendBatchSync(eights(1), { timeoutMs: 1_000 }))).toEqual({
      code: 'EDEADLK',
      sent: 0,
    })
    await until(isWaiting)
    expect(producer.trySendBatch(eights(1))).toBe(0)
    expect(await receive(9)).toEqual([...messagesOf([8, 8, 8, 8, 30, 8]), payload(5, 50), ...messagesOf([1, 2])])
    expect(await soon(Promise.all(sending))).toEqual([6, true, 2])
  })

  test.each([
    ['for space', [8, 8, 8, 8, 8, 8], 4, 4],
    ['in the midst of a message in fragments', [8, 500, 8], 1, 2],
  ])(
    'Producer.sendBatch that is aborted while it waits %s: those before are sent, the error says how many',
    async (_where, lengths, sent, count) => {
      const controller = new AbortController()
      const sending = producer.sendBatch(messagesOf(lengths), { signal: controller.signal })
      sending.catch(() => {})
      await until(isWaiting)
      controller.abort('enough')
      await expect(soon(sending)).rejects.toMatchObject({ code: 'ABORT_ERR', cause: 'enough', sent })
      expect(getEventListeners(controller.signal, 'abort')).toEqual([])
      const next = producer.send(payload(7, 70))
      const brokenOff = Array(count - sent).fill(undefined)
      expect(await receive(count + 1)).toEqual([...messagesOf(lengths.slice(0, sent)), ...brokenOff, payload(7, 70)])
      expect(await soon(next)).toBe(true)
    },
  )

  test('Producer.sendBatch with a signal that has aborted sends nothing', async () => {
    const sending = producer.sendBatch(eights(2), { signal: AbortSignal.abort() })
    expect(await failureOf(sending)).toEqual({ code: 'ABORT_ERR', sent: 0 })
    expect(receiveAll(consumer)).toEqual([])
  })

  test('Producer.sendBatch whose producer, or region, is closed in the midst', async () => {
    const sending = producer.sendBatch(messagesOf([8, 100]))
    sending.catch(() => {})
    await until(isWaiting)
    producer.close()
    expect(await failureOf(sending)).toEqual({ code: 'ERR_ISTHMUS_CLOSED', sent: 1 })
    expect(await receive(3)).toEqual([payload(8, 0), undefined, null])
    const own = createRing({ capacityBytes: 64 })
    const again = own.ring.producer().sendBatch(eights(6))
    again.catch(() => {})
    await until(() => own.ring.describe().producer.isWaiting)
    own.region.close()
    expect(await failureOf(again)).toEqual({ code: 'ERR_ISTHMUS_CLOSED', sent: 4 })
  })

  test('Producer.sendBatch is told of the death of the consumer for which it waits', async () => {
    const sending = producer.sendBatch(eights(6))
    sending.catch(() => {})
    await until(isWaiting)
    setup.region.declareDead(consumerRegion.peers.self)
    expect(await failureOf(sending)).toEqual({ code: 'ERR_ISTHMUS_PEER_DIED', sent: 4 })
    const again = producer.sendBatch(eights(6).slice(4))
    expect(await stateOf(again)).toBe('pending')
    consumer = setup.attach().root.consumer()
    expect(await receive(6)).toEqual(eights(6))
    expect(await soon(again)).toBe(2)
  })

  test('Producer.sendBatch encodes each message once, also those that wait', async () => {
    let encoded = 0
    const encode = (text: string) => {
      encoded++
      return utf8.encode(text)
    }
    const own = createRing({ capacityBytes: 64, codec: { ...utf8, encode } })
    const texts = Array.from({ length: 20 }, (_, at) => 'x'.repeat((at * 7) % 40))
    const sending = own.ring.producer().sendBatch(texts)
    const reader = own.attach().root.consumer()
    const received: unknown[] = []
    while (received.length < texts.length) received.push(await soon(reader.receive()))
    expect([received, await soon(sending), encoded]).toEqual([texts, 20, 20])
  })

  test('Producer.sendBatch whose codec throws, closes the producer, or sends by itself', async () => {
    let encode: Codec<number>['encode'] = (value) => Uint8Array.of(value)
    const codec = {
      name: 'byte',
      encode: (value: number) => encode(value),
      decode: ([value]: Uint8Array) => value,
    }
    const own = createRing({ capacityBytes: 64, codec })
    const sender = own.ring.producer()
    const reader = own.attach().root.consumer()
    const error = Object.freeze(new Error('no form'))
    const plain = encode
    encode = (value) => {
      if (value === 3) throw error
      if (value === 4) throw 'four'
      return plain(value)
    }
    await expect(sender.sendBatch([1, 2, 3])).rejects.toBe(error)
    await expect(sender.sendBatch([5, 4])).rejects.toBe('four')
    expect(receiveAll(reader)).toEqual([1, 2, 5])
    encode = (value) => {
      if (value < 100) expect(sender.trySend(value + 100)).toBe(true)
      return plain(value)
    }
    expect(await sender.sendBatch([1, 2])).toBe(2)
    expect(receiveAll(reader)).toEqual([101, 1, 102, 2])
    encode = (value) => {
      if (value === 9) sender.close()
      return plain(value)
    }
    expect(await failureOf(sender.sendBatch([7, 8, 9, 10]))).toEqual({ code: 'ERR_ISTHMUS_CLOSED', sent: 2 })
    expect([...receiveAll(reader), reader.tryReceive()]).toEqual([7, 8, null])
  })

  test.each([
    ['becomes longer', 400, 'ERR_ISTHMUS_INVALID_ARGUMENT'],
    ['loses its bytes', 0, 'ERR_ISTHMUS_INVALID_ARGUMENT'],
  ])('Producer.sendBatch of a message that %s while it waits is refused', async (_how, after, code) => {
    // In TypeScript's types only from a later edition on.
    const buffer = Reflect.construct(ArrayBuffer, [8, { maxByteLength: 400 }])
    const sending = producer.sendBatch([...eights(4), new Uint8Array(buffer)])
    sending.catch(() => {})
    await until(isWaiting)
    buffer.resize(after)
    consumer.tryReceive()
    consumer.acknowledge()
    expect(await failureOf(sending)).toEqual({ code, sent: 4 })
    expect(await soon(producer.send(payload(8, 9)))).toBe(true)
    expect(await receive(4)).toEqual([...eights(4).slice(1), payload(8, 9)])
  })

  test('Producer.sendBatch before the first consumer came waits for it', async () => {
    const { ring } = createRing({ capacityBytes: 64 })
    producer = ring.producer()
    const sending = producer.sendBatch(messagesOf([300, 5]))
    await turns()
    consumer = ring.consumer()
    expect(await receive(2)).toEqual(messagesOf([300, 5]))
    expect(await soon(sending)).toBe(2)
  })

  test.each([
    [1, 0],
    [64, 0],
    [4_096, 0],
    [4, 100_000],
  ])(
    'Producer.sendBatch in batches of %s messages of %s bytes gives the event loop its turn while each finds space',
    async (batchLength, byteLength) => {
      const { ring } = createRing({ capacityBytes: 1 << 20 })
      const roomy = ring.producer()
      const reader = ring.consumer()
      const batch = Array(batchLength).fill(new Uint8Array(byteLength))
      let isOver = false
      let sent = 0
      setImmediate(() => {
        isOver = true
      })
      while (!isOver && sent < 1_000_000) {
        sent += await roomy.sendBatch(batch)
        reader.drain(() => {})
      }
      expect(sent).toBeLessThanOrEqual(Math.min(256 * 64, (256 * 32 * 1024) / byteLength) + batchLength)
    },
  )
})

describe('Producer.trySendBatch', () => {
  test('Producer.trySendBatch that finds an open claim of its codec leaves the claim open', () => {
    let claimed = -1
    const encode = (text: string) => {
      if (text === 'claim') claimed = sender.tryClaim(1)
      return utf8.encode(text)
    }
    const own = createRing({ capacityBytes: 64, codec: { ...utf8, encode } })
    const sender = own.ring.producer()
    expect(sender.trySendBatch(['a', 'claim', 'b'])).toBe(1)
    sender.bytes[claimed] = 'x'.charCodeAt(0)
    sender.commit()
    expect(receiveAll(own.ring.consumer())).toEqual(['a', 'x'])
  })
})
