import type { Assignment } from '../harness/assignment.js'
import type { Contest, Contestant } from '../harness/contest.js'
import { runAgents } from '../harness/run-agents.js'
import { type Measurement, measurementOf, type Span, takePartInTransfers } from '../harness/timed-transfers.js'
import { isthmusMessages } from '../subjects/isthmus-messages.js'
import { isthmusThreadsThroughput, isthmusThroughput } from '../subjects/isthmus-throughput.js'
import { peers } from '../subjects/message-subjects.js'
import { messengerThroughput, throughputOf } from '../subjects/message-throughput.js'
import { corkedUnixSocket } from '../subjects/messengers/unix-socket.js'
import { nativeCopyingThroughput, nativeThroughput } from '../subjects/native.js'
import type { SelfTimedSubject, SidedSubject, ThroughputWork } from '../subjects/throughput-subject.js'
import type { Scenario } from './scenario.js'

const SCENARIO = 'one-to-one-throughput'
const KIB = 1024
const MIB = 1024 * KIB
const WORD_BYTES = 4
/** How many bytes the first transfer sends, unless one message is larger. */
const FIRST_BYTES = MIB

const claimed = { kind: 'in place', unit: 'msg/s', batchMessages: 64 } as const
const small = { kind: 'copying', unit: 'msg/s' } as const
const large = { kind: 'copying', unit: 'B/s' } as const

const works: readonly ThroughputWork[] = [
  { ...claimed, name: '8 B claim/commit', messageBytes: 8, touchedWords: 8 / WORD_BYTES },
  { ...claimed, name: '64 B claim/commit', messageBytes: 64, touchedWords: 64 / WORD_BYTES },
  { ...claimed, name: '64 B claim/commit, one word', messageBytes: 64, touchedWords: 1 },
  { ...claimed, name: '64 B claim/commit, one by one', messageBytes: 64, touchedWords: 1, batchMessages: 1 },
  { ...claimed, name: '1 KiB claim/commit', messageBytes: KIB, touchedWords: KIB / WORD_BYTES },
  { ...small, name: '8 B copying', messageBytes: 8 },
  { ...small, name: '64 B copying', messageBytes: 64 },
  { ...small, name: '1 KiB copying', messageBytes: KIB },
  { ...large, name: '64 KiB copying', messageBytes: 64 * KIB },
  { ...large, name: '1 MiB copying', messageBytes: MIB },
  { ...large, name: '64 MiB copying', messageBytes: 64 * MIB },
]

const subjects: readonly (SidedSubject | SelfTimedSubject)[] = [
  isthmusThroughput,
  isthmusThreadsThroughput,
  messengerThroughput({ ...isthmusMessages, name: 'isthmus event loop' }),
  nativeThroughput,
  nativeCopyingThroughput,
  ...peers.map(throughputOf),
  throughputOf(corkedUnixSocket),
]

/** How many messages, or bytes, one process or thread can send to one other. */
export const oneToOneThroughput: Scenario = {
  name: SCENARIO,
  contests: works.map(contestOf),
  takePart(assignment, line) {
    const { work, openers } = partOf(assignment)
    const { role, place } = assignment
    const { messageBytes } = work
    const firstMessages = Math.min(16, Math.max(1, Math.floor(FIRST_BYTES / messageBytes)))
    return takePartInTransfers(assignment, () => openers[role]({ role, place, line, messageBytes }), firstMessages)
  },
}

function contestOf(work: ThroughputWork): Contest {
  const { name, unit, messageBytes } = work
  const contestants = subjects
    .map((subject) => ('measure' in subject ? selfTimed(work, subject) : sided(work, subject)))
    .filter((contestant) => contestant !== undefined)
  return { scenario: SCENARIO, work: name, unit, messageBytes, contestants }
}

/** Undefined if the subject has no way to do this work. */
function selfTimed(work: ThroughputWork, subject: SelfTimedSubject): Contestant | undefined {
  if (!subject.does(work)) return undefined
  const { name, prepare } = subject
  return {
    subject: name,
    prepare,
    run: async (context) => ({ value: rateOf(work, await subject.measure(work, context)) }),
  }
}

/** Undefined if the subject has no way to do this work. */
function sided(work: ThroughputWork, subject: SidedSubject): Contestant | undefined {
  if (subject.openersFor(work) === undefined) return undefined
  const { name, arrangement, prepare } = subject
  const task = { scenario: SCENARIO, work: work.name, subject: name, arrangement }
  return {
    subject: name,
    prepare,
    run: async (context) => ({ value: rateOf(work, measurementOf(await runAgents<Span>(task, context))) }),
  }
}

function partOf(assignment: Assignment) {
  const work = works.find(({ name }) => name === assignment.work)
  const subject = subjects.find(({ name }) => name === assignment.subject)
  const openers = work && subject && 'openersFor' in subject ? subject.openersFor(work) : undefined
  if (work !== undefined && openers !== undefined) return { work, openers }
  throw new Error(`Taking part in ${SCENARIO}: ${assignment.subject} does not do ${assignment.work}`)
}

function rateOf({ unit, messageBytes }: ThroughputWork, { seconds, messages }: Measurement): number {
  return (unit === 'B/s' ? messages * messageBytes : messages) / seconds
}
