import { semaphore } from '@isthmus/sync'
import { agent, scenario } from '../scenario.js'
import { semaphoreNames } from '../word-names.js'
import { guarded, plainOffsetOf } from './guarded.js'
import { janitor } from './janitor.js'

const single = semaphore({ permits: 1 })
const guardedSingle = guarded(single)
const singleWords = { ...semaphoreNames('semaphore', 0, 1), plainFromByteOffset: plainOffsetOf(single) }

function counter(times: number) {
  return agent(guardedSingle, {
    prepare: (tools) => tools.attach().root,
    run({ inner, plain }) {
      for (let time = 0; time < times; time++) {
        const permit = inner.acquireSync()
        plain.increment()
        permit.release()
      }
    },
  })
}

export const semaphoreOne = scenario({
  name: 'semaphore',
  about: 'Two agents and one permit: never both have it, and both get it.',
  layout: guardedSingle,
  ...singleWords,
  agents: { one: counter(2), other: counter(1) },
  check({ region: { words, rootByteOffset } }) {
    const count = words[(rootByteOffset + singleWords.plainFromByteOffset) >>> 2]
    return count === 3 ? undefined : `the count is ${count}, not 3`
  },
})

const double = semaphore({ permits: 2 })

export const semaphoreTwoPermits = scenario({
  name: 'semaphore-two-permits',
  about:
    'One agent has both permits and releases them; two others acquire one each and keep it. If two wake-ups reach one sleeper, the other one wakes up all the same.',
  layout: double,
  ...semaphoreNames('semaphore', 0, 2),
  agents: {
    holder: agent(double, {
      prepare(tools) {
        const { root } = tools.attach()
        return [root.acquireSync(), root.acquireSync()]
      },
      run(permits) {
        for (const permit of permits) permit.release()
      },
    }),
    one: agent(double, { prepare: (tools) => tools.attach().root, run: (permits) => permits.acquireSync().isHeld }),
    other: agent(double, { prepare: (tools) => tools.attach().root, run: (permits) => permits.acquireSync().isHeld }),
  },
  check: ({ returned }) => (returned('one') === true && returned('other') === true ? undefined : 'one has no permit'),
})

export const semaphoreTimeout = scenario({
  name: 'semaphore-timeout',
  about: 'One of two agents that wait for the only permit gives up: a wake-up that came to it reaches the other.',
  layout: single,
  ...semaphoreNames('semaphore', 0, 1),
  hasTimeouts: true,
  agents: {
    holder: agent(single, {
      prepare: (tools) => tools.attach().root.acquireSync(),
      run: (permit) => permit.release(),
    }),
    hasty: agent(single, {
      prepare: (tools) => tools.attach().root,
      run: (permits) => permits.acquireSync({ timeoutMs: 1 })?.release(),
    }),
    patient: agent(single, {
      prepare: (tools) => tools.attach().root,
      run: (permits) => permits.acquireSync().release(),
    }),
  },
  check: () => undefined,
})

export const semaphoreCrash = scenario({
  name: 'semaphore-crash',
  about:
    'One of two agents that share a permit crashes anywhere: after its death is declared, the other gets the permit.',
  layout: single,
  ...semaphoreNames('semaphore', 0, 1),
  mayCrash: ['victim'],
  agents: {
    victim: agent(single, {
      prepare: (tools) => tools.attach().root,
      run: (permits) => permits.acquireSync().release(),
    }),
    survivor: agent(single, {
      prepare: (tools) => tools.attach().root,
      run: (permits) => permits.acquireSync().release(),
    }),
    janitor: janitor(single),
  },
  check({ region: { words, rootByteOffset } }) {
    const cell = words[(rootByteOffset + single.byteLength) / 4 - 1]
    return cell === 0 ? undefined : `all agents have ended, and the permit is held by ${cell}`
  },
})
