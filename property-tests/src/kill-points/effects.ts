/** On which side of an effect its process dies. */
export type Side = 'before' | 'after'

export interface KillPoint {
  /** Counted from 1. */
  readonly effect: number
  readonly side: Side
}

/** Counts what a process does to shared memory and to the system, and ends the process at the chosen effect. */
export class Effects {
  /** One text for each effect so far, in order. */
  readonly texts: string[] = []
  readonly #dieAt: (text: string) => never
  #isArmed = false
  #killPoint: KillPoint | undefined
  #onlyWith = ''

  /** @param dieAt ends the process; its argument is the text of the effect at which it dies */
  constructor(dieAt: (text: string) => never) {
    this.#dieAt = dieAt
  }

  /** @param onlyWith only effects whose text contains this count */
  arm(killPoint: KillPoint | undefined, onlyWith = ''): void {
    this.texts.length = 0
    this.#killPoint = killPoint
    this.#onlyWith = onlyWith
    this.#isArmed = true
  }

  disarm(): void {
    this.#isArmed = false
  }

  /** Executes the effect, and ends the process before or after it if this is the kill point. */
  take<R>(textOf: () => string, action: () => R): R {
    if (!this.#isArmed) return action()
    const text = textOf()
    if (!text.includes(this.#onlyWith)) return action()
    this.texts.push(text)
    const isPoint = this.#killPoint?.effect === this.texts.length
    if (isPoint && this.#killPoint?.side === 'before') this.#dieAt(text)
    const result = action()
    if (isPoint) this.#dieAt(text)
    return result
  }
}
