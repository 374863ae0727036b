import { spscRing } from '@isthmus/ring'
import { semaphore } from '@isthmus/sync'
import { RECORDS_OFFSET } from '../../../../packages/ring/src/spsc/layout.js'
import { agent, scenario } from '../scenario.js'
import { eventCountNames, semaphoreNames, spscRingNames } from '../word-names.js'
import { EVENTS_OFFSET, meeting, waitFor } from './event-count.js'
import { janitor } from './janitor.js'
import { counter, lockLayout, lockWords, wrongCount } from './mutex.js'
import { messageOf, messagesIn, receiveToEnd, wrongSequence } from './spsc-messages.js'

/** Agents that wait on their event loops: with the packages' own promises, pending waits and HeapWaiter. */

export const UNTIMED = Number.POSITIVE_INFINITY
const ROUNDS = 2
export const meetingWords = [{ byteOffset: 0, name: 'condition' }, ...eventCountNames('events', EVENTS_OFFSET)]

export const notifier = agent(meeting, {
  prepare: (tools) => tools.attach().root,
  run({ condition, events }) {
    for (let round = 1; round <= ROUNDS; round++) {
      condition.value = round
      events.notify()
    }
  },
})

export const wakeUp = scenario({
  name: 'wake-up',
  about: 'An event loop waits at an event count twice; a notifier wakes it. No wake-up is lost.',
  layout: meeting,
  wordNames: meetingWords,
  agents: {
    loop: agent(meeting, {
      prepare: (tools) => tools.attach().root,
      async run({ condition, events }) {
        const found: boolean[] = []
        for (let round = 1; round <= ROUNDS; round++) {
          found.push(
            await events.wait(
              waitFor(() => condition.value >= round),
              UNTIMED,
              undefined,
            ),
          )
        }
        return found.every(Boolean)
      },
    }),
    notifier,
  },
  check: ({ returned }) => (returned('loop') === true ? undefined : 'a wait ended without its condition'),
})

export const wakeUpTwoWaits = scenario({
  name: 'wake-up-two-waits',
  about:
    'Two waits of one event loop are pending at one event count, for the first and the second change of a notifier. Both end, and neither takes the mark of the other away.',
  layout: meeting,
  wordNames: meetingWords,
  agents: {
    loop: agent(meeting, {
      prepare: (tools) => tools.attach().root,
      async run({ condition, events }) {
        const waits = [1, 2].map((value) =>
          events.wait(
            waitFor(() => condition.value >= value),
            UNTIMED,
            undefined,
          ),
        )
        return (await Promise.all(waits)).every(Boolean)
      },
    }),
    notifier,
  },
  check: ({ returned }) => (returned('loop') === true ? undefined : 'a wait ended without its condition'),
})

export const wakeUpTick = scenario({
  name: 'wake-up-tick',
  about:
    'An event loop waits at an event count twice, and two of its ticks go off at any time: before, between and after the steps of a wake-up. Both waits end, and none ends twice.',
  layout: meeting,
  wordNames: meetingWords,
  timersMax: 2,
  agents: { loop: wakeUp.agents.loop, notifier },
  check: ({ returned }) => (returned('loop') === true ? undefined : 'a wait ended without its condition'),
})

export const wakeUpCrash = scenario({
  name: 'wake-up-crash',
  about:
    'A notifier may crash at any operation, also between its change and the wake-up. The event loop then finds the change of a successor, which does not notify, at its next tick.',
  layout: meeting,
  wordNames: meetingWords,
  mayCrash: ['notifier'],
  agents: {
    loop: wakeUp.agents.loop,
    notifier,
    successor: agent(meeting, {
      prepare: (tools) => tools.attach().root,
      run({ condition }, tools) {
        if (tools.awaitCrash() === undefined) return
        condition.value = ROUNDS
        tools.endSlices()
      },
    }),
  },
  check: ({ returned }) => (returned('loop') === true ? undefined : 'a wait ended without its condition'),
})

export const wakeUpSuccessor = scenario({
  name: 'wake-up-successor',
  about:
    'A notifier may crash at any operation, also with a wake-up that it has counted and not made. A successor changes the condition and notifies: that wakes the event loop, without a tick.',
  layout: meeting,
  wordNames: meetingWords,
  mayCrash: ['notifier'],
  agents: {
    loop: wakeUp.agents.loop,
    notifier,
    successor: agent(meeting, {
      prepare: (tools) => tools.attach().root,
      run({ condition, events }, tools) {
        if (tools.awaitCrash() === undefined) return
        condition.value = ROUNDS
        events.notify()
      },
    }),
  },
  check: ({ returned }) => (returned('loop') === true ? undefined : 'a wait ended without its condition'),
})

const double = semaphore({ permits: 2 })

const onThread = agent(double, {
  prepare: (tools) => tools.attach().root,
  run: (permits) => permits.acquireSync().isHeld,
})

