import {
  type Barrier,
  type BarrierMember,
  barrier,
  type Condvar,
  condvar,
  type Futex,
  futex,
  type Mutex,
  type MutexGuard,
  mutex,
  type OnMemberDeath,
  type Permit,
  type ReadGuard,
  type RwLock,
  rwLock,
  type Semaphore,
  semaphore,
  struct,
  type WriteGuard,
  waitAny,
} from '@isthmus/sync'
import type { Call } from '../call.js'
import type { Ground } from '../ground.js'
import type { Random } from '../random.js'
import { type Subject, shortTimeout, type Users } from '../subject.js'

interface Releasable {
  readonly isHeld: boolean
  [Symbol.dispose](): void
}

/** The guards that two attachments hold; they are released in any order. */
class Holdings {
  readonly #held = new Set<Releasable>()

  keep(guard: Releasable | undefined): void {
    if (guard !== undefined) this.#held.add(guard)
  }

  releaseOne(random: Random): void {
    const held = [...this.#held]
    if (held.length === 0) return
    const guard = random.of(held)
    this.#held.delete(guard)
    if (guard.isHeld) guard[Symbol.dispose]()
  }

  releaseAll(): Call[] {
    return [...this.#held].map((guard) => ({ name: 'release', run: () => guard.isHeld && guard[Symbol.dispose]() }))
  }
}

/** Users with two attachments. `moves` gives the calls that one of them may make next. */
function twoUsers<T>(
  ground: Ground<T>,
  moves: (handle: T, holdings: Holdings, random: Random, timeoutMs: number, other: T) => readonly Call[],
): Users {
  const handles = [ground.use(ground.first), ground.use(ground.second)]
  const holdings = new Holdings()
  return {
    next(random) {
      const user = random.below(2)
      const timeoutMs = shortTimeout(random)
      return random.of([
        ...moves(handles[user], holdings, random, timeoutMs, handles[1 - user]),
        { name: 'release', run: () => holdings.releaseOne(random) },
      ])
    },
    leave: () => holdings.releaseAll(),
  }
}

/** In a quarter of the calls an AbortSignal with a timer ends the wait instead. */
function optionsOf(random: Random, timeoutMs: number) {
  return random.isOneIn(4) ? { timeoutMs: 5, signal: AbortSignal.timeout(timeoutMs) } : { timeoutMs }
}

export const mutexSubject: Subject = {
  name: 'mutex',
  structure: mutex(),
  enter: (ground) =>
    twoUsers(ground as Ground<Mutex>, (lock, holdings, random, timeoutMs) => [
      { name: 'tryLock', run: () => holdings.keep(lock.tryLock()) },
      { name: 'lockSync', timeoutMs, run: () => holdings.keep(lock.lockSync({ timeoutMs })) },
      {
        name: 'lock',
        timeoutMs: 5,
        run: async () => holdings.keep(await lock.lock(optionsOf(random, timeoutMs))),
      },
      { name: 'waitAny', timeoutMs, run: () => waitAny([lock], { timeoutMs }) },
      { name: 'describe', run: () => lock.describe() },
      { name: 'settle a guard', run: () => settle(lock, random) },
    ]),
}

function settle(lock: Mutex, random: Random): void {
  const guard = lock.tryLock()
  if (guard === undefined) return
  if (random.isOneIn(4)) {
    guard.abandon()
  } else {
    guard.markConsistent()
    guard.unlock()
  }
}

const meeting = struct({ lock: mutex(), changed: condvar() })

export const condvarSubject: Subject = {
  name: 'condvar',
  structure: meeting,
  // "Taking it again has no timeout of its own": if the owner word is overwritten during a wait, the mutex stays taken.
  unscribbled: [[0, 4]],
  enter: (ground) =>
    twoUsers(
      ground as Ground<{ lock: Mutex; changed: Condvar }>,
      ({ lock, changed }, holdings, random, timeoutMs, other) => [
        { name: 'lock', run: () => holdings.keep(lock.tryLock()) },
        {
          name: 'waitSync',
          timeoutMs,
          run: () => withLock(lock, (guard) => changed.waitSync(guard, { timeoutMs })),
        },
        {
          name: 'waitSync with a predicate',
          timeoutMs,
          run: () => withLock(lock, (guard) => changed.waitSync(guard, () => random.isOneIn(3), { timeoutMs })),
        },
        {
          name: 'wait',
          timeoutMs: 5,
          run: async () => {
            const guard = lock.tryLock()
            if (guard === undefined) return
            holdings.keep(guard)
            const waiting = changed.wait(guard, optionsOf(random, timeoutMs))
            if (random.isOneIn(2)) other.changed.notifyOne()
            await waiting
          },
        },
        { name: 'notifyOne', run: () => changed.notifyOne() },
        { name: 'notifyAll', run: () => changed.notifyAll() },
        { name: 'describe', run: () => changed.describe() },
      ],
    ),
}

function withLock(lock: Mutex, action: (guard: MutexGuard) => unknown): void {
  const guard = lock.tryLock()
  if (guard === undefined) return
  try {
    action(guard)
  } finally {
    if (guard.isHeld) guard.unlock()
  }
}

export const semaphoreSubject: Subject = {
  name: 'semaphore',
  structure: semaphore({ permits: 3 }),
  enter: (ground) =>
    twoUsers(ground as Ground<Semaphore>, (permits, holdings, random, timeoutMs) => [
      { name: 'tryAcquire', run: () => holdings.keep(permits.tryAcquire()) },
      { name: 'acquireSync', timeoutMs, run: () => holdings.keep(permits.acquireSync({ timeoutMs })) },
      {
        name: 'acquire',
        timeoutMs: 5,
        run: async () => holdings.keep((await permits.acquire(optionsOf(random, timeoutMs))) as Permit | undefined),
      },
      { name: 'waitAny', timeoutMs, run: () => waitAny([permits], { timeoutMs }) },
      { name: 'describe', run: () => permits.describe() },
    ]),
}

export const rwLockSubject: Subject = {
  name: 'rw-lock',
  structure: rwLock(),
  enter: (ground) =>
    twoUsers(ground as Ground<RwLock>, (lock, holdings, random, timeoutMs) => [
      { name: 'tryReadLock', run: () => holdings.keep(lock.tryReadLock()) },
      { name: 'tryWriteLock', run: () => holdings.keep(lock.tryWriteLock()) },
      { name: 'readLockSync', timeoutMs, run: () => holdings.keep(lock.readLockSync({ timeoutMs })) },
      { name: 'writeLockSync', timeoutMs, run: () => holdings.keep(lock.writeLockSync({ timeoutMs })) },
      {
        name: 'readLock',
        timeoutMs: 5,
        run: async () => holdings.keep((await lock.readLock(optionsOf(random, timeoutMs))) as ReadGuard | undefined),
      },
      {
        name: 'writeLock',
        timeoutMs: 5,
        run: async () => holdings.keep((await lock.writeLock(optionsOf(random, timeoutMs))) as WriteGuard | undefined),
      },
      { name: 'describe', run: () => lock.describe() },
    ]),
}

function barrierSubject(onDeath: OnMemberDeath): Subject {
  return {
    name: `barrier-${onDeath}`,
    structure: barrier({ parties: 2, onDeath }),
    enter: (ground) => barrierUsers(ground as Ground<Barrier>),
  }
}

function barrierUsers(ground: Ground<Barrier>): Users {
  const barriers = [ground.use(ground.first), ground.use(ground.second)]
  const members: (BarrierMember | undefined)[] = []
  const leave = (user: number) => {
    members[user]?.leave()
    members[user] = undefined
  }
  return {
    next(random) {
      const user = random.below(2)
      const timeoutMs = shortTimeout(random)
      const meeting = barriers[user]
      const member = members[user]
      if (member === undefined && !random.isOneIn(4)) {
        return {
          name: 'join',
          run: () => {
            members[user] = meeting.join()
          },
        }
      }
      return random.of<Call>([
        { name: 'arrive', run: () => member?.arrive() },
        { name: 'waitSync', timeoutMs, run: () => member?.waitSync({ timeoutMs }) },
        { name: 'wait', timeoutMs: 5, run: () => member?.wait(optionsOf(random, timeoutMs)) },
        { name: 'leave', run: () => leave(user) },
        { name: 'reset', run: () => meeting.reset() },
        { name: 'describe', run: () => meeting.describe() },
      ])
    },
    leave: () => [0, 1].map((user) => ({ name: 'leave', run: () => leave(user) })),
  }
}

export const barrierBreak = barrierSubject('break')
export const barrierDrop = barrierSubject('drop')

export const futexSubject: Subject = {
  name: 'futex',
  structure: futex(),
  enter: (ground) =>
    twoUsers(ground as Ground<Futex>, (word, _holdings, random, timeoutMs, other) => [
      { name: 'waitWhileSync', timeoutMs, run: () => word.waitWhileSync(word.value, { timeoutMs }) },
      {
        name: 'waitWhile',
        timeoutMs: 5,
        run: async () => {
          const waiting = word.waitWhile(word.value, optionsOf(random, timeoutMs))
          other.notifyOne()
          await waiting
        },
      },
      { name: 'notifyOne', run: () => word.notifyOne() },
      { name: 'notifyAll', run: () => word.notifyAll() },
      { name: 'add', run: () => word.add(1) },
      { name: 'waitAny', timeoutMs, run: () => waitAny([word.otherThan(word.value)], { timeoutMs }) },
    ]),
}
