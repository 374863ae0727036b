import { constants, lstatSync, openSync, readSync, unlinkSync, writeSync } from 'node:fs'
import {
  FIXED_HEADER_BYTES,
  type HeaderFacts,
  IsthmusError,
  PEERS_BYTE_OFFSET,
  type PeerDescription,
  PeerTable,
  READY,
  RETIRED,
  readBacklogPairs,
  readHeader,
  STATE_WORD,
} from '@isthmus/sync'
import { OfdLiveness } from '../liveness/ofd-liveness.js'
import { statDescriptor } from '../native/descriptor-stat.js'
import { hasCode, SystemCallError } from '../native/system-error.js'
import type { Location } from './location.js'

/**
 * Opens what is there, and never makes anything: for another user's file in a sticky directory, O_CREAT would be refused
 * with a misleading error. O_NONBLOCK keeps a FIFO of somebody else from blocking us.
 * @throws the error of Node.js, such as `ENOENT`; IsthmusError `ERR_ISTHMUS_FOREIGN` for what is not a plain file
 */
export function openExisting(location: Location, access: 'read' | 'read-write' = 'read-write'): number {
  const mode = access === 'read' ? constants.O_RDONLY : constants.O_RDWR
  try {
    return openSync(location.path, mode | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  } catch (error) {
    if (hasCode(error, 'ELOOP', 'EISDIR', 'ENXIO')) throw notRegular(location.subject, error)
    if (hasCode(error, 'ENOENT'))
      throw systemError(error, `Opening ${location.subject}: there is none. To make it, use create or openOrCreate.`)
    if (hasCode(error, 'EACCES', 'EPERM')) {
      throw systemError(
        error,
        `Opening ${location.subject}: no permission. Its creator can allow it with the option mode.`,
      )
    }
    throw error
  }
}

/** Checks that the file is one of ours and whole, without a write and before anything is mapped. */
export function readFacts(fd: number, subject: string): HeaderFacts {
  const stat = statDescriptor(fd)
  if (!stat.isFile()) throw notRegular(subject)
  return readHeader(readBytes(fd, FIXED_HEADER_BYTES), { subject, byteLength: Number(stat.size) })
}

/** A private copy of everything before the root. */
export function readWholeHeader(fd: number, facts: HeaderFacts): Uint8Array {
  return readBytes(fd, facts.rootByteOffset)
}

/** Who is attached to a segment, for somebody who is not. */
export function readPeers(fd: number, header: Uint8Array): PeerDescription[] {
  const words = new Int32Array(header.buffer, header.byteOffset, header.byteLength >>> 2)
  return new PeerTable(words, PEERS_BYTE_OFFSET, new OfdLiveness(fd)).list()
}

/** Whether something in the segment waits to be delivered; see Layout.backlog. */
export function hasBacklog(fd: number, header: Uint8Array, facts: HeaderFacts): boolean {
  return readBacklogPairs(header, facts).some(([written, read]) => {
    const isInside = Math.max(written, read) <= facts.byteLength - 4
    // Words outside the segment say that the header was damaged. Nobody can tell then: nothing is thrown away.
    return !isInside || readWord(fd, written) !== readWord(fd, read)
  })
}

/** Whether the name still leads to the file that is open: the proof that nobody has removed it meanwhile. */
export function isStillNamed(fd: number, path: string): boolean {
  const named = lstatSync(path, { bigint: true, throwIfNoEntry: false })
  const open = statDescriptor(fd)
  return named !== undefined && named.ino === open.ino && named.dev === open.dev
}

/**
 * Takes the name away, for the holder of the header lock. Whoever has the file open already learns it from the state
 * word; if we are killed between the two steps, whoever meets the name next takes the second one.
 */
export function retire(fd: number, path: string): void {
  writeState(fd, RETIRED)
  try {
    unlinkSync(path)
  } catch (error) {
    // Not permitted, say: then it has not been removed, and stays what it was.
    writeState(fd, READY)
    throw error
  }
}

function writeState(fd: number, state: number): void {
  writeSync(fd, new Int32Array([state]), 0, 4, STATE_WORD * 4)
}

/** The error of Node.js, with a message that says what to do. */
export function systemError(error: unknown, message: string): Error {
  const { errno = 0, syscall = '', path } = error as NodeJS.ErrnoException
  return new SystemCallError({ errno: Math.abs(errno), syscall, ...(path === undefined ? {} : { path }) }, message, {
    cause: error,
  })
}

function notRegular(subject: string, cause?: unknown): IsthmusError {
  return new IsthmusError(
    'ERR_ISTHMUS_FOREIGN',
    `Opening ${subject}: what stands there is not a regular file, so something else made it. It was left as it is; use another name.`,
    { cause },
  )
}

function readBytes(fd: number, byteLength: number): Uint8Array {
  const bytes = new Uint8Array(byteLength)
  const read = readSync(fd, bytes, 0, byteLength, 0)
  return bytes.subarray(0, read)
}

function readWord(fd: number, byteOffset: number): number {
  const word = new Int32Array(1)
  readSync(fd, word, 0, 4, byteOffset)
  return word[0]
}
