import type { ChildProcess } from 'node:child_process'
import { MessageChannel } from 'node:worker_threads'
import type { Assignment, Crowd, CrowdReports, Role } from './assignment.js'
import { outputOf, reportOfThread, startChannelChild } from './start-side.js'

/** For so many messages that the host has passed on, their sender gets one answer: their number. */
const PASSED_ON_AT_ONCE = 64

/** Starts all sides of a crowd, and returns what they report. */
export function reportsOfCrowd(assignment: Assignment): Promise<CrowdReports<unknown>> {
  const { arrangement, crowd } = assignment
  if (crowd === undefined) throw new Error('Starting the sides of a crowd: it is not said how many')
  return arrangement === 'threads' ? reportsOfThreads(assignment, crowd) : reportsOfChildren(assignment, crowd)
}

/** Each thread has a port to each one of the other role. */
async function reportsOfThreads(assignment: Assignment, crowd: Crowd): Promise<CrowdReports<unknown>> {
  const channels = numbers(crowd.first).map(() => numbers(crowd.second).map(() => new MessageChannel()))
  const [first, second] = await Promise.all([
    Promise.all(
      numbers(crowd.first).map((index) =>
        reportOfThread(
          sideOf(assignment, 'first', index),
          channels[index].map(({ port1 }) => port1),
        ),
      ),
    ),
    Promise.all(
      numbers(crowd.second).map((index) =>
        reportOfThread(
          sideOf(assignment, 'second', index),
          channels.map((row) => row[index].port2),
        ),
      ),
    ),
  ])
  return { first, second }
}

/** The host passes each message of a sender on to the next receiver. */
async function reportsOfChildren(assignment: Assignment, crowd: Crowd): Promise<CrowdReports<unknown>> {
  const startAll = (role: Role) =>
    numbers(crowd[role]).map((index) => startChannelChild(sideOf(assignment, role, index)))
  const senders = startAll('first')
  const receivers = startAll('second')
  for (const sender of senders) passOn(sender, receivers)
  const reportsOf = async (role: Role, children: readonly ChildProcess[]) => {
    const outputs = await Promise.all(children.map((child) => outputOf<Partial<Record<Role, unknown>>>(child)))
    return outputs.map((output) => output?.[role])
  }
  const [first, second] = await Promise.all([reportsOf('first', senders), reportsOf('second', receivers)])
  return { first, second }
}

function passOn(sender: ChildProcess, receivers: readonly ChildProcess[]): void {
  let next = 0
  let passedOn = 0
  const answer = () => {
    if (++passedOn < PASSED_ON_AT_ONCE || !sender.connected) return
    sender.send(passedOn)
    passedOn = 0
  }
  sender.on('message', (message) => {
    receivers[next].send(message, answer)
    next = (next + 1) % receivers.length
  })
}

function sideOf(assignment: Assignment, role: Role, index: number): Assignment {
  return { ...assignment, role, index, isHost: false }
}

function numbers(count: number): number[] {
  return Array.from({ length: count }, (_, index) => index)
}
