import { libc } from './libc.js'
import { EAGAIN, EINTR, ETIMEDOUT, SystemCallError } from './system-error.js'

const FUTEX_NUMBER = process.arch === 'arm64' ? 98 : 202
/** Without the PRIVATE flag, the kernel identifies the word by file and offset, so processes can share it. */
const FUTEX_WAIT = 0
const FUTEX_WAKE = 1

/** Seconds and nanoseconds. One for all waits: a wait of this thread is over before its next one begins. */
const timespec = new BigInt64Array(2)
/** The lower halves of both, which are enough. To write them costs less than to make two BigInts. */
const timespecWords = new Uint32Array(timespec.buffer)
const SECONDS_MAX = 2 ** 32 - 1

/**
 * Sleeps while the 32-bit word at `address` holds `expected`, until a wake-up, and for at most `timeoutMs`. May return
 * early, after a signal.
 */
export function futexWait(address: number, expected: number, timeoutMs: number): void {
  const seconds = Math.min(Math.floor(timeoutMs / 1000), SECONDS_MAX)
  timespecWords[0] = seconds
  timespecWords[2] = Math.floor((timeoutMs - seconds * 1000) * 1e6)
  const c = libc()
  if (c.futexWait(FUTEX_NUMBER, address, FUTEX_WAIT, expected >>> 0, timespec) === 0) return
  const errno = c.errno()
  // The word had changed; the time was up; a signal came.
  if (errno === EAGAIN || errno === ETIMEDOUT || errno === EINTR) return
  throw new SystemCallError({ errno, syscall: 'futex' }, 'waiting for a word of a segment')
}

/** Wakes up to `count` threads that sleep on the word at `address`; returns how many it woke. */
export function futexWake(address: number, count: number): number {
  const c = libc()
  const woken = c.futexWake(FUTEX_NUMBER, address, FUTEX_WAKE, count)
  if (woken >= 0) return woken
  throw new SystemCallError({ errno: c.errno(), syscall: 'futex' }, 'waking a waiter of a segment')
}
