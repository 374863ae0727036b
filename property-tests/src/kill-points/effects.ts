/** On which side of an effect its process dies. */
export type Side = 'before' | 'after'

export interface KillPoint {
  /** Counted from 1. */
  readonly effect: number
  readonly side: Side
}

/** What happens to the process at a kill point: it is killed, or stopped, and continued later. */
export type How = 'kill' | 'stop'

/** Counts what a process does to shared memory and to the system, and ends or stops the process at the chosen effect. */
export class Effects {
  /** One text for each effect so far, in order. */
  readonly texts: string[] = []
  readonly #strike: (text: string) => void
  #isArmed = false
  #killPoint: KillPoint | undefined
  #onlyWith = ''

  /** @param strike ends or stops the process; its argument is the text of the effect at which it does */
  constructor(strike: (text: string) => void) {
    this.#strike = strike
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

  /** Executes the effect, and ends or stops the process before or after it if this is the kill point. */
  take<R>(textOf: () => string, action: () => R): R {
    if (!this.#isArmed) return action()
    const text = textOf()
    if (!text.includes(this.#onlyWith)) return action()
    this.texts.push(text)
    const side = this.#killPoint?.effect === this.texts.length ? this.#killPoint.side : undefined
    if (side === 'before') this.#strike(text)
    const result = action()
    if (side === 'after') this.#strike(text)
    return result
  }
}
