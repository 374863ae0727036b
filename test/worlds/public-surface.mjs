// Uses everything that isthmus offers, once: what a vm context, a test runner or a bundler breaks, breaks here. Comparisons use
// nothing of Node.js, which may belong to another realm.
import * as ring from '@isthmus/ring'
import * as shm from '@isthmus/shm-posix'
import * as sync from '@isthmus/sync'
import {
  array,
  barrier,
  bytes,
  condvar,
  f64,
  futex,
  HeapRegion,
  IsthmusError,
  i32,
  i64,
  json,
  mutex,
  rwLock,
  Segment,
  semaphore,
  spscRing,
  struct,
  structured,
  u32,
  utf8,
  waitAny,
  words,
} from 'isthmus'

const layout = struct({
  orders: spscRing({ capacityBytes: 4096, codec: utf8 }),
  prices: spscRing({ capacityBytes: 4096, codec: json() }),
  clones: spscRing({ capacityBytes: 4096, codec: structured() }),
  replies: spscRing({ capacityBytes: 4096, maxMessageBytes: 65_536 }),
  lock: mutex(),
  changed: condvar(),
  permits: semaphore({ permits: 2 }),
  table: rwLock(),
  gate: barrier({ parties: 2 }),
  word: futex(),
  int: i32(),
  count: u32(),
  large: i64(),
  total: f64(),
  text: bytes(16),
  cells: words(4),
  tills: array(u32(), 2),
})

/**
 * @param {{ name: string, file: string }} place an unused segment name and an unused path
 * @returns {Promise<string>} `ok`
 */
export async function useEverything({ name, file }) {
  // One copy of each package, whichever way it is imported.
  same([ring.spscRing === spscRing, shm.Segment === Segment, sync.HeapRegion === HeapRegion], [true, true, true])
  try {
    await useSegments(name, file)
  } finally {
    for (const where of [name, { file }]) ignoring('ENOENT', () => Segment.unlink(where))
  }
  const region = HeapRegion.create(layout)
  await useStructures(region, HeapRegion.attach(region.handle, layout))
  region.close()
  return 'ok'
}

async function useSegments(name, file) {
  expectCode('ENOENT', () => Segment.open(name, layout))
  const one = Segment.openOrCreate(name, layout)
  const two = Segment.openOrCreate(name, layout)
  expectCode('EEXIST', () => Segment.create(name, layout))
  expectCode('ERR_ISTHMUS_LAYOUT_MISMATCH', () => Segment.open(name, u32()))
  expectCode('ERR_ISTHMUS_INVALID_NAME', () => Segment.open('no slash', layout))
  same([one.mapper, tagOf(one.words.buffer), tagOf(one.bytes.buffer)], ['overlay', 'SharedArrayBuffer', 'ArrayBuffer'])
  same(one.peers.list().length, 2)
  await useStructures(one, two)
  const own = Segment.list().find((description) => description.name === name)
  same([own?.hasBacklog, own?.peers.length], [false, 2])
  two.close()
  expectCode('ERR_ISTHMUS_CLOSED', () => two.root)
  one.close()
  same(Segment.prune({ prefix: name }), [name])

  for (const mapper of ['overlay', 'view']) {
    const anonymous = Segment.createAnonymous(layout, { mapper })
    const attached = Segment.attach(anonymous.handle, layout)
    await useStructures(anonymous, attached)
    anonymous.close()
    attached.close()
  }
  expectCode('ERR_ISTHMUS_UNSUPPORTED', () => Segment.createAnonymous(layout, { mapper: 'mmap-io' }))

  const onDisk = Segment.create({ file }, layout)
  onDisk.root.count.value = 7
  onDisk.flush()
  onDisk.close()
  const again = Segment.openOrCreate({ file }, layout)
  same(again.root.count.value, 7)
  again.close()
}

async function useStructures(first, second) {
  const [one, two] = [first.root, second.root]
  await useRings(one, two)
  await useLocks(one, two)
  one.int.value = -3
  one.count.add(2)
  one.large.value = 2n ** 40n
  one.total.value = 1.5
  one.text.set([1, 2, 3])
  Atomics.store(one.cells, 1, 9)
  same([two.int.value, two.count.value, Number(two.large.value), two.total.value], [-3, 2, 2 ** 40, 1.5])
  same([[...two.text.subarray(0, 4)], Atomics.load(two.cells, 1)], [[1, 2, 3, 0], 9])
  one.tills[1].value = 5
  same([two.tills.length, two.tills[1].value], [2, 5])
  one.count.value = 0
}

