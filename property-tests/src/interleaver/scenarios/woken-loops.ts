import { spscRing } from '@isthmus/ring'
import { condvar, futex, mutex, rwLock, struct, waitAny } from '@isthmus/sync'
import { RECORDS_OFFSET } from '../../../../packages/ring/src/spsc/layout.js'
import { agent, scenario } from '../scenario.js'
import { allOf, mutexNames, plainName, rwLockNames, spscRingNames, waiterSetNames } from '../word-names.js'
import { guarded, plainOffsetOf } from './guarded.js'
import { messageOf, messagesIn, receiveToEnd, wrongSequence } from './spsc-messages.js'

/** Event loops in waiter sets, of which a notifier leaves those alone whose wake-up is under way. */

const both = struct({ lock: mutex(), changed: condvar() })
const letters = guarded(both)
const letterWords = {
  layout: letters,
  ...allOf(mutexNames('lock', 0), waiterSetNames('changed', mutex().byteLength)),
  plainFromByteOffset: plainOffsetOf(both),
}

const receiver = agent(letters, {
  prepare: (tools) => tools.attach().root,
  async run({ inner: { lock, changed }, plain }) {
    const guard = await lock.lock()
    await changed.wait(guard, () => plain.get() > 0)
    plain.set(plain.get() - 1)
    guard.unlock()
    return 1
  },
})

const anyReceiver = agent(letters, {
  prepare: (tools) => tools.attach().root,
  async run({ inner: { lock, changed }, plain }) {
    for (;;) {
      const guard = await lock.lock()
      if (plain.get() > 0) {
        plain.set(plain.get() - 1)
        guard.unlock()
        return 1
      }
      const waiting = waitAny([changed])
      guard.unlock()
      await waiting
    }
  },
})

function sender(count: number) {
  return agent(letters, {
    prepare: (tools) => tools.attach().root,
    run({ inner: { lock, changed }, plain }) {
      for (let letter = 0; letter < count; letter++) {
        const guard = lock.lockSync()
        plain.increment()
        guard.unlock()
        changed.notifyOne()
      }
    },
  })
}

export const wokenCondvar = scenario({
  name: 'woken-condvar',
  about: 'Two event loops wait at a condition variable for one of two letters each.',
  ...letterWords,
  agents: { receiver, other: receiver, sender: sender(2) },
  check: () => undefined,
})

export const wokenAny = scenario({
  name: 'woken-any',
  about: 'The same with waitAny, which registers before its wait is armed, and one loop.',
  ...letterWords,
  agents: { receiver: anyReceiver, sender: sender(2) },
  check: () => undefined,
})

export const wokenAnyTwo = scenario({
  name: 'woken-two-any',
  about: 'The same with two loops, of which one uses waitAny.',
  ...letterWords,
  agents: { receiver: anyReceiver, other: receiver, sender: sender(2) },
  check: () => undefined,
})

const word = futex()
const wordWords = { layout: word, ...allOf(plainName('value', 0), waiterSetNames('futex', 4)) }

/** Three waits of one loop at one point, two of them in one call. */
const waits = agent(word, {
  prepare: (tools) => tools.attach().root,
  async run(value) {
    const first = value.waitWhile(0)
    const third = value.otherThan(0)
    await Promise.all([first, waitAny([third, value.otherThan(0)])])
    await value.waitWhile(1)
  },
})

export const wokenWaits = scenario({
  name: 'woken-waits',
  about: 'Several waits of one loop at one futex, and a notifier that changes it twice; two ticks may go off.',
  ...wordWords,
  timersMax: 1,
  agents: {
    loop: waits,
    notifier: agent(word, {
      prepare: (tools) => tools.attach().root,
      run(value) {
        for (let next = 1; next <= 2; next++) {
          value.value = next
          value.notifyAll()
        }
      },
    }),
  },
  check: () => undefined,
})

