import { beforeEach, describe, expect, test } from 'vitest'
import { expectCode, expectRejection } from '../../../sync/test/support/expect-code.js'
import { withoutSafetyNet } from '../../../sync/test/support/safety-net.js'
import { soon, until } from '../../../sync/test/support/waiting.js'
import { type Consumer, json, type Producer, utf8 } from '../../src/index.js'
import { ABORT } from '../../src/record/layout.js'
import { createRing, endHold, numbered, payload, type RingSetup, receiveAll } from '../support/ring-memory.js'

withoutSafetyNet()

let setup: RingSetup
let producer: Producer
let consumer: Consumer
let consumerRegion: ReturnType<RingSetup['attach']>

beforeEach(() => {
  setup = createRing({ capacityBytes: 1024 })
  producer = setup.ring.producer()
  consumerRegion = setup.attach()
  consumer = consumerRegion.root.consumer()
})

const isWaiting = () => setup.ring.describe().consumer.isWaiting

describe('Consumer.tryReceiveBatch', () => {
  test('gives what is there now, in order, up to maxMessages; undefined for nothing, null at the end', () => {
    expect(consumer.tryReceiveBatch()).toBeUndefined()
    producer.trySendBatch(numbered(0, 10))
    expect(consumer.tryReceiveBatch(3)).toEqual(numbered(0, 3))
    expect(consumer.tryReceiveBatch(1)).toEqual(numbered(3, 1))
    expect(consumer.tryReceiveBatch(Number.POSITIVE_INFINITY)).toEqual(numbered(4, 6))
    expect(consumer.tryReceiveBatch()).toBeUndefined()
    producer.trySend(payload(1))
    producer.close()
    expect(consumer.tryReceiveBatch()).toEqual([payload(1)])
    expect([consumer.tryReceiveBatch(), consumer.tryReceiveBatch(1)]).toEqual([null, null])
  })

  test('goes on across the end of the ring, and over padding', () => {
    for (let round = 0; round < 40; round++) {
      const messages = numbered(round, 3, 100 + ((round * 24) % 150))
      expect(producer.trySendBatch(messages)).toBe(3)
      expect(consumer.tryReceiveBatch()).toEqual(messages)
      // Now it is done with them.
      expect(consumer.tryReceiveBatch()).toBeUndefined()
    }
  })

  test('has 256 messages, if not told otherwise', () => {
    setup = createRing({ capacityBytes: 1 << 13 })
    const sender = setup.ring.producer()
    const reader = setup.attach().root.consumer()
    while (sender.trySend(new Uint8Array()));
    expect([reader.tryReceiveBatch()?.length, reader.tryReceiveBatch()?.length]).toEqual([256, 256])
  })

  test('returns no space of a message that it has given: a successor receives the whole batch again', () => {
    const messages = numbered(0, 7, 100)
    producer.trySendBatch(messages)
    expect(consumer.tryReceiveBatch()).toEqual(messages)
    expect(setup.memory.readPosition).toBe(0)
    endHold(setup.region, consumerRegion.peers.self)
    expect(receiveAll(setup.attach().root.consumer())).toEqual(messages)
  })

  test('returns the space with the next call', () => {
    producer.trySendBatch(numbered(0, 7, 100))
    consumer.tryReceiveBatch()
    expect(consumer.tryReceiveBatch()).toBeUndefined()
    expect(setup.ring.describe().usedBytes).toBe(0)
  })

  test('a message in fragments begins a batch, and what comes before it is given first', () => {
    producer.trySendBatch(numbered(0, 2))
    producer.sendSync(payload(600))
    producer.trySendBatch(numbered(2, 2))
    expect(consumer.tryReceiveBatch()).toEqual(numbered(0, 2))
    expect(consumer.tryReceiveBatch()).toEqual([payload(600), ...numbered(2, 2)])
  })

  test('a message that broke off is told once, after what came before it, and nothing is lost', () => {
    producer.trySend(payload(4, 1))
    producer.sendSync(payload(3000), { timeoutMs: 0 })
    producer.trySend(payload(4, 2))
    expect(consumer.tryReceiveBatch()).toEqual([payload(4, 1)])
    expectCode('ERR_ISTHMUS_MESSAGE_INCOMPLETE', () => consumer.tryReceiveBatch())
    expect(consumer.tryReceiveBatch()).toEqual([payload(4, 2)])
    setup.memory.append({ kind: ABORT })
    producer.close()
    expect(consumer.tryReceiveBatch()).toBeNull()
  })

  test('a death is told once, after everything that was committed', () => {
    producer.trySendBatch(numbered(0, 2))
    endHold(setup.region, setup.region.peers.self)
    const reader = consumer
    expect(reader.tryReceiveBatch()).toEqual(numbered(0, 2))
    setup.attach()
    expectCode('ERR_ISTHMUS_PEER_DIED', () => reader.receiveBatchSync())
    expect(reader.tryReceiveBatch()).toBeUndefined()
  })

  test('a record that no producer writes is met by each call, after what came before it', () => {
    producer.trySendBatch(numbered(0, 3))
    setup.memory.setWordAt(32, 0, 5000)
    expect(consumer.tryReceiveBatch()).toEqual(numbered(0, 2))
    for (let call = 0; call < 2; call++) expectCode('ERR_ISTHMUS_CORRUPT', () => consumer.tryReceiveBatch())
    setup.memory.setWordAt(32, 0, 4)
    expect(consumer.tryReceiveBatch()).toEqual(numbered(2, 1))
  })

  test('an error of the codec comes with the next call; the message that caused it is the only one lost', () => {
    const { ring } = createRing<unknown>({ capacityBytes: 1024, codec: { ...utf8, decode: json().decode } })
    const reader = ring.consumer()
    ring.producer().trySendBatch(['1', '2', '{', '4', '}'])
    expect(reader.tryReceiveBatch()).toEqual([1, 2])
    expect(() => reader.tryReceiveBatch()).toThrow(SyntaxError)
    expect(reader.tryReceiveBatch()).toEqual([4])
    expect(() => reader.tryReceiveBatch()).toThrow(SyntaxError)
    expect(reader.tryReceiveBatch()).toBeUndefined()
  })

  test.each(['calls the consumer', 'closes the consumer'])('a codec that %s loses no message', (what) => {
    let act = () => {}
    const codec = {
      ...utf8,
      decode(bytes: Uint8Array) {
        const text = utf8.decode(bytes)
        if (text === 'act') act()
        return text
      },
    }
    const { ring } = createRing({ capacityBytes: 1024, codec })
    const reader = ring.consumer()
    ring.producer().trySendBatch(['a', 'act', 'b'])
    const nested: unknown[] = []
    act = () => {
      if (what === 'closes the consumer') reader.close()
      else nested.push(reader.tryReceive())
    }
    expect(reader.tryReceiveBatch()).toEqual(['a'])
    act = () => {}
    const next = what === 'closes the consumer' ? ring.consumer() : reader
    expect(next.tryReceiveBatch()).toEqual(['act', 'b'])
    expect(nested).toEqual([])
  })

  test.each([0, -1, 1.5, Number.NaN, '2', null, {}])(
    'refuses %j as maxMessages, and takes nothing',
    async (stranger) => {
      producer.trySend(payload(1))
      const maxMessages = stranger as number
      const refused = 'ERR_ISTHMUS_INVALID_ARGUMENT'
      if (typeof stranger !== 'object') expectCode(refused, () => consumer.tryReceiveBatch(maxMessages))
      expectCode(refused, () => consumer.receiveBatchSync({ maxMessages: stranger === null ? 0 : maxMessages }))
      if (stranger !== null) {
        expectCode(refused, () => consumer.batches({ maxMessages }))
        await expectRejection(refused, consumer.receiveBatch({ maxMessages }))
      }
      expect(consumer.tryReceiveBatch()).toEqual([payload(1)])
    },
  )
})

