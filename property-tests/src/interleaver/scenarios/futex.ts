import { futex } from '@isthmus/sync'
import { agent, scenario } from '../scenario.js'
import { allOf, plainName, waiterSetNames } from '../word-names.js'

const layout = futex()
const words = { layout, ...allOf(plainName('value', 0), waiterSetNames('futex', 4)) }

function sleeper(times = 1) {
  return agent(layout, {
    prepare: (tools) => tools.attach().root,
    run(word) {
      for (let value = 0; value < times; value++) word.waitWhileSync(value)
    },
  })
}

function waker(times: number, wake: 'notifyOne' | 'notifyAll') {
  return agent(layout, {
    prepare: (tools) => tools.attach().root,
    run(word) {
      for (let value = 1; value <= times; value++) {
        word.value = value
        word[wake]()
      }
    },
  })
}

export const futexTwo = scenario({
  name: 'futex',
  about: 'A sleeper waits while the word is 0, then while it is 1; a notifier sets it and notifies, twice.',
  ...words,
  agents: { sleeper: sleeper(2), waker: waker(2, 'notifyOne') },
  check: () => undefined,
})

export const futexAll = scenario({
  name: 'futex-two-sleepers',
  about: 'Two sleepers, and one notifyAll for both.',
  ...words,
  agents: { sleeper: sleeper(), other: sleeper(), waker: waker(1, 'notifyAll') },
  check: () => undefined,
})

export const futexMixed = scenario({
  name: 'futex-thread-and-loop',
  about: 'A thread and an event loop sleep, and one notifyAll is for both.',
  ...words,
  agents: {
    sleeper: sleeper(),
    loop: agent(layout, { prepare: (tools) => tools.attach().root, run: (word) => word.waitWhile(0) }),
    waker: waker(1, 'notifyAll'),
  },
  check: () => undefined,
})

export const futexCrash = scenario({
  name: 'futex-crash',
  about:
    'The notifier that sets the word may crash at any operation, also before it wakes. The sleeper polls at the end of its slice, and sees the new value.',
  ...words,
  mayCrash: ['waker'],
  agents: {
    sleeper: sleeper(),
    waker: waker(1, 'notifyOne'),
    successor: agent(layout, {
      prepare: (tools) => tools.attach().root,
      run(word, tools) {
        if (tools.awaitCrash() === undefined) return
        word.value = 2
        tools.endSlices()
      },
    }),
  },
  check: () => undefined,
})
