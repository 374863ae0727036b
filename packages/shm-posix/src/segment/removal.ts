import { closeSync, unlinkSync } from 'node:fs'
import { join } from 'node:path'
import { type HeaderFacts, RETIRED } from '@isthmus/sync/internal'
import { tryLock } from '../liveness/ofd-lock.js'
import { statDescriptor } from '../native/descriptor-stat.js'
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
 * Takes the name away. Peers that are attached keep their memory; whoever opens the name next finds none. Whose segment it
 * is does not matter: nothing of it is mapped, and the file system says who may take a name away.
 */
export function unlinkSegment(location: Location, patience: HeaderLockDeadline): void {
  for (;;) {
    const fd = openExisting(location)
    try {
      // Never removes what isthmus did not make; damaged, or of another version, is still ours.
      readOurs(fd, location.subject)
      const isRemoved = withHeaderLock({ fd, subject: location.subject }, 'removing', patience, () => {
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
 * Whether the name is free, or was occupied only by a segment whose remover died between its two steps; the second one
 * is then taken here.
 */
export function completeRemoval(
  location: Location,
  owner: TrustedOwner | undefined,
  patience: HeaderLockDeadline,
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
    retireAgain(fd, location, patience)
    return true
  } catch (error) {
    if (hasCode(error, 'ERR_ISTHMUS_FOREIGN')) return false
    throw error
  } finally {
    closeSync(fd)
  }
}

/** Takes the second step of a remover that died after its first one. */
export function retireAgain(fd: number, location: Location, patience: HeaderLockDeadline): void {
  withHeaderLock({ fd, subject: location.subject }, 'removing', patience, () => {
    if (isStillNamed(fd, location.path)) retire(fd, location)
  })
}

/**
 * Removes the segments that nobody uses any more; returns their names. Segments of others are passed over. What threads
 * that are gone left beside them goes too, whatever the prefix: it has no name that anybody chose.
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
  const fd = location && tryOpen(location)
  if (location === undefined || fd === undefined) return false
  try {
    readFacts(fd, location.subject)
    // Who holds the lock is using the segment: no need to wait.
    return withHeaderLock({ fd, subject: location.subject }, 'removing', new HeaderLockDeadline(0), () => {
      if (!isStillNamed(fd, location.path) || isInUse(fd, location.subject, force)) return false
      retire(fd, location)
      return true
    })
  } catch (error) {
    if (isAboutThisFile(error)) return false
    throw error
  } finally {
    closeSync(fd)
  }
}

/**
 * In a folder of segment files, where only a creator looks: what creators before it left when they were killed. The creator
 * needs nothing of it, so it never fails: not even where this process has run out of something.
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
  const fd = tryOpen({ path, directory, subject: path, isFile: false })
  if (fd === undefined) return false
  try {
    if (!tryLock(fd, HEADER_LOCK_BYTE)) return false
    unlinkSync(path)
    return true
  } catch (error) {
    if (isAboutThisFile(error)) return false
    throw error
  } finally {
    closeSync(fd)
  }
}

/** Undefined for what is not ours to touch. */
function tryOpen(location: Location): number | undefined {
  try {
    return openExisting(location)
  } catch (error) {
    if (isAboutThisFile(error)) return undefined
    throw error
  }
}

function isInUse(fd: number, subject: string, force: boolean): boolean {
  const facts = readFacts(fd, subject)
  const header = readWholeHeader(fd, subject, facts)
  return readPeers(fd, header).some(({ isDead }) => !isDead) || (!force && hasBacklog(fd, header, facts))
}

/**
 * The header of one of ours; undefined where it is damaged or of another version.
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
