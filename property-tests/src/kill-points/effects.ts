/** On which side of an effect its process dies. */
export type Side = 'before' | 'after'

export interface KillPoint {
  /** Counted from 1 on. */
  readonly effect: number
  readonly side: Side
}

/** Counts what a process does to shared memory and to the system, and ends it at the chosen effect. */
export class Effects {
  /** What they were, in the order in which they happened. */
  readonly texts: string[] = []
  readonly #dieAt: (text: string) => never
  #isArmed = false
  #killPoint: KillPoint | undefined
  #onlyWith = ''

  /** @param dieAt is told what it dies at */
  constructor(dieAt: (text: string) => never) {
    this.#dieAt = dieAt
  }

  /** @param onlyWith counts those whose text contains this */
  arm(killPoint: KillPoint | undefined, onlyWith = ''): void {
    this.texts.length = 0
    this.#killPoint = killPoint
    this.#onlyWith = onlyWith
    this.#isArmed = true
  }

  disarm(): void {
    this.#isArmed = false
  }

  /** Does it, or dies on one of its sides. */
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
