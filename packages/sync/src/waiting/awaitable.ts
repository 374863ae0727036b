import type { WaitPoint } from './wait-point.js'

/** A handle with calls that return promises: as long as one is pending, it keeps the process running, or not. */
export abstract class Awaitable {
  /** Where its calls wait. */
  protected abstract waitPoints(): readonly WaitPoint[]

  /** Pending promises of this handle keep the process running; this is the default. */
  ref(): this {
    for (const point of this.waitPoints()) point.setRef(true)
    return this
  }

  /** Pending promises of this handle no longer keep the process running. */
  unref(): this {
    for (const point of this.waitPoints()) point.setRef(false)
    return this
  }
}
