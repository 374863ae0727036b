import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import { NOTHING, sum, type Tallies, type Tally, totalOf } from './tally.js'

interface Saved {
  readonly seed: number
  readonly seconds: number
  readonly fields: Tallies
}

/** The counts so far, over all runs that are resumed. */
export class Checkpoint {
  readonly #file: string | undefined
  readonly #seed: number
  readonly #secondsBefore: number
  readonly #startedMs = performance.now()
  #tallies: Tallies

  private constructor(file: string | undefined, seed: number, before: Pick<Saved, 'seconds' | 'fields'>) {
    this.#file = file
    this.#seed = seed
    this.#secondsBefore = before.seconds
    this.#tallies = before.fields
  }

  /** @param resume a file that an earlier run has saved; it is continued unless `file` names another */
  static open(file: string | undefined, resume: string | undefined, seed: number): Checkpoint {
    const before =
      resume === undefined ? { seconds: 0, fields: {} } : (JSON.parse(readFileSync(resume, 'utf8')) as Saved)
    return new Checkpoint(file ?? resume, seed, before)
  }

  get tallies(): Tallies {
    return this.#tallies
  }

  get seconds(): number {
    return this.#secondsBefore + (performance.now() - this.#startedMs) / 1000
  }

  count(field: string, tally: Tally): void {
    this.#tallies = { ...this.#tallies, [field]: sum(this.#tallies[field] ?? NOTHING, tally) }
  }

  countLoss(field: string): void {
    this.count(field, { ...NOTHING, rounds: 1, losses: 1 })
  }

  /** Saves the counts. The file is whole even if this command is killed meanwhile. */
  save(): void {
    if (this.#file === undefined) return
    const { seconds } = this
    const text = JSON.stringify(
      { seed: this.#seed, seconds, total: totalOf(this.#tallies), fields: this.#tallies },
      null,
      2,
    )
    writeFileSync(`${this.#file}.new`, `${text}\n`)
    renameSync(`${this.#file}.new`, this.#file)
  }
}
