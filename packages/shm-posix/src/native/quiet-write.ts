import { constants } from 'node:os'
import { libc } from './libc.js'

const { EPERM, EPIPE, EINVAL, ENOSYS, EOPNOTSUPP } = constants.errno
const PWRITEV2_NUMBER = process.arch === 'arm64' ? 287 : 328
/** Since Linux 6.18. */
const RWF_NOSIGNAL = 0x100
const CURRENT_POSITION = -1

/** A sigset_t; of its 1024 bits Linux uses the first 64. */
const pipeSignal = new BigUint64Array(16)
const maskBefore = new BigUint64Array(16)
const pending = new BigUint64Array(16)
const PIPE_SIGNAL_BIT = 1n << BigInt(constants.signals.SIGPIPE - 1)
pipeSignal[0] = PIPE_SIGNAL_BIT
const SIG_BLOCK = 0
const SIG_SETMASK = 2
/** A timespec of 0: do not wait. */
const noWait = new BigInt64Array(2)

/** A struct iovec, and the bytes whose address and length it contains. */
const vector = new BigUint64Array(2)
let described: Uint8Array | undefined
let mayAskForNoSignal = true

/**
 * Writes a few bytes to a pipe or a FIFO, all or none. If no reader is left, the answer is EPIPE, and never a SIGPIPE, which
 * would end the process: Node.js ignores that signal, but only until the program has listened to it and stopped. The
 * program's own handling of signals stays as it is.
 * @returns 0, or the number of the error
 */
export function writeQuietly(fd: number, bytes: Uint8Array): number {
  if (!mayAskForNoSignal) return writeWithSignalBlocked(fd, bytes)
  const c = libc()
  if (bytes !== described) describe(bytes)
  const written = c.pwritev2(PWRITEV2_NUMBER, fd, vector, 1, CURRENT_POSITION, CURRENT_POSITION, RWF_NOSIGNAL)
  if (written >= 0) return 0
  const errno = c.errno()
  if (errno !== EOPNOTSUPP && errno !== EINVAL && errno !== ENOSYS && errno !== EPERM) return errno
  // The kernel is older, or a filter forbids this system call.
  mayAskForNoSignal = false
  return writeWithSignalBlocked(fd, bytes)
}

/** Exported for its test: newer kernels need no mask. The signal is sent to the thread that writes, which takes it back. */
export function writeWithSignalBlocked(fd: number, bytes: Uint8Array): number {
  const c = libc()
  c.pthread_sigmask(SIG_BLOCK, pipeSignal, maskBefore)
  const wasPending = hasPipeSignal(maskBefore) && c.sigpending(pending) === 0 && hasPipeSignal(pending)
  const errno = c.write(fd, bytes, bytes.byteLength) >= 0 ? 0 : c.errno()
  if (errno === EPIPE && !wasPending) c.sigtimedwait(pipeSignal, null, noWait)
  c.pthread_sigmask(SIG_SETMASK, maskBefore, null)
  return errno
}

function describe(bytes: Uint8Array): void {
  vector[0] = BigInt(libc().addressOf(bytes))
  vector[1] = BigInt(bytes.byteLength)
  described = bytes
}

function hasPipeSignal(signals: BigUint64Array): boolean {
  return (signals[0] & PIPE_SIGNAL_BIT) !== 0n
}
