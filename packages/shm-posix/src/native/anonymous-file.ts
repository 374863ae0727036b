import { closeSync, constants, fchmodSync, openSync } from 'node:fs'
import { libc } from './libc.js'
import { EFBIG, EINTR, ENOSPC, SystemCallError } from './system-error.js'

const MFD_CLOEXEC = 1
const MFD_ALLOW_SEALING = 2
const F_ADD_SEALS = 1033
const F_SEAL_SEAL = 1
const F_SEAL_SHRINK = 2
const F_SEAL_GROW = 4

/**
 * A file in memory without a name, allocated and sealed: it cannot be truncated, so that no access to it ever faults.
 * The descriptor is one of Node.js's own, which closes it with the thread that opened it, however that thread ends.
 */
export function openAnonymousFile(byteLength: number): number {
  const c = libc()
  const memfd = c.memfd_create('isthmus', MFD_CLOEXEC | MFD_ALLOW_SEALING)
  if (memfd === -1)
    throw new SystemCallError({ errno: c.errno(), syscall: 'memfd_create' }, 'making an anonymous segment')
  let fd: number
  try {
    // At once: a thread that is terminated now would leave the other one open.
    fd = openSync(`/proc/self/fd/${memfd}`, constants.O_RDWR)
  } finally {
    c.close(memfd)
  }
  try {
    // The kernel's default is for everybody.
    fchmodSync(fd, 0o600)
    allocate(fd, byteLength, 'an anonymous segment')
    const isSealed = c.fcntlInt(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW) === 0
    if (!isSealed) throw new SystemCallError({ errno: c.errno(), syscall: 'fcntl' }, 'sealing an anonymous segment')
    return fd
  } catch (error) {
    closeSync(fd)
    throw error
  }
}

/**
 * Gives a file its length and every byte of it a place, so that a full file system is an error here and not a fatal
 * signal at the first access.
 */
export function allocate(fd: number, byteLength: number, subject: string): void {
  const c = libc()
  for (;;) {
    const errno = c.posix_fallocate(fd, 0, byteLength)
    if (errno === 0) return
    if (errno === EINTR) continue
    throw new SystemCallError({ errno, syscall: 'posix_fallocate' }, allocationAdvice(errno, byteLength, subject))
  }
}

function allocationAdvice(errno: number, byteLength: number, subject: string): string {
  const attempt = `allocating ${byteLength} bytes for ${subject}`
  if (errno === ENOSPC) {
    return `${attempt}: the file system is full. Make room (df -h /dev/shm); containers get 64 MB of /dev/shm unless told otherwise (docker run --shm-size).`
  }
  if (errno === EFBIG) return `${attempt}: larger than this process may make a file. Raise the limit (ulimit -f).`
  return `${attempt}.`
}
