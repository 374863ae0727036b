import { chmodSync, type Stats, unlinkSync } from 'node:fs'
import { Socket } from 'node:net'
import type { LoopId } from '@isthmus/sync/internal'
import { isLockedByAnother, tryLock } from '../liveness/ofd-lock.js'
import { statDescriptor } from '../native/descriptor-stat.js'
import { libc } from '../native/libc.js'
import { EEXIST, EINVAL, ENOENT, EPERM, hasCode, isSystemError, SystemCallError } from '../native/system-error.js'
import type { FifoKind, FifoPlace } from './fifo-place.js'

/**
 * A thread that is attached to segments has up to two FIFOs, named by its loop id, which stands in its peer slots. FifoPlace
 * says where they stand.
 *
 * | FIFO | its thread holds       | others                          | what it tells them                             |
 * |------|------------------------|---------------------------------|------------------------------------------------|
 * | life | both ends, all along   | read, see PeerMonitor            | the end of file: the thread is gone            |
 * | bell | both ends, and reads,  | write, see RemoteWakers            | no reader: its event loop does not listen      |
 * |      | once its loop waits    |                                 |                                                |
 *
 * Their thread has a lock on each, which the kernel drops with the thread: only who gets the lock may remove a name.
 *
 * Others may write a bell and never read it: a reader would take wake-ups away. They may read a life FIFO and never write
 * it: a writer would keep the end of file from ever coming.
 */
const MODE_AT_FIRST = 0o600
const HOLD_BYTE = 0
const ATTEMPTS_MAX = 100
const CLEANED_AWAY = 'making a FIFO of this thread: it was removed again and again. Stop what cleans its directory.'
/** Rings that come in one go are heard in one go. No FIFO holds less than a page. */
export const FIFO_BUFFER_BYTES = 4096

/** How FIFOs name a thread; undefined where it has none. */
export function threadNameOf([low, high]: LoopId): string | undefined {
  return low === 0 && high === 0 ? undefined : hexadecimal(high) + hexadecimal(low)
}

function hexadecimal(word: number): string {
  return (word >>> 0).toString(16).padStart(8, '0')
}

/** What the maker of a FIFO has of it. */
interface Opened {
  readonly fd: number
  close(): void
}

/**
 * For this user alone, until it is opened to others.
 * @returns what `open` makes of the path, with the lock that says that its thread lives
 * @throws SystemCallError, or what `open` throws
 */
export function makeHeldFifo<O extends Opened>(place: FifoPlace, path: string, open: (path: string) => O): O {
  for (let attempt = 1; ; attempt++) {
    makeFifo(place, path)
    let opened: O | undefined
    try {
      opened = open(path)
      // A cleaner may have taken it for a leftover: between its making and the lock nothing tells the difference.
      if (holdFifo(opened.fd)) return opened
      opened.close()
      if (attempt === ATTEMPTS_MAX) throw new SystemCallError({ errno: ENOENT, syscall: 'fcntl', path }, CLEANED_AWAY)
    } catch (error) {
      opened?.close()
      const isCleanedAway = hasCode(error, 'ENOENT') && attempt < ATTEMPTS_MAX
      if (isCleanedAway) continue
      unlinkFifo(path)
      throw error
    }
  }
}

function makeFifo(place: FifoPlace, path: string): void {
  const c = libc()
  for (let attempt = 1; ; attempt++) {
    if (c.mkfifo(path, MODE_AT_FIRST) === 0) {
      const isMasked = (process.umask() & MODE_AT_FIRST) !== 0
      if (isMasked) chmodSync(path, MODE_AT_FIRST)
      return
    }
    const errno = c.errno()
    // The last other thread of this user has left, and removed the folder; or its names were deleted, and ours are made anew.
    if (errno === ENOENT && attempt < ATTEMPTS_MAX) place.restore()
    else if (errno === EEXIST && attempt < ATTEMPTS_MAX) unlinkFifo(path)
    else {
      throw new SystemCallError(
        { errno, syscall: 'mkfifo', path },
        `making ${path}, through which other threads and processes reach this thread. Allow this user to make files there.`,
      )
    }
  }
}

/**
 * Takes a name away. That it is gone already is as good; and if this process may not any more, because it has changed its
 * user, somebody else does it later.
 */
