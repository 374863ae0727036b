/**
 * Steps that take back what was done so far, in case the rest fails. It does what a DisposableStack does, which Node.js
 * 20 does not have.
 */
export class Undo {
  readonly #steps: (() => void)[] = []

  add(step: () => void): void {
    this.#steps.push(step)
  }

  /** For a new owner, whose step takes back what the last step did, and more. */
  replaceLast(step: () => void): void {
    this.#steps.pop()
    this.#steps.push(step)
  }

  /** Runs the last step first. A step that throws does not keep the others from running. */
  run(): void {
    const step = this.#steps.pop()
    if (step === undefined) return
    try {
      step()
    } finally {
      this.run()
    }
  }
}

/** Runs the action; if it throws, takes back what it has added to the list. */
export function orUndo<R>(action: (undo: Undo) => R): R {
  const undo = new Undo()
  try {
    return action(undo)
  } catch (error) {
    undo.run()
    throw error
  }
}
