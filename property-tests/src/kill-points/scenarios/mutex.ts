import { type Attached, mutex, struct, words } from '@isthmus/sync'
import { codeOf, expect, expectEqual, HAD_WITHIN_MS } from '../expectations.js'
import { type Scenario, scenario } from '../scenario.js'
import type { Survivor } from '../survivor.js'
import type { Victim } from '../victim.js'

export const mutexLayout = struct({ lock: mutex(), told: words(4) })
type Root = Attached<typeof mutexLayout>

/** What the victim says of itself. */
const HAS_IT = 1
const GAVE_IT_BACK = 2

/**
 * Checks that the next owner is told of the death if and only if the victim held the lock, and the owner after it is
 * not.
 */
function check(survivor: Survivor<Root>): void {
  const { lock, told } = survivor.root
  const { owner, isInconsistent } = lock.describe()
  const isHeld = owner !== undefined
  if (told[0] === HAS_IT) expect(isHeld, 'The victim holds the lock, and the owner word does not say so')
  if (told[0] === GAVE_IT_BACK) expect(!isHeld, 'The victim has given the lock back, and the owner word names an owner')
  takeTwice(survivor, isHeld || isInconsistent)
}

/** Checks that the dead peer holds nothing, and that a lock it held is inconsistent. */
function checkSwept(survivor: Survivor<Root>): void {
  const { lock, told } = survivor.root
  const { owner, waiters, isInconsistent } = lock.describe()
  expectEqual([owner, waiters], [undefined, []], 'Owner and waiters after a sweep')
  if (told[0] === HAS_IT) expect(isInconsistent, 'The victim held the lock, and the sweep left it consistent')
  if (told[0] === GAVE_IT_BACK)
    expect(!isInconsistent, 'A death is reported although the victim had given the lock back')
  takeTwice(survivor, isInconsistent)
}

function takeTwice(survivor: Survivor<Root>, isDeathToTell: boolean): void {
  const { lock } = survivor.root
  const guard = lock.lockSync({ timeoutMs: HAD_WITHIN_MS })
  expect(guard !== undefined, 'The lock cannot be taken')
  expectEqual(guard.ownerDied, isDeathToTell, 'ownerDied')
  guard.markConsistent()
  guard.unlock()
  const newcomer = survivor.newcomer().root.lock
  const next = newcomer.tryLock()
  expect(next !== undefined, 'A newcomer cannot take the lock')
  expect(!next.ownerDied, 'A death is reported after the repair')
  next.unlock()
  expectEqual(lock.describe().waiters, [], 'Waiters')
}

function lockAndUnlock(victim: Victim<Root>): void {
  const { lock, told } = victim.root
  const guard = lock.lockSync()
  victim.has(HAS_IT, told)
  if (guard.ownerDied) guard.markConsistent()
  guard.unlock()
  told[0] = GAVE_IT_BACK
}

function isAwaited({ lock }: Root): boolean {
  return lock.describe().waiters.length > 0
}

/** What the survivor sees that waits for the victim's lock. */
interface Turn {
  ownerDied: boolean | undefined
}

function checkTurn(survivor: Survivor<Root>, turn: Turn): void {
  expect(turn.ownerDied !== undefined, 'The waiter did not get the lock')
  if (survivor.root.told[0] === GAVE_IT_BACK)
    expect(!turn.ownerDied, 'A death is reported although the victim had given the lock back')
  takeTwice(survivor, false)
}

function holdUntilAwaited(victim: Victim<Root>): () => void {
  const guard = victim.root.lock.lockSync()
  victim.beginsWhen(() => isAwaited(victim.root))
  return () => {
    guard.unlock()
    victim.root.told[0] = GAVE_IT_BACK
  }
}

