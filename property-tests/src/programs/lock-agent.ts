import type { MutexGuard } from '@isthmus/sync'
import { type Attached, waitAny } from '@isthmus/sync'
import { fallbackPolling } from '@isthmus/sync/internal'
import { lockLayout, PERMITS } from '../harness/lock-layout.js'
import { attachTo, type RegionReference } from '../harness/regions.js'
import { serve } from '../harness/serve.js'

/** An agent that locks, waits and hands over tokens, blocking or awaiting, until it is done or killed. */

type Root = Attached<typeof lockLayout>
type Form = 'sync' | 'async'

interface Work {
  readonly region: RegionReference
  readonly form: Form
}

interface Steps extends Work {
  readonly agent: number
  /** How many tasks of this agent contend; one if it blocks. */
  readonly tasks: number
  /** How many steps each task takes. */
  readonly rounds: number
}

const kept: unknown[] = []

/** Takes long enough for other agents to interfere, if the lock lets them. */
function dawdle(): void {
  for (let look = 0; look < 50; look++) Math.sqrt(look)
}

/** Repairs what a dead owner may have left: a step that is counted in `count` and not in `steps`. */
function repair(root: Root, guard: MutexGuard): void {
  root.deaths.add(1)
  root.count[0] = root.steps.reduce((sum, steps) => sum + steps, 0)
  guard.markConsistent()
}

/** Takes a step. Without the lock, two agents at once would lose one. */
function takeStep(root: Root, guard: MutexGuard, agent: number): void {
  if (guard.ownerDied) repair(root, guard)
  const before = root.count[0]
  dawdle()
  root.count[0] = before + 1
  root.steps[agent]++
}

/** The wait options of a round, as in a program that gives up now and then: most waits have no limit, some do. */
function moodOf(round: number): { timeoutMs: number } | { signal: AbortSignal } | Record<string, never> {
  if (round % 7 === 3) return { timeoutMs: (round % 5) / 2 }
  if (round % 11 === 5) return { signal: AbortSignal.timeout(round % 4) }
  return {}
}

async function unlessAborted<R>(promise: Promise<R>): Promise<R | undefined> {
  try {
    return await promise
  } catch (error) {
    if ((error as Error).name === 'AbortError') return undefined
    throw error
  }
}

/** Switches off fallback polling, which would hide a lost wake-up. */
function withoutNet(): void {
  fallbackPolling.sliceMs = 1e9
  fallbackPolling.tickMs = 1e9
  fallbackPolling.handOffMs = Number.POSITIVE_INFINITY
}

function hasEnded(root: Root): boolean {
  return root.consumed[0] >= root.goal.value
}

async function lockIn(root: Root, form: Form): Promise<MutexGuard> {
  return form === 'sync' ? root.lock.lockSync() : await root.lock.lock()
}

const handOver = {
  async produce(root: Root, form: Form): Promise<void> {
    for (;;) {
      const guard = await lockIn(root, form)
      const mayGoOn = () => root.tokens[0] === 0 || root.produced[0] >= root.goal.value
      if (form === 'sync') root.notFull.waitSync(guard, mayGoOn)
      else await root.notFull.wait(guard, mayGoOn)
      const isDone = root.produced[0] >= root.goal.value
      if (!isDone) {
        root.tokens[0]++
        root.produced[0]++
      }
      guard.unlock()
      if (isDone) return
      root.notEmpty.notifyOne()
    }
  },

  async consume(root: Root, form: Form): Promise<void> {
    for (;;) {
      const guard = await lockIn(root, form)
      const mayGoOn = () => root.tokens[0] > 0 || hasEnded(root)
      if (form === 'sync') root.notEmpty.waitSync(guard, mayGoOn)
      else await root.notEmpty.wait(guard, mayGoOn)
      if (finishOrTake(root, guard)) return
    }
  },

  /** Waits without a predicate, gives up soon, and rests. A notification that it gets is meant for another waiter. */
  async dither(root: Root, form: Form): Promise<void> {
    for (let round = 0; ; round++) {
      const guard = await lockIn(root, form)
      let isNotified = false
      if (form === 'sync') isNotified = root.notEmpty.waitSync(guard, { timeoutMs: Math.random() * 2 })
      else {
        const patience = round % 2 === 0 ? { timeoutMs: Math.random() * 2 } : { signal: AbortSignal.timeout(1) }
        isNotified = (await unlessAborted(root.notEmpty.wait(guard, patience))) === true
      }
      if (!isNotified) root.givenUp.add(1)
      if (isNotified || hasEnded(root)) {
        if (finishOrTake(root, guard)) return
      } else guard.unlock()
      if (!isNotified) await new Promise((resolve) => setTimeout(resolve, Math.random() * 2))
    }
  },
}

/** Takes the token, if there is one, and unlocks. Returns whether all tokens are handed over. */
function finishOrTake(root: Root, guard: MutexGuard): boolean {
  const isTaken = root.tokens[0] > 0
  if (isTaken) {
    root.tokens[0]--
    root.consumed[0]++
  }
  const isDone = hasEnded(root)
  guard.unlock()
  if (isDone) {
    root.notEmpty.notifyAll()
    root.notFull.notifyAll()
  } else if (isTaken) root.notFull.notifyOne()
  return isDone
}

