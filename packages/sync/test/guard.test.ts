import { describe, expect, test } from 'vitest'
import { type Attached, mutex, rwLock, semaphore, struct } from '../src/index.js'
import { expectCode } from './support/expect-code.js'
import { attach } from './support/regions.js'
import { withoutSafetyNet } from './support/safety-net.js'

withoutSafetyNet()

const layout = struct({ lock: mutex(), permits: semaphore({ permits: 1 }), shared: rwLock() })
type Root = Attached<typeof layout>

interface Held {
  readonly isHeld: boolean
  [Symbol.dispose](): void
}

interface Kind {
  readonly name: string
  /** The forms that do not await: each gives the same guard. */
  readonly sync: readonly ((root: Root) => Held | undefined)[]
  readonly async: (root: Root) => Promise<Held>
  readonly giveBack: (held: Held) => void
  /** Whether an attachment could take what the guard stands for. */
  readonly isFree: (root: Root) => boolean
}

const unlock = (held: Held) => (held as Held & { unlock(): void }).unlock()
const release = (held: Held) => (held as Held & { release(): void }).release()

function isToBeHad(held: Held | undefined): boolean {
  held?.[Symbol.dispose]()
  return held !== undefined
}

const kinds: readonly Kind[] = [
  {
    name: 'MutexGuard',
    sync: [({ lock }) => lock.tryLock(), ({ lock }) => lock.lockSync(), ({ lock }) => lock.lockSync({ timeoutMs: 5 })],
    async: ({ lock }) => lock.lock(),
    giveBack: unlock,
    isFree: ({ lock }) => isToBeHad(lock.tryLock()),
  },
  {
    name: 'Permit',
    sync: [
      ({ permits }) => permits.tryAcquire(),
      ({ permits }) => permits.acquireSync(),
      ({ permits }) => permits.acquireSync({ timeoutMs: 5 }),
    ],
    async: ({ permits }) => permits.acquire(),
    giveBack: release,
    isFree: ({ permits }) => isToBeHad(permits.tryAcquire()),
  },
  {
    name: 'ReadGuard',
    sync: [
      ({ shared }) => shared.tryReadLock(),
      ({ shared }) => shared.readLockSync(),
      ({ shared }) => shared.readLockSync({ timeoutMs: 5 }),
    ],
    async: ({ shared }) => shared.readLock(),
    giveBack: unlock,
    isFree: ({ shared }) => isToBeHad(shared.tryWriteLock()),
  },
  {
    name: 'WriteGuard',
    sync: [
      ({ shared }) => shared.tryWriteLock(),
      ({ shared }) => shared.writeLockSync(),
      ({ shared }) => shared.writeLockSync({ timeoutMs: 5 }),
    ],
    async: ({ shared }) => shared.writeLock(),
    giveBack: unlock,
    isFree: ({ shared }) => isToBeHad(shared.tryReadLock()),
  },
]

describe.each(kinds)('$name', ({ name, sync, async, giveBack, isFree }) => {
  function setUp() {
    const regions = attach(layout, 2)
    const [own, other] = regions.map(({ root }) => root)
    const take = (form = sync[0]) => form(own) as Held
    return { regions, own, other, take }
  }

  test(`${name} of the forms that do not await is one object, held again after each of them`, () => {
    const { other, take } = setUp()
    const guard = take()
    for (const form of sync) {
      if (!guard.isHeld) expect(take(form)).toBe(guard)
      expect([guard.isHeld, isFree(other)]).toEqual([true, false])
      giveBack(guard)
      expect([guard.isHeld, isFree(other)]).toEqual([false, true])
    }
  })

  test(`${name} of the form that awaits is a new object, which is never held again`, async () => {
    const { own, take } = setUp()
    const first = await async(own)
    giveBack(first)
    const second = await async(own)
    expect(second).not.toBe(first)
    expect([first.isHeld, second.isHeld]).toEqual([false, true])
    giveBack(second)
    expect([take().isHeld, first.isHeld, second.isHeld]).toEqual([true, false, false])
  })

  test(`${name} that was given back is refused, and gives back nothing of a later holder`, async () => {
    const { own, other, take } = setUp()
    const reused = take()
    giveBack(reused)
    const single = await async(own)
    giveBack(single)
    const guards = [reused, single]
    for (const guard of guards) expectCode('ERR_ISTHMUS_NOT_HELD', () => giveBack(guard))
    const later = await async(own)
    for (const guard of guards) expectCode('ERR_ISTHMUS_NOT_HELD', () => giveBack(guard))
    expect([later.isHeld, isFree(other)]).toEqual([true, false])
    giveBack(later)
    const foreign = sync[0](other) as Held
    for (const guard of guards) expectCode('ERR_ISTHMUS_NOT_HELD', () => giveBack(guard))
    expect([foreign.isHeld, isFree(own)]).toEqual([true, false])
  })

  test(`${name}[Symbol.dispose] gives back what is held, and nothing else`, async () => {
    const { own, other, take } = setUp()
    for (const guard of [take(), undefined]) {
      const held = guard ?? (await async(own))
      held[Symbol.dispose]()
      expect([held.isHeld, isFree(other)]).toEqual([false, true])
      const foreign = sync[0](other) as Held
      held[Symbol.dispose]()
      expect([foreign.isHeld, isFree(own)]).toEqual([true, false])
      giveBack(foreign)
    }
  })

  test(`${name} of a closed region is refused, and dispose does nothing: closing gave it back`, () => {
    const { regions, other, take } = setUp()
    const guard = take()
    regions[0].close()
    expectCode('ERR_ISTHMUS_CLOSED', () => giveBack(guard))
    guard[Symbol.dispose]()
    expect(isFree(other)).toBe(true)
  })
})
