import { Guard } from '../guard.js'
import { NO_CELL } from '../region/owned-cells.js'
import type { Region } from '../region/region.js'

/** @internal What a permit asks of its semaphore. */
export interface PermitSource {
  readonly region: Region
  release(permit: Permit): void
}

/**
 * What a holder has: leave to do what the semaphore limits. The permit of `tryAcquire` and `acquireSync` is one object for
 * each cell that an attachment has taken, held again when the cell is taken again; `acquire` makes one for each call.
 */
export class Permit extends Guard {
  readonly #semaphore: PermitSource
  /** @internal Which cell it has, or had last. */
  cell = NO_CELL

  /** @internal */
  constructor(semaphore: PermitSource) {
    super(semaphore.region)
    this.#semaphore = semaphore
  }

  /**
   * Gives the permit back, and wakes a waiter if there is one.
   *
   * @example
   * ```ts
   * const { root } = HeapRegion.create(semaphore({ permits: 2 }))
   * const permit = root.acquireSync()
   * permit.release()
   * permit.isHeld // false
   * ```
   *
   * @throws IsthmusError `ERR_ISTHMUS_NOT_HELD` if it was released before; `ERR_ISTHMUS_CLOSED`
   */
  release(): void {
    this.#semaphore.release(this)
  }

  protected override giveBack(): void {
    this.release()
  }
}
