import type { Assignment, Line, Reports } from '../harness/assignment.js'
import type { Contest, Contestant, Outcome, Unit } from '../harness/contest.js'
import { runAgents } from '../harness/run-agents.js'
import { measurementOf, type Side, type Span, takePartInTransfers } from '../harness/timed-transfers.js'
import { writeCallsOfProcess } from '../harness/write-calls.js'
import {
  isthmusAwaiting,
  isthmusBatches,
  isthmusForEach,
  isthmusForEachInPlace,
  isthmusInto,
} from '../subjects/awaiting/isthmus.js'
import { unixSocketAwaiting, unixSocketCorkedAwaiting } from '../subjects/awaiting/unix-socket.js'
import type { AwaitingSubject } from '../subjects/awaiting-subject.js'
import type { Scenario } from './scenario.js'

const SCENARIO = 'awaiting-throughput'
const KIB = 1024
const MIB = 1024 * KIB
/** How many bytes the first transfer sends, unless one message is larger. */
const FIRST_BYTES = MIB
const FIRST_MESSAGES_MAX = 16

interface AwaitingWork {
  readonly name: string
  readonly unit: Unit
  readonly messageBytes: number
}

const works: readonly AwaitingWork[] = [
  { name: '64 B', unit: 'msg/s', messageBytes: 64 },
  { name: '1 KiB', unit: 'msg/s', messageBytes: KIB },
  { name: '16 KiB', unit: 'msg/s', messageBytes: 16 * KIB },
  { name: '64 KiB', unit: 'B/s', messageBytes: 64 * KIB },
  { name: '256 KiB', unit: 'B/s', messageBytes: 256 * KIB },
  { name: '1 MiB', unit: 'B/s', messageBytes: MIB },
  { name: '64 MiB', unit: 'B/s', messageBytes: 64 * MIB },
]

const subjects: readonly AwaitingSubject[] = [
  isthmusAwaiting,
  isthmusBatches,
  isthmusForEach,
  isthmusForEachInPlace,
  isthmusInto,
  unixSocketAwaiting,
  unixSocketCorkedAwaiting,
]

/** How many messages, or bytes, a program that awaits can send to another process that awaits. */
export const awaitingThroughput: Scenario = {
  name: SCENARIO,
  contests: works.map(contestOf),
  takePart,
}

interface Report extends Span {
  /** How many write calls this side made in the timed transfer. */
  readonly writeCalls: number
}

function contestOf(work: AwaitingWork): Contest {
  const { name, unit, messageBytes } = work
  const contestants = subjects
    .filter((subject) => subject.does(messageBytes))
    .map((subject): Contestant => {
      const task = {
        scenario: SCENARIO,
        work: name,
        subject: subject.name,
        arrangement: 'processes',
      } as const
      return {
        subject: subject.name,
        run: async (context) => outcomeOf(work, await runAgents<Report>(task, context)),
      }
    })
  return { scenario: SCENARIO, work: name, unit, messageBytes, contestants }
}

function outcomeOf({ unit, messageBytes }: AwaitingWork, reports: Reports<Report>): Outcome {
  const { messages, seconds } = measurementOf(reports)
  return {
    value: (unit === 'B/s' ? messages * messageBytes : messages) / seconds,
    writeCallsPerMessage: {
      sender: reports.first.writeCalls / messages,
      receiver: reports.second.writeCalls / messages,
    },
  }
}

async function takePart(assignment: Assignment, line: Line): Promise<Report> {
  const { role, place } = assignment
  const work = works.find(({ name }) => name === assignment.work)
  const subject = subjects.find(({ name }) => name === assignment.subject)
  if (work === undefined || subject === undefined) {
    throw new Error(`Taking part in ${SCENARIO}: ${assignment.subject} does not do ${assignment.work}`)
  }
  const { messageBytes } = work
  const firstMessages = Math.min(FIRST_MESSAGES_MAX, Math.max(1, Math.floor(FIRST_BYTES / messageBytes)))
  let writeCalls = 0
  const openCountedSide = async (): Promise<Side> => {
    const side = await subject.openers[role]({ role, place, line, messageBytes })
    return {
      ...side,
      async transfer(messages) {
        const callsBefore = writeCallsOfProcess()
        await side.transfer(messages)
        writeCalls = writeCallsOfProcess() - callsBefore
      },
    }
  }
  // The last transfer is the timed one.
  const span = await takePartInTransfers(assignment, openCountedSide, firstMessages)
  return { ...span, writeCalls }
}