serve({
  /** Counts under the mutex; each task takes `rounds` steps. */
  async increment({ region, form, agent, tasks, rounds }: Steps): Promise<void> {
    const attached = attachTo(region, lockLayout)
    const { root } = attached
    const task = async () => {
      for (let round = 0, attempt = 0; round < rounds; attempt++) {
        const mood = moodOf(attempt)
        const guard =
          form === 'sync'
            ? root.lock.lockSync('timeoutMs' in mood ? mood : {})
            : await unlessAborted(root.lock.lock(mood))
        if (guard === undefined) continue
        takeStep(root, guard, agent)
        if (form === 'async' && round % 3 === 0) await Promise.resolve()
        guard.unlock()
        round++
      }
    }
    await Promise.all(Array.from({ length: tasks }, task))
    attached.close()
  },

  /** The same under the write lock. Under the read lock it reads twice, and must see the same value. */
  async readAndWrite({ region, form, agent, tasks, rounds }: Steps): Promise<void> {
    const attached = attachTo(region, lockLayout)
    const { root } = attached
    const task = async () => {
      for (let round = 0; round < rounds; round++) {
        const writing = form === 'sync' ? root.shared.writeLockSync() : await root.shared.writeLock()
        if (writing.ownerDied) {
          root.deaths.add(1)
          root.count[0] = root.steps.reduce((sum, steps) => sum + steps, 0)
          writing.markConsistent()
        }
        const before = root.count[0]
        dawdle()
        root.count[0] = before + 1
        root.steps[agent]++
        writing.unlock()
        const reading = form === 'sync' ? root.shared.readLockSync() : await root.shared.readLock()
        const seen = root.count[0]
        if (form === 'async') await Promise.resolve()
        else dawdle()
        if (root.count[0] !== seen) root.crowds.add(1)
        reading.unlock()
      }
    }
    await Promise.all(Array.from({ length: tasks }, task))
    attached.close()
  },

  /** Acquires and releases permits, and counts in `crowds` if too many agents ever held one. */
  async enter({ region, form, tasks, rounds }: Steps): Promise<void> {
    const attached = attachTo(region, lockLayout)
    const { root } = attached
    const task = async () => {
      for (let round = 0; round < rounds; ) {
        const permit =
          form === 'sync' ? root.permits.acquireSync() : await unlessAborted(root.permits.acquire(moodOf(round)))
        if (permit === undefined) {
          if (form === 'async') await new Promise((resolve) => setImmediate(resolve))
          round++
          continue
        }
        if (root.inside.add(1) + 1 > PERMITS) root.crowds.add(1)
        if (form === 'async') await Promise.resolve()
        else dawdle()
        root.inside.add(-1)
        permit.release()
        round++
      }
    }
    await Promise.all(Array.from({ length: tasks }, task))
    attached.close()
  },

  /** Hands over tokens, one at a time, without fallback polling. */
  async handOver({ region, form, part, tasks }: Work & { part: keyof typeof handOver; tasks: number }): Promise<void> {
    withoutNet()
    const attached = attachTo(region, lockLayout)
    await Promise.all(Array.from({ length: tasks }, () => handOver[part](attached.root, form)))
    attached.close()
  },

  /** Locks, and keeps the lock. */
  async hold({ region, form }: Work): Promise<void> {
    const attached = attachTo(region, lockLayout)
    kept.push(attached, await lockIn(attached.root, form))
  },

  /** Locks, takes half a step, and keeps the lock. */
  async holdHalfWay({ region, form }: Work): Promise<void> {
    const attached = attachTo(region, lockLayout)
    kept.push(attached, await lockIn(attached.root, form))
    attached.root.count[0]++
  },

  unlock(): void {
    for (const thing of kept) if (isGuard(thing)) thing.unlock()
  },

  /** Takes the producer role and does nothing. */
  beProducer({ region }: Work): void {
    const attached = attachTo(region, lockLayout)
    kept.push(attached, attached.root.there.producer())
  },

  /** Answers every message. */
  async echo({ region }: Work): Promise<void> {
    const { root } = attachTo(region, lockLayout)
    const answers = root.back.producer()
    for await (const message of root.there.consumer()) await answers.send(message)
  },

  /** Waits for an event that never comes. */
  waitForEver({ region, form, what }: Work & { what: 'message' | 'lock' | 'any' }): void {
    const { root } = attachTo(region, lockLayout)
    if (what === 'message') {
      const consumer = root.there.consumer()
      if (form === 'sync') consumer.receiveSync()
      else kept.push(consumer.receive())
    } else if (what === 'lock') {
      if (form === 'sync') root.lock.lockSync()
      else kept.push(root.lock.lock())
    } else kept.push(waitAny([root.there.consumer(), root.lock]))
  },

  /** Ends this process or thread without closing anything. */
  exit(): void {
    setImmediate(() => process.exit(0))
  },
})

function isGuard(thing: unknown): thing is MutexGuard {
  return typeof thing === 'object' && thing !== null && 'unlock' in thing
}
