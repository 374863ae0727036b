import { type HeapRegion, type Mutex, type Semaphore, semaphore } from '@isthmus/sync'
import { WAITABLE } from '@isthmus/sync/internal'
import { type AgentTools, agent, scenario } from '../scenario.js'
import { eventCountNames, semaphoreNames } from '../word-names.js'
import { EVENTS_OFFSET, meeting, waitFor } from './event-count.js'
import type { Guarded } from './guarded.js'
import { counter, lockLayout, lockWords, wrongCount } from './mutex.js'
import { waitOnEventLoop } from './on-event-loop.js'

const ROUNDS = 2

export const doorbell = scenario({
  name: 'doorbell',
  about: 'An event loop waits at an event count, twice; a notifier rings its bell. No ring is lost.',
  layout: meeting,
  wordNames: [{ byteOffset: 0, name: 'condition' }, ...eventCountNames('events', EVENTS_OFFSET)],
  agents: {
    loop: agent(meeting, {
      prepare: (tools) => tools.attach(),
      run(region, tools) {
        const { condition, events } = region.root
        for (let round = 1; round <= ROUNDS; round++) {
          waitOnEventLoop(region, { point: events, condition: waitFor(() => condition.value >= round) }, tools)
        }
      },
    }),
    notifier: agent(meeting, {
      prepare: (tools) => tools.attach().root,
      run({ condition, events }) {
        for (let round = 1; round <= ROUNDS; round++) {
          condition.value = round
          events.notify()
        }
      },
    }),
  },
  check: () => undefined,
})

const double = semaphore({ permits: 2 })

/** What `acquire` does: looks, waits until there may be one, looks again. */
function acquireOnEventLoop(region: HeapRegion<Semaphore>, tools: AgentTools<Semaphore>): void {
  while (region.root.tryAcquire() === undefined) waitOnEventLoop(region, region.root[WAITABLE](), tools)
}

const onThread = agent(double, {
  prepare: (tools) => tools.attach().root,
  run(permits) {
    permits.acquireSync()
  },
})

const onLoop = agent(double, { prepare: (tools) => tools.attach(), run: acquireOnEventLoop })

/** With two attachments: the second one does not know whom the first one has rung. */
const holder = agent(double, {
  prepare: (tools) => [tools.attach().root.acquireSync(), tools.attach().root.acquireSync()],
  run(permits) {
    for (const permit of permits) permit.release()
  },
})

export const doorbellMixed = scenario({
  name: 'doorbell-mixed',
  about:
    'A blocked thread and an event loop wait for two permits, which are released one after the other. Each release wakes one of them, or rings; both get theirs.',
  layout: double,
  ...semaphoreNames('semaphore', 0, 2),
  agents: { thread: onThread, loop: onLoop, holder },
  check: () => undefined,
})

export const doorbellLoops = scenario({
  name: 'doorbell-loops',
  about:
    'Two event loops wait for two permits, which are released one after the other. Whoever is rung in vain passes it on: both get theirs.',
  layout: double,
  ...semaphoreNames('semaphore', 0, 2),
  agents: { loop: onLoop, other: onLoop, holder },
  check: () => undefined,
})

function countOnEventLoop(region: HeapRegion<Guarded<Mutex>>, tools: AgentTools<Guarded<Mutex>>): void {
  const { inner, plain } = region.root
  let guard = inner.tryLock()
  for (; guard === undefined; guard = inner.tryLock()) waitOnEventLoop(region, inner[WAITABLE](), tools)
  plain.increment()
  guard.unlock()
}

export const doorbellMutex = scenario({
  name: 'doorbell-mutex',
  about: 'An event loop waits until a mutex is free, then tries to lock it; another agent locks it in its thread.',
  layout: lockLayout,
  ...lockWords,
  agents: {
    loop: agent(lockLayout, { prepare: (tools) => tools.attach(), run: countOnEventLoop }),
    thread: counter(2),
  },
  check: (ending) => wrongCount(ending, 3),
})
