import { getEventListeners } from 'node:events'
import { describe, expect, test } from 'vitest'
import {
  AbortError,
  type HeapRegion,
  IsthmusRangeError,
  type Layout,
  type PeerDescription,
  type TimeoutOptions,
  type WaitOptions,
} from '../../src/index.js'
import { nowMs } from '../../src/internal.js'
import { expectCode, expectRejection } from './expect-code.js'
import { attach, leftovers } from './regions.js'
import { sleep, soon, turns, until } from './waiting.js'
import { startAgent } from './workers.js'

/** One kind of wait, and how to bring it about. What must hold for all kinds is tested once. */
export interface WaitContract<T> {
  /** As in `Mutex.lock`. */
  readonly name: string
  readonly layout: Layout<T>
  /** The same as text, for a thread of its own, which has nothing but the package. */
  readonly layoutText: string
  /** From now on other agents must wait. Returns a function that lets one of them go on, and gives everything back. */
  block(root: T): () => void
  /** Waits, and gives back at once what it got. Resolves to `timedOut` after a timeout. */
  wait(root: T, options: WaitOptions): Promise<unknown>
  /** Sees nothing but its arguments. */
  waitSync(root: T, options: TimeoutOptions): unknown
  readonly timedOut: undefined | false
  /** How many waiters the structure shows. */
  waiters(root: T, region: HeapRegion<T>): number
  /** Indexes of words of the root whose value means nothing when all is over. */
  readonly ignored: readonly number[]
}

export function countOf(waiters: readonly PeerDescription[]): number {
  return waiters.length
}

