import type { Assignment, Line } from '../harness/assignment.js'
import type { Contest, Contestant, Outcome, Prepare, RunContext } from '../harness/contest.js'
import { Meeting } from '../harness/meeting.js'
import { percentile } from '../harness/percentile.js'
import { runAgents } from '../harness/run-agents.js'
import { Stopwatch } from '../harness/stopwatch.js'
import { openBareFutexPingPong, prepareBareFutex } from '../subjects/bare-futex.js'
import {
  isthmusBellMessages,
  isthmusForEachMessages,
  isthmusMessages,
  isthmusThreadMessages,
} from '../subjects/isthmus-messages.js'
import { openInPlacePingPong } from '../subjects/isthmus-ping-pong.js'
import { peers } from '../subjects/message-subjects.js'
import { nativePingPong } from '../subjects/native.js'
import { courierPingPong, LAST_TRIP, messengerPingPong, type PingPong } from '../subjects/ping-pong.js'
import type { CourierWaiting, MessageSubject, Seat } from '../subjects/subject.js'
import type { Scenario } from './scenario.js'

const SCENARIO = 'ping-pong-latency'
const MESSAGE_BYTES = 8
/** A pause that is long enough for both sides to sleep. */
const COLD_PAUSE_MS = 5

export interface PingPongWork {
  readonly name: string
  readonly waiting: CourierWaiting | 'event loop'
  /** Whether there is a pause before each request; otherwise it follows the last answer at once. */
  readonly isCold: boolean
}

const works: readonly PingPongWork[] = [
  { name: 'spinning', waiting: 'spinning', isCold: false },
  { name: 'blocking, hot', waiting: 'blocking', isCold: false },
  { name: 'blocking, cold', waiting: 'blocking', isCold: true },
  { name: 'event loop, hot', waiting: 'event loop', isCold: false },
  { name: 'event loop, cold', waiting: 'event loop', isCold: true },
]

type Opener = (seat: Seat) => PingPong | Promise<PingPong>

interface PingPongSubject {
  readonly name: string
  readonly arrangement: MessageSubject['arrangement']
  readonly prepare?: Prepare | undefined
  /** Undefined if the subject has no such way to wait. */
  openerFor(waiting: PingPongWork['waiting']): Opener | undefined
}

const subjects: readonly PingPongSubject[] = [
  withInPlaceSpinning(isthmusMessages),
  copyingOnly(isthmusMessages),
  withInPlaceSpinning(isthmusThreadMessages),
  fromMessages(isthmusForEachMessages),
  fromMessages(isthmusBellMessages),
  {
    name: 'bare futex',
    arrangement: 'processes',
    prepare: prepareBareFutex,
    openerFor: (waiting) => (waiting === 'blocking' ? openBareFutexPingPong : undefined),
  },
  ...peers.map(fromMessages),
]

/** How long it takes until an answer is back. */
export const pingPongLatency: Scenario = {
  name: SCENARIO,
  contests: works.map(contestOf),
  takePart,
}

interface Report {
  readonly trips: number
  readonly samplesNs?: readonly number[]
}

function contestOf(work: PingPongWork): Contest {
  const sided = subjects
    .filter(({ openerFor }) => openerFor(work.waiting) !== undefined)
    .map((subject): Contestant => {
      const { name, arrangement, prepare } = subject
      const task = { scenario: SCENARIO, work: work.name, subject: name, arrangement }
      return {
        subject: name,
        prepare,
        run: async (context) => outcomeOf(await runAgents<Report>(task, context)),
      }
    })
  const { waiting } = work
  const native: Contestant[] =
    waiting === 'event loop'
      ? []
      : [
          {
            subject: 'native',
            prepare: nativePingPong.prepare,
            run: (context) => nativeOutcome(waiting, work.isCold, context),
          },
        ]
  return { scenario: SCENARIO, work: work.name, unit: 's', contestants: [...sided, ...native] }
}

async function nativeOutcome(waiting: CourierWaiting, isCold: boolean, context: RunContext): Promise<Outcome> {
  const samplesNs = await nativePingPong.samples(waiting, isCold ? COLD_PAUSE_MS : 0, context)
  return { value: percentile(samplesNs, 0.5) / 1e9, samplesNs }
}

