import { getEventListeners } from 'node:events'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { type HeapRegion, IsthmusRangeError, PeerDiedError } from '@isthmus/sync'
import { beforeEach, describe, expect, test } from 'vitest'
import { expectCode, expectRejection } from '../../../sync/test/support/expect-code.js'
import { withoutSafetyNet } from '../../../sync/test/support/safety-net.js'
import { sleep, soon, stateOf, turns, until } from '../../../sync/test/support/waiting.js'
import { type Consumer, json, type Producer, type SpscRing, utf8 } from '../../src/index.js'
import { createRing, payload, type RingSetup } from '../support/ring-memory.js'

withoutSafetyNet()

let setup: RingSetup
let producer: Producer
let consumer: Consumer
let consumerRegion: HeapRegion<SpscRing>

beforeEach(() => {
  setup = createRing({ capacityBytes: 64 })
  producer = setup.ring.producer()
  consumerRegion = setup.attach()
  consumer = consumerRegion.root.consumer()
})

const isWaiting = () => setup.ring.describe().consumer.isWaiting

describe('Consumer.receive', () => {
  test('Consumer.receive resolves to what is there, a private copy', async () => {
    producer.trySend(payload(4))
    const message = await consumer.receive()
    setup.region.bytes.fill(0xee, setup.memory.recordsByteOffset)
    expect(message).toEqual(payload(4))
  })

  test.each([0, 5])('Consumer.receive that sleeps for %s ms is woken by a message', async (pauseMs) => {
    for (let round = 0; round < 20; round++) {
      const receiving = consumer.receive()
      if (pauseMs > 0) await until(isWaiting)
      producer.trySend(payload(3, round))
      expect(await soon(receiving)).toEqual(payload(3, round))
      expect(isWaiting()).toBe(false)
    }
  })

  test('Consumer keeps nothing of a large message that it has given', async () => {
    setFlagsFromString('--expose-gc')
    const collectGarbage: () => void = runInNewContext('gc')
    // In a function of its own, whose variables hold it no longer.
    const exchange = async () => {
      const [message] = await Promise.all([consumer.receive(), producer.send(payload(1000))])
      expect(message?.byteLength).toBe(1000)
      return new WeakRef(message as Uint8Array)
    }
    const message = await exchange()
    await until(() => {
      collectGarbage()
      return message.deref() === undefined
    })
  })

  test('Consumer.receive: many pending calls get their messages in the order of the calls', async () => {
    const order: number[] = []
    const receiving = Array.from({ length: 100 }, async (_, at) => {
      const message = await consumer.receive()
      order.push(at)
      return message
    })
    for (let at = 0; at < 100; at++) expect(await soon(producer.send(payload(3, at)))).toBe(true)
    expect(await soon(Promise.all(receiving))).toEqual(Array.from({ length: 100 }, (_, at) => payload(3, at)))
    expect(order).toEqual(Array.from({ length: 100 }, (_, at) => at))
  })

  test('Consumer: a try while a receive is pending gets nothing, also when a message is there', async () => {
    const receiving = consumer.receive()
    const expectNothing = () => {
      expect([consumer.tryReceive(), consumer.tryReceiveChunk(), consumer.drain(() => expect.fail())]).toEqual([
        undefined,
        undefined,
        0,
      ])
    }
    expectNothing()
    await until(isWaiting)
    producer.trySendBatch([payload(1, 1), payload(1, 2)])
    expectNothing()
    expect(await soon(receiving)).toEqual(payload(1, 1))
    expect(consumer.tryReceive()).toEqual(payload(1, 2))
  })

  test('Consumer.receiveSync while a receive is pending throws EDEADLK', async () => {
    const receiving = consumer.receive()
    expectCode('EDEADLK', () => consumer.receiveSync())
    expectCode('EDEADLK', () => consumer.receiveSync({ timeoutMs: 20 }))
    expectCode('EDEADLK', () => consumer.receiveChunkSync())
    producer.trySend(payload(1))
    expect(await soon(receiving)).toEqual(payload(1))
  })

  test('Consumer.receiveSync does not overtake a receive that is pending', async () => {
    const receiving = consumer.receive()
    await until(isWaiting)
    producer.trySendBatch([payload(1, 1), payload(1, 2)])
    expectCode('EDEADLK', () => consumer.receiveSync())
    expectCode('EDEADLK', () => consumer.receiveChunkSync())
    expect(await soon(receiving)).toEqual(payload(1, 1))
    expect(consumer.receiveSync()).toEqual(payload(1, 2))
  })

  test.each([0, 1, 20])('Consumer.receive ends after %s ms with undefined, and nothing is lost', async (timeoutMs) => {
    const startedMs = performance.now()
    expect(await soon(Promise.all([consumer.receive({ timeoutMs }), consumer.receive({ timeoutMs })]))).toEqual([
      undefined,
      undefined,
    ])
    expect(performance.now() - startedMs).toBeGreaterThanOrEqual(timeoutMs)
    expect(isWaiting()).toBe(false)
    producer.trySend(payload(1))
    expect(await consumer.receive({ timeoutMs })).toEqual(payload(1))
  })

  test.each([-1, Number.NaN])('Consumer.receive refuses a timeout of %s', async (timeoutMs) => {
    producer.trySend(payload(1))
    await expect(consumer.receive({ timeoutMs })).rejects.toBeInstanceOf(IsthmusRangeError)
    await expectRejection('ERR_ISTHMUS_INVALID_ARGUMENT', consumer.receiveChunk({ timeoutMs }))
    expect(consumer.tryReceive()).toEqual(payload(1))
  })

  test('Consumer.receive: an abort ends the one it is meant for, and no message is lost', async () => {
    producer.trySend(payload(1))
    await expectRejection('ABORT_ERR', consumer.receive({ signal: AbortSignal.abort() }))
    expect(await consumer.receive()).toEqual(payload(1))
    const controllers = [new AbortController(), new AbortController()]
    const receiving = [
      consumer.receive({ signal: controllers[0].signal }),
      consumer.receive(),
      consumer.receive({ signal: controllers[1].signal }),
      consumer.receive(),
    ]
    for (const receive of receiving) receive.catch(() => {})
    await until(isWaiting)
    for (const controller of controllers) controller.abort()
    await expectRejection('ABORT_ERR', receiving[0])
    await expectRejection('ABORT_ERR', receiving[2])
    for (const { signal } of controllers) expect(getEventListeners(signal, 'abort')).toEqual([])
    producer.trySendBatch([payload(1, 2), payload(1, 3)])
    expect(await soon(Promise.all([receiving[1], receiving[3]]))).toEqual([payload(1, 2), payload(1, 3)])
    expect(isWaiting()).toBe(false)
  })

  test('Consumer.receive that is aborted in the midst of a large message goes on with the next call', async () => {
    const controller = new AbortController()
    const sending = producer.send(payload(300))
    const aborted = consumer.receive({ signal: controller.signal })
    controller.abort()
    await Promise.allSettled([soon(aborted)])
    expect(await soon(consumer.receive())).toEqual(payload(300))
    expect(await soon(sending)).toBe(true)
  })

  test('Consumer.receive rejects with what the codec throws; the message counts as received', async () => {
    const { ring } = createRing<unknown>({ capacityBytes: 64, codec: { ...utf8, decode: json().decode } })
    const reader = ring.consumer()
    const receiving = reader.receive()
    ring.producer().trySendBatch(['{', '7'])
    await expect(soon(receiving)).rejects.toThrow(SyntaxError)
    expect(await soon(reader.receive())).toBe(7)
  })

  test('Consumer.receive from within a drain callback is refused', async () => {
    producer.trySend(payload(1))
    let nested: Promise<unknown> = Promise.resolve()
    consumer.drain(() => {
      nested = consumer.receive()
      nested.catch(() => {})
    })
    await expectRejection('ERR_ISTHMUS_CALL_ORDER', nested)
  })
})

