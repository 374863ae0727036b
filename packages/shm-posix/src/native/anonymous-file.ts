import { closeSync } from 'node:fs'
import { constants } from 'node:os'
import { MORE_DESCRIPTORS } from './explanation.js'
import { libc } from './libc.js'
import { openAgain } from './open-again.js'
import { EFBIG, EINTR, ENOSPC, SystemCallError } from './system-error.js'

const { EDQUOT, EMFILE, ENFILE } = constants.errno

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
  if (memfd === -1) {
    const errno = c.errno()
    const advice = errno === EMFILE || errno === ENFILE ? MORE_DESCRIPTORS : 'the system refuses it.'
    throw new SystemCallError({ errno, syscall: 'memfd_create' }, `making an anonymous segment: ${advice}`)
  }
  let fd: number
  try {
    // At once: a thread that is terminated now would leave the other one open.
    fd = openAgain(memfd)
  } finally {
    c.close(memfd)
  }
  try {
    // The kernel's default is for everybody. Not through Node.js, whose permission model forbids it for every file.
    const isPrivate = c.fchmod(fd, 0o600) === 0
    if (!isPrivate) throw new SystemCallError({ errno: c.errno(), syscall: 'fchmod' }, 'making an anonymous segment')
    allocate(fd, byteLength, 'an anonymous segment')
    const isSealed = c.fcntlInt(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW) === 0
    if (!isSealed) throw new SystemCallError({ errno: c.errno(), syscall: 'fcntl' }, 'sealing an anonymous segment')
    return fd
  } catch (error) {
    closeSync(fd)
    throw error
  }
}

/** Small enough to be allocated between two signals of a profiler, on any machine. */
const PIECE_BYTES_MIN = 1 << 16

/**
 * Gives a file its length and every byte of it a place, so that a full file system is an error here and not a fatal
 * signal at the first access. Some kernels give a call up at every signal and undo it: then in pieces, half as large each
 * time, until one is done before the next signal comes.
 */
export function allocate(fd: number, byteLength: number, subject: string): void {
  const c = libc()
  let pieceBytes = byteLength
  for (let start = 0; start < byteLength; ) {
    const piece = Math.min(pieceBytes, byteLength - start)
    const errno = c.posix_fallocate(fd, start, piece)
    if (errno === 0) start += piece
    else if (errno === EINTR) pieceBytes = Math.max(PIECE_BYTES_MIN, Math.ceil(piece / 2))
    else throw new SystemCallError({ errno, syscall: 'posix_fallocate' }, allocationAdvice(errno, byteLength, subject))
  }
}

function allocationAdvice(errno: number, byteLength: number, subject: string): string {
  const attempt = `allocating ${byteLength} bytes for ${subject}`
  if (errno === ENOSPC) {
    return `${attempt}: the file system is full. Make room (df -h /dev/shm); containers get 64 MB of /dev/shm unless told otherwise (docker run --shm-size).`
  }
  if (errno === EDQUOT) return `${attempt}: this user has no room left on the file system (its quota). Make room there.`
  if (errno === EFBIG) return `${attempt}: larger than this process may make a file. Raise the limit (ulimit -f).`
  return `${attempt}.`
}