describe('Consumer.receiveBatchSync and receiveBatch', () => {
  test('give what is there, and wait for at least one message', async () => {
    producer.trySendBatch(numbered(0, 5))
    expect(consumer.receiveBatchSync({ maxMessages: 2 })).toEqual(numbered(0, 2))
    expect(await consumer.receiveBatch({ maxMessages: 2 })).toEqual(numbered(2, 2))
    expect(await consumer.receiveBatch()).toEqual(numbered(4, 1))
    const waiting = consumer.receiveBatch()
    await until(isWaiting)
    producer.trySendBatch(numbered(5, 3))
    expect(await soon(waiting)).toEqual(numbered(5, 3))
  })

  test('end after their timeout, at the end, and by a signal, and take nothing then', async () => {
    expect(consumer.receiveBatchSync({ timeoutMs: 1 })).toBeUndefined()
    expect(await consumer.receiveBatch({ timeoutMs: 1 })).toBeUndefined()
    const controller = new AbortController()
    const aborted = consumer.receiveBatch({ signal: controller.signal })
    await until(isWaiting)
    controller.abort()
    await expectRejection('ABORT_ERR', soon(aborted))
    producer.trySend(payload(1))
    await expectRejection('ABORT_ERR', consumer.receiveBatch({ signal: controller.signal }))
    expect(consumer.receiveBatchSync()).toEqual([payload(1)])
    producer.close()
    expect([consumer.receiveBatchSync(), await consumer.receiveBatch()]).toEqual([null, null])
  })

  test('take their turn among receives', async () => {
    const results = [consumer.receive(), consumer.receiveBatch({ maxMessages: 2 }), consumer.receive()]
    expectCode('EDEADLK', () => consumer.receiveBatchSync())
    expect(consumer.tryReceiveBatch()).toBeUndefined()
    await until(isWaiting)
    producer.trySendBatch(numbered(0, 4))
    expect(await soon(Promise.all(results))).toEqual([payload(4, 0), numbered(1, 2), payload(4, 3)])
  })
})

