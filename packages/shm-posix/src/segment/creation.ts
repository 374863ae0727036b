import { closeSync, constants, linkSync, lstatSync, openSync, unlinkSync } from 'node:fs'
import { join } from 'node:path'
import { isLockedByAnother, tryLock, unlock } from '../liveness/ofd-lock.js'
import { explained, MORE_DESCRIPTORS } from '../native/explanation.js'
import { libc } from '../native/libc.js'
import { openAgain } from '../native/open-again.js'
import { unsupported } from '../native/support.js'
import { EEXIST, EINTR, hasCode, SystemCallError } from '../native/system-error.js'
import { HEADER_LOCK_BYTE } from './header-lock.js'
import { type Location, unfinishedName } from './location.js'
import { pruneUnfinishedIn } from './removal.js'
import { isStillNamed } from './segment-file.js'

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
 * Before memory is taken for a second copy of what exists, for which there may be no room.
 * @throws SystemCallError `EEXIST`
 */
export function assertNameIsFree(location: Location): void {
  let named: unknown
  try {
    named = lstatSync(location.path, { bigint: true, throwIfNoEntry: false })
  } catch (error) {
    throw creationError(error, location)
  }
  if (named !== undefined) throw existsError(location)
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
export function makeDurable(fd: number, subject: string): void {
  const c = libc()
  while (c.fsync(fd) !== 0) {
    const errno = c.errno()
    if (errno !== EINTR) throw new SystemCallError({ errno, syscall: 'fsync' }, `creating ${subject}: the disk failed.`)
  }
}

/** Whatever the umask. Not through Node.js, whose permission model forbids it for every file. */
export function setMode(fd: number, mode: number, subject: string): void {
  const c = libc()
  if (c.fchmod(fd, mode) === 0) return
  throw new SystemCallError(
    { errno: c.errno(), syscall: 'fchmod' },
    `creating ${subject}: its file system does not keep the mode of files. Use another directory.`,
  )
}

const trustedDevices = new Set<number>()

/**
 * Tries the locks on which the proof of death rests, on the file system at hand: some network file systems accept them
 * and do nothing.
 */
export function assertLocksWork(fd: number, device: number, subject: string): void {
  if (trustedDevices.has(device)) return
  const second = openAgain(fd)
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
  throw creationError(new SystemCallError({ errno, syscall: 'linkat', path: location.path }, ''), location)
}

export function existsError(location: Location): SystemCallError {
  return new SystemCallError(
    { errno: EEXIST, syscall: 'link', path: location.path },
    `creating ${location.subject}: it exists. Open it (open, openOrCreate), or remove it first (Segment.unlink).`,
  )
}

function creationError(error: unknown, { subject, directory }: Location): unknown {
  const advice = CREATION_ADVICE[String((error as NodeJS.ErrnoException | undefined)?.code)]
  return explained(error, `creating ${subject}: ${advice?.(directory) ?? 'the system refuses it.'}`)
}

const noPermission = (directory: string) => `no permission to make files in ${directory}. Allow it to this user.`
const noDirectory = (directory: string) => `there is no directory ${directory}. Make it before.`
const noRoom = (directory: string) => `the file system is full. Make room in ${directory}.`
const noDescriptor = () => MORE_DESCRIPTORS
const CREATION_ADVICE: Readonly<Record<string, (directory: string) => string>> = {
  EACCES: noPermission,
  EPERM: noPermission,
  EROFS: (directory) => `${directory} may only be read. Mount it for writing, or use another directory.`,
  ENOENT: noDirectory,
  ENOTDIR: noDirectory,
  ELOOP: (directory) => `the symbolic links of ${directory} lead in a circle. Give another path.`,
  ENAMETOOLONG: () => 'its path is too long for the file system. Give a shorter one.',
  ENOSPC: noRoom,
  EDQUOT: (directory) => `this user has no room left in ${directory} (its quota). Make room there.`,
  EMFILE: noDescriptor,
  ENFILE: noDescriptor,
}
