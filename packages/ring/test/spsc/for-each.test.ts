import { getEventListeners } from 'node:events'
import { beforeEach, describe, expect, test } from 'vitest'
import { expectRejection } from '../../../sync/test/support/expect-code.js'
import { withoutSafetyNet } from '../../../sync/test/support/safety-net.js'
import { sleep, soon, stateOf, turns, until } from '../../../sync/test/support/waiting.js'
import { type Consumer, type ForEachOptions, json, type Producer, utf8 } from '../../src/index.js'
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

type Way = (callback: (message: Uint8Array) => unknown, options?: ForEachOptions, from?: Consumer) => Promise<void>
const ways: Record<string, Way> = {
  forEach: (callback, options, from = consumer) => from.forEach(callback, options),
  forEachInPlace: (callback, options, from = consumer) =>
    from.forEachInPlace((bytes, start, length) => callback(bytes.slice(start, start + length)), options),
}

describe.each(Object.keys(ways))('Consumer.%s', (name) => {
  const way = ways[name]

  test('calls back for every message, of any size, in order, until the producer closes', async () => {
    const sent = Array.from({ length: 60 }, (_, at) => payload((at * 61) % 900, at))
    const sending = (async () => {
      for (const [at, message] of sent.entries()) {
        await producer.send(message)
        if (at % 20 === 0) await sleep(2)
      }
      producer.close()
    })()
    const received: Uint8Array[] = []
    await soon(way((message) => received.push(message)))
    await sending
    expect(received).toEqual(sent)
    expect(setup.ring.describe()).toMatchObject({ usedBytes: 0, consumer: { isWaiting: false } })
    await soon(way(() => expect.fail()))
  })

  test('does not call back before it has returned', async () => {
    producer.trySend(payload(1))
    producer.close()
    let calls = 0
    const running = way(() => calls++)
    expect(calls).toBe(0)
    await soon(running)
    expect(calls).toBe(1)
  })

  test('awaits a promise of the callback before the next message', async () => {
    producer.trySendBatch(numbered(0, 5))
    producer.close()
    const order: string[] = []
    await soon(
      way(async ([first]) => {
        order.push(`${first} begins`)
        await (first % 2 === 0 ? sleep(1) : undefined)
        order.push(`${first} ends`)
      }),
    )
    expect(order).toEqual(numbered(0, 5).flatMap(([first]) => [`${first} begins`, `${first} ends`]))
  })

  test.each(['throws', 'rejects'])(
    'a callback that %s has had its message; calling again goes on after it',
    async (how) => {
      producer.trySendBatch(numbered(0, 4))
      const received: Uint8Array[] = []
      const callback = (message: Uint8Array) => {
        received.push(message)
        if (received.length !== 2) return
        if (how === 'rejects') return turns().then(() => Promise.reject(new Error('no second')))
        throw new Error('no second')
      }
      await expect(soon(way(callback))).rejects.toThrow('no second')
      expect(received.length).toBe(2)
      expect(consumer.tryReceive()).toEqual(payload(4, 2))
      producer.close()
      await soon(way(callback))
      expect(received).toEqual([payload(4, 0), payload(4, 1), payload(4, 3)])
    },
  )

  test('rejects for a death after all messages, and for a broken-off message; calling again goes on', async () => {
    const received: Uint8Array[] = []
    const callback = (message: Uint8Array) => received.push(message)
    producer.trySend(payload(4, 1))
    producer.sendSync(payload(3000), { timeoutMs: 0 })
    producer.trySend(payload(4, 2))
    await expectRejection('ERR_ISTHMUS_MESSAGE_INCOMPLETE', soon(way(callback)))
    const again = way(callback)
    await until(isWaiting)
    consumerRegion.declareDead(setup.region.peers.self)
    await expectRejection('ERR_ISTHMUS_PEER_DIED', soon(again))
    const successor = setup.attach().root.producer()
    successor.trySend(payload(4, 3))
    successor.close()
    await soon(way(callback))
    expect(received).toEqual([payload(4, 1), payload(4, 2), payload(4, 3)])
  })

  test('a signal ends it: before it begins, while it waits, from the callback, and while a promise is pending', async () => {
    producer.trySendBatch(numbered(0, 3))
    const received: Uint8Array[] = []
    await expectRejection(
      'ABORT_ERR',
      way(() => expect.fail(), { signal: AbortSignal.abort() }),
    )
    const first = new AbortController()
    const running = way((message) => received.push(message) === 2 && first.abort('enough'), first)
    await expect(soon(running)).rejects.toMatchObject({ code: 'ABORT_ERR', cause: 'enough' })
    expect(received).toEqual(numbered(0, 2))
    const second = new AbortController()
    let isDone = false
    const pending = way(async () => {
      second.abort()
      await sleep(5)
      isDone = true
    }, second)
    await expectRejection('ABORT_ERR', soon(pending))
    expect(isDone).toBe(true)
    const third = new AbortController()
    const waiting = way(() => expect.fail(), third)
    await until(isWaiting)
    third.abort()
    await expectRejection('ABORT_ERR', soon(waiting))
    for (const { signal } of [first, second, third]) expect(getEventListeners(signal, 'abort')).toEqual([])
    producer.trySend(payload(4, 7))
    await turns()
    expect(consumer.tryReceive()).toEqual(payload(4, 7))
    expect(isWaiting()).toBe(false)
  })

  test('rejects if the consumer is closed: while it waits, and by the callback, whose message counts as received', async () => {
    producer.trySendBatch(numbered(0, 3))
    await expectRejection('ERR_ISTHMUS_CLOSED', soon(way(() => consumer.close())))
    const successor = setup.attach().root.consumer()
    expect(receiveAll(successor)).toEqual(numbered(1, 2))
    const waiting = way(() => expect.fail(), {}, successor)
    await until(isWaiting)
    successor.close()
    await expectRejection('ERR_ISTHMUS_CLOSED', soon(waiting))
    await expectRejection(
      'ERR_ISTHMUS_CLOSED',
      way(() => {}),
    )
  })

  test('has the handle for itself: other calls get nothing, or their turn after it, and never its messages', async () => {
    producer.trySendBatch(numbered(0, 2))
    const seen: unknown[] = []
    const first = way(() =>
      seen.push(
        consumer.tryReceive(),
        consumer.tryReceiveBatch(),
        consumer.drain(() => {}),
      ),
    )
    const second = way(() => seen.push('second'))
    const third = consumer.receive()
    await until(isWaiting)
    expect(seen).toEqual([undefined, undefined, 0, undefined, undefined, 0])
    expect([await stateOf(second), await stateOf(third)]).toEqual(['pending', 'pending'])
    producer.close()
    await soon(Promise.all([first, second]))
    expect(await soon(third)).toBeNull()
  })

  test('gives timers and sockets their turn about every millisecond, though the ring is never empty', async () => {
    const { ring } = createRing({ capacityBytes: 1 << 16 })
    const full = ring.producer()
    const reader = ring.consumer()
    const controller = new AbortController()
    let lastMs = performance.now()
    let turnsSeen = 0
    const gapsMs: number[] = []
    const onTurn = () => {
      const now = performance.now()
      turnsSeen++
      gapsMs.push(now - lastMs)
      lastMs = now
      if (turnsSeen < 60) setImmediate(onTurn)
      else controller.abort()
    }
    setImmediate(onTurn)
    let count = 0
    const callback = () => {
      // A producer that is as fast as the consumer.
      while (full.trySend(payload(8)));
      // Watchdog: were there no turns, nothing else would end this.
      if (++count > 5e6) throw new Error('the event loop had no turn')
    }
    full.trySend(payload(8))
    await expectRejection('ABORT_ERR', soon(way(callback, controller, reader)))
    // One millisecond each; on a busy machine some take longer.
    expect(gapsMs.sort((a, b) => a - b)[gapsMs.length / 2]).toBeLessThan(20)
    expect(count).toBeGreaterThan(200)
  })

  test.each([undefined, null, 5, {}])('refuses %j as the callback, and takes nothing', async (stranger) => {
    producer.trySend(payload(1))
    const call = name as 'forEach'
    await expectRejection('ERR_ISTHMUS_INVALID_ARGUMENT', consumer[call](stranger as never))
    await expectRejection(
      'ERR_ISTHMUS_INVALID_ARGUMENT',
      consumer[call](() => {}, { signal: {} as AbortSignal }),
    )
    await expectRejection(
      'ERR_ISTHMUS_INVALID_ARGUMENT',
      consumer[call](() => {}, 5 as never),
    )
    expect(consumer.tryReceive()).toEqual(payload(1))
  })

  test('within a drain callback is refused', async () => {
    producer.trySend(payload(1))
    let nested: Promise<unknown> = Promise.resolve()
    consumer.drain(() => {
      nested = way(() => {})
      nested.catch(() => {})
    })
    await expectRejection('ERR_ISTHMUS_CALL_ORDER', nested)
  })
})

