import { setTimeout as delay } from 'node:timers/promises'
import { latest } from '@isthmus/ring'
import { Segment } from '@isthmus/shm-posix'
import { HeapRegion, type Region } from '@isthmus/sync'
import type { Assignment, Line } from '../harness/assignment.js'
import type { Contest, Pace } from '../harness/contest.js'
import { median } from '../harness/median.js'
import { Meeting } from '../harness/meeting.js'
import { runAgents, runCrowd } from '../harness/run-agents.js'
import type { FrameSeat, FrameSubject } from '../subjects/frames/frame-subject.js'
import { isthmusCopiedFrames, isthmusFrames, isthmusThreadFrames } from '../subjects/frames/isthmus.js'
import { messagePortFrames } from '../subjects/frames/message-port.js'
import { unixSocketFrames } from '../subjects/frames/unix-socket.js'
import { checkStamp, stamp, viewOf, wrongMessageError } from '../subjects/stamp.js'
import type { Scenario } from './scenario.js'

const SCENARIO = 'latest-value'
const VALUE_BYTES = 64
/** Operations that are timed together. */
const OPERATIONS = 1000

const VIEWERS = 4
const FRAMES_WORK = '8 MB frames, 4 viewers'
const FRAME_MS = 1000 / 60
/** Shown before the others, so that all code is compiled and all pages are there. */
const FIRST_FRAMES = 12
/** When a viewer has seen the last frame, it rests, while the camera's side reads the clock of the process. */
const REST_MS = 100

const operationWorks = ['64 B read', '64 B read into', '64 B read in place', '64 B write'] as const
type OperationWork = (typeof operationWorks)[number]

const frameSubjects: readonly FrameSubject[] = [
  isthmusFrames,
  isthmusCopiedFrames,
  isthmusThreadFrames,
  unixSocketFrames,
  messagePortFrames,
]

/** What reading and writing a latest value costs in one thread, and what frames cost that several viewers look at. */
export const latestValue: Scenario = {
  name: SCENARIO,
  contests: [...operationWorks.map(operationContest), framesContest()],
  takePart: (assignment, line) =>
    assignment.work === FRAMES_WORK ? showFrames(assignment, line) : operate(assignment),
}

interface OperationReport {
  readonly operationsPerSecond: number
}

function operationContest(work: OperationWork): Contest {
  return {
    scenario: SCENARIO,
    work,
    unit: 'op/s',
    contestants: ['isthmus', 'isthmus heap'].map((subject) => {
      const task = { scenario: SCENARIO, work, subject, arrangement: 'alone' } as const
      return {
        subject,
        run: async (context) => ({
          value: (await runAgents<OperationReport>(task, context)).first.operationsPerSecond,
        }),
      }
    }),
  }
}

const valueLayout = latest({ byteLength: VALUE_BYTES })
type Cell = ReturnType<typeof valueLayout.attach>

async function operate({ work, subject, place, pace }: Assignment): Promise<OperationReport> {
  const region: Region & { readonly root: Cell; close(): void } =
    subject === 'isthmus' ? Segment.create(`${place.segmentPrefix}value`, valueLayout) : HeapRegion.create(valueLayout)
  const operation = operationOf(work as OperationWork, region.root)
  const spansMs: number[] = []
  const startMs = performance.now()
  for (let nowMs = startMs; nowMs - startMs < pace.warmUpMs + pace.targetMs; ) {
    const beganMs = nowMs
    for (let time = 0; time < OPERATIONS; time++) operation()
    nowMs = performance.now()
    if (beganMs - startMs >= pace.warmUpMs) spansMs.push(nowMs - beganMs)
  }
  region.close()
  return { operationsPerSecond: (OPERATIONS * 1000) / median(spansMs) }
}

