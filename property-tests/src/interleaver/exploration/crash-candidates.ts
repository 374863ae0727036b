import { agentOf, isCrash } from '../choice.js'
import type { Execution } from '../execution.js'

/**
 * The agents whose crash is to be tried before this step, as a mask. A crash changes no memory, so an agent that crashes
 * later, when others have gone on, might as well have crashed right behind its last own step; or right after it was
 * woken, since before that it stands in a queue. Those are the places.
 */
export function crashCandidates(execution: Execution, step: number, crashable: number): number {
  const hasCrashed = Array.from({ length: step }, (_, earlier) => execution.choiceAt(earlier)).some(isCrash)
  if (hasCrashed || isCrash(execution.choiceAt(step))) return 0
  const moved = step === 0 ? -1 : (1 << agentOf(execution.choiceAt(step - 1))) | execution.wokenAt(step - 1)
  return moved & execution.aliveAt(step) & crashable
}
