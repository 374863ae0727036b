import { type Consumer, spscRing } from '@isthmus/ring'
import { type Attached, mutex, PeerDiedError, struct, type Waitable, waitAny, words } from '@isthmus/sync'
import { expect, expectEqual, HAD_WITHIN_MS } from '../expectations.js'
import { type Scenario, scenario } from '../scenario.js'
import type { Survivor } from '../survivor.js'
import { messageOf, Received, SMALL_BYTES } from './messages.js'

const layout = struct({ ring: spscRing({ capacityBytes: 256 }), lock: mutex(), told: words(4) })
type Root = Attached<typeof layout>

/** What the victim says of itself. */
const HAS_SENT = 1
const GAVE_LOCK_BACK = 2

const GIVES_UP_MS = 3_000

/** Checks that the next owner gets the lock, and that no peer is left waiting. */
function checkLock(survivor: Survivor<Root>): void {
  const guard = survivor.newcomer().root.lock.lockSync({ timeoutMs: HAD_WITHIN_MS })
  expect(guard !== undefined, 'The lock cannot be taken')
  expect(!guard.ownerDied, 'A death is reported twice, or although the victim never had the lock')
  guard.unlock()
  expectEqual(survivor.root.lock.describe().waiters, [], 'Waiters')
}

interface Wait {
  readonly consumer: Consumer
  readonly received: number[]
  isProducerDead: boolean
  ownerDied: boolean | undefined
}

/** Takes what is ready; returns whether the wait for this one is over. */
function take({ lock }: Root, wait: Wait, ready: Waitable): boolean {
  if (ready !== wait.consumer) {
    const guard = lock.tryLock()
    if (guard === undefined) return false
    wait.ownerDied = guard.ownerDied
    guard.markConsistent()
    guard.unlock()
    return true
  }
  try {
    const message = wait.consumer.tryReceive()
    if (message) wait.received.push(message[0])
    return message !== undefined
  } catch (error) {
    if (!(error instanceof PeerDiedError)) throw error
    wait.isProducerDead = true
    return true
  }
}

export const waitAnyScenarios: Scenario<unknown>[] = [
  scenario({
    name: 'wait any: awaits a message and a lock',
    isVictimAwaiting: true,
    layout,
    prepare: ({ root }: Survivor<Root>) => ({ producer: root.ring.producer(), guard: root.lock.lockSync() }),
    meanwhile({ root, untilVictim }, { producer, guard }) {
      untilVictim(() => root.lock.describe().waiters.length > 0)
      producer.sendSync(messageOf(0, SMALL_BYTES), { timeoutMs: 0 })
      guard.unlock()
    },
    victim({ root }) {
      const consumer = root.ring.consumer()
      return async () => {
        await waitAny<Waitable>([consumer, root.lock])
        consumer.tryReceive()
      }
    },
    check(survivor) {
      checkLock(survivor)
      // The message was never acknowledged, so it comes again.
      const consumer = survivor.newcomer().root.ring.consumer()
      new Received().takeSync(consumer, 0).expectNumbers(0, 1, 'What the next consumer gets')
    },
  }),
  scenario({
    name: 'wait any: sends to one who awaits a lock too, and gives it back',
    isSurvivorAwaiting: true,
    layout,
    prepare({ root }: Survivor<Root>): Wait {
      return { consumer: root.ring.consumer(), received: [], isProducerDead: false, ownerDied: undefined }
    },
    async meanwhile({ root }, wait) {
      const waiting = new Set<Waitable>([wait.consumer, root.lock])
      while (waiting.size > 0) {
        const ready = await waitAny(waiting, { timeoutMs: GIVES_UP_MS })
        expect(ready.length > 0, `None of ${waiting.size} became ready, and no death was reported`)
        for (const one of ready) if (take(root, wait, one)) waiting.delete(one)
      }
    },
    isMeanwhileWaiting: true,
    victim(victim) {
      const { ring, lock, told } = victim.root
      const producer = ring.producer()
      const guard = lock.lockSync()
      victim.beginsWhen(() => ring.describe().consumer.isWaiting)
      return () => {
        producer.sendSync(messageOf(0, SMALL_BYTES))
        told[0] = HAS_SENT
        guard.unlock()
        told[0] = GAVE_LOCK_BACK
      }
    },
    check(survivor, { received, isProducerDead, ownerDied }) {
      const [state] = survivor.root.told
      expect(received.length === 1 || isProducerDead, 'There was neither a message nor a death')
      if (state >= HAS_SENT) expectEqual(received, [0], 'What was sent')
      if (state === GAVE_LOCK_BACK)
        expect(!ownerDied, 'A death is reported although the victim had given the lock back')
      checkLock(survivor)
    },
  }),
]
