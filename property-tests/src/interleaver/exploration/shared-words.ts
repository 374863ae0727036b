import { agentsIn } from '../choice.js'
import type { Execution } from '../execution.js'
import { areDependent, END_SLICES, touchesWord } from '../operation.js'

/**
 * The words at which operations of two agents depend on each other, in any schedule so far. The set only grows; a search
 * that began when it was smaller must be repeated.
 */
export class SharedWords {
  /** By word: the kinds of operations that each agent was seen about to do there. */
  readonly #kinds = new Map<number, Map<number, Set<number>>>()
  readonly #shared = new Set<number>()

  get size(): number {
    return this.#shared.size
  }

  isShared(kind: number, word: number): boolean {
    return kind === END_SLICES || (touchesWord(kind) && this.#shared.has(word))
  }

  learn(execution: Execution): void {
    for (let step = 0; step < execution.steps; step++) {
      for (const agent of agentsIn(execution.aliveAt(step))) {
        const kind = execution.pendingKindAt(step, agent)
        if (touchesWord(kind)) this.#add(agent, kind, execution.pendingWordAt(step, agent))
      }
    }
  }

  #add(agent: number, kind: number, word: number): void {
    let byAgent = this.#kinds.get(word)
    if (byAgent === undefined) {
      byAgent = new Map()
      this.#kinds.set(word, byAgent)
    }
    let kinds = byAgent.get(agent)
    if (kinds === undefined) {
      kinds = new Set()
      byAgent.set(agent, kinds)
    }
    if (kinds.has(kind)) return
    kinds.add(kind)
    for (const [other, otherKinds] of byAgent) {
      if (other === agent) continue
      if ([...otherKinds].some((otherKind) => areDependent(kind, word, otherKind, word))) this.#shared.add(word)
    }
  }
}
