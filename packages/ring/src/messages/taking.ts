/** A call that waits for something to take. What a wait takes while it polls stays taken, whatever ends the wait. */
export class Taking<R> {
  readonly #tryTake: () => R | undefined
  taken: R | undefined

  constructor(tryTake: () => R | undefined) {
    this.#tryTake = tryTake
  }

  /** Takes it, if it is there. Returns whether it was taken, now or before. */
  poll(): boolean {
    if (this.taken === undefined) this.taken = this.#tryTake()
    return this.taken !== undefined
  }
}
