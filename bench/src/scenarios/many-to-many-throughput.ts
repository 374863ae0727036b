import { type Assignment, type CrowdReports, type Line, sidesOf } from '../harness/assignment.js'
import { Board } from '../harness/board.js'
import type { Contest, Contestant, RunContext } from '../harness/contest.js'
import { Meeting } from '../harness/meeting.js'
import { type CrowdTask, runCrowd } from '../harness/run-agents.js'
import { crowdMeasurementOf, type Side, type Span, takePartInTransfers } from '../harness/timed-transfers.js'
import { childProcessAdvancedCrowd, childProcessJsonCrowd } from '../subjects/crowd/child-process.js'
import type { CrowdSeat, CrowdSubject, CrowdWork, SelfTimedCrowdSubject } from '../subjects/crowd/crowd-subject.js'
import {
  isthmusAwaitingCrowd,
  isthmusCrowd,
  isthmusPackedAwaitingCrowd,
  isthmusPackedCrowd,
  isthmusPollingCrowd,
  isthmusShorterLoans,
} from '../subjects/crowd/isthmus.js'
import { messagePortCrowd } from '../subjects/crowd/message-port.js'
import { nativeCrowd } from '../subjects/crowd/native.js'
import { posixMessageQueueCrowd } from '../subjects/crowd/posix-message-queue.js'
import { type Sent, Stamps } from '../subjects/crowd/stamps.js'
import { conduct, sendWithPauses } from '../subjects/crowd/stopping.js'
import { assertAllReceived, type Received, Tally } from '../subjects/crowd/tally.js'
import { zeromqCrowd } from '../subjects/crowd/zeromq.js'
import type { Scenario } from './scenario.js'

const SCENARIO = 'many-to-many-throughput'
const KIB = 1024
const MIB = 1024 * KIB
const FIRST_MESSAGES = 16

const works: readonly CrowdWork[] = [
  copying(1, 1, '64 B', 64),
  copying(2, 2, '64 B', 64),
  copying(4, 4, '64 B', 64),
  copying(8, 8, '64 B', 64),
  copying(1, 1, '1 KiB', KIB),
  copying(2, 2, '1 KiB', KIB),
  copying(4, 4, '1 KiB', KIB),
  { ...copying(1, 1, '1 MiB loan', MIB), isLoan: true },
  { ...copying(2, 2, '1 MiB loan', MIB), isLoan: true },
]

const stoppingWork = copying(4, 2, '64 B, one sender stopped', 64)

const subjects: readonly (CrowdSubject | SelfTimedCrowdSubject)[] = [
  isthmusCrowd,
  isthmusPollingCrowd,
  isthmusPackedCrowd,
  isthmusAwaitingCrowd,
  isthmusPackedAwaitingCrowd,
  isthmusShorterLoans,
  nativeCrowd,
  posixMessageQueueCrowd,
  messagePortCrowd,
  childProcessJsonCrowd,
  childProcessAdvancedCrowd,
  zeromqCrowd,
]

/** Those of which one sender is stopped. */
const stoppedSubjects: readonly (CrowdSubject | SelfTimedCrowdSubject)[] = [isthmusCrowd, nativeCrowd]

/** How many messages many processes or threads can send to many others, where each message goes to one of them. */
export const manyToManyThroughput: Scenario = {
  name: SCENARIO,
  contests: [...works.map(contestOf), stoppingContest()],
  takePart,
}

type Report = SenderReport | ReceiverReport

interface SenderReport extends Span {
  readonly sent: Sent
}

interface ReceiverReport extends Span {
  readonly received: Received
}

function contestOf(work: CrowdWork): Contest {
  const contestants = subjects
    .filter((subject) => subject.does(work))
    .map((subject): Contestant => {
      const { name, prepare } = subject
      const run: Contestant['run'] = async (context) => {
        const { messages, seconds } =
          'measure' in subject
            ? await subject.measure(work, context)
            : crowdMeasurementOf(await runChecked(taskOf(work, subject), context))
        return { value: messages / seconds }
      }
      return { subject: name, prepare, run }
    })
  return { scenario: SCENARIO, work: work.name, unit: 'msg/s', messageBytes: work.messageBytes, contestants }
}

