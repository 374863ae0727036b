import { Worker } from 'node:worker_threads'
import type { HeapRegion } from '@isthmus/sync'
import { afterEach } from 'vitest'
import { soon } from '../../../sync/test/support/waiting.js'
import type { MpmcQueue, MpmcQueueOptions } from '../../src/index.js'

const workers: Worker[] = []

afterEach(async () => {
  await Promise.all(workers.splice(0).map((worker) => worker.terminate()))
})

/**
 * A thread of its own that attaches to a queue and runs a task there, on the built packages and without fallback polling. The
 * task is sent as text: it sees nothing but its arguments.
 * @returns what the task returned
 */
export function inQueueThread<R>(
  region: HeapRegion<MpmcQueue>,
  options: MpmcQueueOptions,
  task: (queue: MpmcQueue) => R,
): { readonly hasBegun: Promise<unknown>; readonly result: Promise<Awaited<R>> } {
  const program = `
    const { parentPort, workerData } = require('node:worker_threads')
    Promise.all(workerData.files.map((file) => import(file))).then(async ([internal, sync, ring]) => {
      Object.assign(internal.fallbackPolling, { sliceMs: 1e9, tickMs: 1e9, handOffMs: Infinity })
      const region = sync.HeapRegion.attach(workerData.handle, ring.mpmcQueue(workerData.options))
      parentPort.postMessage('begins')
      const task = ${task}
      try {
        parentPort.postMessage({ result: await task(region.root) })
      } catch (error) {
        parentPort.postMessage({ error: { code: error.code, message: error.message } })
      }
    })`
  const built = (file: string) => new URL(`../../../${file}.js`, import.meta.url).href
  const files = ['sync/dist/internal', 'sync/dist/index', 'ring/dist/index'].map(built)
  const worker = new Worker(program, {
    eval: true,
    execArgv: [],
    workerData: { files, handle: region.handle, options },
  })
  workers.push(worker)
  let begin: () => void
  const hasBegun = new Promise<void>((resolve) => {
    begin = resolve
  })
  const result = new Promise<Awaited<R>>((resolve, reject) => {
    worker.on('message', (message: 'begins' | { result: Awaited<R>; error?: object }) => {
      if (message === 'begins') return begin()
      if (message.error === undefined) resolve(message.result)
      else reject(message.error)
    })
    worker.once('error', reject)
  })
  result.catch(() => {})
  return { hasBegun: soon(hasBegun, 'the thread'), result: soon(result, 'the answer of a thread') }
}
