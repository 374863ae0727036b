import { type Attached, futex, struct, words } from '@isthmus/sync'
import { expect, HAD_WITHIN_MS, PASSING } from '../expectations.js'
import { type Scenario, scenario } from '../scenario.js'
import type { Survivor } from '../survivor.js'
import type { Victim } from '../victim.js'

const layout = struct({ word: futex(), told: words(4) })
type Root = Attached<typeof layout>

/** The victim may change the value later than this, if the machine stands still. */
const GIVES_UP_MS = 200

interface Seen {
  isChanged: boolean
}

const nothingSeen = (): Seen => ({ isChanged: false })

/** Checks that the waiter saw the change, if there was one, and that the next waiter is told of the next change. */
async function check(survivor: Survivor<Root>, seen: Seen): Promise<void> {
  const { word } = survivor.root
  if (word.value === 1) expect(seen.isChanged, `${PASSING}the value has changed, and the waiter did not see it`)
  const newcomer = survivor.newcomer().root.word
  const waiting = newcomer.waitWhile(word.value, { timeoutMs: HAD_WITHIN_MS })
  word.value = 2
  word.notifyAll()
  expect(await waiting, 'A change does not reach the next waiter')
}

function changeWhenAwaited(victim: Victim<Root>): () => void {
  const { word, told } = victim.root
  // The waiter raises this word when it waits: a futex lists no waiters.
  victim.beginsWhen(() => told[1] === 1)
  return () => {
    word.value = 1
    word.notifyAll()
  }
}

export const futexScenarios: Scenario<unknown>[] = [
  scenario({
    name: 'futex: changes and wakes one who blocks',
    isSurvivorAwaiting: true,
    layout,
    prepare: nothingSeen,
    meanwhile({ root: { word, told } }, seen) {
      told[1] = 1
      seen.isChanged = word.waitWhileSync(0, { timeoutMs: GIVES_UP_MS })
    },
    victim: changeWhenAwaited,
    check,
  }),
  scenario({
    name: 'futex: changes and wakes one who awaits',
    isSurvivorAwaiting: true,
    layout,
    prepare: nothingSeen,
    async meanwhile({ root: { word, told } }, seen) {
      setTimeout(() => {
        told[1] = 1
      }, 2)
      seen.isChanged = await word.waitWhile(0, { timeoutMs: GIVES_UP_MS })
    },
    victim: changeWhenAwaited,
    check,
  }),
  scenario({
    name: 'futex: blocks',
    isSurvivorAwaiting: true,
    layout,
    meanwhile({ root: { word } }) {
      setTimeout(() => {
        word.value = 1
        word.notifyOne()
      }, 2)
      return new Promise((resolve) => setTimeout(resolve, 3))
    },
    victim: ({ root }) => {
      return () => root.word.waitWhileSync(0)
    },
    check: (survivor) => check(survivor, { isChanged: true }),
  }),
  scenario({
    name: 'futex: awaits',
    isSurvivorAwaiting: true,
    isVictimAwaiting: true,
    layout,
    async meanwhile({ root: { word } }) {
      await new Promise((resolve) => setTimeout(resolve, 4))
      word.value = 1
      word.notifyOne()
    },
    victim: ({ root }) => {
      return () => root.word.waitWhile(0)
    },
    check: (survivor) => check(survivor, { isChanged: true }),
  }),
]
