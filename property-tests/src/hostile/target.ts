/** What one case did. */
export interface CaseReport {
  readonly mutations: number
  readonly calls: number
  /** The answer of each call: `returned`, or the code of an error. */
  readonly answers: readonly string[]
  /** One line for each blow (hostile write) and each call, in order, for the replay. */
  readonly log: readonly string[]
}

/** During a replay of one case, gets each line at once: a case that hangs has no report afterwards. */
export const trace: { line?: (text: string) => void } = {}

/** Something that is attacked in one way. Each seed is one case. */
export interface Target {
  readonly name: string
  /** @throws CaseFailure */
  run(seed: number): Promise<CaseReport>
  /** How many words the scribbler thread has overwritten; 0 if there is none. */
  readonly scribbles: number
  close(): Promise<void>
}

/** A case in which a breach was seen. */
export class CaseFailure extends Error {
  override readonly name = 'CaseFailure'
  readonly log: readonly string[]

  constructor(cause: unknown, log: readonly string[]) {
    super(cause instanceof Error ? (cause.stack ?? cause.message) : String(cause), { cause })
    this.log = log
  }
}