describe('Consumer.batches', () => {
  test('gives one batch after the other until the producer closes', async () => {
    const sent = numbered(0, 500, 20)
    const sending = (async () => {
      for (const message of sent) await producer.send(message)
      producer.close()
    })()
    const received: Uint8Array[] = []
    for await (const batch of consumer.batches({ maxMessages: 7 })) {
      expect(batch.length).toBeGreaterThan(0)
      expect(batch.length).toBeLessThanOrEqual(7)
      received.push(...batch)
    }
    expect(received).toEqual(sent)
    await sending
  })

  test('a signal, or leaving the loop, ends it and takes nothing', async () => {
    const controller = new AbortController()
    const batches = consumer.batches({ signal: controller.signal })
    const pending = batches.next()
    await until(isWaiting)
    controller.abort()
    await expectRejection('ABORT_ERR', soon(pending))
    producer.trySendBatch(numbered(0, 4))
    for await (const batch of consumer.batches({ maxMessages: 2 })) {
      expect(batch).toEqual(numbered(0, 2))
      break
    }
    expect(consumer.tryReceiveBatch()).toEqual(numbered(2, 2))
  })

  test('count by their messages when the event loop is to have its turn', async () => {
    const { ring } = createRing({ capacityBytes: 1 << 16 })
    const full = ring.producer()
    let turnsSeen = 0
    let isOver = false
    const onTurn = () => {
      turnsSeen++
      if (!isOver) setImmediate(onTurn)
    }
    setImmediate(onTurn)
    let count = 0
    const refill = () => {
      while (full.trySend(payload(8)));
    }
    refill()
    for await (const batch of ring.consumer().batches()) {
      refill()
      count += batch.length
      if (count > 20_000) break
    }
    isOver = true
    expect(turnsSeen).toBeGreaterThanOrEqual(3)
  })
})