export const mutexScenarios: Scenario<unknown>[] = [
  scenario({
    name: 'mutex: locks and unlocks',
    layout: mutexLayout,
    victim: (victim) => () => lockAndUnlock(victim),
    check,
    checkSwept,
  }),
  scenario({
    name: 'mutex: locks and unlocks by promise',
    isVictimAwaiting: true,
    layout: mutexLayout,
    victim: (victim) => {
      const { lock, told } = victim.root
      return async () => {
        const guard = await lock.lock()
        victim.has(HAS_IT, told)
        guard.unlock()
        told[0] = GAVE_IT_BACK
      }
    },
    check,
  }),
  scenario({
    name: 'mutex: blocks for it',
    layout: mutexLayout,
    prepare: ({ root }) => root.lock.lockSync(),
    meanwhile({ root, untilVictim }, guard) {
      untilVictim(() => isAwaited(root))
      guard.unlock()
    },
    victim: (victim) => () => lockAndUnlock(victim),
    check,
    checkSwept,
  }),
  scenario({
    name: 'mutex: awaits it',
    isVictimAwaiting: true,
    layout: mutexLayout,
    prepare: ({ root }) => root.lock.lockSync(),
    meanwhile({ root, untilVictim }, guard) {
      untilVictim(() => isAwaited(root))
      guard.unlock()
    },
    victim: (victim) => {
      const { lock, told } = victim.root
      return async () => {
        const guard = await lock.lock()
        victim.has(HAS_IT, told)
        guard.unlock()
        told[0] = GAVE_IT_BACK
      }
    },
    check,
  }),
  scenario({
    name: 'mutex: gives up waiting',
    layout: mutexLayout,
    prepare: ({ root }) => root.lock.lockSync(),
    meanwhile({ untilVictim }, guard) {
      untilVictim(() => false)
      guard.unlock()
    },
    victim: ({ root }) => {
      return () => root.lock.lockSync({ timeoutMs: 5 })
    },
    check,
  }),
  scenario({
    name: 'mutex: unlocks for one who blocks',
    layout: mutexLayout,
    prepare: (): Turn => ({ ownerDied: undefined }),
    meanwhile({ root }, turn) {
      const guard = root.lock.lockSync({ timeoutMs: 3_000 })
      turn.ownerDied = guard?.ownerDied
      guard?.markConsistent()
      guard?.unlock()
    },
    isMeanwhileWaiting: true,
    victim: holdUntilAwaited,
    check: checkTurn,
  }),
  scenario({
    name: 'mutex: unlocks for one who awaits',
    layout: mutexLayout,
    prepare: (): Turn => ({ ownerDied: undefined }),
    async meanwhile({ root }, turn) {
      const guard = await root.lock.lock({ timeoutMs: 3_000 })
      turn.ownerDied = guard?.ownerDied
      guard?.markConsistent()
      guard?.unlock()
    },
    isMeanwhileWaiting: true,
    isSurvivorAwaiting: true,
    victim: holdUntilAwaited,
    check: checkTurn,
  }),
  scenario({
    name: 'mutex: locks after the death of its owner, and repairs',
    layout: mutexLayout,
    prepare: (survivor) => survivor.bury(),
    predecessor: ({ root }) => {
      return () => root.lock.lockSync()
    },
    victim: (victim) => () => lockAndUnlock(victim),
    check,
    checkSwept,
  }),
  scenario({
    name: 'mutex: locks after the death of its owner, and does not repair',
    layout: mutexLayout,
    prepare: (survivor) => survivor.bury(),
    predecessor: ({ root }) => {
      return () => root.lock.lockSync()
    },
    victim: ({ root: { lock, told } }) => {
      return () => {
        lock.lockSync().unlock()
        told[0] = GAVE_IT_BACK
      }
    },
    check(survivor) {
      // Every owner is told of the predecessor's death until one of them has repaired the data.
      takeTwice(survivor, true)
    },
  }),
  scenario({
    name: 'mutex: abandons',
    layout: mutexLayout,
    victim: ({ root: { lock, told } }) => {
      const guard = lock.lockSync()
      return () => {
        guard.abandon()
        told[0] = GAVE_IT_BACK
      }
    },
    check(survivor) {
      const { lock, told } = survivor.root
      const isAbandoned = lock.describe().state === 'abandoned'
      if (told[0] === GAVE_IT_BACK) expect(isAbandoned, 'The victim has abandoned the lock, and it is not abandoned')
      if (!isAbandoned) return takeTwice(survivor, true)
      expectEqual(
        codeOf(() => lock.lockSync()),
        'ERR_ISTHMUS_ABANDONED',
        'Locking an abandoned lock',
      )
      const newcomer = survivor.newcomer().root.lock
      expectEqual(
        codeOf(() => newcomer.tryLock()),
        'ERR_ISTHMUS_ABANDONED',
        'After a sweep',
      )
    },
  }),
]
