import { fileURLToPath } from 'node:url'
import { runChild } from './child.js'
import type { RunContext } from './contest.js'
import { Meeting } from './meeting.js'
import { inPlace, type Place } from './place.js'
import { type Role, type Side, type Span, timeTransfers } from './timed-transfers.js'

const RUN_TIMEOUT_MS = 60_000

/** What a process of its own has to do. */
export interface Task {
  readonly scenario: string
  readonly work: string
  readonly subject: string
}

/** A run as one of its two processes is told of it. */
export interface Assignment extends Task {
  readonly role: Role
  readonly place: Place
  readonly pace: RunContext['pace']
}

export interface Measurement {
  readonly seconds: number
  readonly messages: number
}

/** Runs both sides of a task, each in its own process: the time is the last stop minus the first start. */
export async function measureInTwoProcesses(task: Task, { pace, signal }: RunContext): Promise<Measurement> {
  return inPlace(async (place) => {
    Meeting.create(meetingName(place))
    const failure = new AbortController()
    const ending = AbortSignal.any([signal, failure.signal, AbortSignal.timeout(RUN_TIMEOUT_MS)])
    const runSide = async (role: Role): Promise<Span> => {
      const assignment: Assignment = { ...task, role, place, pace }
      try {
        return JSON.parse(await runChild(process.execPath, [agentFile(), JSON.stringify(assignment)], ending))
      } catch (error) {
        failure.abort(error)
        throw error
      }
    }
    const sides = [runSide('producer'), runSide('consumer')]
    await Promise.allSettled(sides)
    // The side that failed first is the cause; the other one was killed for it.
    failure.signal.throwIfAborted()
    return measurementOf(await Promise.all(sides))
  })
}

/** In one of the two processes: opens its side, takes part, and prints the span of its timed transfer. */
export async function takePart({ role, place, pace }: Assignment, openSide: () => Side | Promise<Side>): Promise<void> {
  const meeting = new Meeting(meetingName(place))
  // The producer's side is open before the consumer's, which looks for it.
  if (role === 'consumer') meeting.meet()
  const side = await openSide()
  if (role === 'producer') meeting.meet()
  const span = await timeTransfers(role, side, meeting, pace)
  side.close()
  meeting.close()
  console.log(JSON.stringify(span))
}

function measurementOf(spans: readonly Span[]): Measurement {
  const startNs = Math.min(...spans.map((span) => span.startNs))
  const stopNs = Math.max(...spans.map((span) => span.stopNs))
  return { seconds: (stopNs - startNs) / 1e9, messages: spans[0].messages }
}

function meetingName(place: Place): string {
  return `${place.segmentPrefix}meeting`
}

/** Built beside the main program. */
function agentFile(): string {
  return fileURLToPath(new URL('./agent.js', import.meta.url))
}
