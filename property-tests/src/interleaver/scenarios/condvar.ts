import { type Attached, condvar, mutex, struct } from '@isthmus/sync'
import { agent, scenario } from '../scenario.js'
import { allOf, mutexNames, waiterSetNames } from '../word-names.js'
import { guarded, plainOffsetOf } from './guarded.js'
import { janitor } from './janitor.js'

/** A mutex and a condition variable. The guarded word is the number of letters. */
const both = struct({ lock: mutex(), changed: condvar() })
const layout = guarded(both)
const words = {
  layout,
  ...allOf(mutexNames('lock', 0), waiterSetNames('changed', mutex().byteLength)),
  plainFromByteOffset: plainOffsetOf(both),
}

function receiver() {
  return agent(layout, {
    prepare: (tools) => tools.attach().root,
    run({ inner: { lock, changed }, plain }) {
      const guard = lock.lockSync()
      const isThere = changed.waitSync(guard, () => plain.get() > 0)
      if (isThere) plain.set(plain.get() - 1)
      guard.unlock()
      return isThere ? 1 : 0
    },
  })
}

/** Leaves letters one after the other, and notifies after each unlock. */
function send({ inner: { lock, changed }, plain }: Attached<typeof layout>, letters: number): void {
  for (let letter = 0; letter < letters; letter++) {
    const guard = lock.lockSync()
    plain.increment()
    guard.unlock()
    changed.notifyOne()
  }
}

function sender(letters: number) {
  return agent(layout, {
    prepare: (tools) => tools.attach().root,
    run: (root) => send(root, letters),
  })
}

export const condvarOne = scenario({
  name: 'condvar',
  about: 'A receiver waits for a letter, a sender leaves one and notifies: the receiver wakes up.',
  ...words,
  agents: { receiver: receiver(), sender: sender(1) },
  check: ({ returned }) => (returned('receiver') === 1 ? undefined : 'the receiver has no letter'),
})

export const condvarTwoWaiters = scenario({
  name: 'condvar-two-waiters',
  about: 'Two receivers, two letters and two calls of notifyOne: both receivers get one.',
  ...words,
  agents: { receiver: receiver(), other: receiver(), sender: sender(2) },
  check: ({ returned }) =>
    returned('receiver') === 1 && returned('other') === 1 ? undefined : 'a receiver has no letter',
})

export const condvarTimeout = scenario({
  name: 'condvar-timeout',
  about:
    'Two receivers wait for one letter and do not take it; one of them has a timeout. If that one gives up, the notification is left for the other; if not, it notifies the other.',
  ...words,
  hasTimeouts: true,
  agents: {
    patient: agent(layout, {
      prepare: (tools) => tools.attach().root,
      run({ inner: { lock, changed }, plain }) {
        const guard = lock.lockSync()
        changed.waitSync(guard, () => plain.get() > 0)
        guard.unlock()
      },
    }),
    hasty: agent(layout, {
      prepare: (tools) => tools.attach().root,
      run({ inner: { lock, changed }, plain }) {
        const guard = lock.lockSync()
        const isThere = changed.waitSync(guard, () => plain.get() > 0, { timeoutMs: 1 })
        guard.unlock()
        if (isThere) changed.notifyOne()
      },
    }),
    sender: sender(1),
  },
  check: () => undefined,
})

export const condvarCrash = scenario({
  name: 'condvar-crash',
  about:
    'Two receivers and two letters; one receiver may crash anywhere, and its death is declared. The notification that may have reached it reaches the other, which wakes up.',
  ...words,
  mayCrash: ['victim'],
  agents: {
    victim: receiver(),
    receiver: receiver(),
    sender: sender(2),
    janitor: janitor(layout),
  },
  check: ({ returned }) => (returned('receiver') === 1 ? undefined : 'the receiver has no letter'),
})
