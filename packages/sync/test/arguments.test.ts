import { describe, expect, test } from 'vitest'
import {
  array,
  barrier,
  bytes,
  condvar,
  f64,
  futex,
  HeapRegion,
  i32,
  i64,
  mutex,
  rwLock,
  semaphore,
  struct,
  u32,
  waitAny,
  words,
} from '../src/index.js'
import { asOfAnotherThread } from './support/other-thread.js'
import { soon } from './support/waiting.js'

const mine = new Error('the program’s own')
const hostile = new Proxy(() => {}, {
  get() {
    throw mine
  },
  getPrototypeOf() {
    throw mine
  },
  ownKeys() {
    throw mine
  },
  apply() {
    throw mine
  },
})
const hostileObject = new Proxy(
  {},
  {
    get() {
      throw mine
    },
    getPrototypeOf() {
      throw mine
    },
    ownKeys() {
      throw mine
    },
  },
)
const revoked = Proxy.revocable({}, {})
revoked.revoke()

/** One of each kind that a caller without types may give. */
const values: unknown[] = [
  undefined,
  null,
  true,
  0,
  -1,
  1.5,
  5,
  Number.NaN,
  Number.POSITIVE_INFINITY,
  2 ** 53,
  5n,
  -1n,
  '',
  'text',
  Symbol('symbol'),
  () => {},
  {},
  [],
  Object.create(null),
  new Date(Number.NaN),
  hostile,
  hostileObject,
  revoked.proxy,
]

const layout = struct({
  lock: mutex(),
  changed: condvar(),
  permits: semaphore({ permits: 2 }),
  shared: rwLock(),
  gate: barrier(),
  word: futex(),
  i: i32(),
  u: u32(),
  long: i64(),
  double: f64(),
})

function setUp() {
  const region = asOfAnotherThread(HeapRegion.create(layout))
  return { region, ...region.root }
}

type Place = ReturnType<typeof setUp>
// biome-ignore lint/suspicious/noExplicitAny: what callers without types can write
type Untyped = any

