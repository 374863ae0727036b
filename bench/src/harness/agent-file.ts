import { fileURLToPath } from 'node:url'

/** Built beside the main program: what each side of a run executes. */
export const AGENT_FILE = fileURLToPath(new URL('./agent.js', import.meta.url))
