import { setPriority } from 'node:os'
import { type Consumer, IncompleteMessageError, type Producer, type SpscRing } from '@isthmus/ring'
import { Segment } from '@isthmus/shm-posix'
import { PeerDiedError, type Waitable, waitAny } from '@isthmus/sync'
import { Random } from '../hostile/random.js'
import { AT_WORK, beat } from '../soak/field.js'
import { LOOP_CAPACITIES_BYTES, LOOP_COUNT, LOOP_STEPS, type LoopTask, loopsLayout } from '../soak/loops-layout.js'
import { ownPid } from '../soak/process-life.js'
import { Inspector } from '../soak/rings/inspector.js'
import {
  CONSUMER_COMING,
  CONSUMER_DEATHS,
  CONSUMER_PID,
  CONSUMER_THERE,
  PRODUCER_COMING,
  PRODUCER_DEATHS,
  PRODUCER_PID,
  PRODUCER_THERE,
  RingLedger,
} from '../soak/rings/ring-ledger.js'
import { messageOf } from '../soak/rings/ring-message.js'

/** Plays one role of the field "loops" until it is killed. See ../soak/fields/loops.ts. */

const BUSY_PRIORITY = 10

const task = JSON.parse(process.argv[2]) as LoopTask
const { role, incarnation } = task
const segment = Segment.open(task.name, loopsLayout)
const { root } = segment
const random = new Random(task.seed * 31 + role * 7 + incarnation)

function seriesOf(ring: number) {
  return { ring, capacityBytes: LOOP_CAPACITIES_BYTES[ring] }
}

/** Random wait options: most waits have no limit, some do. */
function mood(): { timeoutMs: number } | { signal: AbortSignal } | Record<string, never> {
  if (random.isOneIn(7)) return { timeoutMs: random.below(30) / 10 }
  if (random.isOneIn(7)) return { signal: AbortSignal.timeout(random.below(3)) }
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

function produceFor(ring: SpscRing, ledger: RingLedger): Producer {
  ledger.set(PRODUCER_COMING, incarnation)
  const producer = ring.producer()
  ledger.set(PRODUCER_PID, ownPid())
  ledger.set(PRODUCER_THERE, incarnation)
  return producer
}

function consumeFrom(ring: SpscRing, ledger: RingLedger): Consumer {
  ledger.set(CONSUMER_COMING, incarnation)
  const consumer = ring.consumer()
  ledger.set(CONSUMER_PID, ownPid())
  ledger.set(CONSUMER_THERE, incarnation)
  return consumer
}

async function send(ring: SpscRing, at: number): Promise<never> {
  const ledger = new RingLedger(root.ledger, at)
  const producer = produceFor(ring, ledger)
  for (let number = 0; ; ) {
    ledger.noteBegun(incarnation, number + 1)
    try {
      const message = messageOf(seriesOf(at), { incarnation, number })
      if ((await unlessAborted(producer.send(message, mood()))) !== true) continue
      ledger.noteCompleted(incarnation, ++number)
    } catch (error) {
      if (!(error instanceof PeerDiedError)) throw error
      ledger.add(CONSUMER_DEATHS, 1)
    }
    beat(root.ledger, role)
  }
}

/** Notes what a receive gave or threw. */
async function note(ledger: RingLedger, inspector: Inspector, receive: () => Promise<unknown>): Promise<void> {
  try {
    const message = await receive()
    if (!(message instanceof Uint8Array)) return
    inspector.inspect(message)
  } catch (error) {
    if (error instanceof IncompleteMessageError) {
      if (error.reason === 'joined-midway') inspector.noteJoinedMidway()
      return
    }
    if (!(error instanceof PeerDiedError)) throw error
    ledger.add(PRODUCER_DEATHS, 1)
  }
  beat(root.ledger, role)
}

async function receive(): Promise<never> {
  const ledger = new RingLedger(root.ledger, 0)
  const consumer = consumeFrom(root.small, ledger)
  const inspector = new Inspector(ledger, seriesOf(0), consumer.maxRecordBytes)
  for (;;) await note(ledger, inspector, () => unlessAborted(consumer.receive(mood())))
}

async function takeStep(): Promise<void> {
  const guard = await unlessAborted(root.lock.lock(mood()))
  if (guard === undefined) return
  const { ledger } = root
  let steps = 0
  for (let each = 0; each < 16; each++) steps += ledger[LOOP_STEPS + each]
  const ahead = ledger[LOOP_COUNT] - steps
  if (ahead < 0 || ahead > (guard.ownerDied ? 1 : 0)) {
    throw new Error(`${steps} steps are noted, ${ledger[LOOP_COUNT]} counted; told of a death: ${guard.ownerDied}`)
  }
  ledger[LOOP_COUNT] = steps
  if (guard.ownerDied) guard.markConsistent()
  ledger[LOOP_COUNT] = steps + 1
  if (random.isOneIn(3)) await new Promise((resolve) => setImmediate(resolve))
  ledger[LOOP_STEPS + role]++
  guard.unlock()
  const permit = await unlessAborted(root.permits.acquire(mood()))
  permit?.release()
  beat(ledger, role)
}

async function lock(): Promise<never> {
  for (;;) await takeStep()
}

async function waitForAny(): Promise<never> {
  const ledger = new RingLedger(root.ledger, 1)
  const consumer = consumeFrom(root.large, ledger)
  const inspector = new Inspector(ledger, seriesOf(1), consumer.maxRecordBytes)
  for (;;) {
    // A permit is mostly free, and would hide a consumer that never becomes ready; so half of the waits are without it.
    const ready = await waitAny<Waitable>(random.isOneIn(2) ? [consumer] : [consumer, root.permits])
    if (ready.includes(consumer)) await note(ledger, inspector, async () => consumer.tryReceive())
    else root.permits.tryAcquire()?.release()
    // Lets the event loop turn, also if a permit is free all the time.
    await new Promise((resolve) => setImmediate(resolve))
  }
}

const played = [receive, () => Promise.race([send(root.small, 0), send(root.large, 1)]), lock, lock, waitForAny]

Atomics.store(root.ledger, AT_WORK + role, incarnation)
setPriority(BUSY_PRIORITY)
await played[role]()