const onLoop = agent(double, {
  prepare: (tools) => tools.attach().root,
  run: async (permits) => (await permits.acquire()).isHeld,
})

/** With two attachments: the second one does not know whom the first one has woken. */
const holder = agent(double, {
  prepare: (tools) => [tools.attach().root.acquireSync(), tools.attach().root.acquireSync()],
  run(permits) {
    for (const permit of permits) permit.release()
  },
})

export const wakeUpMixed = scenario({
  name: 'wake-up-mixed',
  about:
    'A blocked thread and an event loop wait for two permits, which are released one after the other. Each release wakes one of them; both get a permit.',
  layout: double,
  ...semaphoreNames('semaphore', 0, 2),
  agents: { thread: onThread, loop: onLoop, holder },
  check: () => undefined,
})

export const wakeUpLoops = scenario({
  name: 'wake-up-loops',
  about:
    'Two event loops wait for two permits, which are released one after the other. A loop that is woken in vain hands the wake-up off: both get a permit.',
  layout: double,
  ...semaphoreNames('semaphore', 0, 2),
  agents: { loop: onLoop, other: onLoop, holder },
  check: () => undefined,
})

const single = semaphore({ permits: 1 })

export const wakeUpLoopCrash = scenario({
  name: 'wake-up-loop-crash',
  about:
    'An event loop waits for a permit. Its holder may crash at any operation of the release, also between the mark of a wake-up and the wake-up itself. The loop gets the permit, at its next tick if need be.',
  layout: single,
  ...semaphoreNames('semaphore', 0, 1),
  mayCrash: ['holder'],
  agents: {
    loop: agent(single, {
      prepare: (tools) => tools.attach().root,
      run: async (permits) => (await permits.acquire()).isHeld,
    }),
    holder: agent(single, {
      prepare: (tools) => tools.attach().root.acquireSync(),
      run: (permit) => permit.release(),
    }),
    janitor: janitor(single),
  },
  check: ({ returned }) => (returned('loop') === true ? undefined : 'the loop has no permit'),
})

export const wakeUpMutex = scenario({
  name: 'wake-up-mutex',
  about: 'An event loop awaits a mutex and changes what it protects; another agent locks it in its thread, twice.',
  layout: lockLayout,
  ...lockWords,
  agents: {
    loop: agent(lockLayout, {
      prepare: (tools) => tools.attach().root,
      async run({ inner, plain }) {
        const guard = await inner.lock()
        plain.increment()
        guard.unlock()
      },
    }),
    thread: counter(2),
  },
  check: (ending) => wrongCount(ending, 3),
})

const CAPACITY_BYTES = 64
const LENGTHS = [8, 3]
const ring = spscRing({ capacityBytes: CAPACITY_BYTES })

export const wakeUpReceive = scenario({
  name: 'wake-up-receive',
  about: 'A producer sends two messages and closes; a consumer awaits both, and the end, on its event loop.',
  layout: ring,
  wordNames: spscRingNames('ring', 0, CAPACITY_BYTES),
  plainFromByteOffset: RECORDS_OFFSET,
  agents: {
    producer: agent(ring, {
      prepare: (tools) => tools.attach().root.producer(),
      run(producer) {
        for (const [number, byteLength] of LENGTHS.entries()) producer.sendSync(messageOf(number, byteLength))
        producer.close()
      },
    }),
    consumer: agent(ring, {
      prepare: (tools) => tools.attach().root.consumer(),
      async run(consumer) {
        const messages: number[][] = []
        for (;;) {
          const message = await consumer.receive()
          if (message === null) return messages
          messages.push([...message])
        }
      },
    }),
  },
  check: ({ returned }) => wrongSequence(returned('consumer') as number[][], LENGTHS),
})

/** Three records of 32 bytes through 64: the producer waits for space, and is woken for a quarter of the ring. */
const FULL_LENGTHS = [24, 20, 17]

export const wakeUpSend = scenario({
  name: 'wake-up-send',
  about:
    'A producer awaits the sends of more messages than the ring holds, on its event loop. A consumer receives them in its thread. No send waits on beside free space when the consumer rests.',
  layout: ring,
  wordNames: spscRingNames('ring', 0, CAPACITY_BYTES),
  plainFromByteOffset: RECORDS_OFFSET,
  agents: {
    producer: agent(ring, {
      prepare: (tools) => tools.attach().root.producer(),
      async run(producer) {
        for (const [number, byteLength] of FULL_LENGTHS.entries()) await producer.send(messageOf(number, byteLength))
        producer.close()
      },
    }),
    consumer: agent(ring, {
      prepare: (tools) => tools.attach().root.consumer(),
      run: (consumer) => messagesIn(receiveToEnd(consumer)),
    }),
  },
  check: ({ returned }) => wrongSequence(returned('consumer') as number[][], FULL_LENGTHS),
})
