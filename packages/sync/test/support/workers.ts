import { Worker } from 'node:worker_threads'
import { afterEach } from 'vitest'
import type { HeapRegion, PeerId } from '../../src/index.js'
import { soon } from './waiting.js'

type Sync = typeof import('../../src/index.js')

const workers: Worker[] = []

afterEach(async () => {
  await Promise.all(workers.splice(0).map((worker) => worker.terminate()))
})

export interface Agent<R> {
  readonly peer: PeerId
  readonly worker: Worker
  /** The result of its task. */
  readonly result: Promise<R>
}

/**
 * A thread of its own that attaches to the region and runs a task there, on the built package and without fallback polling.
 * The task is sent as text: it sees nothing but its arguments.
 */
export async function startAgent<T, R>(
  region: HeapRegion<T>,
  layout: string,
  task: string | ((root: T, sync: Sync) => R),
): Promise<Agent<Awaited<R>>> {
  const program = `
    const { parentPort, workerData } = require('node:worker_threads')
    Promise.all([import(workerData.built), import(workerData.internal)]).then(async ([built, internal]) => {
      const sync = { ...built, ...internal }
      Object.assign(sync.fallbackPolling, { sliceMs: 1e9, tickMs: 1e9, handOffMs: Infinity })
      const region = sync.HeapRegion.attach(workerData.handle, (${layout})(sync))
      const { root } = region
      parentPort.postMessage({ peer: region.peers.self })
      const task = ${task}
      try {
        parentPort.postMessage({ result: await task(root, sync) })
      } catch (error) {
        parentPort.postMessage({ error: { code: error.code, message: error.message } })
      }
    })`
  const built = new URL('../../dist/index.js', import.meta.url).href
  const internal = new URL('../../dist/internal.js', import.meta.url).href
  const worker = new Worker(program, {
    eval: true,
    execArgv: [],
    workerData: { built, internal, handle: region.handle },
  })
  workers.push(worker)
  const next = () =>
    new Promise<{ peer: PeerId; result: Awaited<R>; error?: object }>((resolve, reject) => {
      worker.once('message', resolve)
      worker.once('error', reject)
    })
  const { peer } = await next()
  const result = next().then((answer) => {
    if (answer.error !== undefined) throw answer.error
    return answer.result
  })
  result.catch(() => {})
  return { peer, worker, result: soon(result, 'the answer of a thread') }
}