/** Needs `withoutSafetyNet`. */
export function describeWait<T>(contract: WaitContract<T>): void {
  const { name, layout, timedOut, ignored } = contract
  const invalid = [-1, Number.NaN, Number.NEGATIVE_INFINITY]

  function setUp() {
    const [own, other, third] = attach(layout)
    const roots = new Map([own, other, third].map((region) => [region, region.root]))
    const wait = (options: WaitOptions = {}, region = other) => contract.wait(roots.get(region) as T, options)
    const waiters = () => contract.waiters(own.root, own)
    const expectNothingLeft = () => expect([leftovers(own, layout, ignored), waiters()]).toEqual([[], 0])
    return { own, other, third, wait, waiters, expectNothingLeft }
  }

  describe(`${name}: what holds for every wait`, () => {
    test.each(invalid)(`${name} refuses a timeout of %s, whether it has to wait or not`, async (timeoutMs) => {
      const { own, other, wait, expectNothingLeft } = setUp()
      const end = contract.block(own.root)
      await expectRejection('ERR_ISTHMUS_INVALID_ARGUMENT', wait({ timeoutMs }))
      await expect(wait({ timeoutMs })).rejects.toBeInstanceOf(IsthmusRangeError)
      expectCode('ERR_ISTHMUS_INVALID_ARGUMENT', () => contract.waitSync(other.root, { timeoutMs }))
      end()
      await expectRejection('ERR_ISTHMUS_INVALID_ARGUMENT', wait({ timeoutMs }))
      expectCode('ERR_ISTHMUS_INVALID_ARGUMENT', () => contract.waitSync(other.root, { timeoutMs }))
      expectNothingLeft()
    })

    test.each([0, 1, 30])(
      `${name} ends after a timeout of %s ms, not before, and leaves nothing behind`,
      async (timeoutMs) => {
        const { own, other, wait, waiters, expectNothingLeft } = setUp()
        const end = contract.block(own.root)
        const startedMs = nowMs()
        expect(await soon(wait({ timeoutMs }), 'the timeout')).toBe(timedOut)
        const endedMs = nowMs()
        expect(endedMs - startedMs).toBeGreaterThanOrEqual(timeoutMs)
        expect(contract.waitSync(other.root, { timeoutMs })).toBe(timedOut)
        expect(nowMs() - endedMs).toBeGreaterThanOrEqual(timeoutMs)
        expect(waiters()).toBe(0)
        end()
        await turns()
        expectNothingLeft()
      },
    )

    test(`${name} is woken, however long it has slept`, async () => {
      const { own, wait, waiters, expectNothingLeft } = setUp()
      for (const pauseMs of [0, 1, 20]) {
        const end = contract.block(own.root)
        const waiting = wait()
        await sleep(pauseMs)
        if (pauseMs === 20) expect(waiters()).toBe(1)
        end()
        expect(await soon(waiting)).not.toBe(timedOut)
      }
      expectNothingLeft()
    })

    test(`${name} with a timeout that it does not need is woken, and its timer is gone`, async () => {
      const { own, wait, expectNothingLeft } = setUp()
      const end = contract.block(own.root)
      const waiting = wait({ timeoutMs: 2 ** 40, signal: new AbortController().signal })
      await sleep(10)
      end()
      expect(await soon(waiting)).not.toBe(timedOut)
      expectNothingLeft()
    })

    test(`${name} with a signal that has aborted rejects, takes nothing and leaves nothing behind`, async () => {
      const { own, wait, waiters, expectNothingLeft } = setUp()
      const signal = AbortSignal.abort('enough')
      const rejection = { name: 'AbortError', code: 'ABORT_ERR', cause: 'enough' }
      const end = contract.block(own.root)
      await expect(wait({ signal })).rejects.toMatchObject(rejection)
      expect(waiters()).toBe(0)
      end()
      await expect(wait({ signal })).rejects.toMatchObject(rejection)
      await expect(wait({ signal })).rejects.toBeInstanceOf(AbortError)
      expect(getEventListeners(signal, 'abort')).toEqual([])
      await turns()
      expectNothingLeft()
    })

    test.each([0, 20])(
      `${name} that is aborted after %s ms rejects, leaves nothing behind, and the next one is woken`,
      async (afterMs) => {
        const { own, other, third, wait, waiters, expectNothingLeft } = setUp()
        const end = contract.block(own.root)
        const controller = new AbortController()
        const aborted = wait({ signal: controller.signal })
        const isWaitingToo = wait({}, third)
        aborted.catch(() => {})
        if (afterMs > 0) await sleep(afterMs)
        controller.abort('enough')
        await expect(soon(aborted, 'the abort')).rejects.toMatchObject({ code: 'ABORT_ERR', cause: 'enough' })
        expect(getEventListeners(controller.signal, 'abort')).toEqual([])
        await until(() => waiters() === 1)
        end()
        expect(await soon(isWaitingToo)).not.toBe(timedOut)
        expect(getEventListeners(controller.signal, 'abort')).toEqual([])
        await turns()
        expectNothingLeft()
        expect(other.isClosed).toBe(false)
      },
    )

    test(`${name} that was ready leaves no listener on its signal, and an abort then does nothing`, async () => {
      const { own, wait, expectNothingLeft } = setUp()
      const end = contract.block(own.root)
      const controller = new AbortController()
      const waiting = wait({ signal: controller.signal })
      await sleep(10)
      end()
      await soon(waiting)
      expect(getEventListeners(controller.signal, 'abort')).toEqual([])
      controller.abort()
      await turns()
      expectNothingLeft()
    })

    test(`${name} rejects once with ERR_ISTHMUS_CLOSED if its region is closed, and leaves nothing behind`, async () => {
      const { own, other, wait, waiters } = setUp()
      const end = contract.block(own.root)
      const controller = new AbortController()
      const pending = [wait({ signal: controller.signal }), wait({ timeoutMs: 60_000 })]
      const rejections: unknown[] = []
      for (const promise of pending) promise.catch((error) => rejections.push(error.code))
      await sleep(10)
      other.close()
      await turns()
      controller.abort()
      await turns()
      expect(rejections).toEqual(['ERR_ISTHMUS_CLOSED', 'ERR_ISTHMUS_CLOSED'])
      expect(getEventListeners(controller.signal, 'abort')).toEqual([])
      expect(waiters()).toBe(0)
      await expectRejection('ERR_ISTHMUS_CLOSED', wait())
      end()
    })

    test(`${name} after close is refused`, async () => {
      const { other, wait } = setUp()
      const { root } = other
      other.close()
      await expectRejection('ERR_ISTHMUS_CLOSED', wait())
      await expectRejection('ERR_ISTHMUS_CLOSED', wait({ timeoutMs: 0 }))
      expectCode('ERR_ISTHMUS_CLOSED', () => contract.waitSync(root, {}))
      expectCode('ERR_ISTHMUS_CLOSED', () => contract.waitSync(root, { timeoutMs: 0 }))
    })

    test(`${name}: a blocked thread is woken, and leaves nothing behind`, async () => {
      const { own, waiters, expectNothingLeft } = setUp()
      for (const pauseMs of [0, 30]) {
        const end = contract.block(own.root)
        const agent = await startAgent(own, contract.layoutText, `(root) => (${arrow(contract.waitSync)})(root, {})`)
        if (pauseMs > 0) await until(() => waiters() === 1)
        await sleep(pauseMs)
        end()
        expect(await agent.result).not.toBe(timedOut)
      }
      expectNothingLeft()
    })

    test(`${name}: blocked threads and event loops are all served`, async () => {
      const { own, third, wait, waiters } = setUp()
      const end = contract.block(own.root)
      const text = `(root) => (${arrow(contract.waitSync)})(root, {})`
      const agents = [
        await startAgent(own, contract.layoutText, text),
        await startAgent(own, contract.layoutText, text),
      ]
      const loops = [wait(), wait({}, third)]
      await sleep(30)
      expect(waiters()).toBeGreaterThan(0)
      end()
      // Each gives back at once what it got. If only one can go on at a time, it wakes the next.
      const all = await soon(Promise.all([...agents.map(({ result }) => result), ...loops]), 'one of the wake-ups')
      expect(all.every((result) => result !== timedOut)).toBe(true)
    })
  })
}

/** A method's text is no expression. */
function arrow(action: (...args: never[]) => unknown): string {
  const text = action.toString()
  return /^(async\s+)?(\(|function)/.test(text) ? text : `function ${text}`
}
