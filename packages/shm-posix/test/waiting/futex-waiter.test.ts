import { constants } from 'node:os'
import { Worker } from 'node:worker_threads'
import { nowMs } from '@isthmus/sync/internal'
import { afterEach, describe, expect, it, type MockInstance, vi } from 'vitest'
import { Segment } from '../../src/index.js'
import { libc } from '../../src/native/libc.js'
import { FutexWaiter } from '../../src/waiting/futex-waiter.js'
import { Child, endAllChildren } from '../support/child.js'
import { counter } from '../support/ledger.js'
import { removeEverything, uniqueName } from '../support/names.js'

const { EAGAIN, ETIMEDOUT } = constants.errno
const WATCHDOG_MS = 30_000
const workers: Worker[] = []

afterEach(async () => {
  vi.restoreAllMocks()
  await Promise.all(workers.splice(0).map((worker) => worker.terminate()))
  await endAllChildren()
  removeEverything()
})

/** The kernel's answer to a wait. */
function answerTo(wait: () => void): { result: unknown; errno: number; elapsedMs: number } {
  const futexWait: MockInstance = vi.spyOn(libc(), 'futexWait')
  const startMs = nowMs()
  wait()
  const elapsedMs = nowMs() - startMs
  expect(futexWait).toHaveBeenCalledTimes(1)
  const answer = { result: futexWait.mock.results[0].value, errno: libc().errno(), elapsedMs }
  futexWait.mockRestore()
  return answer
}

describe('FutexWaiter.waitSync()', () => {
  it.each(['overlay', 'view'] as const)('returns at once if the word differs, over the %s mapper', (mapper) => {
    const segment = Segment.createAnonymous(counter, { mapper })
    const { words, waiter } = segment
    const index = words.length - 1
    expect(answerTo(() => waiter.waitSync(index, 1, 60_000))).toMatchObject({
      result: -1,
      errno: EAGAIN,
    })
    words[index] = -5
    expect(answerTo(() => waiter.waitSync(index, 5, 40)).errno).toBe(EAGAIN)
    expect(answerTo(() => waiter.waitSync(index, -5, 0)).errno).toBe(ETIMEDOUT)
    segment.close()
  })

  it.each([0x7fffffff, -0x80000000, -1, 0])('compares all 32 bits: %i', (value) => {
    const segment = Segment.createAnonymous(counter)
    const { words, waiter } = segment
    words[2100] = value
    expect(answerTo(() => waiter.waitSync(2100, value, 1)).errno).toBe(ETIMEDOUT)
    expect(answerTo(() => waiter.waitSync(2100, value ^ 0x10000, 1)).errno).toBe(EAGAIN)
    segment.close()
  })

  it('does not return before its time without a wake-up', () => {
    const segment = Segment.createAnonymous(counter)
    const { waiter } = segment
    for (const timeoutMs of [0, 0.5, 1, 20.25]) {
      const { errno, elapsedMs } = answerTo(() => waiter.waitSync(2100, 0, timeoutMs))
      expect(errno).toBe(ETIMEDOUT)
      expect(elapsedMs).toBeGreaterThanOrEqual(timeoutMs)
    }
    segment.close()
  })

  it('tells the kernel seconds and nanoseconds', () => {
    const segment = Segment.createAnonymous(counter)
    const timesOf = (timeoutMs: number) => {
      const futexWait = vi.spyOn(libc(), 'futexWait')
      segment.waiter.waitSync(2100, 1, timeoutMs)
      const times = (futexWait.mock.lastCall as unknown[])[4] as BigInt64Array
      futexWait.mockRestore()
      return [...times]
    }
    expect(timesOf(61_250.5)).toEqual([61n, 250_500_000n])
    expect(timesOf(999.9999999)).toEqual([0n, 999_999_999n])
    segment.close()
  })

  it('reports a word that is not there', () => {
    const waiter = new FutexWaiter(4096)
    const failure = expect.objectContaining({ code: 'EFAULT', syscall: 'futex' })
    expect(() => waiter.waitSync(0, 0, 1)).toThrow(failure)
    expect(() => waiter.wake(0, 1)).toThrow(failure)
  })
})

