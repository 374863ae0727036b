import { getEventListeners } from 'node:events'
import { type HeapRegion, IsthmusRangeError, PeerDiedError } from '@isthmus/sync'
import { beforeEach, describe, expect, test } from 'vitest'
import { expectCode, expectRejection } from '../../../sync/test/support/expect-code.js'
import { withoutSafetyNet } from '../../../sync/test/support/safety-net.js'
import { sleep, soon, stateOf, turns, until } from '../../../sync/test/support/waiting.js'
import { type Consumer, IncompleteMessageError, type Producer, type SpscRing, utf8 } from '../../src/index.js'
import { createRing, payload, type RingSetup, receiveAll } from '../support/ring-memory.js'

withoutSafetyNet()

let setup: RingSetup
let producer: Producer
let consumer: Consumer
let consumerRegion: HeapRegion<SpscRing>

/** A ring of 64 bytes: four messages of 8 bytes fill it. */
beforeEach(() => {
  setup = createRing({ capacityBytes: 64 })
  producer = setup.ring.producer()
  consumerRegion = setup.attach()
  consumer = consumerRegion.root.consumer()
})

function fill(): Uint8Array[] {
  const messages = [100, 101, 102, 103].map((seed) => payload(8, seed))
  expect(producer.trySendBatch(messages)).toBe(4)
  return messages
}

const isWaiting = () => setup.ring.describe().producer.isWaiting

/** Receives until nothing more comes for a while. */
async function receiveEverything(): Promise<Uint8Array[]> {
  const messages: Uint8Array[] = []
  for (let idle = 0; idle < 5; idle++) {
    const received = receiveAll(consumer)
    if (received.length > 0) idle = -1
    messages.push(...received)
    await turns(3)
  }
  return messages
}

