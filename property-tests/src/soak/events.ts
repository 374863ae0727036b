const KEPT = 80

/** The last events, for the report of a failure. */
export class Events {
  readonly #startedMs = performance.now()
  #lines: string[] = []

  note(what: string): void {
    this.#lines.push(`${(performance.now() - this.#startedMs).toFixed(1).padStart(9)} ms  ${what}`)
    if (this.#lines.length > 2 * KEPT) this.#lines = this.#lines.slice(-KEPT)
  }

  get last(): readonly string[] {
    return this.#lines.slice(-KEPT)
  }
}
