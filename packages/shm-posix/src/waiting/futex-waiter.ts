import { futexWait, futexWake } from '../native/futex.js'

/** How threads sleep on the words of one region: in the kernel, whether they are of one process or of several. */
export class FutexWaiter {
  readonly #address: number

  /** @param address where the region's words are in this process */
  constructor(address: number) {
    this.#address = address
  }

  waitSync(index: number, expected: number, timeoutMs: number): void {
    futexWait(this.#address + index * 4, expected, timeoutMs)
  }

  wake(index: number, count: number): number {
    return futexWake(this.#address + index * 4, count)
  }
}
