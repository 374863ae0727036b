import type { HeapRegion, Layout } from '@isthmus/sync'
import { type AgentProgram, type AgentTools, agent } from '../scenario.js'

/** Declares the death of whoever has crashed, once it has. After that, nobody sleeps for longer than its slice. */
export function sweepUp<T>(region: HeapRegion<T>, tools: AgentTools<T>): void {
  const dead = tools.awaitCrash()
  if (dead === undefined) return
  region.declareDead(dead)
  tools.endSlices()
}

export function janitor<T>(layout: Layout<T>): AgentProgram<T> {
  return agent(layout, { prepare: (tools) => tools.attach(), run: sweepUp })
}
