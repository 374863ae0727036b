import { futex, HeapRegion, mutex, semaphore, struct, type Waitable, waitAny } from '@isthmus/sync'
import { pendingWaits } from '@isthmus/sync/internal'
import fc from 'fast-check'
import { beforeEach, describe, expect, test, vi } from 'vitest'
import { expectCode, expectRejection } from '../../../sync/test/support/expect-code.js'
import { withoutSafetyNet } from '../../../sync/test/support/safety-net.js'
import { sleep, soon, stateOf, until } from '../../../sync/test/support/waiting.js'
import { type Consumer, type Producer, spscRing } from '../../src/index.js'
import { createRing, endHold, expectSameMessages, payload, type RingSetup } from '../support/ring-memory.js'

withoutSafetyNet()

let setup: RingSetup
let producer: Producer
let consumer: Consumer

beforeEach(() => {
  setup = createRing({ capacityBytes: 64 })
  producer = setup.ring.producer()
  consumer = setup.attach().root.consumer()
})

/** Which of them are ready, as indexes: a matcher would iterate over a consumer, and wait for its messages. */
async function readyOf(waitables: (Consumer | Producer)[], options = {}): Promise<number[]> {
  return (await soon(waitAny(waitables, options))).map((ready) => waitables.indexOf(ready))
}

const sides = () => setup.ring.describe()

