import { setTimeout as delay } from 'node:timers/promises'
import { spscRing } from '@isthmus/ring'
import { mutex, struct } from '@isthmus/sync'
import type { Arrangement, Assignment, Line } from '../harness/assignment.js'
import type { Contest, Contestant } from '../harness/contest.js'
import { Meeting } from '../harness/meeting.js'
import { runAgents } from '../harness/run-agents.js'
import { sharedNowNs } from '../harness/shared-clock.js'
import { childProcessAdvanced } from '../subjects/messengers/child-process.js'
import { unixSocket } from '../subjects/messengers/unix-socket.js'
import { nativeMutex } from '../subjects/native.js'
import { pauseThread } from '../subjects/ping-pong.js'
import { openSharedRegion } from '../subjects/shared-region.js'
import type { MessageSubject, Seat } from '../subjects/subject.js'
import type { Scenario } from './scenario.js'

const SCENARIO = 'recovery-time'
/** How long the survivor has been asleep when the other side is killed. */
const ASLEEP_MS = 300

const workNames = ['awaiting consumer', 'blocked consumer', 'awaiting lock waiter', 'blocked lock waiter'] as const
type WorkName = (typeof workNames)[number]

/** Returns when the survivor knows of the death; throws if anything else happens. */
type Learn = () => void | Promise<void>

interface RecoverySubject {
  readonly name: string
  readonly arrangement: Arrangement
  /** What either side holds and waits for. Undefined if there is no such work. */
  openerFor(work: WorkName): ((seat: Seat) => Promise<Learn>) | undefined
}

const layout = struct({ ring: spscRing({ capacityBytes: 4096 }), lock: mutex() })

const subjects: readonly RecoverySubject[] = [
  { name: 'isthmus', arrangement: 'processes', openerFor: (work) => (seat) => openIsthmus(work, seat) },
  fromMessenger(unixSocket),
  { ...fromMessenger(childProcessAdvanced), name: 'child_process' },
]

/** The time from a SIGKILL until a peer that depends on the killed process knows of it. */
export const recoveryTime: Scenario = {
  name: SCENARIO,
  contests: workNames.map(contestOf),
  takePart,
}

interface Report {
  readonly elapsedNs: number
}

function contestOf(work: WorkName): Contest {
  const contestants = subjects
    .filter(({ openerFor }) => openerFor(work) !== undefined)
    .map(({ name, arrangement }): Contestant => {
      const task = { scenario: SCENARIO, work, subject: name, arrangement, isSecondKilled: true }
      return {
        subject: name,
        run: async (context) => ({ value: (await runAgents<Report>(task, context)).first.elapsedNs / 1e9 }),
      }
    })
  const native: Contestant = {
    subject: 'native robust',
    prepare: nativeMutex.prepare,
    run: async (context) => ({ value: (await nativeMutex.recovery(context)) / 1e9 }),
  }
  return {
    scenario: SCENARIO,
    work,
    unit: 's',
    contestants: work === 'blocked lock waiter' ? [...contestants, native] : contestants,
  }
}

async function takePart(assignment: Assignment, line: Line): Promise<Report> {
  const { role, place } = assignment
  const subject = subjects.find(({ name }) => name === assignment.subject)
  const open = subject?.openerFor(assignment.work as WorkName)
  if (open === undefined) {
    throw new Error(`Taking part in ${SCENARIO}: ${assignment.subject} does not do ${assignment.work}`)
  }
  const meeting = new Meeting(place)
  const learn = await meeting.openInTurn(role, () => open({ role, place, line, messageBytes: 8 }))
  meeting.meet()
  if (role === 'second') {
    pauseThread(ASLEEP_MS)
    meeting.note = sharedNowNs()
    process.kill(process.pid, 'SIGKILL')
    await delay(ASLEEP_MS)
    throw new Error('Being killed: nothing came of it')
  }
  await learn()
  const elapsedNs = sharedNowNs() - meeting.note
  if (meeting.note === 0) throw new Error('The survivor learned of a death before it happened')
  meeting.close()
  return { elapsedNs }
}

async function openIsthmus(work: WorkName, seat: Seat): Promise<Learn> {
  const region = await openSharedRegion(seat, layout)
  const { ring, lock } = region.root
  if (seat.role === 'second') {
    ring.producer()
    lock.lockSync()
    return () => {}
  }
  const learn = learnOf(work, ring, lock)
  return async () => {
    await learn()
    region.close()
  }
}

function learnOf(
  work: WorkName,
  ring: ReturnType<typeof layout.attach>['ring'],
  lock: ReturnType<typeof layout.attach>['lock'],
): Learn {
  if (work === 'awaiting lock waiter') return async () => assertOwnerDied((await lock.lock()).ownerDied)
  if (work === 'blocked lock waiter') return () => assertOwnerDied(lock.lockSync().ownerDied)
  const consumer = ring.consumer()
  return async () => {
    try {
      if (work === 'blocked consumer') consumer.receiveSync()
      else await consumer.receive()
    } catch (error) {
      if (error instanceof Error && 'code' in error && error.code === 'ERR_ISTHMUS_PEER_DIED') return
      throw error
    }
    throw new Error('The survivor received something')
  }
}

function assertOwnerDied(ownerDied: boolean): void {
  if (!ownerDied) throw new Error('The survivor was not told that the owner died')
}

/** The end of a connection tells that its other end is gone. */
function fromMessenger({ name, arrangement, openMessenger }: MessageSubject): RecoverySubject {
  return {
    name,
    arrangement,
    openerFor(work) {
      if (work !== 'awaiting consumer' || openMessenger === undefined) return undefined
      return async (seat) => {
        const messenger = await openMessenger(seat)
        const ended = new Promise<void>((resolve) => {
          messenger.onEnd = resolve
        })
        return async () => {
          await ended
          messenger.close()
        }
      }
    },
  }
}