describe('Consumer: a message that is there', () => {
  test('Consumer.receive and next give it in a promise that is resolved already, also through a codec', async () => {
    const coded = createRing({ capacityBytes: 1024, codec: utf8 }).ring
    const reader = coded.consumer()
    // Once the event loop has had its turn, the next 255 calls may complete at once.
    for (let isAtOnce = true; isAtOnce; ) {
      isAtOnce = false
      producer.trySend(payload(1))
      const receiving = consumer.receive().then(() => {
        isAtOnce = true
      })
      await Promise.resolve()
      const wasAtOnce = isAtOnce
      await receiving
      isAtOnce = wasAtOnce
    }
    coded.producer().trySendBatch(['a', 'b', 'c'])
    const order: unknown[] = []
    const messages = reader.messages()
    reader.receive().then((message) => order.push(message))
    messages.next().then(({ value }) => order.push(value))
    reader.receiveChunk().then((chunk) => order.push(chunk?.bytes[0]))
    await Promise.resolve()
    expect(order).toEqual(['a', 'b', 99])
  })

  test('Consumer.receive at once leaves the order of pending calls as it is', async () => {
    const receiving = [consumer.receive(), consumer.messages().next(), consumer.receiveChunk()]
    producer.trySendBatch([payload(1, 1), payload(1, 2), payload(1, 3)])
    // The message is there, but three calls came before.
    const late = consumer.receive()
    producer.trySend(payload(1, 4))
    expect(await soon(late)).toEqual(payload(1, 4))
    expect(await soon(Promise.all(receiving))).toMatchObject([
      payload(1, 1),
      { done: false, value: payload(1, 2) },
      { bytes: payload(1, 3) },
    ])
  })
})

