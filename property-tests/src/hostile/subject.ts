import type { Layout } from '@isthmus/sync'
import type { Call } from './call.js'
import type { Ground, RegionKind } from './ground.js'
import type { Mutation } from './memory.js'
import type { Random } from './random.js'

/** The callers of a structure while it is attacked. */
export interface Users {
  /** The next call of one of them. */
  next(random: Random): Call
  /** The calls with which they finish, whatever happened. */
  leave(): Call[]
}

/** A structure and the calls of its users. */
export interface Subject {
  readonly name: string
  readonly structure: Layout<unknown>
  /** Both kinds unless given. */
  readonly regions?: readonly RegionKind[]
  /**
   * Byte ranges that the scribbler leaves alone, because a documented wait on them has no timeout. They are attacked
   * between calls all the same.
   */
  readonly unscribbled?: readonly (readonly [from: number, to: number])[]
  enter(ground: Ground, random: Random): Users
  /** What the scribbler does to the structure repeatedly, instead of overwriting words. */
  scribble?(words: Int32Array, firstWord: number): void
  /** A blow of several words together that look right, such as a forged record. */
  strike?(ground: Ground, random: Random): Mutation[]
}

/** A very short timeout, sometimes 0. */
export function shortTimeout(random: Random): number {
  return random.isOneIn(8) ? 1 + random.below(2) : 0
}
