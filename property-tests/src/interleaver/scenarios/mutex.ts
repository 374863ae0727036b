import { type Mutex, mutex } from '@isthmus/sync'
import { agent, type Ending, scenario } from '../scenario.js'
import { mutexNames } from '../word-names.js'
import { type Guarded, guarded, plainOffsetOf } from './guarded.js'

export const lockLayout = guarded(mutex())
export const lockWords = { ...mutexNames('lock', 0), plainFromByteOffset: plainOffsetOf(mutex()) }

function count({ inner, plain }: Guarded<Mutex>): void {
  const guard = inner.lockSync()
  plain.increment()
  guard.unlock()
}

export function counter(times: number) {
  return agent(lockLayout, {
    prepare: (tools) => tools.attach().root,
    run(root) {
      for (let time = 0; time < times; time++) count(root)
    },
  })
}

/** The value of the guarded word at the end. */
export function countIn({ region: { words, rootByteOffset } }: Ending): number {
  return words[(rootByteOffset + lockWords.plainFromByteOffset) >>> 2]
}

export function wrongCount(ending: Ending, expected: number): string | undefined {
  const count = countIn(ending)
  return count === expected ? undefined : `the count is ${count}, not ${expected}`
}

export const mutexTwo = scenario({
  name: 'mutex',
  about: 'Two agents count under the lock. They never count at the same time, and both get the lock.',
  layout: lockLayout,
  ...lockWords,
  agents: { one: counter(2), other: counter(1) },
  check: (ending) => wrongCount(ending, 3),
})

export const mutexThree = scenario({
  name: 'mutex-three',
  about: 'Three agents count under the lock, once each: an agent that is woken sets CONTENDED for the next one.',
  layout: lockLayout,
  ...lockWords,
  agents: { one: counter(1), other: counter(1), third: counter(1) },
  check: (ending) => wrongCount(ending, 3),
})

export const mutexTryTimeout = scenario({
  name: 'mutex-try-timeout',
  about:
    'One of three agents that count under the lock waits with a timeout. If it is woken, another agent takes the lock first without CONTENDED, and it gives up, then the third one is woken all the same.',
  layout: lockLayout,
  ...lockWords,
  hasTimeouts: true,
  agents: {
    one: counter(2),
    hasty: agent(lockLayout, {
      prepare: (tools) => tools.attach().root,
      run({ inner, plain }) {
        const guard = inner.lockSync({ timeoutMs: 1 })
        if (guard === undefined) return 0
        plain.increment()
        guard.unlock()
        return 1
      },
    }),
    third: counter(1),
  },
  check: (ending) => wrongCount(ending, 3 + (ending.returned('hasty') as number)),
})
