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
  /** What it holds, in the words of its layout. */
  readonly signature: string
  /** Everyone who has attached and not detached, the dead included. */
  readonly peers: readonly PeerDescription[]
  /** Whether messages wait in it to be delivered. */
  readonly hasBacklog: boolean
}

/** Looks at every name, through one descriptor at a time. */
export function listSegments(): SegmentDescription[] {
  return fileNamesIn(SHARED_MEMORY_DIRECTORY)
    .map((fileName) => describe(`/${fileName}`))
    .filter((description) => description !== undefined)
}

/** Undefined for what is not a whole segment, what is just being removed, and what may not be read. */
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
