import type { Liveness } from '@isthmus/sync/internal'
import { isLockedByAnother, tryLock, unlock } from '../native/ofd-lock.js'

/** Slot n is held by the peer that has the kernel's lock on byte n of the lock range of the segment's file. */
export class OfdLiveness implements Liveness {
  readonly #fd: number

  constructor(fd: number) {
    this.#fd = fd
  }

  tryAcquire(slot: number): boolean {
    return tryLock(this.#fd, slot)
  }

  release(slot: number): void {
    unlock(this.#fd, slot)
  }

  isHeldByAnother(slot: number): boolean {
    return isLockedByAnother(this.#fd, slot)
  }
}