async function useRings(one, two) {
  const orders = one.orders.producer()
  const received = two.orders.consumer()
  const waiting = received.receive()
  orders.sendSync('espresso')
  same(await waiting, 'espresso')
  await orders.send('crème')
  same(received.tryReceive(), 'crème')
  same(received.tryReceive(), undefined)
  expectCode('ERR_ISTHMUS_ROLE_TAKEN', () => one.orders.producer())

  const replies = one.replies.producer()
  const read = two.replies.consumer()
  const long = new Uint8Array(20_000).fill(5)
  const [longAgain] = await Promise.all([read.receive(), replies.send(long)])
  same([longAgain.byteLength, longAgain.every((byte) => byte === 5)], [20_000, true])
  const offset = replies.tryClaim(4)
  replies.words[offset / 4] = 77
  replies.commit()
  const seen = []
  read.drain((all, byteOffset) => seen.push(all[byteOffset]))
  same(seen, [77])
  const ready = waitAny([received, read])
  replies.trySend(Uint8Array.of(1))
  same((await ready)[0] === read, true)
  same([...(await read.receive())], [1])
  same(await read.receive({ timeoutMs: 5 }), undefined)
  const abort = new AbortController()
  const aborted = read.receive({ signal: abort.signal })
  abort.abort()
  same(await nameOfRejection(aborted), 'AbortError')

  orders.close()
  const rest = []
  for await (const message of received) rest.push(message)
  same(rest, [])
  for (const handle of [received, replies, read]) handle.close()

  for (const [producer, consumer] of [
    [one.prices.producer(), two.prices.consumer()],
    [one.clones.producer(), two.clones.consumer()],
  ]) {
    producer.sendSync({ price: 2.5 })
    same(consumer.receiveSync({ timeoutMs: 10_000 }), { price: 2.5 })
    producer.close()
    same(consumer.receiveSync({ timeoutMs: 10_000 }), null)
    consumer.close()
  }
}

async function useLocks(one, two) {
  const guard = one.lock.lockSync()
  same(two.lock.tryLock(), undefined)
  const waiting = two.lock.lock()
  guard.unlock()
  const next = await waiting
  same([next.isHeld, next.ownerDied], [true, false])
  const noticed = two.changed.wait(next, { timeoutMs: 10_000 })
  await Promise.resolve()
  one.changed.notifyAll()
  same(await noticed, true)
  next.unlock()
  const permits = [one.permits.tryAcquire(), two.permits.acquireSync()]
  same(await one.permits.acquire({ timeoutMs: 5 }), undefined)
  for (const permit of permits) permit.release()
  const reader = one.table.readLockSync()
  const writing = two.table.writeLock()
  reader.unlock()
  const writer = await writing
  writer.unlock()
  const members = [one.gate.join(), two.gate.join()]
  same(await Promise.all(members.map((member) => member.wait())), [true, true])
  for (const member of members) member.leave()
  const woken = two.word.waitWhile(0)
  one.word.value = 1
  one.word.notifyAll()
  same(await woken, true)
  one.word.value = 0
}

function tagOf(value) {
  return Object.prototype.toString.call(value).slice(8, -1)
}

function expectCode(code, action) {
  let thrown
  try {
    action()
  } catch (error) {
    thrown = error
  }
  if (thrown?.code !== code) throw thrown ?? new Error(`Expected ${code}, and nothing was thrown`)
  if (code.startsWith('ERR_ISTHMUS')) same(thrown instanceof IsthmusError || thrown instanceof TypeError, true)
}

function ignoring(code, action) {
  try {
    action()
  } catch (error) {
    if (error.code !== code) throw error
  }
}

async function nameOfRejection(promise) {
  try {
    await promise
  } catch (error) {
    return error.name
  }
  return 'no rejection'
}

function same(actual, expected) {
  const [found, wanted] = [JSON.stringify(actual), JSON.stringify(expected)]
  if (found !== wanted) throw new Error(`Expected ${wanted}, and found ${found}`)
}
