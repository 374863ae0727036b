import { ExclusiveGuard, type GuardedMutex } from './exclusive-guard.js'

/** @internal What a condition variable asks of the mutex that its waiter has given back. */
export interface RelockableMutex extends GuardedMutex {
  relockSync(guard: MutexGuard): void
  relock(guard: MutexGuard): Promise<void>
}

/**
 * What the owner of a mutex has. The guard of `lockSync` and `tryLock` is one object for each attached mutex, held again
 * after each lock; `lock` makes one for each call.
 */
export class MutexGuard extends ExclusiveGuard {
  readonly #mutex: RelockableMutex

  /** @internal */
  constructor(mutex: RelockableMutex) {
    super(mutex)
    this.#mutex = mutex
  }

  /** @internal For a condition variable: locks again, into this same guard. */
  relockSync(): void {
    this.#mutex.relockSync(this)
  }

  /** @internal */
  relock(): Promise<void> {
    return this.#mutex.relock(this)
  }
}
