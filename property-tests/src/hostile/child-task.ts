/** What the fuzzer asks a child to do: cases of one target, from a seed on, until the time or the number is up. */
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
  /** How often calls came to what. */
  readonly answers: Readonly<Record<string, number>>
  /** Of the last case, where only one was asked for. */
  readonly log?: readonly string[]
  readonly failure?: { readonly seed: number; readonly what: string; readonly log: readonly string[] }
}
