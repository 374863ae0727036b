import { setTimeout as delay } from 'node:timers/promises'
import { type Assignment, type Line, sidesOf } from '../harness/assignment.js'
import { Board } from '../harness/board.js'
import type { Contest, Contestant, Pace, RunContext } from '../harness/contest.js'
import { median } from '../harness/median.js'
import { Meeting } from '../harness/meeting.js'
import { runCrowd } from '../harness/run-agents.js'
import { type Measurement, type Span, takePartInTransfers } from '../harness/timed-transfers.js'
import { broadcastChannel } from '../subjects/broadcast/broadcast-channel.js'
import type {
  BroadcastSeat,
  BroadcastSubject,
  BroadcastWork,
  SelfTimedBroadcastSubject,
  SubscriberSide,
} from '../subjects/broadcast/broadcast-subject.js'
import { disruptorBroadcast } from '../subjects/broadcast/disruptor.js'
import {
  claimer,
  isthmusBroadcast,
  isthmusBroadcastBatches,
  isthmusBroadcastLossy,
  isthmusBroadcastLossySpinning,
  isthmusBroadcastSpinning,
  openRing,
} from '../subjects/broadcast/isthmus.js'
import { Listener } from '../subjects/broadcast/listener.js'
import { nativeBroadcast, nativeBroadcastLossy } from '../subjects/broadcast/native.js'
import { unixSocketBroadcast } from '../subjects/broadcast/unix-socket.js'
import { zeromqBroadcast } from '../subjects/broadcast/zeromq.js'
import { isStopped } from '../subjects/crowd/stopping.js'
import { stamp, viewOf } from '../subjects/stamp.js'
import type { Scenario } from './scenario.js'

const SCENARIO = 'one-to-many-throughput'
const KIB = 1024
const FIRST_MESSAGES = 16

const works: readonly BroadcastWork[] = [
  ...[1, 2, 8].map((subscribers) => workOf(subscribers, '64 B', 64)),
  ...[1, 2, 8].map((subscribers) => workOf(subscribers, '64 KiB', 64 * KIB)),
]

const subjects: readonly (BroadcastSubject | SelfTimedBroadcastSubject)[] = [
  isthmusBroadcast,
  isthmusBroadcastBatches,
  isthmusBroadcastLossy,
  isthmusBroadcastSpinning,
  isthmusBroadcastLossySpinning,
  nativeBroadcast,
  nativeBroadcastLossy,
  disruptorBroadcast,
  zeromqBroadcast,
  broadcastChannel,
  unixSocketBroadcast,
]

/** A brief run of these works has those subjects alone: each of its sides is a process. */
const inBrief: Readonly<Record<string, readonly string[]>> = {
  '1x1 64 B': subjects.map(({ name }) => name),
  '1x8 64 B': [isthmusBroadcast.name],
  '64 B, publishing one by one': ['isthmus', 'isthmus, 8 asleep'],
}

/** What a publisher pays for subscribers that do not receive. They have no gates. */
const publishingWorks = ['64 B, publishing', '64 B, publishing one by one'] as const

interface Audience {
  readonly subject: string
  readonly subscribers: number
  /** Whether each of them has begun to wait for a message, and was stopped (SIGSTOP) then. Otherwise they only exist. */
  readonly isAsleep: boolean
}

const audiences: readonly Audience[] = [
  { subject: 'isthmus', subscribers: 0, isAsleep: false },
  { subject: 'isthmus, 8 idle', subscribers: 8, isAsleep: false },
  { subject: 'isthmus, 8 asleep', subscribers: 8, isAsleep: true },
]

/** How many messages one process or thread can send to each of several others, and what publishing costs it. */
export const oneToManyThroughput: Scenario = {
  name: SCENARIO,
  contests: [...works.map(contestOf), ...publishingWorks.map(publishingContest)],
  takePart: (assignment, line) =>
    isPublishingWork(assignment.work) ? takePartInPublishing(assignment, line) : takePart(assignment, line),
}

interface PublisherReport extends Span {
  readonly published: number
}

interface SubscriberReport extends Span {
  /** Of the timed transfer. */
  readonly receivedLast: number
  readonly received: number
  readonly lost: number
}

