import { type Attached, type Permit, semaphore, struct, words } from '@isthmus/sync'
import { expect, expectEqual, HAD_WITHIN_MS } from '../expectations.js'
import { type Scenario, scenario } from '../scenario.js'
import type { Survivor } from '../survivor.js'
import type { Victim } from '../victim.js'

const PERMITS = 2
const layout = struct({ permits: semaphore({ permits: PERMITS }), told: words(4) })
type Root = Attached<typeof layout>

const HAS_ONE = 1
const HAS_NONE = 2

/** Checks that all permits can be acquired, by the survivor and by a newcomer. */
function check(survivor: Survivor<Root>): void {
  const { permits, told } = survivor.root
  const held = permits.describe().holders.reduce((sum, holder) => sum + holder.permits, 0)
  if (told[0] === HAS_ONE) expectEqual(held, 1, 'Permits of a victim that has one')
  if (told[0] === HAS_NONE) expectEqual(held, 0, 'Permits of a victim that has none')
  takeAll(permits.acquireSync.bind(permits))
  const newcomer = survivor.newcomer().root.permits
  takeAll(newcomer.acquireSync.bind(newcomer))
  const { available, waiters } = permits.describe()
  expectEqual({ available, waiters }, { available: PERMITS, waiters: [] }, 'The semaphore in the end')
}

/** Checks that the dead peer holds no permit. */
function checkSwept({ root: { permits } }: Survivor<Root>): void {
  const { available, holders, waiters } = permits.describe()
  const expected = { available: PERMITS, holders: [], waiters: [] }
  expectEqual({ available, holders, waiters }, expected, 'The semaphore after a sweep')
  takeAll(permits.acquireSync.bind(permits))
}

function takeAll(acquire: (options: { timeoutMs: number }) => Permit | undefined): void {
  const permits = Array.from({ length: PERMITS }, () => acquire({ timeoutMs: HAD_WITHIN_MS }))
  expect(
    permits.every((permit) => permit !== undefined),
    'A permit was lost',
  )
  for (const permit of permits) permit?.release()
}

function takeAllPermits({ root }: Survivor<Root>): Permit[] {
  return Array.from({ length: PERMITS }, () => root.permits.acquireSync())
}

function acquireAndRelease(victim: Victim<Root>): void {
  const { permits, told } = victim.root
  const permit = permits.acquireSync()
  victim.has(HAS_ONE, told)
  permit.release()
  told[0] = HAS_NONE
}

function isAwaited({ permits }: Root): boolean {
  return permits.describe().waiters.length > 0
}

function holdAllUntilAwaited(victim: Victim<Root>): () => void {
  const { permits, told } = victim.root
  const held = Array.from({ length: PERMITS }, () => permits.acquireSync())
  victim.beginsWhen(() => isAwaited(victim.root))
  return () => {
    held[0].release()
    victim.has(HAS_ONE, told)
  }
}

export const semaphoreScenarios: Scenario<unknown>[] = [
  scenario({
    name: 'semaphore: acquires and releases',
    layout,
    victim: (victim) => () => acquireAndRelease(victim),
    check,
    checkSwept,
  }),
  scenario({
    name: 'semaphore: blocks for a permit',
    layout,
    prepare: takeAllPermits,
    meanwhile({ root, untilVictim }, held) {
      untilVictim(() => isAwaited(root))
      for (const permit of held) permit.release()
    },
    victim: (victim) => () => acquireAndRelease(victim),
    check,
    checkSwept,
  }),
  scenario({
    name: 'semaphore: awaits a permit',
    isVictimAwaiting: true,
    layout,
    prepare: takeAllPermits,
    meanwhile({ root, untilVictim }, held) {
      untilVictim(() => isAwaited(root))
      for (const permit of held) permit.release()
    },
    victim: (victim) => {
      const { permits, told } = victim.root
      return async () => {
        const permit = await permits.acquire()
        victim.has(HAS_ONE, told)
        permit.release()
        told[0] = HAS_NONE
      }
    },
    check,
  }),
  scenario({
    name: 'semaphore: releases for one who blocks',
    layout,
    meanwhile({ root }) {
      const permit = root.permits.acquireSync({ timeoutMs: 3_000 })
      expect(permit !== undefined, 'The waiter got no permit')
      permit.release()
    },
    isMeanwhileWaiting: true,
    victim: holdAllUntilAwaited,
    check,
  }),
  scenario({
    name: 'semaphore: releases for one who awaits',
    layout,
    async meanwhile({ root }) {
      const permit = await root.permits.acquire({ timeoutMs: 3_000 })
      expect(permit !== undefined, 'The waiter got no permit')
      permit.release()
    },
    isMeanwhileWaiting: true,
    isSurvivorAwaiting: true,
    victim: holdAllUntilAwaited,
    check,
  }),
]
