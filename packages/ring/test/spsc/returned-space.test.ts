import { Worker } from 'node:worker_threads'
import * as sync from '@isthmus/sync'
import { HeapRegion, waitAny } from '@isthmus/sync'
import { EventCount } from '@isthmus/sync/internal'
import { beforeEach, describe, expect, test, vi } from 'vitest'
import { expectRejection } from '../../../sync/test/support/expect-code.js'
import { asOfAnotherThread } from '../../../sync/test/support/other-thread.js'
import { withoutSafetyNet } from '../../../sync/test/support/safety-net.js'
import { soon, turns, until } from '../../../sync/test/support/waiting.js'
import { type Consumer, type Producer, spscRing } from '../../src/index.js'
import { payload } from '../support/ring-memory.js'

withoutSafetyNet()

const layoutOf = ({ struct, mutex, rwLock, semaphore, condvar, futex, barrier, spscRing }: Factories) =>
  struct({
    a: spscRing({ capacityBytes: 1024 }),
    b: spscRing({ capacityBytes: 1024 }),
    mutex: mutex(),
    reads: rwLock(),
    semaphore: semaphore({ permits: 1 }),
    condvar: condvar(),
    futex: futex(),
    barrier: barrier({ parties: 2 }),
  })
type Factories = typeof import('@isthmus/sync') & Pick<typeof import('../../src/index.js'), 'spscRing'>
const layout = layoutOf({ ...sync, spscRing })
/** The same for a thread of its own. */
const layoutText = layoutOf.toString()

function attachments() {
  const first = asOfAnotherThread(HeapRegion.create(layout))
  return { first, second: HeapRegion.attach(first.handle, layout) }
}

/** A wait whose time is up before it sleeps returns no space: this is longer than a busy machine stands still. */
const SLEEP_MS = 250

let sides: ReturnType<typeof attachments>
let consumer: Consumer
let producer: Producer
let other: Producer

/** A message of almost half the ring has been received, and its space kept. */
beforeEach(() => {
  sides = attachments()
  consumer = sides.second.root.a.consumer()
  producer = sides.first.root.a.producer()
  other = sides.first.root.b.producer()
  producer.trySend(payload(200))
  expect(consumer.tryReceive()).toEqual(payload(200))
  expect(keptBytes()).toBe(208)
})

const keptBytes = () => sides.first.root.a.describe().usedBytes

