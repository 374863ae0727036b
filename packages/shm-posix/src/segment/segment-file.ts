import { type BigIntStats, constants, lstatSync, openSync, readSync, unlinkSync, writeSync } from 'node:fs'
import { IsthmusError, type PeerDescription } from '@isthmus/sync'
import {
  FIXED_HEADER_BYTES,
  type HeaderFacts,
  PEERS_BYTE_OFFSET,
  PeerTable,
  RETIRED,
  readBacklogPairs,
  readHeader,
  STATE_WORD,
} from '@isthmus/sync/internal'
import { OfdLiveness } from '../liveness/ofd-liveness.js'
import { statDescriptor } from '../native/descriptor-stat.js'
import { explained, MORE_DESCRIPTORS } from '../native/explanation.js'
import { hasCode, isSystemError } from '../native/system-error.js'
import type { Location } from './location.js'

const NOT_REGULAR = 'what stands there is not a regular file, so something else made it'

/**
 * Opens what is there, and never makes anything: for another user's file in a sticky directory, O_CREAT would be refused
 * with a misleading error. What is no plain file is not opened at all: opening a FIFO, or a device, does something to it.
 * Should it become one in between, O_NONBLOCK keeps it from blocking us.
 * @throws SystemCallError `ENOENT`, `EACCES` and others; IsthmusError `ERR_ISTHMUS_FOREIGN` for what is no plain file, and
 * for one that another program runs or leases
 */
export function openExisting(location: Location, access: 'read' | 'read-write' = 'read-write'): number {
  const mode = access === 'read' ? constants.O_RDONLY : constants.O_RDWR
  const named = lookAt(location.path)
  if (named?.isFile() === false) throw notRegular(location.subject)
  try {
    return openSync(location.path, mode | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  } catch (error) {
    throw openingError(error, location.subject, named)
  }
}

/** Undefined where it cannot be looked at: then it cannot be opened either, and opening says why. */
function lookAt(path: string): BigIntStats | undefined {
  try {
    return lstatSync(path, { bigint: true, throwIfNoEntry: false })
  } catch (error) {
    if (isSystemError(error)) return undefined
    throw error
  }
}

const FOREIGN_STATES: Readonly<Record<string, string>> = {
  ELOOP: NOT_REGULAR,
  EISDIR: NOT_REGULAR,
  ENXIO: NOT_REGULAR,
  ETXTBSY: 'what stands there is a program that somebody runs, so something else made it',
  EAGAIN: 'another program has a lease on what stands there (fcntl F_SETLEASE), so something else uses it',
}

function openingError(error: unknown, subject: string, named: BigIntStats | undefined): unknown {
  if (!isSystemError(error)) return error
  const attempt = `Opening ${subject}`
  const code = error.code ?? ''
  const foreignState = FOREIGN_STATES[code]
  if (foreignState !== undefined) return foreignError(subject, foreignState, error)
  const advice = OPENING_ADVICE[code] ?? 'the system refuses it.'
  const whose =
    named === undefined
      ? ''
      : ` It belongs to user ${named.uid}, and its mode is 0${(named.mode & 0o7777n).toString(8)}.`
  return explained(error, `${attempt}: ${advice}${code === 'EACCES' || code === 'EPERM' ? whose : ''}`)
}

const NOT_PERMITTED =
  'no permission. Attaching needs reading and writing: its creator can allow it with the option mode, its owner with chmod.'
const OPENING_ADVICE: Readonly<Record<string, string>> = {
  ENOENT: 'there is none. To make it, use create or openOrCreate.',
  ENOTDIR: 'a part of its path is no directory. Give another path.',
  EACCES: NOT_PERMITTED,
  EPERM: NOT_PERMITTED,
  EROFS: 'its file system may only be read. Mount it for writing, or use another path.',
  EMFILE: MORE_DESCRIPTORS,
  ENFILE: MORE_DESCRIPTORS,
  ENAMETOOLONG: 'its path is too long for the file system. Give a shorter one.',
}

/** Checks that the file is one of ours and whole, without a write and before anything is mapped. */
export function readFacts(fd: number, subject: string): HeaderFacts {
  const stat = statDescriptor(fd)
  if (!stat.isFile()) throw notRegular(subject)
  return readHeader(readBytes(fd, FIXED_HEADER_BYTES), { subject, byteLength: Number(stat.size) })
}

/**
 * A private copy of everything before the root.
 * @throws IsthmusError `ERR_ISTHMUS_SIZE` where the file was cut after its facts were read
 */
export function readWholeHeader(fd: number, subject: string, facts: HeaderFacts): Uint8Array {
  const header = readBytes(fd, facts.rootByteOffset)
  if (header.byteLength === facts.rootByteOffset) return header
  throw new IsthmusError(
    'ERR_ISTHMUS_SIZE',
    `Reading ${subject}: it has become shorter than its header while it was read. Something else cuts it; remove it.`,
  )
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
    return !isInside || !areEqual(readBytes(fd, 4, written), readBytes(fd, 4, read))
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
export function retire(fd: number, { path, subject }: Location): void {
  const before = readBytes(fd, 4, STATE_WORD * 4)
  writeSync(fd, new Int32Array([RETIRED]), 0, 4, STATE_WORD * 4)
  try {
    unlinkSync(path)
  } catch (error) {
    // Not permitted, say: then it has not been removed, and stays what it was.
    writeSync(fd, before, 0, before.byteLength, STATE_WORD * 4)
    const advice = hasCode(error, 'EACCES', 'EPERM', 'EROFS')
      ? 'no permission to change its directory; in a sticky one, only the owner of the file, or of the directory, may.'
      : 'the system refuses it.'
    throw explained(error, `Removing ${subject}: ${advice}`)
  }
}

function notRegular(subject: string, cause?: unknown): IsthmusError {
  return foreignError(subject, NOT_REGULAR, cause)
}

function foreignError(subject: string, found: string, cause?: unknown): IsthmusError {
  return new IsthmusError(
    'ERR_ISTHMUS_FOREIGN',
    `Opening ${subject}: ${found}. It was left as it is; use another name.`,
    { cause },
  )
}

/** Fewer where the file ends before. */
function readBytes(fd: number, byteLength: number, byteOffset = 0): Uint8Array {
  const bytes = new Uint8Array(byteLength)
  const read = readSync(fd, bytes, 0, byteLength, byteOffset)
  return bytes.subarray(0, read)
}

function areEqual(one: Uint8Array, other: Uint8Array): boolean {
  return Buffer.compare(one, other) === 0
}
