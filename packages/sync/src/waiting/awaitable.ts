import type { WaitPoint } from './wait-point.js'

/** A handle with calls that return promises. It says whether a pending promise keeps the process running. */
export abstract class Awaitable {
  /** The points at which its calls wait. */
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
