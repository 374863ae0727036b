import { libc } from '../native/libc.js'
import { EAGAIN, EINTR, ETIMEDOUT, SystemCallError } from '../native/system-error.js'

const FUTEX_NUMBER = process.arch === 'arm64' ? 98 : 202
/** Without the PRIVATE flag: the kernel finds the word by file and offset, in whichever process it is mapped. */
const FUTEX_WAIT = 0
const FUTEX_WAKE = 1

/** Seconds and nanoseconds. A wait is over before the next one of this thread begins. */
const timespec = new BigInt64Array(2)

/** The threads' half of waiting: in the kernel, for threads of one process and of several alike. See SegmentWaiter. */
export class FutexWaiter {
  readonly #address: number

  /** @param address where the region's words are in this process */
  constructor(address: number) {
    this.#address = address
  }

  waitSync(index: number, expected: number, timeoutMs: number): void {
    const seconds = Math.floor(timeoutMs / 1000)
    timespec[0] = BigInt(seconds)
    timespec[1] = BigInt(Math.floor((timeoutMs - seconds * 1000) * 1e6))
    const c = libc()
    if (c.futexWait(FUTEX_NUMBER, this.#address + index * 4, FUTEX_WAIT, expected >>> 0, timespec) === 0) return
    const errno = c.errno()
    // The word had changed; the time was up; a signal came.
    if (errno === EAGAIN || errno === ETIMEDOUT || errno === EINTR) return
    throw new SystemCallError({ errno, syscall: 'futex' }, 'waiting for a word of a segment')
  }

  wake(index: number, count: number): number {
    const c = libc()
    const woken = c.futexWake(FUTEX_NUMBER, this.#address + index * 4, FUTEX_WAKE, count)
    if (woken >= 0) return woken
    throw new SystemCallError({ errno: c.errno(), syscall: 'futex' }, 'waking a waiter of a segment')
  }
}
