import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync } from 'node:fs'
import { isMainThread, MessageChannel, type MessagePort, parentPort, workerData } from 'node:worker_threads'
import { argumentsFor } from './agent-file.js'
import { reportsOfCrowd } from './arrange-crowd.js'
import type { Arrangement, Assignment, Line, Reports, Role } from './assignment.js'
import { dieWithParent, makePipe } from './libc.js'
import { outputOf, reportOfThread, startChannelChild, type ThreadSeat } from './start-side.js'

/** The file descriptors under which a parent gives its child the pipes. */
const CHILD_PIPES = { readFd: 3, writeFd: 4 }

type TakePart = (assignment: Assignment, line: Line) => Promise<unknown>

/** Runs in an agent: starts the other side if the arrangement asks for it, takes part, and prints its own report. */
export async function arrangeSides(takePart: TakePart): Promise<void> {
  if (!isMainThread) {
    const { assignment, ports }: ThreadSeat = workerData
    const report = await takePart(assignment, { port: ports[0], ports })
    for (const port of ports) port.close()
    parentPort?.postMessage(report)
    return
  }
  // The main program of an older build names no parent.
  dieWithParent(Number(process.argv[3] ?? process.ppid))
  const assignment: Assignment = JSON.parse(process.argv[2])
  const reports = assignment.isHost ? await reportsOfCrowd(assignment) : await reportsOf(assignment, takePart)
  console.log(JSON.stringify(reports))
  // Some libraries never stop waiting. The report is not lost: Node.js writes to pipes before it goes on.
  process.exit()
}

async function reportsOf(assignment: Assignment, takePart: TakePart): Promise<Partial<Reports<unknown>>> {
  const { arrangement, role, crowd } = assignment
  if (crowd !== undefined) return { [role]: await takePart(assignment, lineOfChild(arrangement)) }
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
  const reportOf = (role: Role, port: MessagePort) => reportOfThread({ ...assignment, role }, [port])
  const [first, second] = await Promise.all([reportOf('first', port1), reportOf('second', port2)])
  return { first, second }
}

function lineOfChild(arrangement: Arrangement): Line {
  if (arrangement === 'pipes') return { pipes: CHILD_PIPES }
  return arrangement === 'processes' ? {} : { channel: process }
}

function startChild(assignment: Assignment): { child: ChildProcess; line: Line } {
  if (assignment.arrangement !== 'pipes') {
    const child = startChannelChild({ ...assignment, role: 'second' })
    return { child, line: { channel: child } }
  }
  const toChild = makePipe()
  const fromChild = makePipe()
  const args = argumentsFor({ ...assignment, role: 'second' })
  const child = spawn(process.execPath, args, {
    stdio: ['ignore', 'pipe', 'inherit', toChild.readFd, fromChild.writeFd],
  })
  closeSync(toChild.readFd)
  closeSync(fromChild.writeFd)
  return { child, line: { pipes: { readFd: fromChild.readFd, writeFd: toChild.writeFd } } }
}

async function secondReportOf(child: ChildProcess, { isSecondKilled }: Assignment): Promise<Partial<Reports<unknown>>> {
  return (await outputOf(child, isSecondKilled)) ?? {}
}
