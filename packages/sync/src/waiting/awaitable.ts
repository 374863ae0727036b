import type { WaitPoint } from './wait-point.js'

/** A handle with calls that return promises. It says whether a pending promise keeps the process running. */
export abstract class Awaitable {
  /** The points at which its calls wait. */
  protected abstract waitPoints(): readonly WaitPoint[]

  /**
   * Pending promises of this handle keep the process running; this is the default.
   *
   * @example
   * ```ts
   * const { root } = HeapRegion.create(mutex())
   * root.unref().ref()
   * ```
   */
  ref(): this {
    for (const point of this.waitPoints()) point.setRef(true)
    return this
  }

  /**
   * Pending promises of this handle no longer keep the process running.
   *
   * @example
   * ```ts
   * const { root } = HeapRegion.create(mutex())
   * root.unref()
   * const waiting = root.lock() // may be pending when the program ends
   * ```
   */
  unref(): this {
    for (const point of this.waitPoints()) point.setRef(false)
    return this
  }
}
