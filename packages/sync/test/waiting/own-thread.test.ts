import { expect, test, vi } from 'vitest'
import { barrier, HeapRegion, mutex, rwLock, semaphore, struct, type TimeoutOptions } from '../../src/index.js'
import { expectCode } from '../support/expect-code.js'
import { asOfAnotherThread } from '../support/other-thread.js'
import { until } from '../support/waiting.js'
import { startAgent } from '../support/workers.js'

const layout = struct({ lock: mutex(), permits: semaphore({ permits: 2 }), shared: rwLock(), gate: barrier() })
const layoutText =
  '({ struct, mutex, semaphore, rwLock, barrier }) => struct({ lock: mutex(), permits: semaphore({ permits: 2 }), shared: rwLock(), gate: barrier() })'

/** Two attachments of this thread. */
function setUp() {
  const region = HeapRegion.create(layout)
  return { region, own: region.root, second: HeapRegion.attach(region.handle, layout).root }
}

type Root = ReturnType<typeof setUp>['own']

const deadlocks: [string, hold: (root: Root) => () => void, wait: (root: Root, options?: TimeoutOptions) => unknown][] =
  [
    [
      'Mutex.lockSync behind an owner',
      ({ lock }) => {
        const guard = lock.lockSync()
        return () => guard.unlock()
      },
      ({ lock }, options = {}) => lock.lockSync(options),
    ],
    [
      'RwLock.readLockSync behind a writer',
      ({ shared }) => {
        const guard = shared.writeLockSync()
        return () => guard.unlock()
      },
      ({ shared }, options = {}) => shared.readLockSync(options),
    ],
    [
      'RwLock.writeLockSync behind a writer',
      ({ shared }) => {
        const guard = shared.writeLockSync()
        return () => guard.unlock()
      },
      ({ shared }, options = {}) => shared.writeLockSync(options),
    ],
    [
      'RwLock.writeLockSync behind a reader',
      ({ shared }) => {
        const guard = shared.readLockSync()
        return () => guard.unlock()
      },
      ({ shared }, options = {}) => shared.writeLockSync(options),
    ],
    [
      'Semaphore.acquireSync behind a holder of all permits',
      ({ permits }) => {
        const held = [permits.acquireSync(), permits.acquireSync()]
        return () => held.forEach((permit) => void permit.release())
      },
      ({ permits }, options = {}) => permits.acquireSync(options),
    ],
  ]

test.each(deadlocks)(
  '%s of the same thread, another attachment, throws EDEADLK until that one has let go',
  (_name, hold, wait) => {
    const { own, second } = setUp()
    const letGo = hold(own)
    expectCode('EDEADLK', () => wait(second))
    expectCode('EDEADLK', () => wait(second, { timeoutMs: 60_000 }))
    letGo()
    expect(wait(second, { timeoutMs: 60_000 })).toMatchObject({ isHeld: true })
  },
)

test('Semaphore.acquireSync gets the permit of a peer that is just proven dead, beside a permit of its own thread', () => {
  const dead = asOfAnotherThread(HeapRegion.create(semaphore({ permits: 2 })))
  const own = HeapRegion.attach(dead.handle, semaphore({ permits: 2 }))
  dead.root.acquireSync()
  own.root.acquireSync()
  const { self } = dead.peers
  vi.spyOn(own.peers, 'isDead').mockImplementation((peer) => peer === self)
  expect(own.root.acquireSync({ timeoutMs: 30_000 })?.isHeld).toBe(true)
})

test('Semaphore.acquireSync throws EDEADLK if attachments of one thread hold all permits together', () => {
  const { own, second } = setUp()
  const permits = [own.permits.acquireSync(), second.permits.acquireSync()]
  for (const { permits: semaphore } of [own, second]) expectCode('EDEADLK', () => semaphore.acquireSync())
  permits[0].release()
  expect(second.permits.acquireSync().isHeld).toBe(true)
})

test('BarrierMember.waitSync throws EDEADLK if another member of the thread has not arrived, and stays arrived', () => {
  const { own, second } = setUp()
  const [one, two] = [own.gate.join(), second.gate.join()]
  expectCode('EDEADLK', () => one.waitSync())
  expect(two.arrive()).toBe(true)
  expect(one.waitSync()).toBe(true)
})

test('A blocking call waits for another thread, though this one has an attachment, too', async () => {
  const { region, own, second } = setUp()
  const agent = await startAgent(region, layoutText, async ({ lock, shared, permits }) => {
    const guard = lock.lockSync()
    const reading = shared.readLockSync()
    const both = [permits.acquireSync(), permits.acquireSync()]
    // Each is given back once the other thread waits for it.
    const until = async (isAwaited: () => boolean) => {
      while (!isAwaited()) await new Promise((resolve) => setTimeout(resolve, 1))
    }
    await until(() => lock.describe().waiters.length > 0)
    guard.unlock()
    await until(() => shared.describe().writers.state === 'held')
    reading.unlock()
    await until(() => permits.describe().waiters.length > 0)
    for (const permit of both) permit.release()
  })
  await until(() => own.permits.describe().available === 0)
  expect(second.lock.lockSync({ timeoutMs: 30_000 })?.isHeld).toBe(true)
  expect(second.shared.writeLockSync({ timeoutMs: 30_000 })?.isHeld).toBe(true)
  expect(second.permits.acquireSync({ timeoutMs: 30_000 })?.isHeld).toBe(true)
  await agent.result
})

test('Peers.isOwnThread tells attachments of this thread from those of another', async () => {
  const { region } = setUp()
  const [, second] = region.peers.list()
  const agent = await startAgent(region, layoutText, () => new Promise((resolve) => setTimeout(resolve, 50)))
  expect([region.peers.self, second.peer, agent.peer].map((peer) => region.peers.isOwnThread(peer))).toEqual([
    true,
    true,
    false,
  ])
  await agent.result
})