describe('waitAny over consumers', () => {
  test('waitAny returns the space of what was received: the producer may need it for the next message', async () => {
    // The second one is less than a quarter of the ring; the third needs all there is, with what is left before its end.
    const { ring, attach } = createRing({ capacityBytes: 1024 })
    producer = ring.producer()
    consumer = attach().root.consumer()
    const lengths: number[] = []
    const receiving = (async () => {
      while (lengths.length < 3) {
        const [ready] = await waitAny([consumer])
        ready.drain((_bytes, _byteOffset, byteLength) => lengths.push(byteLength))
      }
    })()
    for (const byteLength of [264, 240, 504]) {
      await until(() => ring.describe().consumer.isWaiting)
      expect(await soon(producer.send(payload(byteLength)))).toBe(true)
    }
    await soon(receiving)
    expect(lengths).toEqual([264, 240, 504])
  })

  test.each(['closes', 'dies'])(
    'waitAny tells of the end of a producer that sends and %s in the midst of a look',
    async (end) => {
      const bystander = setup.attach()
      const { load } = Atomics
      const spy = vi.spyOn(Atomics, 'load').mockImplementationOnce((words: unknown, index) => {
        // The consumer loads the write position and finds nothing yet. It loads the role after this.
        const found = load(words as Int32Array, index)
        producer.trySend(payload(2))
        if (end === 'closes') producer.close()
        else bystander.declareDead(setup.region.peers.self)
        return found as never
      })
      expect(consumer.tryReceive()).toEqual(payload(2))
      expect(spy).toHaveBeenCalled()
      spy.mockRestore()
      expect((await soon(waitAny([consumer]))).length).toBe(1)
      if (end === 'closes') expect(consumer.tryReceive()).toBe(null)
      else expectCode('ERR_ISTHMUS_PEER_DIED', () => consumer.tryReceive())
    },
  )

  test('waitAny: messages of any length come through rings of any size, both sides awaiting', async () => {
    const lengths = fc.array(fc.integer({ min: 0, max: 100 }), { minLength: 1, maxLength: 20 })
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(64, 128, 256), lengths, fc.boolean(), async (capacityBytes, shares, drains) => {
        const { ring, attach } = createRing({ capacityBytes })
        const sender = ring.producer()
        const receiver = attach().root.consumer()
        const messages = shares.map((share, at) => payload(Math.floor((share * sender.maxRecordBytes) / 100), at))
        const received: Uint8Array[] = []
        const receiving = (async () => {
          while (received.length < messages.length) {
            await waitAny([receiver])
            if (drains)
              receiver.drain((bytes, start, byteLength) => received.push(bytes.slice(start, start + byteLength)))
            else received.push(receiver.tryReceive() as Uint8Array)
          }
        })()
        for (const message of messages) {
          await waitAny([sender])
          await soon(sender.send(message))
        }
        await soon(receiving)
        expectSameMessages(received, messages)
      }),
      { numRuns: 300 },
    )
  })

  test('waitAny that is pending returns the space of what others have received, when the producer needs it', async () => {
    const { ring, attach } = createRing({ capacityBytes: 1024 })
    producer = ring.producer()
    consumer = attach().root.consumer()
    const waiting = waitAny([consumer])
    await until(() => ring.describe().consumer.isWaiting)
    // Taken in the same turn of the loop: the wait finds nothing when it is woken, and the producer does not wait yet.
    producer.trySendBatch([payload(264), payload(240)])
    expect([consumer.tryReceive()?.byteLength, consumer.tryReceive()?.byteLength]).toEqual([264, 240])
    expect(await stateOf(waiting)).toBe('pending')
    expect(await soon(producer.send(payload(504)))).toBe(true)
    expect((await soon(waiting)).length).toBe(1)
    expect(consumer.tryReceive()?.byteLength).toBe(504)
  })

  test('waitAny refuses what cannot be waited for', async () => {
    for (const stranger of [{}, undefined, 5]) {
      await expectRejection('ERR_ISTHMUS_INVALID_ARGUMENT', waitAny([stranger as Waitable]))
    }
  })

  test('waitAny tells which have something, in the order given, again and again until it is received', async () => {
    const rings = [1, 2, 3].map(() => createRing({ capacityBytes: 64 }))
    const producers = rings.map(({ ring }) => ring.producer())
    const consumers = rings.map(({ attach }) => attach().root.consumer())
    expect(await readyOf(consumers, { timeoutMs: 5 })).toEqual([])
    const waiting = readyOf(consumers)
    await sleep(5)
    producers[1].trySend(payload(1))
    expect(await waiting).toEqual([1])
    producers[2].trySend(payload(1))
    expect(await readyOf(consumers)).toEqual([1, 2])
    consumers[1].tryReceive()
    expect(await readyOf(consumers)).toEqual([2])
    consumers[2].tryReceive()
    expect(await readyOf(consumers, { timeoutMs: 0 })).toEqual([])
    expect(rings.map(({ ring }) => ring.describe().consumer.isWaiting)).toEqual([false, false, false])
  })

  test('waitAny that is aborted or timed out leaves nothing armed', async () => {
    const controller = new AbortController()
    const waiting = waitAny([consumer], { signal: controller.signal })
    waiting.catch(() => {})
    await until(() => sides().consumer.isWaiting)
    controller.abort()
    await expectRejection('ABORT_ERR', waiting)
    expect(sides().consumer.isWaiting).toBe(false)
    await expectRejection('ABORT_ERR', waitAny([consumer], { signal: controller.signal }))
    await expectRejection('ERR_ISTHMUS_INVALID_ARGUMENT', waitAny([consumer], { timeoutMs: -1 }))
    expect(await readyOf([consumer], { timeoutMs: 10 })).toEqual([])
    expect(sides().consumer.isWaiting).toBe(false)
  })

  test('waitAny tells of the end, before and after it was received: receive would not have to wait', async () => {
    const waiting = readyOf([consumer])
    await until(() => sides().consumer.isWaiting)
    producer.close()
    expect(await waiting).toEqual([0])
    expect(consumer.tryReceive()).toBeNull()
    expect(await readyOf([consumer], { timeoutMs: 20 })).toEqual([0])
    expect(await consumer.receive()).toBeNull()
  })

  test('waitAny tells of a death once; when it was told, it waits for the successor', async () => {
    const waiting = readyOf([consumer])
    await until(() => sides().consumer.isWaiting)
    const [successor, herald] = [setup.attach(), setup.attach()]
    herald.declareDead(setup.region.peers.self)
    expect(await waiting).toEqual([0])
    expectCode('ERR_ISTHMUS_PEER_DIED', () => consumer.tryReceive())
    expect(await readyOf([consumer], { timeoutMs: 20 })).toEqual([])
    const next = readyOf([consumer])
    await sleep(5)
    successor.root.producer().trySend(payload(1))
    expect(await next).toEqual([0])
  })

  test('waitAny finds a death that was not declared, when it reaps the dead', async () => {
    const waiting = readyOf([consumer])
    await until(() => sides().consumer.isWaiting)
    endHold(setup.region, setup.region.peers.self)
    pendingWaits.reapDead()
    expect(await waiting).toEqual([0])
    expectCode('ERR_ISTHMUS_PEER_DIED', () => consumer.tryReceive())
  })

  test('waitAny rejects if one of the regions is closed meanwhile', async () => {
    const other = createRing({ capacityBytes: 64 })
    const waiting = waitAny([consumer, other.ring.consumer()])
    waiting.catch(() => {})
    await until(() => sides().consumer.isWaiting)
    other.region.close()
    await expectRejection('ERR_ISTHMUS_CLOSED', waiting)
    expect(sides().consumer.isWaiting).toBe(false)
  })

  test('waitAny over a thousand rings', async () => {
    const rings = Array.from({ length: 1_000 }, () => HeapRegion.create(spscRing({ capacityBytes: 64 })).root)
    const producers = rings.map((ring) => ring.producer())
    const consumers = rings.map((ring) => ring.consumer())
    for (const at of [999, 0, 500]) {
      const waiting = readyOf(consumers)
      await until(() => rings[at].describe().consumer.isWaiting)
      producers[at].trySend(payload(1))
      expect(await waiting).toEqual([at])
      consumers[at].tryReceive()
    }
    expect(rings.some((ring) => ring.describe().consumer.isWaiting)).toBe(false)
  })
})

