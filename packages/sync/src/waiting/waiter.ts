/**
 * How an agent sleeps on a 32-bit word of the region and how it is woken. Implemented over `Atomics.wait` for a plain
 * SharedArrayBuffer and over the futex system call for a segment. (Waiting on the event loop gets its place here.)
 */
export interface Waiter {
  /**
   * Blocks the thread while `words[index]` holds `expected`, until somebody wakes it, for at most `timeoutMs` and never
   * longer than WAIT_SLICE_MS. It may return early for no reason: the caller looks again at what it waits for, and at
   * whether the peer that could bring it still lives.
   */
  waitSync(index: number, expected: number, timeoutMs: number): void
  /** Wakes up to `count` threads that sleep on `words[index]`; returns how many it woke. */
  wake(index: number, count: number): number
}

/**
 * The longest sleep without a look around, in milliseconds. No wake-up that gets lost with a killed peer costs more than
 * this, and a worker that is told to terminate does so within it.
 */
export const WAIT_SLICE_MS = 50
