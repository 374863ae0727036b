import { beforeEach, describe, expect, test } from 'vitest'
import { type HeapRegion, type Mutex, mutex } from '../../src/index.js'
import { beforeSleep, pendingWaits, type SpaceHolder } from '../../src/internal.js'
import { attach } from '../support/regions.js'
import { withoutSafetyNet } from '../support/safety-net.js'
import { soon, turns, until } from '../support/waiting.js'

withoutSafetyNet()

let own: HeapRegion<Mutex>
let other: HeapRegion<Mutex>

beforeEach(() => {
  ;[own, other] = attach(mutex())
})

/** Owes something that it gives back when it is asked, from the given time on. */
function debtorOf(isSettledAt = 1) {
  let asked = 0
  const debtor: SpaceHolder = { settle: () => ++asked >= isSettledAt }
  return { debtor, reference: new WeakRef(debtor), asked: () => asked }
}

describe('beforeSleep', () => {
  test('a thread that blocks settles once, before its first sleep, and not where it need not sleep', () => {
    const { debtor, reference, asked } = debtorOf()
    beforeSleep.add(reference, false)
    own.root.lockSync().unlock()
    const guard = own.root.lockSync()
    expect(other.root.lockSync({ timeoutMs: 0 })).toBeUndefined()
    expect(asked()).toBe(0)
    expect(other.root.lockSync({ timeoutMs: 5 })).toBeUndefined()
    expect(other.root.lockSync({ timeoutMs: 5 })).toBeUndefined()
    expect([asked(), debtor !== undefined]).toEqual([1, true])
    guard.unlock()
  })

  test('an event loop settles when it begins to sleep, and in its next turn for what comes while it sleeps', async () => {
    const first = debtorOf()
    const late = debtorOf()
    beforeSleep.add(first.reference, pendingWaits.isAsleep)
    const guard = own.root.lockSync()
    const waiting = other.root.lock()
    await until(() => own.root.describe().waiters.length > 0)
    expect([first.asked(), pendingWaits.isAsleep]).toEqual([1, true])
    beforeSleep.add(late.reference, pendingWaits.isAsleep)
    expect(late.asked()).toBe(0)
    await turns()
    expect([first.asked(), late.asked()]).toEqual([1, 1])
    guard.unlock()
    ;(await soon(waiting)).unlock()
    expect([pendingWaits.isAsleep, first.debtor, late.debtor]).toEqual([false, first.debtor, late.debtor])
  })

  test('a debtor that still needs what it owes stays in the list, and is asked again in the next turn', async () => {
    const { debtor, reference, asked } = debtorOf(2)
    beforeSleep.add(reference, false)
    beforeSleep.settle()
    expect(asked()).toBe(1)
    await turns()
    expect(asked()).toBe(2)
    await turns()
    beforeSleep.settle()
    expect([asked(), debtor !== undefined]).toEqual([2, true])
  })

  test('a debtor that throws does not lose the others, and the wait throws the same', async () => {
    const broken: SpaceHolder = {
      settle() {
        beforeSleep.remove(brokenReference)
        throw new Error('broken')
      },
    }
    const brokenReference = new WeakRef(broken)
    const guard = own.root.lockSync()
    for (const wait of [async () => other.root.lockSync({ timeoutMs: 5 }), () => other.root.lock({ timeoutMs: 5 })]) {
      const { debtor, reference, asked } = debtorOf()
      beforeSleep.add(brokenReference, false)
      beforeSleep.add(reference, false)
      await expect(soon(wait())).rejects.toThrow('broken')
      expect(await soon(wait())).toBeUndefined()
      expect([asked(), debtor !== undefined]).toEqual([1, true])
    }
    guard.unlock()
    ;(await soon(other.root.lock())).unlock()
  })

  test('beforeSleep is one for a thread, whatever copy of the package asks for it', () => {
    expect((globalThis as Record<symbol, unknown>)[Symbol.for('isthmus.before-sleep@1')]).toBe(beforeSleep)
  })
})
