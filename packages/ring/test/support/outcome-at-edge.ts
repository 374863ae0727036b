import { Worker } from 'node:worker_threads'
import { soon } from '../../../sync/test/support/waiting.js'

type Packages = typeof import('@isthmus/sync') & typeof import('../../src/index.js')
/** Acts on the way back from a full stack: with no room first, then with a little more each time, until it has gone well. */
type AtTheEdge = (action: () => void, successes?: number, between?: () => void) => number

export interface Outcome {
  /** How often an action met a full stack. */
  readonly errors: number
  /** What the program was told to have gone well, in order. */
  readonly told: readonly number[]
  /** What came out at the other end, or what should have. */
  readonly found: readonly number[]
}

/**
 * Runs a task in a thread of its own on the built packages: a test runner replaces imports by calls of its own, which
 * would fail at the edge of the stack as well. The task is sent as text, so it sees nothing but its arguments.
 */
export async function outcomeOf(
  way: string,
  task: (packages: Packages, way: string, atTheEdge: AtTheEdge, rounds: number) => Outcome | Promise<Outcome>,
  { hasTicks = false }: { readonly hasTicks?: boolean } = {},
): Promise<Outcome> {
  const program = `
    const { parentPort, workerData } = require('node:worker_threads')
    let errors = 0
    // Frames of several sizes meet each call of the action; the first rounds compile it there, later ones run compiled.
    const frames = [0, 1, 2, 3, 5, 7].map((locals) => {
      const names = Array.from({ length: locals * 2 }, (_, at) => 'local' + at)
      const sum = ['0', ...names].join('+')
      return new Function('act', 'isFull', \`return function dive(\${names.join(',')}) {
        try { dive(\${names.map((name) => name + '+1').join(',')}) } catch (error) { if (!isFull(error)) throw error }
        act()
        return \${sum}
      }\`)
    })
    const isFull = (error) => error instanceof RangeError && error.message.includes('call stack')
    const atTheEdge = (action, successes = 2, between = () => {}) => {
      let met = 0
      for (const frame of frames) {
        let left = successes
        const act = () => {
          if (left === 0) return
          met = met + 1
          action()
          met = met - 1
          left = left - 1
        }
        frame(act, isFull)()
        between()
      }
      return met
    }
    Promise.all(workerData.files.map((file) => import(file))).then(async ([internal, sync, ring]) => {
      Object.assign(internal.fallbackPolling, { sliceMs: 1e9, ${hasTicks ? '' : 'tickMs: 1e9'} })
      const task = ${task}
      parentPort.postMessage(await task({ ...sync, ...ring }, workerData.way, atTheEdge, 8))
    })`
  const built = (file: string) => new URL(`../../../${file}.js`, import.meta.url).href
  const workerData = { way, files: ['sync/dist/internal', 'sync/dist/index', 'ring/dist/index'].map(built) }
  const worker = new Worker(program, { eval: true, execArgv: [], workerData, resourceLimits: { stackSizeMb: 1 } })
  try {
    return await soon(
      new Promise<Outcome>((resolve, reject) => {
        worker.once('message', resolve)
        worker.once('error', reject)
      }),
      'the answer of the thread',
    )
  } finally {
    await worker.terminate()
  }
}