export function unlinkFifo(path: string): void {
  try {
    unlinkSync(path)
  } catch (error) {
    if (!isSystemError(error)) throw error
  }
}

/** From here on nobody removes its name. False if its thread holds it, or if it has no name any more. */
export function holdFifo(fd: number): boolean {
  return tryLock(fd, HOLD_BYTE) && hasName(fd)
}

/** False if somebody has deleted the name: systemd does at logout (RemoveIPC), or a cleaner. */
export function hasName(fd: number): boolean {
  return statDescriptor(fd).nlink > 0n
}

/** Whether the thread that made this FIFO lives. */
export function isFifoHeld(fd: number): boolean {
  return isLockedByAnother(fd, HOLD_BYTE)
}

/** Who else may attach to the segments of a thread: pairs of the bits for reading and writing. */
export interface FifoAccess {
  readonly mode: number
  readonly gid: number
}

const OWNER_BITS = 0o600
const GROUP_BITS = 0o060
const OTHERS_BITS = 0o006
const READ_BITS = 0o444
const WRITE_BITS = 0o222

/**
 * Those who may attach to a segment, on top of those before. A FIFO has one owner and one group: for another user's
 * segment, or that of a second group, everybody may use it. A ring is a hint; the segment guards its data.
 */
export function widenAccess(access: FifoAccess, segmentFile: Stats): FifoAccess {
  const wanted = pairsOf(segmentFile.mode)
  const isGroupTaken = (access.mode & GROUP_BITS) !== 0
  const isGroupWanted = (wanted & GROUP_BITS) !== 0
  let mode = access.mode | wanted
  if (segmentFile.uid !== process.geteuid?.()) mode |= (wanted & OWNER_BITS) >> 6
  if (isGroupTaken && isGroupWanted && access.gid !== segmentFile.gid) mode |= (wanted & GROUP_BITS) >> 3
  return { mode, gid: isGroupWanted && !isGroupTaken ? segmentFile.gid : access.gid }
}

/** Who may only read, or only write, cannot attach. */
function pairsOf(mode: number): number {
  const readable = mode & READ_BITS & ((mode & WRITE_BITS) << 1)
  return readable | (readable >> 1)
}

export function isOpenToOthers({ mode }: FifoAccess): boolean {
  return (mode & (GROUP_BITS | OTHERS_BITS)) !== 0
}

export function grantAccess(fd: number, kind: FifoKind, { mode, gid }: FifoAccess): void {
  const c = libc()
  const subject = 'opening a FIFO of this thread to those who may attach to its segments'
  let granted = mode
  if ((mode & GROUP_BITS) !== 0 && c.fchown(fd, -1, gid) !== 0) {
    const errno = c.errno()
    if (errno !== EPERM && errno !== EINVAL) throw new SystemCallError({ errno, syscall: 'fchown' }, subject)
    // This user is not one of that group, or the group has no number in this user namespace: then everybody may. Those of
    // the group that the FIFO has are part of everybody, and their bits alone count for them.
    granted = mode | ((mode & GROUP_BITS) >> 3)
  }
  if (c.fchmod(fd, OWNER_BITS | (granted & (kind === 'alive' ? READ_BITS : WRITE_BITS))) === 0) return
  throw new SystemCallError({ errno: c.errno(), syscall: 'fchmod' }, subject)
}

/**
 * Reads a FIFO on the event loop, and keeps no process running. The socket owns the descriptor, which must come from
 * libc's `open`: one from `fs.openSync` would in a worker be closed a second
 * time at its end, when its number may be that of another thread's locks.
 */
export function listenTo(
  fd: number,
  onData: (data: Int32Array, byteLength: number) => void,
  onEnd: () => void,
): Socket {
  const words = new Int32Array(FIFO_BUFFER_BYTES / 4)
  const onread = {
    buffer: Buffer.from(words.buffer),
    callback(byteLength: number) {
      onData(words, byteLength)
      return true
    },
  }
  // Known to Node.js's documentation, and not to its types.
  const options = { fd, readable: true, writable: false, onread }
  let socket: Socket
  try {
    socket = new Socket(options)
  } catch (error) {
    libc().close(fd)
    throw error
  }
  socket.once('end', onEnd)
  socket.read(0)
  return socket.unref()
}
