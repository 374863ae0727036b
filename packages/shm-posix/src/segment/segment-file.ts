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

const NOT_REGULAR = 'it is not a regular file, so something else made it'

/**
 * Opens an existing file, without O_CREAT: for another user's file in a sticky directory, O_CREAT would be refused with a
 * misleading error. Only a regular file is opened, since opening a FIFO or a device has effects. If the file is replaced by
 * one in between, O_NONBLOCK keeps it from blocking us.
 * @throws SystemCallError `ENOENT`, `EACCES` and others
 * @throws IsthmusError `ERR_ISTHMUS_FOREIGN` if it is no regular file, or if another program runs or leases it
 */
export function openExisting(location: Location, access: 'read' | 'read-write' = 'read-write'): number {
  const mode = access === 'read' ? constants.O_RDONLY : constants.O_RDWR
  const named = tryStat(location.path)
  if (named?.isFile() === false) throw notRegular(location.subject)
  try {
    return openSync(location.path, mode | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  } catch (error) {
    throw openingError(error, location.subject, named)
  }
}

/** Undefined if the system refuses it. Then the file cannot be opened either, and opening says why. */
function tryStat(path: string): BigIntStats | undefined {
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
  ETXTBSY: 'it is a program that is running, so something else made it',
  EAGAIN: 'another program has a lease on it (fcntl F_SETLEASE), so something else uses it',
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
  'no permission. A peer has to read and write it: its creator can allow that with the option mode, its owner with chmod.'
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

/** Reads the header and checks that the file is a whole segment. Writes nothing, and maps nothing. */
export function readFacts(fd: number, subject: string): HeaderFacts {
  const stat = statDescriptor(fd)
  if (!stat.isFile()) throw notRegular(subject)
  return readHeader(readBytes(fd, FIXED_HEADER_BYTES), { subject, byteLength: Number(stat.size) })
}

/**
 * Reads a private copy of everything before the root.
 * @throws IsthmusError `ERR_ISTHMUS_SIZE` if the file was cut after its facts were read
 */
export function readWholeHeader(fd: number, subject: string, facts: HeaderFacts): Uint8Array {
  const header = readBytes(fd, facts.rootByteOffset)
  if (header.byteLength === facts.rootByteOffset) return header
  throw new IsthmusError(
    'ERR_ISTHMUS_SIZE',
    `Reading ${subject}: it was cut to less than its header while it was read. Something else writes it; remove it.`,
  )
}

/** The peers of a segment, for a caller that is not attached. */
export function readPeers(fd: number, header: Uint8Array): PeerDescription[] {
  const words = new Int32Array(header.buffer, header.byteOffset, header.byteLength >>> 2)
  return new PeerTable(words, PEERS_BYTE_OFFSET, new OfdLiveness(fd)).list()
}

/** Whether the segment contains undelivered messages; see Layout.backlog. */
export function hasBacklog(fd: number, header: Uint8Array, facts: HeaderFacts): boolean {
  return readBacklogPairs(header, facts).some(([written, read]) => {
    const isInside = Math.max(written, read) <= facts.byteLength - 4
    // Words outside the segment say that the header was damaged. Then it counts as undelivered: nothing is thrown away.
    return !isInside || !areEqual(readBytes(fd, 4, written), readBytes(fd, 4, read))
  })
}

/** Whether a segment that was opened has not been removed since: neither its name taken, nor marked by a remover. */
export function isStillThere(fd: number, path: string, subject: string): boolean {
  // SYNC segment removed
  return isStillNamed(fd, path) && readFacts(fd, subject).state !== RETIRED
}

/** Whether the name still leads to the open file. If not, the file was removed meanwhile. */
export function isStillNamed(fd: number, path: string): boolean {
  const named = lstatSync(path, { bigint: true, throwIfNoEntry: false })
  const open = statDescriptor(fd)
  return named !== undefined && named.ino === open.ino && named.dev === open.dev
}

/**
 * Removes a segment, for the holder of the header lock, in two steps: (1) mark it in its state word, for openers that have
 * the file open already; (2) remove its name. If we are killed in between, the next process that opens or creates the name
 * takes the second step.
 */
export function retire(fd: number, { path, subject }: Location): void {
  const before = readBytes(fd, 4, STATE_WORD * 4)
  // SYNC segment removed
  writeSync(fd, new Int32Array([RETIRED]), 0, 4, STATE_WORD * 4)
  try {
    unlinkSync(path)
  } catch (error) {
    // It was not removed, for example because that is not permitted: then it stays in use.
    writeSync(fd, before, 0, before.byteLength, STATE_WORD * 4)
    const advice = hasCode(error, 'EACCES', 'EPERM', 'EROFS')
      ? 'no permission to change its directory. In a sticky directory, only the owner of the file or of the directory may.'
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

/** Returns fewer bytes if the file ends before. */
function readBytes(fd: number, byteLength: number, byteOffset = 0): Uint8Array {
  const bytes = new Uint8Array(byteLength)
  const read = readSync(fd, bytes, 0, byteLength, byteOffset)
  return bytes.subarray(0, read)
}

function areEqual(one: Uint8Array, other: Uint8Array): boolean {
  return Buffer.compare(one, other) === 0
}
