import { libc } from './libc.js'
import { EINTR, SystemCallError } from './system-error.js'

const MS_SYNC = 4

/**
 * Writes what the kernel keeps of a file to the disk, and waits for it.
 * @param attempt for the error: `flushing the segment file /data/orders`
 * @throws SystemCallError `EIO` and others, if the disk fails
 */
export function writeBackFile(fd: number, attempt: string): void {
  const c = libc()
  repeatIfInterrupted('fsync', () => c.fsync(fd), attempt)
}

/** Does the same for a part of a mapped file, which begins at a page. */
export function writeBackMemory(address: number, byteLength: number, attempt: string): void {
  const c = libc()
  repeatIfInterrupted('msync', () => c.msync(address, byteLength, MS_SYNC), attempt)
}

function repeatIfInterrupted(syscall: string, call: () => number, attempt: string): void {
  while (call() !== 0) {
    const errno = libc().errno()
    if (errno !== EINTR) throw new SystemCallError({ errno, syscall }, `${attempt}: the disk failed.`)
  }
}
