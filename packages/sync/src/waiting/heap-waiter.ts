import { IsthmusError } from '../errors.js'
import { WAIT_SLICE_MS, type Waiter } from './waiter.js'

/** Waits within one process or browser page, through `Atomics.wait` on a SharedArrayBuffer. */
export class HeapWaiter implements Waiter {
  readonly #words: Int32Array

  constructor(words: Int32Array) {
    this.#words = words
  }

  waitSync(index: number, expected: number, timeoutMs: number): void {
    try {
      Atomics.wait(this.#words, index, expected, Math.min(timeoutMs, WAIT_SLICE_MS))
    } catch (cause) {
      // The only thread that may not block is a page's own.
      throw new IsthmusError(
        'ERR_ISTHMUS_UNSUPPORTED',
        'Blocking this thread: the runtime does not allow it here. Wait in a worker.',
        { cause },
      )
    }
  }

  wake(index: number, count: number): number {
    return Atomics.notify(this.#words, index, count)
  }
}
