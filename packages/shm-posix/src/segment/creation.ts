import { closeSync, constants, linkSync, lstatSync, openSync, unlinkSync } from 'node:fs'
import { join } from 'node:path'
import { explained, MORE_DESCRIPTORS } from '../native/explanation.js'
import { linkDescriptor } from '../native/link.js'
import { isLockedByAnother, tryLock, unlock } from '../native/ofd-lock.js'
import { openAgain } from '../native/open-again.js'
import { setMode } from '../native/permissions.js'
import { unsupported } from '../native/support.js'
import { EEXIST, hasCode, SystemCallError } from '../native/system-error.js'
import { HEADER_LOCK_BYTE } from './header-lock.js'
import { type Location, unfinishedName } from './location.js'
import { pruneUnfinishedIn } from './removal.js'
import { isStillNamed } from './segment-file.js'

/** Not among Node.js's constants; the same on x64 and arm64, while O_DIRECTORY differs. */
const O_TMPFILE = 0o20000000 | constants.O_DIRECTORY
/** A byte of the lock range that has no other use. */
const TRIAL_BYTE = 200

/** A file that no other process can reach yet. It gets its name once it is complete. */
export interface UnnamedFile {
  readonly fd: number
  /** @throws SystemCallError `EEXIST` if the name is taken */
  publish(): void
  /** Removes what a failed creation would leave. */
  discard(): void
}

/**
 * Called before memory is reserved for a second copy of a segment that exists: there may be no room for it.
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
 * Makes a file without a name, which vanishes with a creator that is killed. If the file system says that it has no such
 * files, makes a file under a name that no program opens, which `Segment.prune` removes once its creator is dead.
 */
export function openUnnamed(location: Location, mode: number): UnnamedFile {
  try {
    const fd = openSync(location.directory, O_TMPFILE | constants.O_RDWR, mode)
    return { fd, publish: () => publishUnnamed(fd, location), discard() {} }
  } catch (error) {
    if (hasCode(error, 'EOPNOTSUPP', 'EISDIR')) return openTemporary(location, mode)
    throw creationError(error, location)
  }
}

function publishUnnamed(fd: number, location: Location): void {
  try {
    linkDescriptor(fd, location.path)
  } catch (error) {
    throw hasCode(error, 'EEXIST') ? existsError(location) : creationError(error, location)
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
  // The lock tells `prune` that this creator lives. If `prune` was faster, the name is gone: then begin again.
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

export function setSegmentMode(fd: number, mode: number, subject: string): void {
  setMode(fd, mode, `creating ${subject}: its file system does not keep the mode of files. Use another directory.`)
}

const trustedDevices = new Set<number>()

/**
 * Tries the locks on which every proof of death rests, on this file system: some network file systems accept them and do
 * nothing.
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
const noDirectory = (directory: string) => `there is no directory ${directory}. Make it first.`
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