test('waitAny: an end that was told to the consumer before this one does not make it ready', async () => {
  producer.close()
  expect([consumer.tryReceive(), consumer.tryReceive()]).toEqual([null, null])
  consumer.close()
  consumer = setup.attach().root.consumer()
  expect(await readyOf([consumer], { timeoutMs: 20 })).toEqual([])
  expect(consumer.tryReceive()).toBe(undefined)
})

describe('waitAny over producers', () => {
  test('waitAny asks a consumer that sleeps for the space of what it received meanwhile', async () => {
    const { ring, attach } = createRing({ capacityBytes: 1024 })
    producer = ring.producer()
    consumer = attach().root.consumer()
    const waiting = waitAny([consumer])
    await until(() => ring.describe().consumer.isWaiting)
    // 256 bytes and 512: the second stay unreturned. A message of half of a record would need the 256 before the end and
    // 264 after them, and 512 are free.
    expect(producer.trySendBatch([payload(248), payload(504)])).toBe(2)
    for (let at = 0; at < 2; at++) consumer.tryReceive()
    expect(await stateOf(waiting)).toBe('pending')
    expect((await soon(waitAny([producer]))).length).toBe(1)
  })

  test('waitAny waits while a send of the same producer does: a try would be refused', async () => {
    const { ring, attach } = createRing({ capacityBytes: 1024 })
    producer = ring.producer()
    consumer = attach().root.consumer()
    producer.trySendBatch([payload(264), payload(264)])
    const sending = producer.send(payload(504))
    const waiting = waitAny([producer])
    expect(await stateOf(waiting)).toBe('pending')
    for (let at = 0; at < 4; at++) consumer.tryReceive()
    expect(await soon(sending)).toBe(true)
    expect(consumer.tryReceive()?.byteLength).toBe(504)
    consumer.acknowledge()
    expect((await soon(waiting)).length).toBe(1)
  })

  test('waitAny publishes what a corked producer holds back: the consumer must see it to make space', async () => {
    const receiving = consumer.receive().then(() => consumer.receive())
    producer.cork()
    expect(producer.trySend(payload(24))).toBe(true)
    expect(producer.trySend(payload(24))).toBe(true)
    expect((await soon(waitAny([producer]))).length).toBe(1)
    expect(await soon(receiving)).toEqual(payload(24))
  })

  test('waitAny returns a producer whose ring is corrupt, and still works for the others', async () => {
    const full = createRing({ capacityBytes: 64 }).ring.producer()
    for (const one of [producer, full]) while (one.trySend(payload(8)));
    setup.memory.readPosition = 3
    expect(await readyOf([full, producer])).toEqual([1])
    expectCode('ERR_ISTHMUS_CORRUPT', () => producer.trySend(payload(8)))
  })

  const fill = () => {
    while (producer.trySend(payload(8)));
  }

  test('waitAny tells when there is space', async () => {
    expect(await readyOf([producer])).toEqual([0])
    fill()
    const waiting = readyOf([producer])
    expect(await stateOf(waiting)).toBe('pending')
    while (consumer.tryReceive() !== undefined);
    expect(await waiting).toEqual([0])
    expect([sides().producer.isWaiting, producer.trySend(payload(8))]).toEqual([false, true])
  })

  test('Producer.spaceFor is ready when a message of that length fits, and not before', async () => {
    fill()
    const [small, large] = [producer.spaceFor(8), producer.spaceFor(24)]
    const waiting = soon(waitAny([small, large]))
    expect(await stateOf(waiting)).toBe('pending')
    consumer.tryReceive()
    consumer.acknowledge()
    expect((await waiting).map((ready) => ready === small)).toEqual([true])
    expect(await waitAny([large], { timeoutMs: 20 })).toEqual([])
    expect([producer.trySend(payload(24)), producer.trySend(payload(8))]).toEqual([false, true])
    while (consumer.tryReceive() !== undefined);
    expect(await soon(waitAny([large]))).toEqual([large])
    expect(producer.trySend(payload(24))).toBe(true)
  })

  test('Producer.spaceFor refuses what is no length of a record', () => {
    expectCode('ERR_ISTHMUS_MESSAGE_TOO_LARGE', () => producer.spaceFor(producer.maxRecordBytes + 1))
    for (const length of [-1, 0.5, Number.NaN, '8', undefined]) {
      expectCode('ERR_ISTHMUS_INVALID_ARGUMENT', () => producer.spaceFor(length as never))
    }
  })

  test('Producer.spaceFor of a closed producer is ready: the next call throws', async () => {
    fill()
    const space = producer.spaceFor(8)
    producer.close()
    expect(await soon(waitAny([space]))).toEqual([space])
  })

  test('waitAny tells of the death of the consumer, once: a death that was told does not end the next wait', async () => {
    fill()
    const waiting = readyOf([producer])
    await until(() => sides().producer.isWaiting)
    const gone = sides().consumer.holder?.peer
    if (gone !== undefined) setup.region.declareDead(gone)
    expect(await waiting).toEqual([0])
    await expectRejection('ERR_ISTHMUS_PEER_DIED', soon(producer.send(payload(8))))
    expect(await readyOf([producer], { timeoutMs: 20 })).toEqual([])
  })

  test('waitAny finds the death of a consumer that was not declared, when it reaps the dead', async () => {
    fill()
    const waiting = readyOf([producer])
    await until(() => sides().producer.isWaiting)
    const gone = sides().consumer.holder?.peer
    if (gone !== undefined) endHold(setup.region, gone)
    pendingWaits.reapDead()
    expect(await waiting).toEqual([0])
  })
})

