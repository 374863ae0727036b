/**
 * One choice of a schedule: which agent takes its next step, or which agent crashes.
 * It is a number, so that it fits into shared memory.
 */
const CRASH_BIT = 16
const AGENT_MASK = 15

export function stepOf(agent: number): number {
  return agent
}

export function crashOf(agent: number): number {
  return agent | CRASH_BIT
}

export function agentOf(choice: number): number {
  return choice & AGENT_MASK
}

export function isCrash(choice: number): boolean {
  return (choice & CRASH_BIT) !== 0
}

/** The agents in a mask, lowest first. */
export function agentsIn(mask: number): number[] {
  const agents: number[] = []
  for (let agent = 0; mask >>> agent !== 0; agent++) if ((mask >>> agent) & 1) agents.push(agent)
  return agents
}
