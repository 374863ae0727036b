import { agentOf, isCrash } from '../choice.js'
import type { Execution } from '../execution.js'

/**
 * The agents whose crash must be tried before this step, as a mask. A crash changes no memory. So a crash some steps later,
 * when others have gone on, is the same as one right after the agent's own last step, or right after it was woken: before
 * that it was in a queue. The crash is tried at these places only.
 */
export function crashCandidates(execution: Execution, step: number, crashable: number): number {
  const hasCrashed = Array.from({ length: step }, (_, earlier) => execution.choiceAt(earlier)).some(isCrash)
  if (hasCrashed || isCrash(execution.choiceAt(step))) return 0
  const moved = step === 0 ? -1 : (1 << agentOf(execution.choiceAt(step - 1))) | execution.wokenAt(step - 1)
  return moved & execution.aliveAt(step) & crashable
}