describe('Producer.send', () => {
  test('Producer.send resolves to true if there is space, and the message is there at once', async () => {
    const sending = producer.send(payload(8))
    expect(consumer.tryReceive()).toEqual(payload(8))
    expect(await sending).toBe(true)
  })

  test('Producer.send waits for space, and goes on when the consumer returns it', async () => {
    const messages = fill()
    const sending = producer.send(payload(8, 1))
    await until(isWaiting)
    expect(setup.ring.describe()).toMatchObject({ usedBytes: 64, producer: { state: 'held', isWaiting: true } })
    expect(consumer.tryReceive()).toEqual(messages[0])
    expect(consumer.tryReceive()).toEqual(messages[1])
    expect(await soon(sending)).toBe(true)
    expect(isWaiting()).toBe(false)
    expect(receiveAll(consumer)).toEqual([messages[2], messages[3], payload(8, 1)])
  })

  test('Producer.send: many pending calls go out in the order in which they were made, of every size', async () => {
    const messages = Array.from({ length: 200 }, (_, at) => payload((at * 7) % 90, at))
    const order: number[] = []
    const sending = messages.map(async (message, at) => {
      expect(await producer.send(message)).toBe(true)
      order.push(at)
    })
    expect(await receiveEverything()).toEqual(messages)
    await soon(Promise.all(sending))
    expect(order).toEqual(order.toSorted((a, b) => a - b))
  })

  test('Producer: a try while a send is pending returns false, -1 or 0, also when there is space again', async () => {
    const messages = fill()
    const sending = producer.send(payload(24))
    const expectRefused = () => {
      expect([producer.trySend(payload(0)), producer.tryClaim(0), producer.trySendBatch([payload(0)])]).toEqual([
        false,
        -1,
        0,
      ])
    }
    expectRefused()
    await until(isWaiting)
    expectRefused()
    consumer.tryReceive()
    consumer.acknowledge()
    expectRefused()
    expect(await receiveEverything()).toEqual([...messages.slice(1), payload(24)])
    expect(await soon(sending)).toBe(true)
    expect(producer.trySend(payload(0))).toBe(true)
  })

  test('Producer.trySend right after the send that waits for a turn is refused, and what was sent stays in order', async () => {
    const { ring } = createRing({ capacityBytes: 1 << 16 })
    const roomy = ring.producer()
    const reader = ring.consumer()
    const sent: number[] = []
    const sends: Promise<unknown>[] = []
    for (let at = 0; at < 1_000; at++) {
      if (at % 2 === 0) {
        sends.push(roomy.send(Uint8Array.of(at, at >> 8)))
        sent.push(at)
      } else if (roomy.trySend(Uint8Array.of(at, at >> 8))) {
        sent.push(at)
      }
    }
    await soon(Promise.all(sends))
    expect(receiveAll(reader).map(([low, high]) => low + high * 256)).toEqual(sent)
  })

  test('Producer.sendSync while a send is pending throws EDEADLK', async () => {
    fill()
    const sending = producer.send(payload(8))
    expectCode('EDEADLK', () => producer.sendSync(payload(0)))
    expectCode('EDEADLK', () => producer.sendSync(payload(0), { timeoutMs: 0 }))
    expect(receiveAll(consumer)).toHaveLength(4)
    expect(await soon(sending)).toBe(true)
    expect(producer.sendSync(payload(0))).toBe(true)
  })

  test.each([0, 1, 20])('Producer.send ends after %s ms with false, and has sent nothing', async (timeoutMs) => {
    const messages = fill()
    const startedMs = performance.now()
    const sending = [producer.send(payload(1), { timeoutMs }), producer.send(payload(2), { timeoutMs })]
    expect(await soon(Promise.all(sending))).toEqual([false, false])
    expect(performance.now() - startedMs).toBeGreaterThanOrEqual(timeoutMs)
    expect(isWaiting()).toBe(false)
    expect(await receiveEverything()).toEqual(messages)
    expect(producer.trySend(payload(3))).toBe(true)
  })

  test.each([-1, Number.NaN])(
    'Producer.send refuses a timeout of %s, whether there is space or not',
    async (timeoutMs) => {
      await expect(producer.send(payload(1), { timeoutMs })).rejects.toBeInstanceOf(IsthmusRangeError)
      const messages = fill()
      await expectRejection('ERR_ISTHMUS_INVALID_ARGUMENT', producer.send(payload(1), { timeoutMs }))
      expect(receiveAll(consumer)).toEqual(messages)
    },
  )

  test('Producer.send with a signal that has aborted sends nothing', async () => {
    const signal = AbortSignal.abort('enough')
    await expect(producer.send(payload(1), { signal })).rejects.toMatchObject({ code: 'ABORT_ERR', cause: 'enough' })
    await expectRejection('ABORT_ERR', producer.send(payload(60), { signal }))
    expect([receiveAll(consumer), getEventListeners(signal, 'abort')]).toEqual([[], []])
  })

  test('Producer.send: an abort ends the one it is meant for, first or in the queue; the others go out in order', async () => {
    const messages = fill()
    const controllers = [new AbortController(), new AbortController()]
    const sending = [
      producer.send(payload(8, 1), { signal: controllers[0].signal }),
      producer.send(payload(8, 2)),
      producer.send(payload(8, 3), { signal: controllers[1].signal }),
      producer.send(payload(8, 4)),
    ]
    for (const send of sending) send.catch(() => {})
    await until(isWaiting)
    controllers[1].abort()
    await expectRejection('ABORT_ERR', sending[2])
    controllers[0].abort()
    await expectRejection('ABORT_ERR', sending[0])
    for (const { signal } of controllers) expect(getEventListeners(signal, 'abort')).toEqual([])
    expect(await receiveEverything()).toEqual([...messages, payload(8, 2), payload(8, 4)])
    expect(await soon(Promise.all([sending[1], sending[3]]))).toEqual([true, true])
  })

  test('Producer.send of what is too large or no message is refused', async () => {
    const limited = createRing({ capacityBytes: 64, maxMessageBytes: 100 }).ring.producer()
    await expectRejection('ERR_ISTHMUS_MESSAGE_TOO_LARGE', limited.send(payload(101)))
    // @ts-expect-error a string without a codec
    await expectRejection('ERR_ISTHMUS_INVALID_ARGUMENT', limited.send('text'))
    expect(limited.trySend(payload(1))).toBe(true)
  })

  test('Producer.send while a claim is open is refused, and the claim stays open', async () => {
    producer.tryClaim(1)
    await expectRejection('ERR_ISTHMUS_CALL_ORDER', producer.send(payload(1)))
    await expectRejection('ERR_ISTHMUS_CALL_ORDER', producer.send(payload(60)))
    producer.commit()
    expect(receiveAll(consumer)).toHaveLength(1)
  })

  test('Producer.send encodes', async () => {
    const { ring } = createRing({ capacityBytes: 64, codec: utf8 })
    await ring.producer().send('grüß')
    expect(ring.consumer().tryReceive()).toBe('grüß')
  })

  test('Producer.send publishes what cork holds back before it waits', async () => {
    producer.cork()
    for (let at = 0; at < 4; at++) producer.trySend(payload(8, at))
    expect(consumer.tryReceive()).toBeUndefined()
    const sending = producer.send(payload(8, 4))
    expect(await receiveEverything()).toEqual([0, 1, 2, 3].map((seed) => payload(8, seed)))
    expect(await soon(sending)).toBe(true)
    producer.uncork()
    expect(receiveAll(consumer)).toEqual([payload(8, 4)])
  })
})

