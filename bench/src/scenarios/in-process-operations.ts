import { spscRing } from '@isthmus/ring'
import { Segment } from '@isthmus/shm-posix'
import { HeapRegion, mutex, type Region, semaphore, struct } from '@isthmus/sync'
import { RingBuffer } from 'ringbuf.js'
import type { Assignment } from '../harness/assignment.js'
import type { Contest } from '../harness/contest.js'
import { runAgents } from '../harness/run-agents.js'
import { stamp, viewOf, wrongMessageError } from '../subjects/stamp.js'
import type { Scenario } from './scenario.js'

const SCENARIO = 'in-process-operations'
const MESSAGE_BYTES = 64
const CAPACITY_BYTES = 64 * 1024

const workNames = [
  '64 B claim, commit, drain',
  '64 B trySend, tryReceive',
  '64 B trySend, drain',
  'lock, unlock',
  'acquire, release',
] as const
type WorkName = (typeof workNames)[number]

const layout = struct({
  ring: spscRing({ capacityBytes: CAPACITY_BYTES }),
  lock: mutex(),
  permits: semaphore({ permits: 4 }),
})

type Root = ReturnType<typeof layout.attach>

const subjectNames: Readonly<Record<WorkName, readonly string[]>> = {
  '64 B claim, commit, drain': ['isthmus', 'isthmus heap'],
  '64 B trySend, tryReceive': ['isthmus', 'isthmus heap', 'ringbuf.js'],
  '64 B trySend, drain': ['isthmus', 'isthmus heap'],
  'lock, unlock': ['isthmus', 'isthmus heap'],
  'acquire, release': ['isthmus', 'isthmus heap'],
}

/** What a pair of operations costs in one thread: no waiting, and no other core that has the cache line. */
export const inProcessOperations: Scenario = {
  name: SCENARIO,
  contests: workNames.map(contestOf),
  takePart,
}

interface Report {
  readonly operationsPerSecond: number
}

function contestOf(work: WorkName): Contest {
  return {
    scenario: SCENARIO,
    work,
    unit: 'op/s',
    contestants: subjectNames[work].map((subject) => {
      const task = { scenario: SCENARIO, work, subject, arrangement: 'alone' } as const
      return {
        subject,
        run: async (context) => ({ value: (await runAgents<Report>(task, context)).first.operationsPerSecond }),
      }
    }),
  }
}

async function takePart({ work, subject, place, pace }: Assignment): Promise<Report> {
  // Imported here, since every side of every run would load it otherwise.
  const { default: benny } = await import('benny')
  const { operation, close } = open(work as WorkName, subject, place.segmentPrefix)
  // Benny counts its first samples, which run code that is still being compiled.
  for (const endMs = performance.now() + pace.warmUpMs; performance.now() < endMs; ) operation()
  const seconds = pace.targetMs / 1000
  const options = { minTime: seconds / 10, maxTime: seconds, minSamples: 1 }
  const { results } = await benny.suite(
    work,
    benny.add(work, () => operation, options),
    benny.complete(),
  )
  close()
  return { operationsPerSecond: 1 / results[0].details.median }
}

function open(work: WorkName, subject: string, segmentPrefix: string): { operation: () => void; close: () => void } {
  if (subject === 'ringbuf.js') return { operation: pushAndPop(), close() {} }
  const region: Region & { readonly root: Root; close(): void } =
    subject === 'isthmus' ? Segment.create(`${segmentPrefix}operations`, layout) : HeapRegion.create(layout)
  return { operation: operationOf(work, region.root), close: () => region.close() }
}

/** Each operation checks its result. */
function operationOf(work: WorkName, { ring, lock, permits }: Root): () => void {
  if (work === 'lock, unlock') return () => lock.lockSync().unlock()
  if (work === 'acquire, release') return () => permits.acquireSync().release()
  const producer = ring.producer()
  const consumer = ring.consumer()
  const message = new Uint8Array(MESSAGE_BYTES)
  const messageView = viewOf(message)
  let sequence = 0
  if (work === '64 B trySend, tryReceive') {
    return () => {
      stamp(messageView, ++sequence)
      producer.trySend(message)
      const received = consumer.tryReceive()
      if (!received || received[0] !== message[0]) throw wrongMessageError(sequence)
    }
  }
  const check = (_bytes: Uint8Array, byteOffset: number) => {
    if (consumer.words[byteOffset >>> 2] !== sequence) throw wrongMessageError(sequence)
  }
  if (work === '64 B trySend, drain') {
    return () => {
      sequence = (sequence + 1) | 0
      stamp(messageView, sequence)
      producer.trySend(message)
      if (consumer.drain(check) !== 1) throw wrongMessageError(sequence)
    }
  }
  return () => {
    sequence = (sequence + 1) | 0
    producer.words[producer.tryClaim(MESSAGE_BYTES) >>> 2] = sequence
    producer.commit()
    if (consumer.drain(check) !== 1) throw wrongMessageError(sequence)
  }
}

function pushAndPop(): () => void {
  const ring = new RingBuffer(RingBuffer.getStorageForCapacity(CAPACITY_BYTES, Uint8Array), Uint8Array)
  const message = new Uint8Array(MESSAGE_BYTES)
  const messageView = viewOf(message)
  const received = new Uint8Array(MESSAGE_BYTES)
  let sequence = 0
  return () => {
    stamp(messageView, ++sequence)
    ring.push(message)
    if (ring.pop(received) !== MESSAGE_BYTES || received[0] !== message[0]) throw wrongMessageError(sequence)
  }
}
