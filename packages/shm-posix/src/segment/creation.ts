import { closeSync, constants, fsyncSync, linkSync, openSync, unlinkSync } from 'node:fs'
import { join } from 'node:path'
import { isLockedByAnother, tryLock, unlock } from '../liveness/ofd-lock.js'
import { libc } from '../native/libc.js'
import { unsupported } from '../native/support.js'
import { EEXIST, hasCode, SystemCallError } from '../native/system-error.js'
import { HEADER_LOCK_BYTE } from './header-lock.js'
import { type Location, unfinishedName } from './location.js'
import { pruneUnfinishedIn } from './removal.js'
import { isStillNamed, systemError } from './segment-file.js'

/** Not among Node.js's constants; the same on x64 and arm64, while O_DIRECTORY differs. */
const O_TMPFILE = 0o20000000 | constants.O_DIRECTORY
const AT_FDCWD = -100
const AT_SYMLINK_FOLLOW = 0x400
/** A byte of the lock range that nobody uses for anything else. */
const TRIAL_BYTE = 200

/** A file that nobody can reach yet, with the means to give it its name once it is complete. */
export interface UnnamedFile {
  readonly fd: number
  /** @throws SystemCallError `EEXIST` where the name is taken */
  publish(): void
  /** Removes what a failed creation would leave behind. */
  discard(): void
}

/**
 * Makes a file without a name, which vanishes with a creator that is killed. Where the file system cannot (it says so),
 * a file with a name that nobody opens, which `Segment.prune` removes once its creator is dead.
 */
export function openUnnamed(location: Location, mode: number): UnnamedFile {
  try {
    const fd = openSync(location.directory, O_TMPFILE | constants.O_RDWR, mode)
    return { fd, publish: () => linkDescriptor(fd, location), discard() {} }
  } catch (error) {
    if (hasCode(error, 'EOPNOTSUPP', 'EISDIR')) return openTemporary(location, mode)
    throw creationError(error, location)
  }
}

/** Exported for its test: file systems without O_TMPFILE are rare. */
export function openTemporary(location: Location, mode: number): UnnamedFile {
  const temporary = join(location.directory, unfinishedName())
  const flags = constants.O_RDWR | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW
  let fd: number
  try {
    fd = openSync(temporary, flags, mode)
  } catch (error) {
    throw creationError(error, location)
  }
  // Tells prune that we live, for as long as the descriptor is open. Prune was quicker? Then the file is gone.
  if (!tryLock(fd, HEADER_LOCK_BYTE) || !isStillNamed(fd, temporary)) {
    closeSync(fd)
    return openTemporary(location, mode)
  }
  pruneUnfinishedIn(location.directory)
  return {
    fd,
    publish() {
      try {
        linkSync(temporary, location.path)
      } catch (error) {
        throw hasCode(error, 'EEXIST') ? existsError(location) : creationError(error, location)
      }
      unlinkSync(temporary)
      unlock(fd, HEADER_LOCK_BYTE)
    },
    discard: () => unlinkSync(temporary),
  }
}

/** On the disk before it has a name: after a power failure, what has a name is complete. */
export function makeDurable(fd: number): void {
  fsyncSync(fd)
}

const trustedDevices = new Set<number>()

/**
 * Tries the locks on which the proof of death rests, on the file system at hand: some network file systems accept them
 * and do nothing.
 */
export function assertLocksWork(fd: number, device: number, subject: string): void {
  if (trustedDevices.has(device)) return
  const second = openSync(`/proc/self/fd/${fd}`, constants.O_RDWR)
  try {
    const works = tryLock(fd, TRIAL_BYTE) && isLockedByAnother(second, TRIAL_BYTE) && !tryLock(second, TRIAL_BYTE)
    unlock(fd, TRIAL_BYTE)
    if (!works)
      throw unsupported(`the file system of ${subject} does not keep locks, so no peer's death could be proven there`)
  } finally {
    closeSync(second)
  }
  trustedDevices.add(device)
}

/** Node.js's link does not follow /proc/self/fd, which is the way to name a file that has none. */
function linkDescriptor(fd: number, location: Location): void {
  const c = libc()
  if (c.linkat(AT_FDCWD, `/proc/self/fd/${fd}`, AT_FDCWD, location.path, AT_SYMLINK_FOLLOW) === 0) return
  const errno = c.errno()
  if (errno === EEXIST) throw existsError(location)
  throw new SystemCallError({ errno, syscall: 'linkat', path: location.path }, `creating ${location.subject}.`)
}

export function existsError(location: Location): SystemCallError {
  return new SystemCallError(
    { errno: EEXIST, syscall: 'link', path: location.path },
    `creating ${location.subject}: it exists. Open it (open, openOrCreate), or remove it first (Segment.unlink).`,
  )
}

function creationError(error: unknown, { subject, directory }: Location): Error {
  if (hasCode(error, 'EACCES', 'EPERM', 'EROFS'))
    return systemError(error, `creating ${subject}: no permission to write to ${directory}.`)
  if (hasCode(error, 'ENOENT', 'ENOTDIR'))
    return systemError(error, `creating ${subject}: there is no directory ${directory}.`)
  if (hasCode(error, 'ENOSPC'))
    return systemError(error, `creating ${subject}: the file system is full. Make room in ${directory}.`)
  return systemError(error, `creating ${subject}.`)
}
