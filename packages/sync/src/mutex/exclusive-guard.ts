import { Guard } from '../guard.js'
import type { Region } from '../region/region.js'

/** @internal What a guard asks of the mutex that it locks. */
export interface GuardedMutex {
  readonly region: Region
  unlock(guard: ExclusiveGuard): void
  markConsistent(guard: ExclusiveGuard): void
  abandon(guard: ExclusiveGuard): void
}

/**
 * What the one owner of a lock has: the guard of a mutex, or of a writer.
 *
 * @example
 * ```ts
 * const { lock, balance } = HeapRegion.create(struct({ lock: mutex(), balance: f64() })).root
 * const guard = lock.lockSync()
 * if (guard.ownerDied) guard.markConsistent() // after repairing `balance`
 * balance.value += 10
 * guard.unlock()
 * ```
 */
export abstract class ExclusiveGuard extends Guard {
  readonly #mutex: GuardedMutex
  /**
   * Whether the owner before this one died, or was told of a death and did not call markConsistent. What the lock protects
   * may be half changed.
   */
  ownerDied = false

  /** @internal */
  constructor(mutex: GuardedMutex) {
    super(mutex.region)
    this.#mutex = mutex
  }

  /**
   * Gives the lock back, and wakes a waiter if there is one.
   *
   * @example
   * ```ts
   * const guard = HeapRegion.create(mutex()).root.lockSync()
   * guard.unlock()
   * guard.isHeld // false
   * ```
   *
   * @throws IsthmusError `ERR_ISTHMUS_NOT_HELD` if it was unlocked before; `ERR_ISTHMUS_CLOSED`
   */
  unlock(): void {
    this.#mutex.unlock(this)
  }

  /**
   * After `ownerDied`: says that what the lock protects has been repaired. The next owner is not told any more.
   *
   * @example
   * ```ts
   * const guard = HeapRegion.create(rwLock()).root.writeLockSync()
   * if (guard.ownerDied) guard.markConsistent() // after repairing what the lock protects
   * guard.unlock()
   * ```
   *
   * @throws IsthmusError `ERR_ISTHMUS_NOT_HELD`, `ERR_ISTHMUS_CLOSED`
   */
  markConsistent(): void {
    this.#mutex.markConsistent(this)
    this.ownerDied = false
  }

  /**
   * After `ownerDied`: says that it cannot be repaired. Unlocks; every later lock throws `ERR_ISTHMUS_ABANDONED`.
   *
   * @example
   * ```ts
   * const guard = HeapRegion.create(mutex()).root.lockSync()
   * guard.abandon()
   * guard.isHeld // false
   * ```
   *
   * @throws IsthmusError `ERR_ISTHMUS_NOT_HELD`, `ERR_ISTHMUS_CLOSED`
   */
  abandon(): void {
    this.#mutex.abandon(this)
  }

  protected override giveBack(): void {
    this.unlock()
  }
}
