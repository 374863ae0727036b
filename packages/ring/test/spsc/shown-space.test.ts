import { Worker } from 'node:worker_threads'
import { HeapRegion } from '@isthmus/sync'
import { expect, test } from 'vitest'
import { withoutSafetyNet } from '../../../sync/test/support/safety-net.js'
import { sleep, until } from '../../../sync/test/support/waiting.js'
import { spscRing } from '../../src/index.js'

withoutSafetyNet()

const program = `
  const { workerData, parentPort } = require('node:worker_threads')
  Promise.all(workerData.files.map((file) => import(file))).then(([internal, sync, { spscRing }]) => {
    Object.assign(internal.fallbackPolling, { sliceMs: 1e9, tickMs: 1e9 })
    const { root } = sync.HeapRegion.attach(workerData.handle, spscRing({ capacityBytes: 128 }))
    const producer = root.producer()
    parentPort.on('message', async ({ count, byteLength }) => {
      for (let sent = 0; sent < count; sent++) {
        const message = new Uint8Array(byteLength)
        if (workerData.isBlocking) producer.sendSync(message)
        else await producer.send(message)
      }
      parentPort.postMessage('sent')
    })
  })`

test.each([true, false])(
  'a drain that takes the last message wakes the waiting producer: nothing says that another call follows (blocking: %s)',
  async (isBlocking) => {
    const region = HeapRegion.create(spscRing({ capacityBytes: 128 }))
    const ring = region.root
    const worker = new Worker(program, {
      eval: true,
      execArgv: [],
      workerData: {
        handle: region.handle,
        isBlocking,
        files: ['sync/dist/internal', 'sync/dist/index', 'ring/dist/index'].map(built),
      },
    })
    let answers = 0
    worker.on('message', () => void answers++)
    try {
      const consumer = ring.consumer()
      const drain = (limit?: number) => consumer.drain(() => {}, limit === undefined ? undefined : { limit })
      // Both positions at 112, all space returned.
      worker.postMessage({ count: 14, byteLength: 0 })
      await until(() => answers === 1)
      expect(drain()).toBe(14)
      expect(drain()).toBe(0)
      // 11 records of 8 bytes; the next record needs 64 bytes and a padding of 56.
      worker.postMessage({ count: 11, byteLength: 0 })
      await until(() => answers === 2)
      worker.postMessage({ count: 1, byteLength: 56 })
      await until(() => ring.describe().producer.isWaiting)
      expect(drain(8)).toBe(8)
      await sleep(100)
      expect([answers, ring.describe().usedBytes]).toEqual([2, 24])
      // Everything is received; the program is told of the next message by other means, once it is sent.
      expect(drain()).toBe(3)
      await until(() => answers === 3)
    } finally {
      await worker.terminate()
    }
  },
)

function built(file: string): string {
  return new URL(`../../../${file}.js`, import.meta.url).href
}
