import { f64, mutex, struct, u32, words } from '@isthmus/sync'
import type { Assignment, Line, Reports, Task } from '../harness/assignment.js'
import type { Contest, Contestant, Outcome, RunContext, Unit } from '../harness/contest.js'
import { Meeting } from '../harness/meeting.js'
import { percentile } from '../harness/percentile.js'
import { runAgents } from '../harness/run-agents.js'
import { sharedNowNs } from '../harness/shared-clock.js'
import { measurementOf, type Span, takePartInTransfers } from '../harness/timed-transfers.js'
import { type NativeMutexKind, nativeMutex } from '../subjects/native.js'
import { pauseThread } from '../subjects/ping-pong.js'
import { openSharedRegion, type SharedRegion } from '../subjects/shared-region.js'
import type { Scenario } from './scenario.js'

const SCENARIO = 'lock-handoff'
/** Long enough for a waiter to fall asleep. */
const HELD_MS = 0.5

type WorkName = 'uncontended lock and unlock' | 'contended steps' | 'hand-off'

const units: Record<WorkName, Unit> = {
  'uncontended lock and unlock': 's',
  'contended steps': 'op/s',
  'hand-off': 's',
}

// The counter is a plain word: only the lock makes its steps add up.
const layout = struct({ lock: mutex(), counter: words(1), coming: u32(), unlockedNs: f64() })
type Locks = SharedRegion<ReturnType<typeof layout.attach>>

interface LockSubject {
  readonly name: string
  readonly arrangement: Task['arrangement']
  readonly isAwaiting: boolean
}

const subjects: readonly LockSubject[] = [
  { name: 'isthmus', arrangement: 'processes', isAwaiting: false },
  { name: 'isthmus awaiting', arrangement: 'processes', isAwaiting: true },
  { name: 'isthmus threads', arrangement: 'threads', isAwaiting: false },
]

const nativeSubjects: readonly { readonly name: string; readonly kind: NativeMutexKind }[] = [
  { name: 'native', kind: 'normal' },
  { name: 'native robust', kind: 'robust' },
]

/** What a lock costs if one peer uses it, if two want it all the time, and until a sleeping waiter has it. */
export const lockHandoff: Scenario = {
  name: SCENARIO,
  contests: (Object.keys(units) as WorkName[]).map(contestOf),
  takePart,
}

function contestOf(work: WorkName): Contest {
  const ours = subjects.map((subject): Contestant => {
    return { subject: subject.name, run: (context) => runOurs(work, subject, context) }
  })
  const native = nativeSubjects.map(({ name, kind }): Contestant => {
    return { subject: name, prepare: nativeMutex.prepare, run: (context) => runNative(work, kind, context) }
  })
  return { scenario: SCENARIO, work, unit: units[work], contestants: [...ours, ...native] }
}

interface Loop {
  readonly seconds: number
  readonly operations: number
}

interface HandOffs {
  readonly samplesNs: readonly number[]
}

async function runOurs(work: WorkName, { name, arrangement }: LockSubject, context: RunContext): Promise<Outcome> {
  const task: Task = { scenario: SCENARIO, work, subject: name, arrangement }
  if (work === 'uncontended lock and unlock') {
    const { first } = await runAgents<Loop>({ ...task, arrangement: 'alone' }, context)
    return { value: first.seconds / first.operations }
  }
  if (work === 'hand-off') return handOffOutcome((await runAgents<HandOffs>(task, context)).second.samplesNs)
  const reports = await runAgents<Span & { readonly counted: number; readonly steps: number }>(task, context)
  const { first, second } = reports
  if (first.counted !== first.steps + second.steps) throw new Error(`${first.counted} steps were counted`)
  const { messages, seconds } = measurementOf(reports as Reports<Span>)
  return { value: (2 * messages) / seconds }
}

async function runNative(work: WorkName, kind: NativeMutexKind, context: RunContext): Promise<Outcome> {
  if (work === 'hand-off') return handOffOutcome(await nativeMutex.handOffs(kind, context))
  const isContended = work === 'contended steps'
  const way = isContended ? 'contended' : 'uncontended'
  const { seconds, operations } = await nativeMutex.operations(kind, way, context)
  return { value: isContended ? operations / seconds : seconds / operations }
}

