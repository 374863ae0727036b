import { libc } from './libc.js'
import { EACCES, EAGAIN, SystemCallError } from './system-error.js'

const F_OFD_GETLK = 36
const F_OFD_SETLK = 37
const F_WRLCK = 1
const F_UNLCK = 2

/** The locked bytes begin at 2 ** 40, far beyond the data, so that no file system has anything stored there. */
const FIRST_BYTE_HIGH = 2 ** 8

/** C's struct flock: type and whence (16 bits each), start and length (64 bits each), pid, which has to be 0. */
const flock = new Uint8Array(32)
const flockShorts = new Int16Array(flock.buffer)
const flockInts = new Int32Array(flock.buffer)

/**
 * Takes a lock on one byte of a file. The lock belongs to an open file description: the kernel drops it with the last
 * descriptor of that description, so at the latest with its process, also after SIGKILL. It contains no process id, so
 * neither reused ids nor containers confuse it. It must never be mixed with classic F_SETLK locks, which vanish with any
 * close of the file.
 * @returns false if another description has the lock
 */
export function tryLock(fd: number, byte: number): boolean {
  if (fcntl(fd, F_OFD_SETLK, F_WRLCK, byte) === 0) return true
  const errno = libc().errno()
  if (errno === EAGAIN || errno === EACCES) return false
  throw new SystemCallError({ errno, syscall: 'fcntl' }, 'locking a byte of a segment')
}

export function unlock(fd: number, byte: number): void {
  if (fcntl(fd, F_OFD_SETLK, F_UNLCK, byte) === 0) return
  throw new SystemCallError({ errno: libc().errno(), syscall: 'fcntl' }, 'unlocking a byte of a segment')
}

/** Returns false for a lock that this descriptor has itself. */
export function isLockedByAnother(fd: number, byte: number): boolean {
  if (fcntl(fd, F_OFD_GETLK, F_WRLCK, byte) === 0) return flockShorts[0] !== F_UNLCK
  throw new SystemCallError({ errno: libc().errno(), syscall: 'fcntl' }, 'asking who holds a lock of a segment')
}

function fcntl(fd: number, command: number, type: number, byte: number): number {
  flock.fill(0)
  flockShorts[0] = type
  flockInts[2] = byte
  flockInts[3] = FIRST_BYTE_HIGH
  flockInts[4] = 1
  return libc().fcntlLock(fd, command, flock)
}