/** Each operation checks its result. A value that is read was written before, now and then anew. */
function operationOf(work: OperationWork, cell: Cell): () => void {
  const writer = cell.writer()
  const value = new Uint8Array(VALUE_BYTES)
  const view = viewOf(value)
  let sequence = 1
  stamp(view, sequence)
  writer.write(value)
  const assertLatest = (first: number) => {
    if (first !== (sequence & 0xff)) throw wrongMessageError(sequence)
  }
  switch (work) {
    case '64 B write': {
      const into = new Uint8Array(VALUE_BYTES)
      return () => {
        stamp(view, ++sequence)
        if (writer.write(value) !== sequence) throw wrongMessageError(sequence)
        if (sequence % OPERATIONS !== 0) return
        cell.read({ into })
        checkStamp(viewOf(into), sequence)
      }
    }
    case '64 B read':
      return () => assertLatest(cell.read()?.value[0] ?? -1)
    case '64 B read into': {
      const into = new Uint8Array(VALUE_BYTES)
      return () => assertLatest(cell.read({ into })?.value[0] ?? -1)
    }
    case '64 B read in place': {
      const first = (bytes: Uint8Array, byteOffset: number) => bytes[byteOffset]
      return () => {
        const look = cell.readInPlace(first)
        assertLatest(look?.isWhole === true ? look.value : -1)
      }
    }
  }
}

/** What a side has done since the first frames. */
interface FramesReport {
  /** Of the process. Threads share one: then it is that of all sides. */
  readonly cpuSeconds: number
  /** How many frames a viewer has seen. */
  readonly seen: number
}

function framesContest(): Contest {
  return {
    scenario: SCENARIO,
    work: FRAMES_WORK,
    unit: 's',
    contestants: frameSubjects.map(({ name: subject, arrangement }) => {
      const crowd = { first: 1, second: VIEWERS }
      const task = { scenario: SCENARIO, work: FRAMES_WORK, subject, arrangement, crowd }
      return {
        subject,
        async run(context) {
          const { first, second } = await runCrowd<FramesReport>(task, context)
          const sides = arrangement === 'threads' ? first : [...first, ...second]
          const cpuSeconds = sides.reduce((sum, side) => sum + side.cpuSeconds, 0)
          const seen = second.reduce((sum, side) => sum + side.seen, 0)
          // For each frame that all viewers have seen: the camera's share and theirs.
          return { value: cpuSeconds / (seen / VIEWERS) }
        },
      }
    }),
  }
}

async function showFrames(assignment: Assignment, line: Line): Promise<FramesReport> {
  const { role, index, place, pace } = assignment
  const subject = frameSubjects.find(({ name }) => name === assignment.subject)
  if (subject === undefined) throw new Error(`Taking part in ${SCENARIO}: there is no ${assignment.subject}`)
  const meeting = new Meeting(place, 1 + VIEWERS)
  const seat: FrameSeat = { role, index, viewers: VIEWERS, place, line }
  return role === 'first' ? show(subject, seat, meeting, pace) : watch(subject, seat, meeting, pace)
}

function lastFrame({ idleMs }: Pace): number {
  return FIRST_FRAMES + Math.round(idleMs / FRAME_MS)
}

async function show(subject: FrameSubject, seat: FrameSeat, meeting: Meeting, pace: Pace): Promise<FramesReport> {
  const camera = await meeting.openInTurn('first', () => subject.openCamera(seat))
  await camera.connected?.()
  meeting.meet()
  let sequence = 0
  const showUntil = async (last: number) => {
    let dueMs = performance.now()
    while (sequence < last) {
      dueMs = Math.max(dueMs + FRAME_MS, performance.now())
      await delay(dueMs - performance.now())
      await camera.show(++sequence)
    }
  }
  await showUntil(FIRST_FRAMES)
  await delay(REST_MS / 2)
  meeting.meet()
  const before = process.cpuUsage()
  await showUntil(lastFrame(pace))
  await delay(REST_MS)
  const cpuSeconds = cpuSecondsSince(before)
  meeting.meet()
  camera.close()
  meeting.close()
  return { cpuSeconds, seen: 0 }
}

async function watch(subject: FrameSubject, seat: FrameSeat, meeting: Meeting, pace: Pace): Promise<FramesReport> {
  const viewer = await meeting.openInTurn('second', () => subject.openViewer(seat))
  meeting.meet()
  await viewer.watch(0, FIRST_FRAMES)
  // Called before the meeting, after which the first frame may come at any moment.
  const watching = viewer.watch(FIRST_FRAMES, lastFrame(pace))
  meeting.meet()
  const before = process.cpuUsage()
  const seen = await watching
  const cpuSeconds = cpuSecondsSince(before)
  await delay(2 * REST_MS)
  meeting.meet()
  viewer.close()
  meeting.close()
  return { cpuSeconds, seen }
}

function cpuSecondsSince(before: NodeJS.CpuUsage): number {
  const { user, system } = process.cpuUsage(before)
  return (user + system) / 1e6
}
