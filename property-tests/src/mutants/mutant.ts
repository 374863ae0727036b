import type { Rung } from './rung.js'

/** One step of production code, broken on purpose. */
export interface Mutant {
  readonly name: string
  /** From the repository's root. */
  readonly file: string
  /** The text of the step, which stands in the file exactly once, and what stands there instead. */
  readonly from: string
  readonly to: string
  /** What claims to see it. */
  readonly rung: Rung
  /** Among those of `--brief`. */
  readonly isBrief?: boolean
}
