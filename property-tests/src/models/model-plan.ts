/** A model, and what is to be found out about it. */
export interface ModelPlan {
  /** Of its file in property-tests/models. */
  readonly name: string
  readonly sizes: readonly ModelSize[]
  /** Mutants that no size here catches, and why they are listed all the same. */
  readonly harmlessMutants: Readonly<Record<string, string>>
  /** Mutants that are neither caught nor shown to be harmless: their cases are larger than the sizes here. */
  readonly openMutants: readonly string[]
}

export interface ModelSize {
  readonly name: string
  /** As the program in property-tests/models reads it. */
  readonly parameters: string
  /** The mutants that have to be caught in this size. */
  readonly catches: readonly string[]
  /** Small enough for every change. The others need --full. */
  readonly isBrief: boolean
  readonly runsSolo: boolean
  /** The search ends here: it is not complete, and shows its mutants. */
  readonly statesMax?: number
}

export function brief(name: string, parameters: string, catches: readonly string[]): ModelSize {
  return { name, parameters, catches, isBrief: true, runsSolo: true }
}

export function full(name: string, parameters: string, catches: readonly string[]): ModelSize {
  return { name, parameters, catches, isBrief: false, runsSolo: false }
}

export function withoutSoloRuns(name: string, parameters: string, catches: readonly string[]): ModelSize {
  return { name, parameters, catches, isBrief: true, runsSolo: false }
}
