import { setTimeout as delay } from 'node:timers/promises'
import type { Consumer, Producer } from '@isthmus/ring'
import { waitAny } from '@isthmus/sync'
import type { Arrangement, Assignment, Line } from '../harness/assignment.js'
import type { Contest, Contestant, Prepare } from '../harness/contest.js'
import { Meeting } from '../harness/meeting.js'
import { runAgents } from '../harness/run-agents.js'
import { isthmusMessages, isthmusThreadMessages } from '../subjects/isthmus-messages.js'
import { peers } from '../subjects/message-subjects.js'
import { ringArray } from '../subjects/ring-array.js'
import { openSharedRegion } from '../subjects/shared-region.js'
import type { MessageSubject, Seat } from '../subjects/subject.js'
import type { Scenario } from './scenario.js'

const SCENARIO = 'idle-cost'
const MESSAGE_BYTES = 8
const RINGS = 1000
/** Until a program that has begun to wait has calmed down. */
const SETTLE_MS = 200

type WorkName = 'blocked consumer' | 'awaiting consumer' | '1000 awaiting consumers'

const workNames: readonly WorkName[] = ['blocked consumer', 'awaiting consumer', '1000 awaiting consumers']

/** Either side of a connection on which next to nothing is sent. */
interface IdleSide {
  send(): void | Promise<void>
  /** Waits for what `send` sends. */
  receive(): void | Promise<void>
  connected?(): Promise<void>
  close(): void
}

interface IdleSubject {
  readonly name: string
  readonly arrangement: Arrangement
  readonly prepare?: Prepare | undefined
  /** Undefined where it cannot wait in this way. */
  openerFor(work: WorkName): ((seat: Seat) => Promise<IdleSide>) | undefined
}

const subjects: readonly IdleSubject[] = [
  ...[isthmusMessages, isthmusThreadMessages, ...peers].map(fromMessages),
  { name: 'isthmus', arrangement: 'processes', openerFor: manyRings((consumers) => receiveEach(consumers)) },
  { name: 'isthmus waitAny', arrangement: 'processes', openerFor: manyRings((consumers) => receiveAny(consumers)) },
]

/** How much of a core a process uses that waits and to which nothing comes. Between threads, that of both of them. */
export const idleCost: Scenario = {
  name: SCENARIO,
  contests: workNames.map(contestOf),
  takePart,
}

interface Report {
  readonly cores: number
}

function contestOf(work: WorkName): Contest {
  const contestants = subjects
    .filter(({ openerFor }) => openerFor(work) !== undefined)
    .map(({ name, arrangement, prepare }): Contestant => {
      const task = { scenario: SCENARIO, work, subject: name, arrangement }
      return {
        subject: name,
        prepare,
        run: async (context) => ({ value: (await runAgents<Report>(task, context)).second.cores }),
      }
    })
  return { scenario: SCENARIO, work, unit: 'cores', contestants }
}

async function takePart(assignment: Assignment, line: Line): Promise<Report | undefined> {
  const { role, place, pace } = assignment
  const open = subjects
    .filter(({ name }) => name === assignment.subject)
    .map(({ openerFor }) => openerFor(assignment.work as WorkName))
    .find((opener) => opener !== undefined)
  if (open === undefined) {
    throw new Error(`Taking part in ${SCENARIO}: ${assignment.subject} does not do ${assignment.work}`)
  }
  const meeting = new Meeting(place)
  const side = await meeting.openInTurn(role, () => open({ role, place, line, messageBytes: MESSAGE_BYTES }))
  await side.connected?.()
  meeting.meet()
  const report = role === 'first' ? await stayQuiet(side, pace.idleMs) : await watchWaiting(side)
  meeting.meet()
  side.close()
  meeting.close()
  return report
}

async function stayQuiet(side: IdleSide, idleMs: number): Promise<undefined> {
  await delay(SETTLE_MS)
  await side.send()
  await delay(idleMs)
  await side.send()
}

async function watchWaiting(side: IdleSide): Promise<Report> {
  await side.receive()
  const startMs = performance.now()
  const before = process.cpuUsage()
  await side.receive()
  const { user, system } = process.cpuUsage(before)
  return { cores: (user + system) / 1000 / (performance.now() - startMs) }
}

function fromMessages({ name, arrangement, prepare, openMessenger, couriers }: MessageSubject): IdleSubject {
  const message = new Uint8Array(MESSAGE_BYTES)
  return {
    name,
    arrangement,
    prepare,
    openerFor(work) {
      const openCourier = couriers?.blocking
      if (work === 'blocked consumer' && openCourier !== undefined) {
        return async (seat) => {
          const courier = await openCourier(seat)
          return {
            send: () => courier.send(message),
            receive: () => void courier.receive(),
            close: () => courier.close(),
          }
        }
      }
      if (work !== 'awaiting consumer' || openMessenger === undefined) return undefined
      return async (seat) => {
        const messenger = await openMessenger(seat)
        return {
          send: () => messenger.send(message),
          receive: () =>
            new Promise((resolve) => {
              messenger.onMessage = () => resolve()
            }),
          connected: async () => messenger.connected?.(),
          close: () => messenger.close(),
        }
      }
    },
  }
}

function manyRings(receive: (consumers: readonly Consumer[]) => Promise<void>): IdleSubject['openerFor'] {
  const layout = ringArray(RINGS, { capacityBytes: 64 })
  return (work) => {
    if (work !== '1000 awaiting consumers') return undefined
    return async (seat) => {
      const region = await openSharedRegion(seat, layout)
      const rings = region.root
      const producers: Producer[] = seat.role === 'first' ? rings.map((ring) => ring.producer()) : []
      const consumers: Consumer[] = seat.role === 'second' ? rings.map((ring) => ring.consumer()) : []
      return {
        send() {
          for (const producer of producers) producer.sendSync(new Uint8Array(MESSAGE_BYTES))
        },
        receive: () => receive(consumers),
        close: () => region.close(),
      }
    }
  }
}

async function receiveEach(consumers: readonly Consumer[]): Promise<void> {
  await Promise.all(consumers.map((consumer) => consumer.receive()))
}

async function receiveAny(consumers: readonly Consumer[]): Promise<void> {
  const waiting = new Set(consumers)
  while (waiting.size > 0) {
    for (const consumer of await waitAny(waiting)) {
      consumer.tryReceive()
      waiting.delete(consumer)
    }
  }
}
