import { closeSync, unlinkSync } from 'node:fs'
import { join } from 'node:path'
import { type HeaderFacts, RETIRED } from '@isthmus/sync/internal'
import { statDescriptor } from '../native/descriptor-stat.js'
import { tryLock } from '../native/ofd-lock.js'
import { SHARED_MEMORY_DIRECTORY } from '../native/shared-memory-directory.js'
import { hasCode, isSystemError } from '../native/system-error.js'
import { pruneFifos } from '../thread/fifo-removal.js'
import { HEADER_LOCK_BYTE, HeaderLockDeadline, withHeaderLock } from './header-lock.js'
import { fileNamesIn, isAboutThisFile } from './housekeeping.js'
import { type Location, locateExisting, UNFINISHED_NAME } from './location.js'
import type { PruneOptions } from './options.js'
import { isTrusted, type TrustedOwner } from './owner.js'
import {
  hasBacklog,
  isStillNamed,
  openExisting,
  readFacts,
  readPeers,
  readWholeHeader,
  retire,
} from './segment-file.js'

/**
 * Removes the name. Attached peers keep their memory; the next one that opens the name finds nothing. It does not matter
 * whose segment it is: nothing of it is mapped, and the file system decides who may remove a name.
 */
export function unlinkSegment(location: Location, deadline: HeaderLockDeadline): void {
  for (;;) {
    const fd = openExisting(location)
    try {
      // Refuses what isthmus did not make. A segment that is damaged, or of another version, may be removed.
      readOurs(fd, location.subject)
      const isRemoved = withHeaderLock({ fd, subject: location.subject }, 'removing', deadline, () => {
        if (!isStillNamed(fd, location.path)) return false
        retire(fd, location)
        return true
      })
      if (isRemoved) return
    } finally {
      closeSync(fd)
    }
  }
}

/**
 * Takes the second step of a remover that died after its first one.
 * @returns whether the name is free now
 */
export function completeRemoval(
  location: Location,
  owner: TrustedOwner | undefined,
  deadline: HeaderLockDeadline,
): boolean {
  let fd: number
  try {
    fd = openExisting(location)
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return true
    if (isAboutThisFile(error)) return false
    throw error
  }
  try {
    const isTheirs = !isTrusted(Number(statDescriptor(fd).uid), owner)
    if (isTheirs || readOurs(fd, location.subject)?.state !== RETIRED) return false
    retireAgain(fd, location, deadline)
    return true
  } catch (error) {
    if (hasCode(error, 'ERR_ISTHMUS_FOREIGN')) return false
    throw error
  } finally {
    closeSync(fd)
  }
}

/** Takes the second step of a remover that died after its first one. */
export function retireAgain(fd: number, location: Location, deadline: HeaderLockDeadline): void {
  withHeaderLock({ fd, subject: location.subject }, 'removing', deadline, () => {
    if (isStillNamed(fd, location.path)) retire(fd, location)
  })
}

/**
 * Removes the segments that have no live peer, and passes over those that this user may not remove. It also removes what
 * threads that are gone left beside them, whatever the prefix: those names were not chosen by a program.
 * @returns their names
 */
export function pruneSegments({ prefix, force }: Required<PruneOptions>): string[] {
  pruneFifos()
  const removed: string[] = []
  for (const fileName of fileNamesIn(SHARED_MEMORY_DIRECTORY)) {
    if (!`/${fileName}`.startsWith(prefix)) continue
    const isUnfinished = UNFINISHED_NAME.test(fileName)
    const isRemoved = isUnfinished
      ? pruneUnfinished(SHARED_MEMORY_DIRECTORY, fileName)
      : pruneOne(`/${fileName}`, force)
    if (isRemoved) removed.push(`/${fileName}`)
  }
  return removed
}

function pruneOne(name: string, force: boolean): boolean {
  const location = locateExisting(name)
  if (location === undefined) return false
  return orFalseIfNotOurs(location, (fd) => {
    readFacts(fd, location.subject)
    // Does not wait: a thread that has the header lock is using the segment.
    return withHeaderLock({ fd, subject: location.subject }, 'removing', new HeaderLockDeadline(0), () => {
      if (!isStillNamed(fd, location.path) || isInUse(fd, location.subject, force)) return false
      retire(fd, location)
      return true
    })
  })
}

/**
 * Removes what killed creators left in a folder of segment files, where only the next creator looks. That creator needs
 * nothing of it, so this never fails, even if this process is out of descriptors.
 */
export function pruneUnfinishedIn(directory: string): void {
  try {
    for (const fileName of fileNamesIn(directory)) {
      if (UNFINISHED_NAME.test(fileName)) pruneUnfinished(directory, fileName)
    }
  } catch (error) {
    if (!isSystemError(error) && !hasCode(error, 'ERR_ACCESS_DENIED')) throw error
  }
}

/** A creator takes the header lock of its unfinished file at once, and keeps it: a free lock proves that it is dead. */
function pruneUnfinished(directory: string, fileName: string): boolean {
  const path = join(directory, fileName)
  return orFalseIfNotOurs({ path, directory, subject: path, isFile: false }, (fd) => {
    if (!tryLock(fd, HEADER_LOCK_BYTE)) return false
    unlinkSync(path)
    return true
  })
}

/** Opens and removes a file whose name the program has not chosen; false if it is not ours to open, or to remove. */
function orFalseIfNotOurs(location: Location, remove: (fd: number) => boolean): boolean {
  let fd: number | undefined
  try {
    fd = openExisting(location)
    return remove(fd)
  } catch (error) {
    if (isAboutThisFile(error)) return false
    throw error
  } finally {
    if (fd !== undefined) closeSync(fd)
  }
}

function isInUse(fd: number, subject: string, force: boolean): boolean {
  const facts = readFacts(fd, subject)
  const header = readWholeHeader(fd, subject, facts)
  return readPeers(fd, header).some(({ isDead }) => !isDead) || (!force && hasBacklog(fd, header, facts))
}

/**
 * Reads the header of a segment; undefined if it is damaged or of another version.
 * @throws IsthmusError `ERR_ISTHMUS_FOREIGN`
 */
function readOurs(fd: number, subject: string): HeaderFacts | undefined {
  try {
    return readFacts(fd, subject)
  } catch (error) {
    if (hasCode(error, 'ERR_ISTHMUS_VERSION', 'ERR_ISTHMUS_SIZE', 'ERR_ISTHMUS_CORRUPT')) return undefined
    throw error
  }
}
