/**
 * What a child process must do: run cases of one target, beginning at a seed, until the time or the number is used up.
 */
export interface ChildTask {
  readonly target: number
  readonly seed: number
  readonly casesMax: number
  readonly mutationsMax: number
  readonly msMax: number
  readonly journal: string
  readonly segmentPrefix: string
}

export interface ChildResult {
  readonly cases: number
  readonly mutations: number
  readonly calls: number
  readonly scribbles: number
  readonly rssGrowthBytes: number
  /** How often calls gave each answer. */
  readonly answers: Readonly<Record<string, number>>
  /** The log of the case, if only one was asked for. */
  readonly log?: readonly string[]
  readonly failure?: { readonly seed: number; readonly what: string; readonly log: readonly string[] }
}
