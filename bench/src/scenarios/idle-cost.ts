import { setTimeout as delay } from 'node:timers/promises'
import { type Consumer, mpmcQueue, type Producer } from '@isthmus/ring'
import { waitAny } from '@isthmus/sync'
import type { Arrangement, Assignment, Line } from '../harness/assignment.js'
import type { Contest, Contestant, Pace, Prepare } from '../harness/contest.js'
import { cpuMsOf } from '../harness/libc.js'
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
/** How long a program that has begun to wait takes to settle: an event loop at once; a thread polls less and less often. */
const SETTLE_SHARES: Readonly<Record<WorkName, number>> = {
  'blocked consumer': 1.5,
  'awaiting consumer': 0.1,
  '1000 awaiting consumers': 0.1,
}

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
  /** Undefined if the subject cannot wait in this way. */
  openerFor(work: WorkName): ((seat: Seat) => Promise<IdleSide>) | undefined
}

const subjects: readonly IdleSubject[] = [
  ...[isthmusMessages, isthmusThreadMessages, ...peers].map(fromMessages),
  { name: 'isthmus queue', arrangement: 'processes', openerFor: queueOpener },
  { name: 'isthmus', arrangement: 'processes', openerFor: manyRings((consumers) => receiveEach(consumers)) },
  { name: 'isthmus waitAny', arrangement: 'processes', openerFor: manyRings((consumers) => receiveAny(consumers)) },
]

/** How much of a core a process uses that waits in vain. Between threads, the cost of both of them. */
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
        run: async (context) => ({ value: (await runAgents<Report>(task, context)).first.cores }),
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
  if (role === 'second') meeting.note = process.pid
  meeting.meet()
  const report =
    role === 'first' ? await watch(side, meeting.note, assignment.work as WorkName, pace) : await wait(side)
  meeting.meet()
  side.close()
  meeting.close()
  return report
}

/** Watches between two messages. The waiter does nothing for it. */
async function watch(side: IdleSide, pid: number, work: WorkName, { idleMs }: Pace): Promise<Report> {
  await side.send()
  await delay(SETTLE_SHARES[work] * idleMs)
  const startMs = performance.now()
  const beforeMs = cpuMsOf(pid)
  await delay(idleMs)
  const cores = (cpuMsOf(pid) - beforeMs) / (performance.now() - startMs)
  await side.send()
  return { cores }
}

async function wait(side: IdleSide): Promise<undefined> {
  await side.receive()
  await side.receive()
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

/** A receiver of an MPMC queue in place of a ring's consumer. */
function queueOpener(work: WorkName): ((seat: Seat) => Promise<IdleSide>) | undefined {
  if (work === '1000 awaiting consumers') return undefined
  return async (seat) => {
    const region = await openSharedRegion(seat, mpmcQueue({ blocks: 64, blockBytes: MESSAGE_BYTES }))
    const sender = region.root.sender()
    const receiver = region.root.receiver()
    return {
      send: () => void sender.sendSync(new Uint8Array(MESSAGE_BYTES)),
      async receive() {
        if (work === 'blocked consumer') receiver.receiveSync()
        else await receiver.receive()
      },
      close: () => region.close(),
    }
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
