import { afterEach, expect, test, vi } from 'vitest'
import { futex, HeapRegion, mutex, semaphore, struct } from '../../src/index.js'
import { asOfAnotherThread } from '../support/other-thread.js'

/** Real ones, for the watchdogs. */
const { setTimeout: realSetTimeout, performance: realPerformance } = globalThis
const realNow = realPerformance.now.bind(realPerformance)
const sleep = (ms: number) => new Promise((resolve) => realSetTimeout(resolve, ms))
const layout = struct({ lock: mutex(), permits: semaphore({ permits: 1 }), word: futex() })

const fakes: [string, () => void][] = [
  ['vi.useFakeTimers', () => void vi.useFakeTimers()],
  [
    'hand-made fakes',
    () => {
      const nothing = () => ({ ref() {}, unref() {} })
      for (const name of [
        'setImmediate',
        'setTimeout',
        'setInterval',
        'queueMicrotask',
        'clearTimeout',
        'clearInterval',
      ]) {
        vi.stubGlobal(name, nothing)
      }
      vi.spyOn(performance, 'now').mockImplementation(() => 1000)
    },
  ],
]

afterEach(() => {
  vi.useRealTimers()
  vi.unstubAllGlobals()
  vi.restoreAllMocks()
})

test.each(fakes)('With %s waits are woken, time out, and come to their turns', async (_name, install) => {
  const region = asOfAnotherThread(HeapRegion.create(layout))
  const own = region.root
  const other = HeapRegion.attach(region.handle, layout).root
  const watchdog = <T>(promise: Promise<T>) => Promise.race([promise, sleep(30_000).then(() => 'never')])
  install()
  const held = own.lock.lockSync()
  const startedMs = realNow()
  expect(other.lock.lockSync({ timeoutMs: 50 })).toBeUndefined()
  expect(realNow() - startedMs).toBeGreaterThanOrEqual(49)
  expect(await watchdog(other.lock.lock({ timeoutMs: 20 }))).toBeUndefined()
  const waiting = other.word.waitWhile(0)
  const queued = [other.lock.lock(), other.lock.lock({ timeoutMs: 30 })]
  await sleep(10)
  own.word.value = 1
  own.word.notifyAll()
  expect(await watchdog(waiting)).toBe(true)
  expect(await watchdog(queued[1])).toBeUndefined()
  held.unlock()
  expect(await watchdog(queued[0])).toMatchObject({ isHeld: true })
  // More calls in a row than pass without a turn of the event loop.
  const many = async () => {
    for (let call = 0; call < 600; call++) (await own.permits.acquire()).release()
    return 'done'
  }
  expect(await watchdog(many())).toBe('done')
})