export const wokenCrash = scenario({
  name: 'held-back-by-the-dead',
  about: 'A notifier may crash at any operation. A successor changes the futex and notifies all: that wakes the loop.',
  ...wordWords,
  mayCrash: ['notifier'],
  agents: {
    loop: agent(word, { prepare: (tools) => tools.attach().root, run: (value) => value.waitWhile(0) }),
    notifier: agent(word, {
      prepare: (tools) => tools.attach().root,
      run: (value) => value.notifyAll(),
    }),
    successor: agent(word, {
      prepare: (tools) => tools.attach().root,
      run(value, tools) {
        tools.awaitCrash()
        value.value = 2
        value.notifyAll()
      },
    }),
  },
  check: () => undefined,
})

const shared = guarded(rwLock(), 2)
const loopWriter = agent(shared, {
  prepare: (tools) => tools.attach().root,
  async run({ inner, plain }) {
    const guard = await inner.writeLock()
    plain.increment(0)
    guard.unlock()
  },
})
const loopReader = agent(shared, {
  prepare: (tools) => tools.attach().root,
  async run({ inner, plain }) {
    const guard = await inner.readLock()
    plain.get(0)
    guard.unlock()
  },
})

const sharedWords = { layout: shared, ...rwLockNames('lock', 0), plainFromByteOffset: plainOffsetOf(rwLock()) }

export const wokenRw = scenario({
  name: 'woken-rw-lock',
  about: 'Two event loops write, one reads.',
  ...sharedWords,
  agents: { writer: loopWriter, second: loopWriter, reader: loopReader },
  check: () => undefined,
})

export const wokenRwMixed = scenario({
  name: 'woken-mixed-rw-lock',
  about: 'An event loop writes, and a thread writes, and one reads twice in its thread.',
  ...sharedWords,
  agents: {
    writer: loopWriter,
    thread: agent(shared, {
      prepare: (tools) => tools.attach().root,
      run({ inner, plain }) {
        const guard = inner.writeLockSync()
        plain.increment(0)
        guard.unlock()
      },
    }),
    reader: agent(shared, {
      prepare: (tools) => tools.attach().root,
      run({ inner, plain }) {
        for (let times = 0; times < 2; times++) {
          const guard = inner.readLockSync()
          plain.get(0)
          guard.unlock()
        }
      },
    }),
  },
  check: () => undefined,
})

const CAPACITY_BYTES = 64
const ring = spscRing({ capacityBytes: CAPACITY_BYTES, maxMessageBytes: 1024 })
const ringWords = {
  layout: ring,
  wordNames: spscRingNames('ring', 0, CAPACITY_BYTES),
  plainFromByteOffset: RECORDS_OFFSET,
}
/** Small ones, the largest record, and a message in fragments. */
const LENGTHS = [0, 24, 0, 24, 50]

export const wokenFragments = scenario({
  name: 'woken-fragments',
  about: 'A producer awaits sends of records of all sizes and of a message in fragments; the consumer blocks.',
  ...ringWords,
  agents: {
    producer: agent(ring, {
      prepare: (tools) => tools.attach().root.producer(),
      async run(producer) {
        for (const [number, byteLength] of LENGTHS.entries()) await producer.send(messageOf(number, byteLength))
        producer.close()
      },
    }),
    consumer: agent(ring, {
      prepare: (tools) => tools.attach().root.consumer(),
      run: (consumer) => messagesIn(receiveToEnd(consumer)),
    }),
  },
  check: ({ returned }) => wrongSequence(returned('consumer') as number[][], LENGTHS),
})

export const wokenAnySpace = scenario({
  name: 'woken-space',
  about: 'A producer waits for space by waitAny; a consumer waits by waitAny and drains two messages at a time.',
  ...ringWords,
  agents: {
    producer: agent(ring, {
      prepare: (tools) => tools.attach().root.producer(),
      async run(producer) {
        for (let number = 0; number < 4; number++) {
          while (!producer.trySend(messageOf(number, 24))) await waitAny([producer.spaceFor(24)])
        }
        producer.close()
      },
    }),
    consumer: agent(ring, {
      prepare: (tools) => tools.attach().root.consumer(),
      async run(consumer) {
        let count = 0
        for (;;) {
          const drained = consumer.drain(() => void count++, { limit: 1 })
          if (drained === null) return count
          if (drained === 0) await waitAny([consumer])
        }
      },
    }),
  },
  check: ({ returned }) => (returned('consumer') === 4 ? undefined : 'wrong count'),
})