describe('space of received messages, if the thread waits for something else', () => {
  const blocking: Record<string, () => unknown> = {
    'another ring': () => sides.second.root.b.consumer().receiveSync({ timeoutMs: SLEEP_MS }),
    'space in another ring': () => {
      while (other.trySend(payload(100)));
      return other.sendSync(payload(100), { timeoutMs: SLEEP_MS })
    },
    'a mutex': () => {
      sides.first.root.mutex.lockSync()
      return sides.second.root.mutex.lockSync({ timeoutMs: SLEEP_MS })
    },
    'a reader-writer lock': () => {
      sides.first.root.reads.writeLockSync()
      return sides.second.root.reads.readLockSync({ timeoutMs: SLEEP_MS })
    },
    'a semaphore': () => {
      sides.first.root.semaphore.acquireSync()
      return sides.second.root.semaphore.acquireSync({ timeoutMs: SLEEP_MS })
    },
    'a condition variable': () =>
      sides.second.root.condvar.waitSync(sides.second.root.mutex.lockSync(), { timeoutMs: SLEEP_MS }),
    'a futex': () => sides.second.root.futex.waitWhileSync(0, { timeoutMs: SLEEP_MS }),
    'a barrier': () => sides.second.root.barrier.join().waitSync({ timeoutMs: SLEEP_MS }),
  }

  test.each(Object.keys(blocking))('a thread that blocks for %s returns it first', (what) => {
    expect(blocking[what]() || false).toBe(false)
    expect(keptBytes()).toBe(0)
  })

  const awaiting: Record<string, (options: { signal: AbortSignal }) => Promise<unknown>> = {
    'another ring': (options) => sides.second.root.b.consumer().receive(options),
    'messages of another ring': (options) => sides.second.root.b.consumer().messages(options).next(),
    'space in another ring': (options) => {
      while (other.trySend(payload(100)));
      return other.send(payload(100), options)
    },
    'a mutex': (options) => {
      sides.first.root.mutex.lockSync()
      return sides.second.root.mutex.lock(options)
    },
    'a semaphore': (options) => {
      sides.first.root.semaphore.acquireSync()
      return sides.second.root.semaphore.acquire(options)
    },
    'a futex': (options) => sides.second.root.futex.waitWhile(0, options),
    'a barrier': (options) => sides.second.root.barrier.join().wait(options),
    'any of several': (options) => waitAny([sides.second.root.b.consumer()], options),
  }

  test.each(Object.keys(awaiting))('an event loop that waits for %s returns it first', async (what) => {
    const controller = new AbortController()
    const waiting = awaiting[what](controller)
    waiting.catch(() => {})
    await until(() => keptBytes() === 0)
    controller.abort()
    await expectRejection('ABORT_ERR', soon(waiting))
  })

  test('an event loop that waits already returns what it receives, in its next turn', async () => {
    const reader = sides.second.root.b.consumer()
    const waiting = reader.receive()
    await until(() => sides.first.root.b.describe().consumer.isWaiting)
    for (const receive of [
      () => consumer.tryReceive(),
      () => consumer.tryReceiveChunk(),
      () => consumer.drain(() => {}, { limit: 1 }),
    ]) {
      producer.trySend(payload(100))
      receive()
      await turns()
      expect(keptBytes()).toBe(0)
    }
    other.trySend(payload(1))
    expect(await soon(waiting)).toEqual(payload(1))
  })

  test('a drain shows its space to a producer that waits, and wakes it when the thread waits for something else', async () => {
    consumer.acknowledge()
    while (producer.trySend(payload(100)));
    const sending = producer.send(payload(100))
    await until(() => sides.first.root.a.describe().producer.isWaiting)
    expect(consumer.drain(() => {}, { limit: 1 })).toBe(1)
    expect(await soon(sending)).toBe(true)
  })

  test("a producer that waits sees each message's space at once, and is woken for a quarter of the ring", async () => {
    consumer.acknowledge()
    while (producer.trySend(payload(24)));
    const sending = producer.send(payload(24))
    await until(() => sides.first.root.a.describe().producer.isWaiting)
    const usedBytes = keptBytes()
    const notify = vi.spyOn(EventCount.prototype, 'notify')
    const notifiedAfter: number[] = []
    const kept: number[] = []
    for (let taken = 1; taken <= 18; taken++) {
      consumer.tryReceive()
      kept.push(keptBytes() - (usedBytes - 32 * taken))
      if (notify.mock.calls.length > notifiedAfter.length) notifiedAfter.push(taken)
    }
    notify.mockRestore()
    // Only the message that was taken last keeps its space.
    expect(new Set(kept)).toEqual(new Set([32]))
    // A quarter are 8 messages, whose space the next call returns.
    expect(notifiedAfter).toEqual([9, 17])
    expect(await soon(sending)).toBe(true)
  })

  test('a wait that finds at once what it waits for keeps the space: a successor receives the message again', () => {
    other.trySend(payload(3))
    expect(sides.second.root.b.consumer().receiveSync()).toEqual(payload(3))
    sides.second.root.mutex.lockSync().unlock()
    expect(keptBytes()).toBe(208)
  })

  test('a wait within a drain callback returns what others have received, and never what the callback is shown', async () => {
    const reader = sides.second.root.b.consumer()
    other.trySend(payload(300))
    producer.trySend(payload(200, 2))
    sides.first.root.mutex.lockSync()
    const seen: Uint8Array[] = []
    reader.drain((bytes, byteOffset, byteLength) => {
      expect(sides.second.root.mutex.lockSync({ timeoutMs: SLEEP_MS })).toBeUndefined()
      expect([keptBytes(), sides.first.root.b.describe().usedBytes]).toEqual([208, 312])
      seen.push(bytes.slice(byteOffset, byteOffset + byteLength))
    })
    expect(seen).toEqual([payload(300)])
    // After the callback its space is returned as any other.
    await turns()
    expect(sides.first.root.b.describe().usedBytes).toBe(0)
    expect(consumer.tryReceive()).toEqual(payload(200, 2))
  })

  test('a wait ignores a closed consumer, and one that was garbage-collected', () => {
    consumer.close()
    sides.second.root.futex.waitWhileSync(0, { timeoutMs: SLEEP_MS })
    const successor = sides.second.root.a.consumer()
    producer.trySend(payload(5))
    expect(successor.tryReceive()).toEqual(payload(5))
    successor.close()
    sides.second.close()
    sides.first.root.futex.waitWhileSync(0, { timeoutMs: SLEEP_MS })
  })

  test('an event loop that waits for another ring of a producer that needs the space: no deadlock', async () => {
    const reader = sides.second.root.b.consumer()
    const sending = (async () => {
      // With what is kept, the first two fill the ring; the third one needs that space.
      for (const byteLength of [400, 400, 100]) await producer.send(payload(byteLength))
      return other.send(payload(8))
    })()
    expect(await soon(reader.receive())).toEqual(payload(8))
    expect(await sending).toBe(true)
  })

  test('a thread that blocks for another ring of a producer that needs the space: no deadlock', async () => {
    // No agent has had a role there.
    const { first, second } = attachments()
    const program = `
      const { workerData, parentPort } = require('node:worker_threads')
      Promise.all(workerData.files.map((file) => import(file))).then(([internal, sync, { spscRing }]) => {
        Object.assign(internal.fallbackPolling, { sliceMs: 1e9, tickMs: 1e9 })
        const { root } = sync.HeapRegion.attach(workerData.handle, (${layoutText})({ ...sync, spscRing }))
        const a = root.a.producer()
        const b = root.b.producer()
        for (let sent = 0; sent < 3; sent++) a.sendSync(new Uint8Array(400))
        b.sendSync(new Uint8Array(8))
        a.close()
        b.close()
      })`
    const { handle } = first
    const worker = new Worker(program, {
      eval: true,
      execArgv: [],
      workerData: { handle, files: ['sync/dist/internal', 'sync/dist/index', 'ring/dist/index'].map(built) },
    })
    try {
      const reader = first.root.a.consumer()
      const bystander = second.root.b.consumer()
      expect(reader.receiveSync({ timeoutMs: 30_000 })?.byteLength).toBe(400)
      expect(bystander.receiveSync({ timeoutMs: 30_000 })?.byteLength).toBe(8)
      expect([reader.receiveSync()?.byteLength, reader.receiveSync()?.byteLength]).toEqual([400, 400])
    } finally {
      await worker.terminate()
    }
  })
})

function built(file: string): string {
  return new URL(`../../../${file}.js`, import.meta.url).href
}
