import { IsthmusError } from './errors.js'
import { assertOpen, type Region } from './region/region.js'

/**
 * What a program has as long as it holds something: a mutex, a permit, a read-write lock. It gives that back explicitly, or
 * at the end of a block with `using`.
 *
 * The blocking forms reuse their guards, so they make no garbage. All guards are renewed in one way: their lock raises
 * `holdCount` in the step that takes and lowers it in the step that gives back. Nothing else says whether a guard is held.
 */
export abstract class Guard {
  /** @internal */
  readonly region: Region
  /** @internal How often it was given out and not given back: 0 or 1, but more if one guard stands for several readers. */
  holdCount = 0

  protected constructor(region: Region) {
    this.region = region
  }

  get isHeld(): boolean {
    return this.holdCount > 0
  }

  /** Gives back what is held. Does nothing if nothing is, or if the region is closed, which has given it back already. */
  [Symbol.dispose](): void {
    if (this.holdCount > 0 && !this.region.isClosed) this.giveBack()
  }

  protected abstract giveBack(): void

  /**
   * @internal
   * @throws IsthmusError `ERR_ISTHMUS_CLOSED`, `ERR_ISTHMUS_NOT_HELD`
   */
  assertHeld(attempt: string): void {
    assertOpen(this.region)
    if (this.holdCount === 0) throw notHeldError(attempt)
  }
}

export function notHeldError(attempt: string): IsthmusError {
  return new IsthmusError(
    'ERR_ISTHMUS_NOT_HELD',
    `${attempt}: this guard holds nothing, since it was given back before. Take again first, and give back once for each time.`,
  )
}
