import { beforeEach, describe, expect, test } from 'vitest'
import { type HeapRegion, type Mutex, mutex } from '../../src/index.js'
import { heldSpace, type SpaceHolder } from '../../src/internal.js'
import { attach } from '../support/regions.js'
import { withoutSafetyNet } from '../support/safety-net.js'
import { soon, turns, until } from '../support/waiting.js'

withoutSafetyNet()

let own: HeapRegion<Mutex>
let other: HeapRegion<Mutex>

beforeEach(() => {
  ;[own, other] = attach(mutex())
})

/** Returns its space when it is asked for the given time. */
function makeHolder(returnsAt = 1) {
  let asked = 0
  const holder: SpaceHolder = { returnSpace: () => ++asked >= returnsAt }
  return { holder, reference: new WeakRef(holder), asked: () => asked }
}

describe('heldSpace', () => {
  test('a blocking call returns held space once, before its first sleep, and not if it need not sleep', () => {
    const { holder, reference, asked } = makeHolder()
    heldSpace.add(reference)
    own.root.lockSync().unlock()
    const guard = own.root.lockSync()
    expect(other.root.lockSync({ timeoutMs: 0 })).toBeUndefined()
    expect(asked()).toBe(0)
    expect(other.root.lockSync({ timeoutMs: 250 })).toBeUndefined()
    expect(other.root.lockSync({ timeoutMs: 50 })).toBeUndefined()
    expect([asked(), holder !== undefined]).toEqual([1, true])
    guard.unlock()
  })

  test('an event loop returns held space when it begins to sleep, and in its next turn if it sleeps already', async () => {
    const first = makeHolder()
    const late = makeHolder()
    expect(heldSpace.isLoopAsleep).toBe(false)
    heldSpace.add(first.reference)
    const guard = own.root.lockSync()
    const waiting = other.root.lock()
    await until(() => own.root.describe().waiters.length > 0)
    expect([first.asked(), heldSpace.isLoopAsleep]).toEqual([1, true])
    heldSpace.add(late.reference)
    expect(late.asked()).toBe(0)
    await turns()
    expect([first.asked(), late.asked()]).toEqual([1, 1])
    guard.unlock()
    ;(await soon(waiting)).unlock()
    expect([heldSpace.isLoopAsleep, first.holder, late.holder]).toEqual([false, first.holder, late.holder])
  })

  test('an event loop sleeps until the last of its waits has ended', async () => {
    const waits = [own, other].map((region) => {
      const controller = new AbortController()
      const guard = own.root.tryLock()
      return { controller, guard, waiting: region.root.lock({ signal: controller.signal }) }
    })
    await until(() => own.root.describe().waiters.length === 2)
    const seen: boolean[] = []
    for (const { controller, waiting } of waits) {
      seen.push(heldSpace.isLoopAsleep)
      controller.abort()
      await expect(soon(waiting)).rejects.toMatchObject({ code: 'ABORT_ERR' })
    }
    expect([...seen, heldSpace.isLoopAsleep]).toEqual([true, true, false])
    waits[0].guard?.unlock()
  })

  test('a holder that still needs its space stays in the list, and is asked again in the next turn', async () => {
    const { holder, reference, asked } = makeHolder(2)
    heldSpace.add(reference)
    heldSpace.returnAll()
    expect(asked()).toBe(1)
    await turns()
    expect(asked()).toBe(2)
    await turns()
    heldSpace.returnAll()
    expect([asked(), holder !== undefined]).toEqual([2, true])
  })

  test('a holder that throws does not lose the others, and the wait throws the same error', async () => {
    const broken: SpaceHolder = {
      returnSpace() {
        heldSpace.remove(brokenReference)
        throw new Error('broken')
      },
    }
    const brokenReference = new WeakRef(broken)
    const guard = own.root.lockSync()
    const waits = [
      async (timeoutMs: number) => other.root.lockSync({ timeoutMs }),
      (timeoutMs: number) => other.root.lock({ timeoutMs }),
    ]
    for (const wait of waits) {
      const { holder, reference, asked } = makeHolder()
      heldSpace.add(brokenReference)
      heldSpace.add(reference)
      // A wait whose time is up before it sleeps returns no space.
      await expect(soon(wait(60_000))).rejects.toThrow('broken')
      expect(await soon(wait(250))).toBeUndefined()
      expect([asked(), holder !== undefined]).toEqual([1, true])
    }
    guard.unlock()
    ;(await soon(other.root.lock())).unlock()
  })

  test('heldSpace is one for a thread, for all copies of the package', () => {
    expect((globalThis as Record<symbol, unknown>)[Symbol.for('isthmus.held-space@1')]).toBe(heldSpace)
  })
})