describe('Consumer.forEach', () => {
  test('gives what the codec decodes, and rejects with what the codec throws; that message counts as received', async () => {
    const { ring } = createRing<unknown>({ capacityBytes: 1024, codec: { ...utf8, decode: json().decode } })
    const reader = ring.consumer()
    const sender = ring.producer()
    sender.trySendBatch(['1', '{', '[2]'])
    const received: unknown[] = []
    await expect(soon(reader.forEach((value) => void received.push(value)))).rejects.toThrow(SyntaxError)
    sender.close()
    await soon(reader.forEach((value) => void received.push(value)))
    expect(received).toEqual([1, [2]])
  })
})

describe('Consumer.forEachInPlace', () => {
  test('shows the ring itself, and a message in fragments in a private array', async () => {
    producer.trySend(payload(40))
    producer.sendSync(payload(700))
    producer.close()
    const seen: unknown[] = []
    await soon(
      consumer.forEachInPlace((bytes, from, byteLength) => seen.push([bytes === consumer.bytes, from % 8, byteLength])),
    )
    expect(seen).toEqual([
      [true, 0, 40],
      [false, 0, 700],
    ])
  })

  test('keeps the space of a message until the promise of the callback settles, whatever waits meanwhile', async () => {
    producer.trySendBatch([payload(400, 1), payload(400, 2)])
    let finish = () => {}
    const shown: Uint8Array[] = []
    const running = consumer.forEachInPlace((bytes, from, byteLength) => {
      shown.push(bytes.subarray(from, from + byteLength))
      return new Promise<void>((resolve) => {
        finish = resolve
      })
    })
    await until(() => shown.length === 1)
    // The producer waits for that space; a wait of this thread returns what is held.
    const sending = producer.send(payload(400, 3))
    await sleep(30)
    consumer.acknowledge()
    expect([setup.memory.readPosition, await stateOf(sending)]).toEqual([0, 'pending'])
    expect(shown[0]).toEqual(payload(400, 1))
    finish()
    await until(() => shown.length === 2)
    expect(await soon(sending)).toBe(true)
    expect(shown[1]).toEqual(payload(400, 2))
    finish()
    await until(() => shown.length === 3)
    expect(shown[2]).toEqual(payload(400, 3))
    producer.close()
    finish()
    await soon(running)
  })

  test('a consumer that is killed while the promise is pending: its successor receives the message again', async () => {
    producer.trySendBatch([payload(300, 1), payload(300, 2), payload(300, 3)])
    let calls = 0
    const running = consumer.forEachInPlace(() => (++calls === 2 ? new Promise(() => {}) : undefined))
    running.catch(() => {})
    await until(() => calls === 2)
    await turns()
    endHold(setup.region, consumerRegion.peers.self)
    expect(receiveAll(setup.attach().root.consumer()).slice(-2)).toEqual([payload(300, 2), payload(300, 3)])
  })

  test('after a message whose callback waited, and after an abort, its space is not forgotten', async () => {
    const controller = new AbortController()
    const another = createRing({ capacityBytes: 64 }).ring.consumer()
    producer.trySend(payload(200))
    const running = consumer.forEachInPlace(async () => {
      // A wait of this thread, which returns what is held; the message that is shown is not.
      await another.receive({ timeoutMs: 20 })
      controller.abort()
    }, controller)
    await expectRejection('ABORT_ERR', soon(running))
    expect(setup.ring.describe().usedBytes).toBe(208)
    await soon(another.receive({ timeoutMs: 20 }))
    expect(setup.ring.describe().usedBytes).toBe(0)
  })
})