describe('Consumer.receive from within a drain callback', () => {
  test('Consumer.receive from within a drain callback is refused each time', async () => {
    producer.trySend(payload(1))
    const codes: Promise<unknown>[] = []
    consumer.drain(() => {
      // More often than calls may pass without a turn.
      for (let call = 0; call < 300; call++) codes.push(consumer.receive().catch(({ code }) => code))
      for (let call = 0; call < 300; call++)
        codes.push(
          consumer
            .messages()
            .next()
            .catch(({ code }) => code),
        )
    })
    expect(new Set(await soon(Promise.all(codes)))).toEqual(new Set(['ERR_ISTHMUS_CALL_ORDER']))
  })
})

describe('Consumer.receiveChunk', () => {
  test('Consumer.receiveChunk gives a large message part by part, as it comes', async () => {
    const sending = producer.send(payload(500))
    const parts: Uint8Array[] = []
    for (;;) {
      const chunk = await soon(consumer.receiveChunk())
      expect(chunk).toMatchObject({ messageByteLength: 500, messageOffset: Buffer.concat(parts).byteLength })
      parts.push(chunk?.bytes ?? new Uint8Array())
      if (chunk?.isLast !== false) break
    }
    expect(new Uint8Array(Buffer.concat(parts))).toEqual(payload(500))
    expect(await soon(sending)).toBe(true)
  })

  test('Consumer.receiveChunk copies into the array it is given; undefined after its timeout, null at the end', async () => {
    const into = new Uint8Array(consumer.maxRecordBytes)
    expect(await consumer.receiveChunk({ into, timeoutMs: 1 })).toBeUndefined()
    const receiving = consumer.receiveChunk({ into })
    await until(isWaiting)
    producer.trySend(payload(5))
    const chunk = await soon(receiving)
    expect([chunk?.bytes.buffer === into.buffer, chunk?.bytes]).toEqual([true, payload(5)])
    const last = consumer.receiveChunk()
    await until(isWaiting)
    producer.close()
    expect(await soon(last)).toBeNull()
  })

  test('Consumer.receive in the midst of chunks is refused', async () => {
    const sending = producer.send(payload(100))
    await consumer.receiveChunk()
    await expectRejection('ERR_ISTHMUS_CALL_ORDER', consumer.receive())
    while ((await soon(consumer.receiveChunk()))?.isLast === false);
    expect(await soon(sending)).toBe(true)
  })
})

