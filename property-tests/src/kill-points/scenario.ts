import type { Layout } from '@isthmus/sync'
import type { Survivor } from './survivor.js'
import type { Victim } from './victim.js'

export type Operation = () => unknown

/**
 * One operation in one role, whose process is killed at each of its effects. That process runs `victim`, which prepares
 * and returns the operation. The functions that take a survivor run in another process, which lives on.
 */
export interface Scenario<T, S = unknown> {
  /** `structure: what is done`, without characters that are special in a regular expression. */
  readonly name: string
  readonly layout: Layout<T>
  /** The survivor makes no segment: the victim makes it, or the scenario is about its file. */
  readonly isWithoutSegment?: boolean
  /** The victim does not attach beforehand: attaching is its operation, or no part of it. */
  readonly isVictimDetached?: boolean
  /** The victim uses promises, so it is a new Node.js: copies of a process have no event loop. */
  readonly isVictimAwaiting?: boolean
  readonly isSurvivorAwaiting?: boolean
  /** Runs before the victim starts. `meanwhile` and `check` get what it returns. */
  prepare?(survivor: Survivor<T>): S
  /** Runs in another process, which dies once it has completed; see Survivor.bury. */
  predecessor?(victim: Victim<T>): Operation
  /** Prepares in the process that will be killed. Only the effects of the operation that it returns are counted. */
  victim(victim: Victim<T>): Operation
  /** What the survivor does at the same time, once the victim is prepared. */
  meanwhile?(survivor: Survivor<T>, prepared: S): unknown
  /** `meanwhile` waits for the victim, so it must end soon after the victim's death. */
  readonly isMeanwhileWaiting?: boolean
  /** Runs once the victim is dead and no peer knows it yet. Throws what is wrong. */
  check(survivor: Survivor<T>, prepared: S): unknown
  /**
   * The same, in runs of its own, after newcomers have swept the dead peers' slots and before any waiter has reaped
   * them.
   */
  checkSwept?(survivor: Survivor<T>, prepared: S): unknown
  /**
   * If given, the victim is also stopped (SIGSTOP) at each of its effects, in runs of their own. This runs while it is: it throws
   * if others cannot go on. Then the victim is continued, `meanwhile` runs again, and `check` after the victim has completed its
   * operation and has died.
   */
  whileStopped?(survivor: Survivor<T>, prepared: S): void
}

/** Checks the types of a scenario, then erases them. */
export function scenario<T, S>(definition: Scenario<T, S>): Scenario<unknown> {
  return definition as unknown as Scenario<unknown>
}
