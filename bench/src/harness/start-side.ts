import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { type MessagePort, Worker } from 'node:worker_threads'
import { AGENT_FILE, argumentsFor } from './agent-file.js'
import type { Assignment } from './assignment.js'

/** What a side is given that is a thread. */
export interface ThreadSeat {
  readonly assignment: Assignment
  readonly ports: readonly MessagePort[]
}

/** Starts a side as a thread, and returns what it reports. */
export async function reportOfThread(assignment: Assignment, ports: readonly MessagePort[]): Promise<unknown> {
  const seat: ThreadSeat = { assignment, ports }
  const worker = new Worker(AGENT_FILE, { workerData: seat, transferList: [...ports] })
  const [report] = await once(worker, 'message')
  return report
}

/** Starts a side as a child with Node.js' own channel to it. */
export function startChannelChild(assignment: Assignment): ChildProcess {
  const serialization = assignment.arrangement === 'json channel' ? 'json' : 'advanced'
  return spawn(process.execPath, argumentsFor(assignment), {
    stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
    serialization,
  })
}

/** What a child has printed, as JSON, when it has ended. Undefined if it was killed, as expected. */
export async function outputOf<T>(child: ChildProcess, isKilled = false): Promise<T | undefined> {
  if (child.stdout === null) throw new Error('Starting a side: it has no output')
  // Not `close`: the event does not come if this process disconnected the channel.
  const [output, [code, killedBy]] = await Promise.all([text(child.stdout), once(child, 'exit')])
  if (isKilled && killedBy === 'SIGKILL') return undefined
  if (code === 0) return JSON.parse(output)
  throw new Error(`A side ${code === null ? `was killed by ${killedBy}` : `ended with exit code ${code}`}`)
}