type Report = PublisherReport | SubscriberReport

function contestOf(work: BroadcastWork): Contest {
  const contestants = subjects
    .filter((subject) => subject.does(work))
    .map((subject): Contestant => {
      const { name, prepare } = subject
      const run: Contestant['run'] = async (context) => {
        const { messages, seconds } = await ('measure' in subject
          ? subject.measure(work, context)
          : measure(work, subject, context))
        return { value: messages / seconds }
      }
      return { subject: name, prepare, run }
    })
  const { name, messageBytes } = work
  return { scenario: SCENARIO, work: name, unit: 'msg/s', messageBytes, contestants, inBrief: inBrief[name] ?? [] }
}

/** The messages are those that a subscriber has received, on average. The time ends when the last one has what it gets. */
async function measure(
  { name, crowd }: BroadcastWork,
  { name: subject, arrangement }: BroadcastSubject,
  context: RunContext,
): Promise<Measurement> {
  const task = { scenario: SCENARIO, work: name, subject, arrangement, crowd }
  const { first, second } = await runCrowd<Report>(task, context)
  const [{ published, startNs }] = first as PublisherReport[]
  const subscribers = second as SubscriberReport[]
  for (const { received, lost } of subscribers) {
    if (received + lost !== published) {
      throw new Error(`${published} messages were published, ${received} received by one subscriber, and ${lost} lost`)
    }
  }
  const stopNs = Math.max(...subscribers.map((span) => span.stopNs))
  const received = subscribers.reduce((sum, { receivedLast }) => sum + receivedLast, 0)
  return { seconds: (stopNs - startNs) / 1e9, messages: received / subscribers.length }
}

async function takePart(assignment: Assignment, line: Line): Promise<Report> {
  const { work, subject } = partOf(assignment)
  const { role, index, place } = assignment
  const { crowd, messageBytes } = work
  const seat: BroadcastSeat = { role, index, place, line, crowd, messageBytes }
  if (role === 'first') {
    let published = 0
    const span = await takePartInTransfers(
      assignment,
      async () => {
        const side = await subject.openPublisher(seat)
        const transfer = (messages: number) => {
          published += messages
          return side.transfer(messages)
        }
        return { ...side, transfer }
      },
      FIRST_MESSAGES,
    )
    return { ...span, published }
  }
  const listener = new Listener(messageBytes)
  let receivedLast = 0
  const span = await takePartInTransfers(
    assignment,
    async () =>
      listeningSide(await subject.openSubscriber(seat, listener), listener, (received) => {
        receivedLast = received
      }),
    FIRST_MESSAGES,
  )
  return { ...span, receivedLast, received: listener.received, lost: listener.lost }
}

function listeningSide(side: SubscriberSide, listener: Listener, note: (received: number) => void): SubscriberSide {
  return {
    connected: async () => side.connected?.(),
    async transfer(messages) {
      const before = listener.received
      listener.expect(messages)
      await side.transfer(messages)
      note(listener.received - before)
      const { lost = 0 } = side
      if (lost !== listener.lost) {
        throw new Error(
          `Receiving: ${listener.lost} messages have not come, and the subscriber says that it lost ${lost}`,
        )
      }
    },
    close: () => side.close(),
  }
}

function publishingContest(work: string): Contest {
  const contestants = audiences.map(({ subject, subscribers }): Contestant => {
    const crowd = { first: 1, second: subscribers }
    const task = { scenario: SCENARIO, work, subject, arrangement: 'processes', crowd } as const
    return { subject, run: async (context) => ({ value: (await runCrowd<number>(task, context)).first[0] }) }
  })
  return { scenario: SCENARIO, work, unit: 'msg/s', messageBytes: 64, contestants, inBrief: inBrief[work] ?? [] }
}

