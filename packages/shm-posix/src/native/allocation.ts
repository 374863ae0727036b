import { constants } from 'node:os'
import { libc } from './libc.js'
import { EFBIG, EINTR, ENOSPC, SystemCallError } from './system-error.js'

const { EDQUOT } = constants.errno

/** Small enough to be allocated between two signals of a profiler, on any machine. */
const PIECE_BYTES_MIN = 1 << 16

/**
 * Gives a file its length, and reserves every byte of it: a full file system is an error here, and not a fatal signal at
 * the first access. Some kernels give up the call at every signal and undo it. Then the file is allocated in pieces, each
 * half as large as the one before, until one is done before the next signal comes.
 */
export function allocate(fd: number, byteLength: number, subject: string): void {
  const c = libc()
  let pieceBytes = byteLength
  for (let start = 0; start < byteLength; ) {
    const piece = Math.min(pieceBytes, byteLength - start)
    const errno = c.posix_fallocate(fd, start, piece)
    if (errno === 0) start += piece
    else if (errno === EINTR) pieceBytes = Math.max(PIECE_BYTES_MIN, Math.ceil(piece / 2))
    else throw new SystemCallError({ errno, syscall: 'posix_fallocate' }, advice(errno, byteLength, subject))
  }
}

function advice(errno: number, byteLength: number, subject: string): string {
  const attempt = `allocating ${byteLength} bytes for ${subject}`
  if (errno === ENOSPC) {
    return `${attempt}: the file system is full. Make room (df -h /dev/shm); containers get 64 MB of /dev/shm unless told otherwise (docker run --shm-size).`
  }
  if (errno === EDQUOT) return `${attempt}: this user has no room left on the file system (its quota). Make room there.`
  if (errno === EFBIG) return `${attempt}: larger than this process may make a file. Raise the limit (ulimit -f).`
  return `${attempt}.`
}
