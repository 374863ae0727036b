import { setMaxListeners } from 'node:events'
import { argumentsFor } from './agent-file.js'
import type { Assignment, Crowd, CrowdReports, Reports, Role, Task } from './assignment.js'
import { Board } from './board.js'
import { THIS_BUILD } from './build.js'
import { runChild } from './child.js'
import type { RunContext } from './contest.js'
import { Meeting } from './meeting.js'
import { inPlace, type Place } from './place.js'

const RUN_TIMEOUT_MS = 60_000

/** Runs both sides of a task to their ends, in processes of their own. R is what a side reports. */
export async function runAgents<R>(task: Task, context: RunContext): Promise<Reports<R>> {
  // In the other arrangements the first side starts the second one.
  const roles: readonly Role[] = task.arrangement === 'processes' ? ['first', 'second'] : ['first']
  const agents = roles.map((role) => ({ role, index: 0 }))
  return Object.assign({}, ...(await runAll(task, agents, context)))
}

/** A task for a crowd. */
export type CrowdTask = Task & { readonly crowd: Crowd }

/** Runs all sides of a crowd to their ends. R is what a side reports. `conduct` is called when the board is there. */
export async function runCrowd<R>(
  task: CrowdTask,
  context: RunContext,
  conduct?: (place: Place) => Promise<void>,
): Promise<CrowdReports<R>> {
  const { crowd, arrangement } = task
  const accompany = async (place: Place) => {
    Board.create(place, crowd, context.build ?? THIS_BUILD)
    await conduct?.(place)
  }
  if (arrangement !== 'processes') {
    const [reports] = await runAll(task, [{ role: 'first', index: 0, isHost: true }], context, accompany)
    return reports as CrowdReports<R>
  }
  const seatsOf = (role: Role) => Array.from({ length: crowd[role] }, (_, index) => ({ role, index }))
  const outputs = await runAll(task, [...seatsOf('first'), ...seatsOf('second')], context, accompany)
  const reportsOf = (role: Role) => outputs.flatMap((output) => (role in output ? [output[role] as R] : []))
  return { first: reportsOf('first'), second: reportsOf('second') }
}

type Agent = Pick<Assignment, 'role' | 'index' | 'isHost'>

/** Runs agents, and returns what each of them printed. What accompanies them begins before they are started. */
async function runAll(
  task: Task,
  agents: readonly Agent[],
  { pace, signal, build = THIS_BUILD }: RunContext,
  accompany?: (place: Place) => Promise<void>,
): Promise<Partial<Record<Role, unknown>>[]> {
  return inPlace(async (place) => {
    Meeting.create(place, build)
    const ending = new AbortController()
    setMaxListeners(agents.length, ending.signal)
    const interrupt = () => ending.abort(signal.reason)
    signal.addEventListener('abort', interrupt)
    // Not AbortSignal.any with AbortSignal.timeout: on Node.js 20 they can be collected before the time is up.
    const watchdog = setTimeout(() => {
      ending.abort(new Error(`Running ${task.subject}: it has not ended after ${RUN_TIMEOUT_MS} ms`))
    }, RUN_TIMEOUT_MS)
    const runAgent = async (agent: Agent): Promise<Partial<Record<Role, unknown>>> => {
      const assignment: Assignment = { ...task, ...agent, place, pace }
      const isKilled = agent.role === 'second' && task.isSecondKilled === true
      try {
        const output = await runChild(
          process.execPath,
          argumentsFor(assignment, build.agentFile),
          ending.signal,
          isKilled,
        )
        return isKilled ? {} : JSON.parse(lastLineOf(output))
      } catch (error) {
        ending.abort(error)
        throw error
      }
    }
    const accompanied = accompany?.(place).catch((error) => ending.abort(error))
    const runs = agents.map(runAgent)
    await Promise.allSettled([...runs, accompanied])
    // The agent that failed first is the cause; the others were killed because of it.
    clearTimeout(watchdog)
    signal.removeEventListener('abort', interrupt)
    ending.signal.throwIfAborted()
    return Promise.all(runs)
  })
}

/** The report is the last line: a library may have printed something before. */
function lastLineOf(output: string): string {
  return output.trimEnd().split('\n').at(-1) ?? ''
}
