import { closeSync } from 'node:fs'
import type { PeerDescription } from '@isthmus/sync'
import { RETIRED, readSignature } from '@isthmus/sync/internal'
import { SHARED_MEMORY_DIRECTORY } from '../native/shared-memory-directory.js'
import { fileNamesIn, isAboutThisFile } from './housekeeping.js'
import { locateExisting } from './location.js'
import { hasBacklog, openExisting, readFacts, readPeers, readWholeHeader } from './segment-file.js'

export interface SegmentDescription {
  readonly name: string
  readonly byteLength: number
  /** What it contains, as its layout describes it. */
  readonly signature: string
  /** Every peer that has attached and not closed, including the dead. */
  readonly peers: readonly PeerDescription[]
  /** Whether it contains undelivered messages. */
  readonly hasBacklog: boolean
}

/** Opens one file at a time, so it needs one descriptor. */
export function listSegments(): SegmentDescription[] {
  return fileNamesIn(SHARED_MEMORY_DIRECTORY)
    .map((fileName) => describe(`/${fileName}`))
    .filter((description) => description !== undefined)
}

/** Undefined for a file that is no whole segment, is just being removed, or may not be read. */
function describe(name: string): SegmentDescription | undefined {
  const location = locateExisting(name)
  if (location === undefined) return undefined
  let fd: number | undefined
  try {
    fd = openExisting(location, 'read')
    const facts = readFacts(fd, location.subject)
    if (facts.state === RETIRED) return undefined
    const header = readWholeHeader(fd, location.subject, facts)
    return {
      name,
      byteLength: facts.byteLength,
      signature: readSignature(header, facts),
      peers: readPeers(fd, header),
      hasBacklog: hasBacklog(fd, header, facts),
    }
  } catch (error) {
    if (isAboutThisFile(error)) return undefined
    throw error
  } finally {
    if (fd !== undefined) closeSync(fd)
  }
}
