import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync } from 'node:fs'
import { text } from 'node:stream/consumers'
import { isMainThread, MessageChannel, type MessagePort, parentPort, Worker, workerData } from 'node:worker_threads'
import { AGENT_FILE } from './agent-file.js'
import type { Arrangement, Assignment, Line, Reports, Role } from './assignment.js'
import { dieWithParent, makePipe } from './libc.js'

/** The file descriptors under which a parent gives its child the pipes. */
const CHILD_PIPES = { readFd: 3, writeFd: 4 }

type TakePart = (assignment: Assignment, line: Line) => Promise<unknown>

interface Seat {
  readonly assignment: Assignment
  readonly port: MessagePort
}

/** Runs in an agent: starts the other side if the arrangement asks for it, takes part, and prints its own report. */
export async function arrangeSides(takePart: TakePart): Promise<void> {
  if (!isMainThread) {
    const { assignment, port }: Seat = workerData
    const report = await takePart(assignment, { port })
    port.close()
    parentPort?.postMessage(report)
    return
  }
  dieWithParent()
  const assignment: Assignment = JSON.parse(process.argv[2])
  console.log(JSON.stringify(await reportsOf(assignment, takePart)))
  // Some libraries never stop waiting. The report is not lost: Node.js writes to pipes before it goes on.
  process.exit()
}

async function reportsOf(assignment: Assignment, takePart: TakePart): Promise<Partial<Reports<unknown>>> {
  const { arrangement, role } = assignment
  if (arrangement === 'threads') return reportsOfThreads(assignment)
  if (role === 'second') return { second: await takePart(assignment, lineOfChild(arrangement)) }
  if (arrangement === 'processes' || arrangement === 'alone') return { first: await takePart(assignment, {}) }
  const { child, line } = startChild(assignment)
  const second = secondReportOf(child, assignment)
  const first = await takePart(assignment, line)
  return { first, ...(await second) }
}

async function reportsOfThreads(assignment: Assignment): Promise<Reports<unknown>> {
  const { port1, port2 } = new MessageChannel()
  const reportOf = async (role: Role, port: MessagePort): Promise<unknown> => {
    const seat: Seat = { assignment: { ...assignment, role }, port }
    const worker = new Worker(AGENT_FILE, { workerData: seat, transferList: [port] })
    const [report] = await once(worker, 'message')
    return report
  }
  const [first, second] = await Promise.all([reportOf('first', port1), reportOf('second', port2)])
  return { first, second }
}

function lineOfChild(arrangement: Arrangement): Line {
  if (arrangement === 'pipes') return { pipes: CHILD_PIPES }
  return arrangement === 'processes' ? {} : { channel: process }
}

function startChild(assignment: Assignment): { child: ChildProcess; line: Line } {
  const argument = JSON.stringify({ ...assignment, role: 'second' })
  const args = [AGENT_FILE, argument]
  if (assignment.arrangement !== 'pipes') {
    const serialization = assignment.arrangement === 'json channel' ? 'json' : 'advanced'
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit', 'ipc'], serialization })
    return { child, line: { channel: child } }
  }
  const toChild = makePipe()
  const fromChild = makePipe()
  const child = spawn(process.execPath, args, {
    stdio: ['ignore', 'pipe', 'inherit', toChild.readFd, fromChild.writeFd],
  })
  closeSync(toChild.readFd)
  closeSync(fromChild.writeFd)
  return { child, line: { pipes: { readFd: fromChild.readFd, writeFd: toChild.writeFd } } }
}

async function secondReportOf(child: ChildProcess, { isSecondKilled }: Assignment): Promise<Partial<Reports<unknown>>> {
  if (child.stdout === null) throw new Error('Starting the second side: it has no output')
  // Not `close`: the event does not come if this process disconnected the channel.
  const [output, [code, killedBy]] = await Promise.all([text(child.stdout), once(child, 'exit')])
  if (isSecondKilled && killedBy === 'SIGKILL') return {}
  if (code === 0) return JSON.parse(output)
  throw new Error(`The second side ${code === null ? `was killed by ${killedBy}` : `ended with exit code ${code}`}`)
}