function stoppingContest(): Contest {
  const contestants = stoppedSubjects.map((subject): Contestant => {
    const { name, prepare } = subject
    const run: Contestant['run'] = async (context) => {
      const value =
        'measure' in subject
          ? await subject.shareOfOthers(stoppingWork, context)
          : await shareOfOthers(taskOf(stoppingWork, subject), context)
      return { value }
    }
    return { subject: name, prepare, run }
  })
  return { scenario: SCENARIO, work: stoppingWork.name, unit: 'share', contestants }
}

function taskOf({ name, crowd }: CrowdWork, subject: CrowdSubject): CrowdTask {
  return { scenario: SCENARIO, work: name, subject: subject.name, arrangement: subject.arrangement, crowd }
}

/** Runs all sides, and checks what has been received against what was sent. */
async function runChecked(
  task: CrowdTask,
  context: RunContext,
  conduct?: Parameters<typeof runCrowd>[2],
): Promise<CrowdReports<Report>> {
  const reports = await runCrowd<Report>(task, context, conduct)
  const sent = reports.first.map((report) => (report as SenderReport).sent)
  const received = reports.second.map((report) => (report as ReceiverReport).received)
  assertAllReceived(sent, received)
  return reports
}

async function shareOfOthers(task: CrowdTask, context: RunContext): Promise<number> {
  let share = Number.NaN
  await runChecked(task, context, async (place) => {
    const board = new Board(place, task.crowd)
    share = await conduct(board, task.crowd.first, context.pace)
    board.close()
  })
  return share
}

async function takePart(assignment: Assignment, line: Line): Promise<Report> {
  const { role, index, place, crowd } = assignment
  const { work, subject } = partOf(assignment)
  if (crowd === undefined) throw new Error(`Taking part in ${SCENARIO}: it is not said how many sides there are`)
  const board = new Board(place, crowd)
  const messageBytes = subject.messageBytes ?? work.messageBytes
  const seat: CrowdSeat = { role, index, place, line, crowd, messageBytes, isLoan: work.isLoan }
  try {
    if (role === 'first') {
      const stamps = new Stamps(board, index)
      const openSide = () => subject.openSender(seat, stamps)
      const span =
        work === stoppingWork
          ? await takePartInStopping(assignment, openSide, (side) => sendWithPauses(side, stamps, board, index))
          : await takePartInTransfers(assignment, openSide, FIRST_MESSAGES)
      return { ...span, sent: stamps.sent }
    }
    const tally = new Tally(board, crowd, index, messageBytes)
    const openSide = () => subject.openReceiver(seat, tally)
    const span =
      work === stoppingWork
        ? await takePartInStopping(assignment, openSide, (side) => side.transfer(0))
        : await takePartInTransfers(
            assignment,
            async () => expecting(await openSide(), board, crowd.first),
            FIRST_MESSAGES,
          )
    return { ...span, received: tally.received }
  } finally {
    board.close()
  }
}

/** Each receiver notes how many messages there will be until the end of a transfer: all note the same. */
function expecting(side: Side, board: Board, senders: number): Side {
  let expected = 0
  return {
    ...side,
    transfer(messages) {
      expected += messages * senders
      board.expected = expected
      return side.transfer(messages)
    },
  }
}

/** One side of a run that a conductor ends. */
async function takePartInStopping(
  { role, index, crowd, place }: Assignment,
  openSide: () => Side | Promise<Side>,
  work: (side: Side) => void | Promise<void>,
): Promise<Span> {
  const meeting = new Meeting(place, sidesOf(crowd))
  const side = await meeting.openInTurn(role === 'first' && index === 0 ? 'first' : 'second', openSide)
  await side.connected?.()
  meeting.meet()
  await work(side)
  // Those that still receive may need the side.
  meeting.meet()
  side.close()
  meeting.close()
  return { startNs: 0, stopNs: 0, messages: 0 }
}

function partOf(assignment: Assignment): { work: CrowdWork; subject: CrowdSubject } {
  const work = [...works, stoppingWork].find(({ name }) => name === assignment.work)
  const subject = subjects.find(({ name }) => name === assignment.subject)
  if (work === undefined || subject === undefined || 'measure' in subject) {
    throw new Error(`Taking part in ${SCENARIO}: ${assignment.subject} does not do ${assignment.work}`)
  }
  return { work, subject }
}

function copying(first: number, second: number, text: string, messageBytes: number): CrowdWork {
  return { name: `${first}x${second} ${text}`, crowd: { first, second }, messageBytes, isLoan: false }
}