/** In TypeScript's types only from a later edition on. */
function resizable(byteLength: number): ArrayBuffer & { resize(byteLength: number): void } {
  return Reflect.construct(ArrayBuffer, [byteLength, { maxByteLength: 400 }])
}

describe('Producer.send of bytes that change their length meanwhile', () => {
  test.each([
    [8, 4],
    [8, 24],
    [100, 10],
    [100, 200],
  ])('Producer.send of %s bytes that become %s is refused, and the ring is as it should be', async (before, after) => {
    const messages = fill()
    const buffer = resizable(before)
    const sending = producer.send(new Uint8Array(buffer))
    sending.catch(() => {})
    await until(isWaiting)
    buffer.resize(after)
    expect(await receiveEverything()).toEqual(messages)
    await expectRejection('ERR_ISTHMUS_INVALID_ARGUMENT', soon(sending))
    expect(await soon(producer.send(payload(24)))).toBe(true)
    expect(receiveAll(consumer)).toEqual([payload(24)])
  })
})

describe('Producer.send of large messages', () => {
  test('Producer.send of large messages through a tiny ring, with receives at the same time', async () => {
    const messages = [1_000, 25, 5_000, 0, 33, 57].map((byteLength, seed) => payload(byteLength, seed))
    const sending = Promise.all(messages.map((message) => producer.send(message)))
    const received: unknown[] = []
    while (received.length < messages.length) received.push(await soon(consumer.receive()))
    expect(received).toEqual(messages)
    expect(await soon(sending)).toEqual(messages.map(() => true))
  })

  test.each([
    ['aborted', (controller: AbortController) => controller.abort(), {}],
    ['timed out', () => {}, { timeoutMs: 20 }],
  ])(
    'Producer.send of a large message that is %s in the midst: the receiver is told, and the ring goes on',
    async (_how, end, options) => {
      const controller = new AbortController()
      const sending = producer.send(payload(500), { ...options, signal: controller.signal })
      sending.catch(() => {})
      const next = producer.send(payload(5, 9))
      await until(isWaiting)
      end(controller)
      await Promise.allSettled([soon(sending)])
      expect(await stateOf(sending)).toBe('timeoutMs' in options ? 'resolved' : 'rejected')
      const error = await soon(consumer.receive()).catch((caught) => caught)
      expect(error).toBeInstanceOf(IncompleteMessageError)
      expect(error).toMatchObject({
        code: 'ERR_ISTHMUS_MESSAGE_INCOMPLETE',
        reason: 'abandoned',
        messageByteLength: 500,
      })
      expect(await soon(consumer.receive())).toEqual(payload(5, 9))
      expect(await soon(next)).toBe(true)
      expect(getEventListeners(controller.signal, 'abort')).toEqual([])
    },
  )

  test.each(['the producer', 'its region'])(
    'Producer.send of a large message when %s is closed in the midst: the consumer is told, and a successor goes on',
    async (what) => {
      const sending = producer.send(payload(500))
      sending.catch(() => {})
      await until(isWaiting)
      if (what === 'the producer') producer.close()
      else setup.region.close()
      await expectRejection('ERR_ISTHMUS_CLOSED', soon(sending))
      const successor = setup.attach().root.producer()
      const next = successor.send(payload(5, 9))
      expectCode('ERR_ISTHMUS_MESSAGE_INCOMPLETE', () => receiveAll(consumer))
      expect(await soon(consumer.receive())).toEqual(payload(5, 9))
      expect(await soon(next)).toBe(true)
    },
  )

  test('Producer closed in the midst of a large message, without a successor: told once, then the end', async () => {
    const sending = producer.send(payload(500))
    sending.catch(() => {})
    await until(isWaiting)
    producer.close()
    expectCode('ERR_ISTHMUS_MESSAGE_INCOMPLETE', () => receiveAll(consumer))
    expect([consumer.tryReceive(), consumer.tryReceive()]).toEqual([null, null])
    await expectRejection('ERR_ISTHMUS_CLOSED', soon(sending))
  })
})

