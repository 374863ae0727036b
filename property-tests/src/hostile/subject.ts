import type { Layout } from '@isthmus/sync'
import type { Call } from './call.js'
import type { Ground, RegionKind } from './ground.js'
import type { Mutation } from './memory.js'
import type { Random } from './random.js'

/** Those who use a structure while it is attacked. */
export interface Users {
  /** What one of them does next. */
  next(random: Random): Call
  /** What they do in the end, whatever happened. */
  leave(): Call[]
}

/** A structure, and what its users do with it. */
export interface Subject {
  readonly name: string
  readonly structure: Layout<unknown>
  /** Both kinds if not given. */
  readonly regions?: readonly RegionKind[]
  /**
   * Byte ranges of the structure that a thread must not scribble over while users work: a wait on them may go on for ever,
   * and says so. Between two calls they are attacked all the same.
   */
  readonly unscribbled?: readonly (readonly [from: number, to: number])[]
  enter(ground: Ground, random: Random): Users
  /** What a second thread does to the structure again and again, in place of scribbling over its words. */
  scribble?(words: Int32Array, firstWord: number): void
  /** A blow that no word by itself would be: something that looks right. */
  strike?(ground: Ground, random: Random): Mutation[]
}

/** The shortest waits that there are; some do not wait at all. */
export function shortTimeout(random: Random): number {
  return random.isOneIn(8) ? 1 + random.below(2) : 0
}