describe('FutexWaiter.wake()', () => {
  it('wakes no thread if none sleeps', () => {
    const segment = Segment.createAnonymous(counter)
    expect(segment.waiter.wakeThreads(2100, 1)).toBe(0)
    expect(segment.waiter.wakeThreads(2100, 2 ** 31 - 1)).toBe(0)
    segment.close()
  })

  it.each(['overlay', 'view'] as const)('wakes a thread that sleeps through the %s mapper', async (mapper) => {
    const segment = Segment.createAnonymous(counter)
    const worker = startSleeper(segment, mapper)
    const left = new Promise((resolve) => worker.once('exit', resolve))
    expect(wakeUntil(segment, 1)).toBe(1)
    segment.root.other.value = 1
    expect(await left).toBe(0)
    segment.close()
  })

  it('wakes as many as it was told to, and says how many', () => {
    const segment = Segment.createAnonymous(counter)
    for (let sleeper = 0; sleeper < 3; sleeper++) startSleeper(segment, 'overlay')
    // Their sleeps end every 50 ms; sooner or later all three are asleep at once.
    expect(wakeUntil(segment, 3, 100)).toBe(3)
    expect(wakeUntil(segment, 2, 2)).toBe(2)
    expect(wakeUntil(segment, 1, 1)).toBe(1)
    segment.root.other.value = 1
    segment.close()
  })

  it('wakes another process', async () => {
    const name = uniqueName()
    const segment = Segment.create(name, counter)
    const child = Child.start(async (kit, name) => {
      const { Segment, struct, u32 } = await kit.load()
      const segment = Segment.open(name, struct({ count: u32(), other: u32() }), { mapper: 'view' })
      kit.tell('attached')
      while (segment.root.other.value === 0) segment.waiter.waitSync(segment.words.length - 1, 0, 50)
      return 'woken'
    }, name)
    await child.next()
    expect(wakeUntil(segment, 1)).toBe(1)
    segment.root.other.value = 1
    expect(await child.result).toBe('woken')
    segment.close()
  })
})

/** A thread with an attachment of its own that sleeps on the last word, again and again until `other` is set. */
function startSleeper(segment: Segment<unknown>, mapper: string): Worker {
  const built = new URL('../../dist/index.js', import.meta.url).href
  const sync = new URL('../../../sync/dist/index.js', import.meta.url).href
  const program = `
    const { workerData } = require('node:worker_threads')
    Promise.all([import(workerData.built), import(workerData.sync)]).then(([{ Segment }, { struct, u32 }]) => {
      const layout = struct({ count: u32(), other: u32() })
      const segment = Segment.attach(workerData.handle, layout, { mapper: workerData.mapper })
      while (segment.root.other.value === 0) segment.waiter.waitSync(segment.words.length - 1, 0, 50)
      segment.close()
    })`
  // Without the conditions of this process, under which packages are their sources.
  const options = { eval: true, execArgv: [] }
  const worker = new Worker(program, { ...options, workerData: { built, sync, mapper, handle: segment.handle } })
  workers.push(worker)
  return worker
}

/** Repeats the wake-up until as many threads as wanted were asleep at once; returns how many it woke then. */
function wakeUntil({ waiter, words }: Segment<unknown>, wanted: number, count = wanted): number {
  const pause = new Int32Array(new SharedArrayBuffer(4))
  for (const deadline = nowMs() + WATCHDOG_MS; nowMs() < deadline; ) {
    const woken = waiter.wakeThreads(words.length - 1, count)
    if (woken >= wanted) return woken
    Atomics.wait(pause, 0, 0, 5)
  }
  throw new Error(`There were never ${wanted} threads asleep at once`)
}
