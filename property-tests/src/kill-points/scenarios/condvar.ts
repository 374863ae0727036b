import { type Attached, condvar, mutex, struct, words } from '@isthmus/sync'
import { fallbackPolling } from '@isthmus/sync/internal'
import { expect, expectEqual, HAD_WITHIN_MS, PASSING } from '../expectations.js'
import { type Scenario, scenario } from '../scenario.js'
import type { Survivor } from '../survivor.js'

const layout = struct({ lock: mutex(), changed: condvar(), flag: words(1), told: words(4) })
type Root = Attached<typeof layout>

const IS_NOTIFIED = 1
/** A waiter that gets no notification gives up after this. It may come later, if the machine stands still. */
const GIVES_UP_MS = 200
const TICK_MS = 100
/** Raised when both waits are under way: from outside, two waits of one thread look like one. */
const BOTH_WAIT_WORD = 2
const LATER_MS = 5

/** Checks that the lock is free, that no peer is left waiting, and that a notification reaches the next waiter. */
async function check(survivor: Survivor<Root>): Promise<void> {
  const { lock, changed } = survivor.root
  const guard = lock.lockSync({ timeoutMs: HAD_WITHIN_MS })
  expect(guard !== undefined, 'The lock cannot be taken')
  guard.markConsistent()
  guard.unlock()
  const newcomer = survivor.newcomer().root
  expectEqual(changed.describe().waiters, [], 'Waiters')
  const theirs = await newcomer.lock.lock()
  expect(!theirs.ownerDied, 'A death is reported after the repair')
  const waiting = newcomer.changed.wait(theirs, { timeoutMs: HAD_WITHIN_MS })
  changed.notifyOne()
  expect(await waiting, 'A notification does not reach the next waiter')
  theirs.unlock()
}

function setFlag({ root: { lock, flag } }: Survivor<Root>): void {
  const guard = lock.lockSync({ timeoutMs: HAD_WITHIN_MS })
  expect(guard !== undefined, 'The lock cannot be taken')
  flag[0] = 1
  guard.unlock()
}

export const condvarScenarios: Scenario<unknown>[] = [
  scenario({
    name: 'condvar: blocks until it is notified',
    isSurvivorAwaiting: true,
    layout,
    meanwhile(survivor) {
      const { changed } = survivor.root
      survivor.untilVictim(() => changed.describe().waiters.length > 0)
      setFlag(survivor)
      changed.notifyOne()
    },
    victim({ root: { lock, changed, flag, told } }) {
      const guard = lock.lockSync()
      return () => {
        changed.waitSync(guard, () => flag[0] === 1)
        told[0] = IS_NOTIFIED
        guard.unlock()
      }
    },
    check,
  }),
  scenario({
    name: 'condvar: awaits a notify',
    isSurvivorAwaiting: true,
    isVictimAwaiting: true,
    layout,
    meanwhile(survivor) {
      const { changed } = survivor.root
      survivor.untilVictim(() => changed.describe().waiters.length > 0)
      setFlag(survivor)
      changed.notifyAll()
    },
    victim({ root: { lock, changed, flag, told } }) {
      const guard = lock.lockSync()
      return async () => {
        await changed.wait(guard, () => flag[0] === 1)
        told[0] = IS_NOTIFIED
        guard.unlock()
      }
    },
    check,
  }),
  scenario({
    name: 'condvar: notifies one who blocks',
    isSurvivorAwaiting: true,
    layout,
    prepare: () => ({ isNotified: false }),
    meanwhile({ root: { lock, changed } }, seen) {
      const guard = lock.lockSync()
      seen.isNotified = changed.waitSync(guard, { timeoutMs: GIVES_UP_MS })
      guard.unlock()
    },
    victim(victim) {
      const { changed, told } = victim.root
      victim.beginsWhen(() => changed.describe().waiters.length > 0)
      return () => {
        changed.notifyOne()
        told[0] = IS_NOTIFIED
      }
    },
    check(survivor, { isNotified }) {
      if (survivor.root.told[0] === IS_NOTIFIED) expect(isNotified, `${PASSING}a notification was lost`)
      return check(survivor)
    },
  }),
  scenario({
    name: 'condvar: notifies all who await',
    isSurvivorAwaiting: true,
    layout,
    prepare: () => ({ notified: 0 }),
    async meanwhile({ root: { lock, changed, told } }, seen) {
      let waiting = 0
      const wait = async () => {
        const guard = await lock.lock()
        waiting++
        if (waiting === 2) setTimeout(() => Atomics.store(told, BOTH_WAIT_WORD, 1), LATER_MS)
        if (await changed.wait(guard, { timeoutMs: GIVES_UP_MS })) seen.notified++
        guard.unlock()
      }
      await Promise.all([wait(), wait()])
    },
    victim(victim) {
      const { told, changed, lock } = victim.root
      victim.beginsWhen(() => Atomics.load(told, BOTH_WAIT_WORD) === 1 && lock.describe().owner === undefined)
      return () => {
        changed.notifyAll()
        told[0] = IS_NOTIFIED
      }
    },
    check(survivor, { notified }) {
      if (survivor.root.told[0] === IS_NOTIFIED) expectEqual(notified, 2, `${PASSING}how many waiters were notified`)
      return check(survivor)
    },
  }),
  scenario({
    name: 'condvar: dies with a notify that another one waits for',
    isSurvivorAwaiting: true,
    layout,
    prepare: () => ({ isNotified: false, tickMs: fallbackPolling.tickMs }),
    async meanwhile(survivor, seen) {
      const { lock, changed, told } = survivor.root
      fallbackPolling.tickMs = TICK_MS
      try {
        const guard = await lock.lock({ timeoutMs: HAD_WITHIN_MS })
        expect(guard !== undefined, 'The lock cannot be taken')
        const waiting = changed.wait(guard, { timeoutMs: 2 * GIVES_UP_MS })
        const areBothThere = await survivor.untilVictimAwaiting(() => changed.describe().waiters.length === 2)
        changed.notifyOne()
        seen.isNotified = await waiting
        guard.unlock()
        // One of the two gets it: the victim, or the waiter that is left.
        if (areBothThere && told[0] !== IS_NOTIFIED)
          expect(seen.isNotified, `${PASSING}a notification died with the waiter that got it`)
      } finally {
        fallbackPolling.tickMs = seen.tickMs
      }
    },
    victim({ root: { lock, changed, told } }) {
      return () => {
        const guard = lock.lockSync()
        changed.waitSync(guard)
        told[0] = IS_NOTIFIED
        guard.unlock()
      }
    },
    check,
  }),
]
