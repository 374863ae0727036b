import { Guard } from '../guard.js'
import { ExclusiveGuard, type GuardedMutex } from '../mutex/exclusive-guard.js'
import type { Region } from '../region/region.js'

/** @internal What the guards ask of their lock. */
export interface GuardedRwLock {
  readonly region: Region
  endReading(guard: ReadGuard): void
  wakeReaders(): void
}

/**
 * What a reader has. The guard of `tryReadLock` and `readLockSync` is one object for each attached lock: unlock it as often
 * as it was given out. `readLock` makes one for each call.
 */
export class ReadGuard extends Guard {
  readonly #lock: GuardedRwLock
  /** Whether a writer died, and none has called markConsistent since. What the lock protects may be half changed. */
  ownerDied = false

  /** @internal */
  constructor(lock: GuardedRwLock) {
    super(lock.region)
    this.#lock = lock
  }

  /**
   * Ends the reading. The last reader of an attachment wakes a writer that waits for it.
   *
   * @example
   * ```ts
   * const guard = HeapRegion.create(rwLock()).root.readLockSync()
   * guard.unlock()
   * guard.isHeld // false
   * ```
   *
   * @throws IsthmusError `ERR_ISTHMUS_NOT_HELD` if it was unlocked as often as given out; `ERR_ISTHMUS_CLOSED`
   */
  unlock(): void {
    this.#lock.endReading(this)
  }

  protected override giveBack(): void {
    this.unlock()
  }
}

/**
 * What a writer has: the guard of the writers' mutex, which it holds itself. The guard of `tryWriteLock` and
 * `writeLockSync` is one object for each attached lock, held again after each lock; `writeLock` makes one for each call.
 */
export class WriteGuard extends ExclusiveGuard {
  readonly #lock: GuardedRwLock

  /** @internal */
  constructor(writers: GuardedMutex, lock: GuardedRwLock) {
    super(writers)
    this.#lock = lock
  }

  override unlock(): void {
    super.unlock()
    this.#lock.wakeReaders()
  }

  override abandon(): void {
    super.abandon()
    this.#lock.wakeReaders()
  }
}
