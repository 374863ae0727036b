import type { Liveness } from '../../src/internal.js'

/** The leases of several attachments: it plays the operating system. */
export class Holds {
  readonly #holders = new Map<number, TestLiveness>()

  liveness(): TestLiveness {
    return new TestLiveness(this.#holders)
  }

  /** Does what a SIGKILL does: the lease ends, and nothing else happens. */
  kill(slot: number): void {
    this.#holders.delete(slot)
  }

  isHeld(slot: number): boolean {
    return this.#holders.has(slot)
  }
}

export class TestLiveness implements Liveness {
  readonly #holders: Map<number, TestLiveness>

  constructor(holders: Map<number, TestLiveness>) {
    this.#holders = holders
  }

  tryAcquire(slot: number): boolean {
    if (this.#holders.has(slot)) return false
    this.#holders.set(slot, this)
    return true
  }

  release(slot: number): void {
    this.#holders.delete(slot)
  }

  isHeldByAnother(slot: number): boolean {
    const holder = this.#holders.get(slot)
    return holder !== undefined && holder !== this
  }
}