function handOffOutcome(samplesNs: readonly number[]): Outcome {
  return { value: percentile(samplesNs, 0.5) / 1e9, samplesNs }
}

async function takePart(assignment: Assignment, line: Line): Promise<unknown> {
  const subject = subjects.find(({ name }) => name === assignment.subject)
  if (subject === undefined) throw new Error(`Taking part in ${SCENARIO}: there is no ${assignment.subject}`)
  const { role, place } = assignment
  const open = () => openSharedRegion({ role, place, line }, layout)
  if (assignment.work === 'uncontended lock and unlock') return lockAlone(await open(), subject.isAwaiting, assignment)
  if (assignment.work === 'contended steps') return contend(assignment, open, subject.isAwaiting)
  return handOff(assignment, open, subject.isAwaiting)
}

const LOOPS_AT_ONCE = 1000

async function lockAlone(region: Locks, isAwaiting: boolean, { pace }: Assignment): Promise<Loop> {
  let done = 0
  const loopFor = async (durationMs: number): Promise<Loop> => {
    const startMs = performance.now()
    let operations = 0
    for (let nowMs = startMs; nowMs < startMs + durationMs; nowMs = performance.now()) {
      await takeSteps(region, LOOPS_AT_ONCE, isAwaiting)
      operations += LOOPS_AT_ONCE
    }
    done += operations
    return { seconds: (performance.now() - startMs) / 1000, operations }
  }
  await loopFor(pace.warmUpMs)
  const loop = await loopFor(pace.targetMs)
  if (region.root.counter[0] !== done) throw new Error('Steps were lost')
  region.close()
  return loop
}

async function contend(assignment: Assignment, open: () => Promise<Locks>, isAwaiting: boolean): Promise<unknown> {
  let steps = 0
  let counted = 0
  const span = await takePartInTransfers(assignment, async () => {
    const region = await open()
    return {
      transfer(count) {
        steps += count
        return takeSteps(region, count, isAwaiting)
      },
      close() {
        counted = region.root.counter[0]
        region.close()
      },
    }
  })
  return { ...span, steps, counted }
}

function takeSteps(region: Locks, count: number, isAwaiting: boolean): void | Promise<void> {
  return isAwaiting ? takeStepsAwaiting(region, count) : takeStepsBlocking(region, count)
}

function takeStepsBlocking(region: Locks, count: number): void {
  const { lock, counter } = region.root
  for (let step = 0; step < count; step++) {
    const guard = lock.lockSync()
    counter[0]++
    guard.unlock()
  }
}

async function takeStepsAwaiting(region: Locks, count: number): Promise<void> {
  const { lock, counter } = region.root
  for (let step = 0; step < count; step++) {
    const guard = await lock.lock()
    counter[0]++
    guard.unlock()
  }
}

async function handOff({ role, place, pace }: Assignment, open: () => Promise<Locks>, isAwaiting: boolean) {
  const meeting = new Meeting(place)
  const region = await meeting.openInTurn(role, open)
  const { lock, coming, unlockedNs } = region.root
  await takeSteps(region, 2 * LOOPS_AT_ONCE, isAwaiting)
  meeting.meet()
  // The first hand-offs are not counted: code is still being compiled.
  const uncounted = Math.ceil(pace.coldSamples / 4)
  const samplesNs: number[] = []
  for (let sample = 1; sample <= uncounted + pace.coldSamples; sample++) {
    if (role === 'first') {
      const guard = lock.lockSync()
      meeting.meet()
      while (coming.value !== sample);
      pauseThread(HELD_MS)
      unlockedNs.value = sharedNowNs()
      guard.unlock()
    } else {
      meeting.meet()
      coming.value = sample
      const guard = isAwaiting ? await lock.lock() : lock.lockSync()
      const gotNs = sharedNowNs()
      if (sample > uncounted) samplesNs.push(gotNs - unlockedNs.value)
      guard.unlock()
    }
    meeting.meet()
  }
  meeting.close()
  region.close()
  return { samplesNs }
}