function outcomeOf({ first, second }: { readonly first: Report; readonly second: Report }): Outcome {
  const { samplesNs = [] } = second
  if (first.trips !== second.trips) throw new Error(`${second.trips} requests were sent, ${first.trips} arrived`)
  return { value: percentile(samplesNs, 0.5) / 1e9, samplesNs }
}

async function takePart(assignment: Assignment, line: Line): Promise<Report> {
  const { role, place, pace } = assignment
  const work = works.find(({ name }) => name === assignment.work)
  const subject = subjects.find(({ name }) => name === assignment.subject)
  const open = work && subject?.openerFor(work.waiting)
  if (work === undefined || open === undefined) {
    throw new Error(`Taking part in ${SCENARIO}: ${assignment.subject} does not do ${assignment.work}`)
  }
  const meeting = new Meeting(place)
  const side = await meeting.openInTurn(role, () => open({ role, place, line, messageBytes: MESSAGE_BYTES }))
  await side.connected?.()
  meeting.meet()
  const report = role === 'first' ? { trips: await side.answerAll() } : await ask(side, work.isCold, pace)
  // The side that closes first would cut off the last answer.
  meeting.meet()
  side.close()
  meeting.close()
  return report
}

async function ask(side: PingPong, isCold: boolean, pace: Assignment['pace']): Promise<Report> {
  let trips = 0
  const travel = async (count: number) => {
    for (const end = trips + count; trips < end; trips++) {
      const answer = side.roundTrip(trips)
      checkAnswer(typeof answer === 'number' ? answer : await answer, trips)
    }
  }
  const startMs = performance.now()
  let elapsedMs = 0
  for (let count = 1; elapsedMs < pace.warmUpMs; count *= 2) {
    await travel(count)
    elapsedMs = performance.now() - startMs
  }
  const samplesNs: number[] = []
  const stopwatch = new Stopwatch()
  if (isCold) {
    while (samplesNs.length < pace.coldSamples) {
      await side.pause(COLD_PAUSE_MS)
      stopwatch.start()
      await travel(1)
      samplesNs.push(stopwatch.read())
    }
  } else {
    const untimed = Math.floor((trips * pace.targetMs) / elapsedMs / pace.hotSamples)
    for (const endMs = performance.now() + pace.targetMs; performance.now() < endMs; ) {
      await travel(untimed)
      stopwatch.start()
      const answer = side.roundTrip(trips)
      const checkedAnswer = typeof answer === 'number' ? answer : await answer
      samplesNs.push(stopwatch.read())
      checkAnswer(checkedAnswer, trips++)
    }
  }
  await side.roundTrip(LAST_TRIP)
  return { trips, samplesNs }
}

function checkAnswer(answer: number, trip: number): void {
  if (answer !== trip) throw new Error(`Request ${trip} was answered with ${answer}`)
}

/** Numbers are written and read in place: nothing is allocated. */
function withInPlaceSpinning(subject: MessageSubject): PingPongSubject {
  const { name, arrangement, openerFor } = fromMessages(subject)
  return {
    name,
    arrangement,
    openerFor: (waiting) => (waiting === 'spinning' ? openInPlacePingPong : openerFor(waiting)),
  }
}

function copyingOnly(subject: MessageSubject): PingPongSubject {
  const { arrangement, openerFor } = fromMessages(subject)
  return {
    name: `${subject.name} copying`,
    arrangement,
    openerFor: (waiting) => (waiting === 'spinning' ? openerFor(waiting) : undefined),
  }
}

function fromMessages({ name, arrangement, prepare, openMessenger, couriers }: MessageSubject): PingPongSubject {
  return {
    name,
    arrangement,
    prepare,
    openerFor(waiting) {
      if (waiting === 'event loop') {
        return openMessenger && (async (seat) => messengerPingPong(await openMessenger(seat)))
      }
      const openCourier = couriers?.[waiting]
      return openCourier && (async (seat) => courierPingPong(await openCourier(seat)))
    },
  }
}