/** The publisher's side reports messages per second, the others nothing. */
async function takePartInPublishing(assignment: Assignment, line: Line): Promise<number> {
  const { role, index, place, pace, work } = assignment
  const audience = audiences.find(({ subject }) => subject === assignment.subject)
  if (audience === undefined) throw new Error(`Taking part in ${SCENARIO}: there is no ${assignment.subject}`)
  const crowd = { first: 1, second: audience.subscribers }
  const seat: BroadcastSeat = { role, index, place, line, crowd, messageBytes: 64 }
  const meeting = new Meeting(place, sidesOf(crowd))
  const board = new Board(place, crowd)
  try {
    const { ring, close } = await meeting.openInTurn(role, () => openRing(seat))
    if (role === 'first') {
      const publisher = ring.publisher()
      const publish = work === '64 B, publishing' ? claimer(publisher, seat) : oneByOne(publisher)
      // The same functions are compiled, whoever listens.
      publishFor(publish, pace.warmUpMs)
      meeting.meet()
      const pids = audience.isAsleep ? await fallenAsleep(ring, board, audience) : []
      const rate = publishFor(publish, pace.targetMs)
      board.end()
      for (const pid of pids) process.kill(pid, 'SIGCONT')
      close()
      return rate
    }
    board.announcePid(role, index)
    meeting.meet()
    const subscriber = ring.subscriber()
    if (audience.isAsleep) await subscriber.receive()
    while (!board.isOver) await delay(REST_MS)
    close()
    return 0
  } finally {
    board.close()
    meeting.close()
  }
}

const LOOK_MS = 5
/** What they cost is not what is measured. */
const REST_MS = 100
const SLEEP_TIMEOUT_MS = 10_000
const MESSAGES_TIMED_TOGETHER = 64 * 64

type Ring = Awaited<ReturnType<typeof openRing>>['ring']

/** Stops each subscriber when all of them wait. Returns their processes. */
async function fallenAsleep(ring: Ring, board: Board, { subscribers }: Audience): Promise<readonly number[]> {
  await until('All subscribers wait', () => ring.describe().waitingSubscribers.length === subscribers)
  const pids = Array.from({ length: subscribers }, (_, index) => board.pidOf('second', index))
  for (const pid of pids) process.kill(pid, 'SIGSTOP')
  for (const pid of pids) await until('A subscriber stops', () => isStopped(pid))
  const { waitingSubscribers } = ring.describe()
  if (waitingSubscribers.length !== subscribers) throw new Error(`Only ${waitingSubscribers.length} subscribers wait`)
  return pids
}

function publishFor(publish: (messages: number) => void, durationMs: Pace['targetMs']): number {
  const spansMs: number[] = []
  const startMs = performance.now()
  for (let nowMs = startMs; nowMs - startMs < durationMs; ) {
    const beganMs = nowMs
    publish(MESSAGES_TIMED_TOGETHER)
    nowMs = performance.now()
    spansMs.push(nowMs - beganMs)
  }
  return (MESSAGES_TIMED_TOGETHER * 1000) / median(spansMs)
}

function oneByOne(publisher: ReturnType<Ring['publisher']>) {
  const message = new Uint8Array(64)
  const view = viewOf(message)
  let sequence = 0
  return (messages: number) => {
    for (let left = messages; left > 0; left--) {
      stamp(view, sequence++)
      publisher.tryPublish(message)
    }
  }
}

async function until(what: string, isSo: () => boolean): Promise<void> {
  for (const endMs = performance.now() + SLEEP_TIMEOUT_MS; !isSo(); await delay(LOOK_MS)) {
    if (performance.now() > endMs) throw new Error(`${what}: not within ${SLEEP_TIMEOUT_MS} ms`)
  }
}

function isPublishingWork(work: string): boolean {
  return publishingWorks.some((name) => name === work)
}

function partOf(assignment: Assignment): { work: BroadcastWork; subject: BroadcastSubject } {
  const work = works.find(({ name }) => name === assignment.work)
  const subject = subjects.find(({ name }) => name === assignment.subject)
  if (work === undefined || subject === undefined || 'measure' in subject) {
    throw new Error(`Taking part in ${SCENARIO}: ${assignment.subject} does not do ${assignment.work}`)
  }
  return { work, subject }
}

function workOf(subscribers: number, text: string, messageBytes: number): BroadcastWork {
  return { name: `1x${subscribers} ${text}`, crowd: { first: 1, second: subscribers }, messageBytes }
}
