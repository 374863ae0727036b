import { median } from './median.js'

const LOOKS = 1001

/** Times single events of this thread, in whole nanoseconds, without what reading the clock costs itself. */
export class Stopwatch {
  readonly #clockNs: number
  #startMs = 0

  constructor() {
    for (let look = 0; look < LOOKS; look++) elapsedNs(performance.now())
    this.#clockNs = median(Array.from({ length: LOOKS }, () => elapsedNs(performance.now())))
  }

  start(): void {
    this.#startMs = performance.now()
  }

  /** Since the start. */
  read(): number {
    return Math.max(0, Math.round(elapsedNs(this.#startMs) - this.#clockNs))
  }
}

function elapsedNs(startMs: number): number {
  return (performance.now() - startMs) * 1e6
}
