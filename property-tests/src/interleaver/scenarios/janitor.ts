import type { HeapRegion, Layout } from '@isthmus/sync'
import { type AgentProgram, type AgentTools, agent } from '../scenario.js'

/** Waits for a crash and declares the death. After that, sleeps end with their slice. */
export function sweepUp<T>(region: HeapRegion<T>, tools: AgentTools<T>): void {
  const dead = tools.awaitCrash()
  if (dead === undefined) return
  region.declareDead(dead)
  tools.endSlices()
}

export function janitor<T>(layout: Layout<T>): AgentProgram<T> {
  return agent(layout, { prepare: (tools) => tools.attach(), run: sweepUp })
}
