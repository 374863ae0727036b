import { fileURLToPath } from 'node:url'
import type { Assignment } from './assignment.js'

/** Built beside the main program: what each side of a run executes. */
export const AGENT_FILE = fileURLToPath(new URL('./agent.js', import.meta.url))

/** What an agent is started with by this process. It ends with it. */
export function argumentsFor(assignment: Assignment, agentFile = AGENT_FILE): string[] {
  return [agentFile, JSON.stringify(assignment), String(process.pid)]
}