const calls: [name: string, arity: number, call: (place: Place, ...values: Untyped[]) => unknown][] = [
  ['struct', 1, (_, value) => struct(value)],
  ['struct with a field', 1, (_, value) => struct({ field: value })],
  ['array', 1, (_, value) => array(value, 2)],
  ['array.length', 1, (_, length) => array(u32(), length)],
  ['bytes', 1, (_, value) => bytes(value)],
  ['words', 1, (_, value) => words(value)],
  ['semaphore', 1, (_, value) => semaphore(value)],
  ['semaphore.permits', 1, (_, permits) => semaphore({ permits })],
  ['barrier', 1, (_, value) => barrier(value)],
  ['barrier.parties', 1, (_, parties) => barrier({ parties })],
  ['barrier.onDeath', 1, (_, onDeath) => barrier({ onDeath })],
  ['HeapRegion.create', 1, (_, value) => HeapRegion.create(value)],
  ['HeapRegion.create options', 1, (_, value) => HeapRegion.create(i32(), value)],
  ['HeapRegion.create threadId', 1, (_, threadId) => HeapRegion.create(i32(), { threadId })],
  ['HeapRegion.attach', 1, (_, value) => HeapRegion.attach(value, layout)],
  ['HeapRegion.attach layout', 1, ({ region }, value) => HeapRegion.attach(region.handle, value)],
  ['HeapRegion.attach options', 1, ({ region }, value) => HeapRegion.attach(region.handle, layout, value).close()],
  ['HeapRegion.declareDead', 1, ({ region }, value) => region.declareDead(value)],
  ['HeapRegion.onClose', 1, ({ region }, value) => void region.onClose(value)()],
  ['Peers.at', 1, ({ region }, value) => region.peers.at(value)],
  ['Peers.isDead', 1, ({ region }, value) => region.peers.isDead(value)],
  ['Peers.isOwnThread', 1, ({ region }, value) => region.peers.isOwnThread(value)],
  ['Peers.describe', 1, ({ region }, value) => region.peers.describe(value)],
  ['Mutex.lockSync', 1, ({ lock }, value) => lock.lockSync(value)?.unlock()],
  ['Mutex.lock', 1, async ({ lock }, value) => (await lock.lock(value))?.unlock()],
  ['Condvar.waitSync', 1, ({ changed }, value) => changed.waitSync(value)],
  ['Condvar.wait', 1, ({ changed }, value) => changed.wait(value)],
  ['Semaphore.acquireSync', 1, ({ permits }, value) => permits.acquireSync(value)?.release()],
  ['Semaphore.acquire', 1, async ({ permits }, value) => (await permits.acquire(value))?.release()],
  ['RwLock.readLockSync', 1, ({ shared }, value) => shared.readLockSync(value)?.unlock()],
  ['RwLock.readLock', 1, async ({ shared }, value) => (await shared.readLock(value))?.unlock()],
  ['RwLock.writeLockSync', 1, ({ shared }, value) => shared.writeLockSync(value)?.unlock()],
  ['RwLock.writeLock', 1, async ({ shared }, value) => (await shared.writeLock(value))?.unlock()],
  ['BarrierMember.waitSync', 1, ({ gate }, value) => using(gate.join(), (member) => member.waitSync(value))],
  ['BarrierMember.wait', 1, ({ gate }, value) => using(gate.join(), (member) => member.wait(value))],
  ['Futex.waitWhileSync', 1, ({ word }, value) => word.waitWhileSync(value, { timeoutMs: 0 })],
  ['Futex.waitWhileSync options', 1, ({ word }, value) => word.waitWhileSync(1, value)],
  ['Futex.waitWhile', 1, ({ word }, value) => word.waitWhile(value, { timeoutMs: 0 })],
  ['Futex.waitWhile options', 1, ({ word }, value) => word.waitWhile(1, value)],
  ['Futex.otherThan', 1, ({ word }, value) => void word.otherThan(value)],
  ['waitAny', 1, (_, value) => waitAny(value)],
  ['waitAny of one', 1, (_, value) => waitAny([value])],
  ['waitAny options', 1, ({ lock }, value) => waitAny([lock], value)],
  ['Int32Field.value', 1, ({ i }, value) => Object.assign(i, { value })],
  ['Int32Field.add', 1, ({ i }, value) => i.add(value)],
  ['Int32Field.exchange', 1, ({ i }, value) => i.exchange(value)],
  ['Int32Field.compareExchange', 2, ({ i }, ...pair) => i.compareExchange(pair[0], pair[1])],
  ['Uint32Field.value', 1, ({ u }, value) => Object.assign(u, { value })],
  ['Uint32Field.compareExchange', 2, ({ u }, ...pair) => u.compareExchange(pair[0], pair[1])],
  ['Int64Field.value', 1, ({ long }, value) => Object.assign(long, { value })],
  ['Int64Field.add', 1, ({ long }, value) => long.add(value)],
  ['Int64Field.exchange', 1, ({ long }, value) => long.exchange(value)],
  ['Int64Field.compareExchange', 2, ({ long }, ...pair) => long.compareExchange(pair[0], pair[1])],
  ['Float64Field.value', 1, ({ double }, value) => Object.assign(double, { value })],
]

async function using<M extends { leave(): void }>(member: M, action: (member: M) => unknown): Promise<unknown> {
  try {
    return await action(member)
  } finally {
    member.leave()
  }
}

/** Everything goes on as if nothing had been tried. */
async function expectWorks({ region, lock, changed, permits, shared, gate, word }: Place): Promise<void> {
  const guard = await soon(lock.lock())
  expect(await soon(changed.wait(guard, { timeoutMs: 0 }))).toBe(false)
  guard.unlock()
  const held = [await soon(permits.acquire()), permits.acquireSync()]
  for (const permit of held) permit.release()
  const reader = await soon(shared.readLock())
  reader.unlock()
  const writer = await soon(shared.writeLock())
  writer.unlock()
  const member = gate.join()
  expect(member.arrive()).toBe(true)
  member.leave()
  expect(await soon(word.waitWhile(1))).toBe(true)
  expect([region.peers.list().length, gate.describe().members]).toEqual([1, []])
}

describe('What callers without types give', () => {
  test.each(calls)('%s takes it, or refuses it with a code, and goes on', async (_name, arity, call) => {
    const place = setUp()
    const lists = values.flatMap((first) => (arity === 1 ? [[first]] : values.map((second) => [first, second])))
    for (const list of lists) {
      let error: unknown
      try {
        await call(place, ...list)
      } catch (thrown) {
        error = thrown
      }
      if (error === undefined || error === mine) continue
      // A revoked proxy throws by itself.
      if (list.includes(revoked.proxy) && error instanceof TypeError && /revoked/.test(error.message)) continue
      expect(error, `for ${list.map((value) => typeof value)}`).toMatchObject({
        code: expect.stringMatching(/^(ERR_ISTHMUS_|EDEADLK$)/),
      })
      expect((error as Error).message).toMatch(/: .+\. .+\.$/s)
    }
    await expectWorks(place)
  })
})
