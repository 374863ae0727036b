import { closeSync, readdirSync, unlinkSync } from 'node:fs'
import { join } from 'node:path'
import { type HeaderFacts, IsthmusError, nowMs, RETIRED } from '@isthmus/sync'
import { tryLock } from '../liveness/ofd-lock.js'
import { SHARED_MEMORY_DIRECTORY } from '../native/shared-memory-directory.js'
import { hasCode } from '../native/system-error.js'
import { pruneFifos } from '../waiting/fifo-removal.js'
import { HEADER_LOCK_BYTE, withHeaderLock } from './header-lock.js'
import { type Location, locateExisting, UNFINISHED_NAME } from './location.js'
import {
  hasBacklog,
  isStillNamed,
  openExisting,
  readFacts,
  readPeers,
  readWholeHeader,
  retire,
} from './segment-file.js'

/** Takes the name away. Peers that are attached keep their memory; whoever opens the name next finds none. */
export function unlinkSegment(location: Location, deadline: number): void {
  for (;;) {
    const fd = openExisting(location)
    try {
      // Never removes what isthmus did not make; damaged, or of another version, is still ours.
      readOurs(fd, location.subject)
      const isRemoved = withHeaderLock(fd, location.subject, deadline, () => {
        if (!isStillNamed(fd, location.path)) return false
        retire(fd, location.path)
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
export function completeRemoval(location: Location, deadline: number): boolean {
  let fd: number
  try {
    fd = openExisting(location)
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return true
    if (error instanceof IsthmusError || hasCode(error, 'EACCES')) return false
    throw error
  }
  try {
    if (readOurs(fd, location.subject)?.state !== RETIRED) return false
    withHeaderLock(fd, location.subject, deadline, () => {
      if (isStillNamed(fd, location.path)) retire(fd, location.path)
    })
    return true
  } catch (error) {
    if (hasCode(error, 'ERR_ISTHMUS_FOREIGN')) return false
    throw error
  } finally {
    closeSync(fd)
  }
}

export interface PruneOptions {
  /** Only names that begin like this; `/` if not given. */
  readonly prefix?: string
  /** Remove segments of dead peers even where messages wait in them to be delivered. */
  readonly force?: boolean
}

/**
 * Removes the segments that nobody uses any more; returns their names. Segments of others are passed over. What threads
 * that are gone left beside them goes too, whatever the prefix: it has no name that anybody chose.
 */
export function pruneSegments({ prefix = '/', force = false }: PruneOptions): string[] {
  pruneFifos()
  const removed: string[] = []
  for (const fileName of readdirSync(SHARED_MEMORY_DIRECTORY)) {
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
    return withHeaderLock(fd, location.subject, nowMs(), () => {
      if (!isStillNamed(fd, location.path) || isInUse(fd, location.subject, force)) return false
      retire(fd, location.path)
      return true
    })
  } catch (error) {
    if (isNotOursToRemove(error)) return false
    throw error
  } finally {
    closeSync(fd)
  }
}

/** In a folder of segment files, where only a creator looks: what creators before it left when they were killed. */
export function pruneUnfinishedIn(directory: string): void {
  for (const fileName of readdirSync(directory)) {
    if (UNFINISHED_NAME.test(fileName)) pruneUnfinished(directory, fileName)
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
    if (isNotOursToRemove(error)) return false
    throw error
  } finally {
    closeSync(fd)
  }
}

/** Undefined for what is not ours to touch: no file, or no permission. */
function tryOpen(location: Location): number | undefined {
  try {
    return openExisting(location)
  } catch (error) {
    if (isNotOursToRemove(error)) return undefined
    throw error
  }
}

/** Somebody else's, in use, damaged in a way that hides what it is, or just removed by another. */
function isNotOursToRemove(error: unknown): boolean {
  return error instanceof IsthmusError || hasCode(error, 'ENOENT', 'EACCES', 'EPERM', 'EROFS')
}

function isInUse(fd: number, subject: string, force: boolean): boolean {
  const facts = readFacts(fd, subject)
  const header = readWholeHeader(fd, facts)
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
