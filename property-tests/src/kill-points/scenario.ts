import type { Layout } from '@isthmus/sync'
import type { Survivor } from './survivor.js'
import type { Victim } from './victim.js'

export type Operation = () => unknown

/**
 * One operation in one role, killed at each of its effects. In a process of its own, `victim` prepares and returns the
 * operation; the functions that are given a survivor run in another process, which lives on.
 */
export interface Scenario<T, S = unknown> {
  /** `structure: what is done`. Without characters that mean something to a regular expression. */
  readonly name: string
  readonly layout: Layout<T>
  /** The survivor makes no segment: the victim does, or it is about its file. */
  readonly isWithoutSegment?: boolean
  /** Attaching is what the victim's operation is about, or no part of it. */
  readonly isVictimDetached?: boolean
  /** Uses promises: then it is a new Node.js and no copy of one, since copies have no event loop. */
  readonly isVictimAwaiting?: boolean
  readonly isSurvivorAwaiting?: boolean
  /** Before there is a victim. What it returns is given to `meanwhile` and `check`. */
  prepare?(survivor: Survivor<T>): S
  /** In another process, which dies when it has been through; see Survivor.bury. */
  predecessor?(victim: Victim<T>): Operation
  /** Prepares in the process that will be killed; the operation that it returns is what is counted. */
  victim(victim: Victim<T>): Operation
  /** What the survivor does at the same time, from the moment at which the victim has prepared. */
  meanwhile?(survivor: Survivor<T>, prepared: S): unknown
  /** `meanwhile` waits for the victim: it has to end soon after the victim's death. */
  readonly isMeanwhileWaiting?: boolean
  /** Once the victim is dead, and nobody has been told. Throws where something is not as it should be. */
  check(survivor: Survivor<T>, prepared: S): unknown
  /** In runs of its own: the same, once newcomers have swept the dead ones' slots, and nobody has proven anything. */
  checkSwept?(survivor: Survivor<T>, prepared: S): unknown
}

/** Checks the types of a scenario, and forgets them. */
export function scenario<T, S>(definition: Scenario<T, S>): Scenario<unknown> {
  return definition as unknown as Scenario<unknown>
}
