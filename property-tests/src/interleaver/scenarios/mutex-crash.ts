import { type Mutex, mutex } from '@isthmus/sync'
import { agent, scenario } from '../scenario.js'
import { mutexNames } from '../word-names.js'
import { type Guarded, guarded, plainOffsetOf } from './guarded.js'
import { janitor } from './janitor.js'

/**
 * The plain words: how many guarded steps have begun, how many are complete, where the victim is, and how many it
 * completed.
 */
const BEGUN = 0
const COMPLETED = 1
const WHERE = 2
const VICTIM_COMPLETED = 3
/** Where the victim is. At LOCKING and at UNLOCKING it may own the mutex or not. */
const OUTSIDE = 0
const LOCKING = 1
const HOLDING = 2
const UNLOCKING = 3

const layout = guarded(mutex(), 4)
const words = { ...mutexNames('lock', 0), plainFromByteOffset: plainOffsetOf(mutex()) }

/**
 * A guarded step with an Atomics operation in its middle, so that a crash can fall there. Repairs what a dead owner
 * left.
 */
function guardedStep({ inner, step, plain }: Guarded<Mutex>, note = (_where: number): void => {}) {
  note(LOCKING)
  const guard = inner.lockSync()
  note(HOLDING)
  const { ownerDied } = guard
  const begunBefore = plain.get(BEGUN)
  if (ownerDied) plain.set(plain.get(COMPLETED), BEGUN)
  if (plain.get(BEGUN) !== plain.get(COMPLETED))
    throw new Error('the step before is half done, and no death was reported')
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
    'One of two agents crashes anywhere: as the owner, as a waiter or in between. Its death is declared. The other agent gets the lock, and is told of the death if and only if the dead agent owned the lock.',
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
    if (owner !== 0) return `the lock still has an owner: ${owner}`
    return undefined
  },
})

export const mutexInconsistent = scenario({
  name: 'mutex-inconsistent',
  about:
    'An owner dies, and two agents lock after it. Both are told of the death, since only the second one calls markConsistent; after it no owner is told.',
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
    if (crashed === undefined) return told === undefined ? undefined : 'an agent was told of a death'
    const text = told?.join()
    return text === 'true,true,false' || text === 'false,false,false' ? undefined : `told: ${text}`
  },
})