describe('Producer.send and the end', () => {
  test('Producer.close rejects the pending sends once, and later ones', async () => {
    const messages = fill()
    const codes: string[] = []
    const sending = [payload(8), payload(50), payload(0)].map((message) =>
      producer.send(message).catch(({ code }) => void codes.push(code)),
    )
    await until(isWaiting)
    producer.close()
    await soon(Promise.all(sending))
    expect(codes).toEqual(Array(3).fill('ERR_ISTHMUS_CLOSED'))
    await expectRejection('ERR_ISTHMUS_CLOSED', producer.send(payload(0)))
    await expectRejection('ERR_ISTHMUS_CLOSED', producer.send(payload(50)))
    expect([...receiveAll(consumer), consumer.tryReceive()]).toEqual([...messages, null])
  })

  test('HeapRegion.close rejects the pending sends once', async () => {
    fill()
    const controller = new AbortController()
    const codes: string[] = []
    const sending = [1, 2].map((at) =>
      producer.send(payload(at), { signal: controller.signal }).catch(({ code }) => void codes.push(code)),
    )
    await until(isWaiting)
    setup.region.close()
    await soon(Promise.all(sending))
    controller.abort()
    await turns()
    expect(codes).toEqual(Array(2).fill('ERR_ISTHMUS_CLOSED'))
    expect(getEventListeners(controller.signal, 'abort')).toEqual([])
    expect(consumerRegion.root.describe().producer).toMatchObject({ state: 'closed', isWaiting: false })
  })

  test('Producer.send is told of the death of the consumer, once; sent again, it waits for a successor', async () => {
    const messages = fill()
    const sending = producer.send(payload(8, 1))
    await until(isWaiting)
    setup.region.declareDead(consumerRegion.peers.self)
    await expect(soon(sending, 'the news of the death')).rejects.toBeInstanceOf(PeerDiedError)
    const again = producer.send(payload(8, 2))
    expect(await stateOf(again)).toBe('pending')
    consumer = setup.attach().root.consumer()
    expect(await receiveEverything()).toEqual([...messages, payload(8, 2)])
    expect(await soon(again)).toBe(true)
  })

  test('Producer.send after the death of the consumer is told, unless there is space', async () => {
    setup.region.declareDead(consumerRegion.peers.self)
    fill()
    await expectRejection('ERR_ISTHMUS_PEER_DIED', soon(producer.send(payload(8, 1)), 'the news of the death'))
  })

  test('Producer.send before the first consumer came waits for it', async () => {
    const { ring } = createRing({ capacityBytes: 64 })
    const early = ring.producer()
    const sending = early.send(payload(300))
    await sleep(5)
    expect(await soon(ring.consumer().receive())).toEqual(payload(300))
    expect(await soon(sending)).toBe(true)
  })

  test('Producer.ref and unref return the producer', () => {
    expect([producer.unref(), producer.ref()]).toEqual([producer, producer])
  })
})