describe('Consumer: asynchronous iteration', () => {
  test('Consumer gives one message after the other, and ends when the producer closes', async () => {
    const messages = Array.from({ length: 50 }, (_, at) => payload((at * 5) % 80, at))
    const sending = (async () => {
      for (const message of messages) await producer.send(message)
      await sleep(2)
      producer.close()
    })()
    const received: Uint8Array[] = []
    for await (const message of consumer) received.push(message)
    expect(received).toEqual(messages)
    await sending
  })

  test('Consumer that is left early keeps the rest for the next loop', async () => {
    producer.trySendBatch([payload(1, 1), payload(1, 2), payload(1, 3)])
    producer.close()
    for await (const _ of consumer) break
    const rest: Uint8Array[] = []
    for await (const message of consumer) rest.push(message)
    expect(rest).toEqual([payload(1, 2), payload(1, 3)])
  })

  test('Consumer throws from the loop if the producer died', async () => {
    producer.trySend(payload(1))
    const received: Uint8Array[] = []
    const loop = (async () => {
      for await (const message of consumer) received.push(message)
    })()
    loop.catch(() => {})
    await until(isWaiting)
    consumerRegion.declareDead(setup.region.peers.self)
    await expect(soon(loop)).rejects.toBeInstanceOf(PeerDiedError)
    expect(received).toEqual([payload(1)])
  })

  test('Consumer of a ring that is never empty does not keep the timers waiting', async () => {
    const { ring } = createRing({ capacityBytes: 4096 })
    const full = ring.producer()
    const reader = ring.consumer()
    let isOver = false
    setTimeout(() => {
      isOver = true
    }, 10)
    const refill = () => {
      while (full.trySend(payload(8)));
    }
    refill()
    const watchdog = performance.now() + 30_000
    for await (const _ of reader) {
      refill()
      if (isOver || performance.now() > watchdog) break
    }
    expect(isOver).toBe(true)
  })
})

describe('Consumer.receive and the end', () => {
  test('Consumer.receive resolves to null when the producer closes, for all that are pending, and again', async () => {
    const receiving = [consumer.receive(), consumer.receive()]
    await until(isWaiting)
    producer.close()
    expect(await soon(Promise.all(receiving))).toEqual([null, null])
    expect(await consumer.receive()).toBeNull()
  })

  test('Consumer.close rejects the pending receives once, and later ones', async () => {
    const codes: string[] = []
    const receiving = [consumer.receive(), consumer.receiveChunk()].map((receive) =>
      receive.catch(({ code }) => void codes.push(code)),
    )
    await until(isWaiting)
    consumer.close()
    await soon(Promise.all(receiving))
    expect(codes).toEqual(Array(2).fill('ERR_ISTHMUS_CLOSED'))
    await expectRejection('ERR_ISTHMUS_CLOSED', consumer.receive())
    expect(isWaiting()).toBe(false)
  })

  test('HeapRegion.close rejects the pending receives once', async () => {
    const controller = new AbortController()
    const codes: string[] = []
    const receiving = [1, 2].map(() =>
      consumer.receive({ signal: controller.signal }).catch(({ code }) => void codes.push(code)),
    )
    await until(isWaiting)
    consumerRegion.close()
    await soon(Promise.all(receiving))
    controller.abort()
    await turns()
    expect(codes).toEqual(Array(2).fill('ERR_ISTHMUS_CLOSED'))
    expect(getEventListeners(controller.signal, 'abort')).toEqual([])
    expect(setup.ring.describe().consumer).toMatchObject({ state: 'closed', isWaiting: false })
  })

  test('Consumer.receive is told of the death of the producer, once, after every message; then it waits for a successor', async () => {
    const receiving = consumer.receive()
    await until(isWaiting)
    consumerRegion.declareDead(setup.region.peers.self)
    await expect(soon(receiving)).rejects.toBeInstanceOf(PeerDiedError)
    const next = consumer.receive()
    expect(await stateOf(next)).toBe('pending')
    setup.attach().root.producer().trySend(payload(2))
    expect(await soon(next)).toEqual(payload(2))
  })

  test('Consumer.receive in the midst of a large message whose producer dies is told', async () => {
    producer.send(payload(500)).catch(() => {})
    const receiving = consumer.receive()
    receiving.catch(() => {})
    consumerRegion.declareDead(setup.region.peers.self)
    const outcome = await soon(receiving).catch(({ code }) => code)
    expect(outcome).toBe('ERR_ISTHMUS_PEER_DIED')
  })

  test('Consumer.receive before the first producer came waits for it', async () => {
    const { ring } = createRing({ capacityBytes: 64 })
    const early = ring.consumer()
    const receiving = early.receive()
    await until(() => ring.describe().consumer.isWaiting)
    ring.producer().trySend(payload(1))
    expect(await soon(receiving)).toEqual(payload(1))
  })

  test('Consumer.ref and unref return the consumer', () => {
    // Not toEqual: it would iterate over the consumer, and wait for its messages.
    expect(consumer.unref() === consumer && consumer.ref() === consumer).toBe(true)
  })
})
