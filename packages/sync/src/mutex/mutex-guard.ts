import type { Mutex } from './mutex.js'

/**
 * What the holder of a mutex has: it unlocks with it, explicitly or with `using`. The guard of `lockSync` and `tryLock` is
 * one object for each attached mutex, valid again with every lock; `lock` makes one for each call.
 */
export class MutexGuard {
  readonly #mutex: Mutex
  /** Whether the owner before this one died, or was told of a death and did not call markConsistent. */
  ownerDied = false

  /** @internal */
  constructor(mutex: Mutex) {
    this.#mutex = mutex
  }

  get isHeld(): boolean {
    return this.#mutex.isHeldBy(this)
  }

  /** @throws IsthmusError `ERR_ISTHMUS_NOT_HELD` where it was unlocked before; `ERR_ISTHMUS_CLOSED` */
  unlock(): void {
    this.#mutex.unlock(this)
  }

  /** After `ownerDied`: what the mutex protects has been repaired. The next owner is not told any more. */
  markConsistent(): void {
    this.#mutex.markConsistent(this)
    this.ownerDied = false
  }

  /** After `ownerDied`: it cannot be repaired. Unlocks; nobody can ever lock it again (`ERR_ISTHMUS_ABANDONED`). */
  abandon(): void {
    this.#mutex.abandon(this)
  }

  /** Unlocks, if it is not unlocked yet. */
  [Symbol.dispose](): void {
    if (this.isHeld && !this.#mutex.region.isClosed) this.unlock()
  }

  /** @internal */
  get mutex(): Mutex {
    return this.#mutex
  }
}
