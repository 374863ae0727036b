import type { Assignment, Reports, Role, Task } from './assignment.js'
import { THIS_BUILD } from './build.js'
import { runChild } from './child.js'
import type { RunContext } from './contest.js'
import { Meeting } from './meeting.js'
import { inPlace } from './place.js'

const RUN_TIMEOUT_MS = 60_000

/** Runs all sides of a task to their ends, in processes of their own. R is what a side reports. */
export async function runAgents<R>(task: Task, context: RunContext): Promise<Reports<R>> {
  const { pace, signal, build = THIS_BUILD } = context
  return inPlace(async (place) => {
    Meeting.create(place, build)
    const ending = new AbortController()
    const interrupt = () => ending.abort(signal.reason)
    signal.addEventListener('abort', interrupt)
    // Not AbortSignal.any with AbortSignal.timeout: on Node.js 20 they can be collected before the time is up.
    const watchdog = setTimeout(() => {
      ending.abort(new Error(`Running ${task.subject}: it has not ended after ${RUN_TIMEOUT_MS} ms`))
    }, RUN_TIMEOUT_MS)
    const runSide = async (role: Role): Promise<Partial<Reports<R>>> => {
      const assignment: Assignment = { ...task, role, place, pace }
      const isKilled = role === 'second' && task.isSecondKilled === true
      try {
        const output = await runChild(
          process.execPath,
          [build.agentFile, JSON.stringify(assignment)],
          ending.signal,
          isKilled,
        )
        return isKilled ? {} : JSON.parse(lastLineOf(output))
      } catch (error) {
        ending.abort(error)
        throw error
      }
    }
    // In the other arrangements the first side starts the second one.
    const roles: readonly Role[] = task.arrangement === 'processes' ? ['first', 'second'] : ['first']
    const sides = roles.map(runSide)
    await Promise.allSettled(sides)
    // The side that failed first is the cause; the other one was killed because of it.
    clearTimeout(watchdog)
    signal.removeEventListener('abort', interrupt)
    ending.signal.throwIfAborted()
    return Object.assign({}, ...(await Promise.all(sides)))
  })
}

/** The report is the last line: a library may have printed something before. */
function lastLineOf(output: string): string {
  return output.trimEnd().split('\n').at(-1) ?? ''
}