test('waitAny over locks, words and rings together', async () => {
  const layout = struct({
    ring: spscRing({ capacityBytes: 64 }),
    lock: mutex(),
    permits: semaphore({ permits: 1 }),
    word: futex(),
  })
  const region = HeapRegion.create(layout)
  const { ring, lock, permits, word } = HeapRegion.attach(region.handle, layout).root
  const all = [ring.consumer(), lock, permits, word.otherThan(0)]
  const guard = region.root.lock.lockSync()
  const permit = region.root.permits.acquireSync()
  const sender = region.root.ring.producer()
  const ready = async (options = {}) => (await soon(waitAny(all, options))).map((each) => all.indexOf(each))
  const endings = [
    () => sender.trySend(payload(1)),
    () => guard.unlock(),
    () => permit.release(),
    () => {
      region.root.word.value = 1
      region.root.word.notifyAll()
    },
  ]
  const seen: number[] = []
  for (const [at, end] of endings.entries()) {
    if (at === 0) {
      expect(await ready({ timeoutMs: 5 })).toEqual([])
      const waiting = ready()
      await sleep(5)
      end()
      seen.push(...(await waiting))
    } else {
      end()
      seen.push((await ready()).length)
    }
  }
  expect(seen).toEqual([0, 2, 3, 4])
  expect([region.root.lock.describe().waiters, region.root.permits.describe().waiters]).toEqual([[], []])
  expect(ring.describe().consumer.isWaiting).toBe(false)
})
