import type { Assignment } from '../harness/assignment.js'
import type { Contest, Contestant } from '../harness/contest.js'
import { runAgents } from '../harness/run-agents.js'
import { type Measurement, measurementOf, type Span, takePartInTransfers } from '../harness/timed-transfers.js'
import { isthmusThroughput } from '../subjects/isthmus.js'
import { nativeThroughput } from '../subjects/native.js'
import type { SelfTimedSubject, SidedSubject, ThroughputWork } from '../subjects/throughput-subject.js'
import { corkedUnixSocketThroughput, unixSocketThroughput } from '../subjects/unix-socket.js'
import type { Scenario } from './scenario.js'

const KIB = 1024
const MIB = 1024 * KIB

const smallMessages = { unit: 'msg/s', messageBytes: 64, capacityBytes: MIB } as const
const claimed = { ...smallMessages, kind: 'in place', batchMessages: 64 } as const

const works: readonly ThroughputWork[] = [
  { ...claimed, name: '64 B claim/commit, one word', touchedWords: 1 },
  { ...claimed, name: '64 B claim/commit, all words', touchedWords: 16 },
  { ...smallMessages, name: '64 B send/receive copying', kind: 'copying' },
  { name: '64 KiB copying', kind: 'copying', unit: 'B/s', messageBytes: 64 * KIB, capacityBytes: MIB },
  // The ring is large enough for the message to be one record.
  { name: '1 MiB copying', kind: 'copying', unit: 'B/s', messageBytes: MIB, capacityBytes: 4 * MIB },
]

const subjects: readonly (SidedSubject | SelfTimedSubject)[] = [
  isthmusThroughput,
  nativeThroughput,
  unixSocketThroughput,
  corkedUnixSocketThroughput,
]

const SCENARIO = 'one-to-one-throughput'

/** How many messages, or bytes, one process can send to one other. */
export const oneToOneThroughput: Scenario = {
  name: SCENARIO,
  contests: works.map(contestOf),
  async takePart(assignment) {
    const { openProducer, openConsumer } = openersFor(assignment)
    const openSide = assignment.role === 'first' ? openProducer : openConsumer
    return takePartInTransfers(assignment, () => openSide(assignment.place))
  },
}

function contestOf(work: ThroughputWork): Contest {
  const contestants = subjects
    .map((subject) => ('measure' in subject ? selfTimed(work, subject) : sided(work, subject)))
    .filter((contestant) => contestant !== undefined)
  return { scenario: SCENARIO, work: work.name, unit: work.unit, contestants }
}

function selfTimed(work: ThroughputWork, subject: SelfTimedSubject): Contestant {
  return {
    subject: subject.name,
    prepare: (signal) => subject.prepare(signal),
    run: async (context) => ({ value: rateOf(work, await subject.measure(work, context)) }),
  }
}

/** Undefined where the subject has no way to do this work. */
function sided(work: ThroughputWork, subject: SidedSubject): Contestant | undefined {
  if (subject.openersFor(work) === undefined) return undefined
  const task = { scenario: SCENARIO, work: work.name, subject: subject.name, arrangement: 'processes' } as const
  return {
    subject: subject.name,
    run: async (context) => ({ value: rateOf(work, measurementOf(await runAgents<Span>(task, context))) }),
  }
}

function openersFor(assignment: Assignment) {
  const work = works.find(({ name }) => name === assignment.work)
  const subject = subjects.find(({ name }) => name === assignment.subject)
  const openers = work && subject && 'openersFor' in subject ? subject.openersFor(work) : undefined
  if (openers !== undefined) return openers
  throw new Error(`Taking part in ${SCENARIO}: ${assignment.subject} does not do ${assignment.work}`)
}

function rateOf({ unit, messageBytes }: ThroughputWork, { seconds, messages }: Measurement): number {
  return (unit === 'B/s' ? messages * messageBytes : messages) / seconds
}
