/** What one case did. */
export interface CaseReport {
  readonly mutations: number
  readonly calls: number
  /** What the calls came to: `returned`, or the code of an error. */
  readonly answers: readonly string[]
  /** One line for each blow and each call, in order; for the replay. */
  readonly log: readonly string[]
}

/** Where one case is played again, each line as it comes: of one that hangs nobody hears anything afterwards. */
export const trace: { line?: (text: string) => void } = {}

/** Something to be attacked in one way: each seed is one case. */
export interface Target {
  readonly name: string
  /** @throws CaseFailure */
  run(seed: number): Promise<CaseReport>
  /** How many words another thread has overwritten in the meantime; 0 where there is none. */
  readonly scribbles: number
  close(): Promise<void>
}

/** A case in which something happened that must never happen. */
export class CaseFailure extends Error {
  override readonly name = 'CaseFailure'
  readonly log: readonly string[]

  constructor(cause: unknown, log: readonly string[]) {
    super(cause instanceof Error ? (cause.stack ?? cause.message) : String(cause), { cause })
    this.log = log
  }
}
