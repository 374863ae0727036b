import { type Attached, mutex, struct, words } from '@isthmus/sync'
import { codeOf, expect, expectEqual } from '../expectations.js'
import { type Scenario, scenario } from '../scenario.js'
import type { Survivor } from '../survivor.js'
import type { Victim } from '../victim.js'

export const mutexLayout = struct({ lock: mutex(), told: words(4) })
type Root = Attached<typeof mutexLayout>

/** What the victim knows of itself. */
const HAS_IT = 1
const GAVE_IT_BACK = 2

/** The next owner gets it, and is told if and only if the dead one had it; the one after that is not told. */
function check(survivor: Survivor<Root>): void {
  const { lock, told } = survivor.root
  const { owner, isInconsistent } = lock.describe()
  const isHeld = owner !== undefined
  if (told[0] === HAS_IT) expect(isHeld, 'The victim was given the lock, and the word does not say so')
  if (told[0] === GAVE_IT_BACK) expect(!isHeld, 'The victim gave the lock back, and the word says that it has it')
  takeTwice(survivor, isHeld || isInconsistent)
}

/** Nothing is in the name of the dead, and what it had says that it died. */
function checkSwept(survivor: Survivor<Root>): void {
  const { lock, told } = survivor.root
  const { owner, waiters, isInconsistent } = lock.describe()
  expectEqual([owner, waiters], [undefined, []], 'Owner and waiters after a sweep')
  if (told[0] === HAS_IT) expect(isInconsistent, 'The victim had the lock, and the sweep does not tell')
  if (told[0] === GAVE_IT_BACK) expect(!isInconsistent, 'A death is told of one who gave the lock back')
  takeTwice(survivor, isInconsistent)
}

function takeTwice(survivor: Survivor<Root>, isDeathToTell: boolean): void {
  const { lock } = survivor.root
  const guard = lock.lockSync({ timeoutMs: 1_000 })
  expect(guard !== undefined, 'Nobody can have the lock')
  expectEqual(guard.ownerDied, isDeathToTell, 'ownerDied')
  guard.markConsistent()
  guard.unlock()
  const newcomer = survivor.newcomer().root.lock
  const next = newcomer.tryLock()
  expect(next !== undefined, 'A newcomer cannot have the lock')
  expect(!next.ownerDied, 'A death is told after the repair')
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

/** The survivor waits for what the victim has. */
interface Turn {
  ownerDied: boolean | undefined
}

function checkTurn(survivor: Survivor<Root>, turn: Turn): void {
  expect(turn.ownerDied !== undefined, 'Who waited did not get the lock')
  if (survivor.root.told[0] === GAVE_IT_BACK) expect(!turn.ownerDied, 'A death is told of one who gave the lock back')
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
      // The predecessor's death is told by whoever comes next, as long as nobody has repaired anything.
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
      if (told[0] === GAVE_IT_BACK) expect(isAbandoned, 'The lock was abandoned, and does not say so')
      if (!isAbandoned) return takeTwice(survivor, true)
      expectEqual(
        codeOf(() => lock.lockSync()),
        'ERR_ISTHMUS_ABANDONED',
        'Locking what was abandoned',
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
