import { type Mutex, mutex } from '@isthmus/sync'
import { agent, scenario } from '../scenario.js'
import { mutexNames } from '../word-names.js'
import { type Guarded, guarded, plainOffsetOf } from './guarded.js'
import { janitor } from './janitor.js'

/** Plain words: how many guarded steps were begun, how many were completed, and where the victim is. */
const BEGUN = 0
const COMPLETED = 1
const WHERE = 2
const VICTIM_COMPLETED = 3
/** At LOCKING and at UNLOCKING, the victim may have the mutex or not. */
const OUTSIDE = 0
const LOCKING = 1
const HOLDING = 2
const UNLOCKING = 3

const layout = guarded(mutex(), 4)
const words = { ...mutexNames('lock', 0), plainFromByteOffset: plainOffsetOf(mutex()) }

/** Begins, takes a step of another kind, so that it can die there, and completes. Repairs what a predecessor left. */
function guardedStep({ inner, step, plain }: Guarded<Mutex>, note = (_where: number): void => {}) {
  note(LOCKING)
  const guard = inner.lockSync()
  note(HOLDING)
  const { ownerDied } = guard
  const begunBefore = plain.get(BEGUN)
  if (ownerDied) plain.set(plain.get(COMPLETED), BEGUN)
  if (plain.get(BEGUN) !== plain.get(COMPLETED))
    throw new Error('the step before was left half done, and nobody said so')
  if (ownerDied) guard.markConsistent()
  plain.increment(BEGUN)
  step.add(1)
  plain.increment(COMPLETED)
  note(UNLOCKING)
  guard.unlock()
  note(OUTSIDE)
  return { ownerDied, begunBefore }
}

export const mutexCrash = scenario({
  name: 'mutex-crash',
  about:
    'One of two agents crashes anywhere, as the owner, as a waiter or between. Its death is declared. The other one gets the lock, and is told if, and only if, the dead one died with it.',
  layout,
  ...words,
  mayCrash: ['victim'],
  agents: {
    victim: agent(layout, {
      prepare: (tools) => tools.attach().root,
      run: (root) =>
        guardedStep(root, (where) => {
          root.plain.set(where, WHERE)
          if (where === UNLOCKING) root.plain.increment(VICTIM_COMPLETED)
        }),
    }),
    survivor: agent(layout, {
      prepare: (tools) => tools.attach().root,
      run: (root) => guardedStep(root),
    }),
    janitor: janitor(layout),
  },
  check({ returned, crashed, region }) {
    const { ownerDied, begunBefore } = returned('survivor') as ReturnType<typeof guardedStep>
    const first = (region.rootByteOffset + words.plainFromByteOffset) >>> 2
    const [completed, where, victimCompleted] = [COMPLETED, WHERE, VICTIM_COMPLETED].map(
      (at) => region.words[first + at],
    )
    if (completed !== 1 + victimCompleted) return `${completed} steps were completed, not ${1 + victimCompleted}`
    if (ownerDied && (crashed === undefined || where === OUTSIDE))
      return 'the survivor was told of an owner that had unlocked'
    if (!ownerDied && where === HOLDING && begunBefore > 0) return 'the survivor was not told that the owner died'
    const owner = region.words[region.rootByteOffset >>> 2] & 0x1fffffff
    if (owner !== 0) return `somebody still has the lock: ${owner}`
    return undefined
  },
})

export const mutexInconsistent = scenario({
  name: 'mutex-inconsistent',
  about:
    'An owner dies. Two agents lock after it: as long as nobody calls markConsistent, each is told; the second one calls it, and is the last one that is told.',
  layout,
  ...words,
  mayCrash: ['victim'],
  agents: {
    victim: agent(layout, {
      prepare: (tools) => tools.attach().root,
      run({ inner, plain }) {
        const guard = inner.lockSync()
        plain.set(1, WHERE)
        guard.unlock()
        return guard.ownerDied
      },
    }),
    successor: agent(layout, {
      prepare: (tools) => tools.attach(),
      run(region, tools) {
        const dead = tools.awaitCrash()
        if (dead === undefined) return undefined
        region.declareDead(dead)
        const { inner, plain } = region.root
        const told: boolean[] = []
        for (let time = 0; time < 3; time++) {
          const guard = inner.lockSync()
          told.push(guard.ownerDied)
          plain.increment(COMPLETED)
          if (guard.ownerDied && time === 1) guard.markConsistent()
          guard.unlock()
        }
        return told
      },
    }),
  },
  check({ returned, crashed }) {
    const told = returned('successor') as boolean[] | undefined
    if (crashed === undefined) return told === undefined ? undefined : 'somebody was told of a death'
    const text = told?.join()
    return text === 'true,true,false' || text === 'false,false,false' ? undefined : `told: ${text}`
  },
})
