import { chmodSync, lstatSync, type Stats, unlinkSync } from 'node:fs'
import { Socket } from 'node:net'
import type { LoopId } from '@isthmus/sync/internal'
import { statDescriptor } from '../native/descriptor-stat.js'
import { makeFifo } from '../native/fifo.js'
import { isLockedByAnother, tryLock } from '../native/ofd-lock.js'
import { setGroup, setMode } from '../native/permissions.js'
import { closeRaw } from '../native/raw-descriptor.js'
import { ENOENT, hasCode, isSystemError, SystemCallError } from '../native/system-error.js'
import type { FifoKind, FifoPlace } from './fifo-place.js'

/**
 * A thread that is attached to segments has up to two FIFOs. They are named by its loop id, which stands in its peer
 * slots, and end in `.alive` and `.wake`. FifoPlace says which folder they stand in.
 *
 * | FIFO   | its thread holds            | other threads             | what it tells them                             |
 * |--------|-----------------------------|---------------------------|------------------------------------------------|
 * | .alive | both ends, all the time     | read it, see PeerMonitor  | end of file: the thread is gone                |
 * | .wake  | both ends, and reads, once  | write it, see             | no reader: its event loop does not listen      |
 * |        | its event loop has waited   | RemoteWakers              |                                                |
 *
 * The thread has a lock on each of them, which the kernel drops with the thread. Only the holder of that lock may remove
 * a FIFO's name.
 *
 * Other threads may write a wake FIFO and never read it: a reader would take wake-ups away. They may read a liveness FIFO
 * and never write it: a writer would keep the end of file from coming.
 */
const MODE_AT_FIRST = 0o600
const HOLD_BYTE = 0
const ATTEMPTS_MAX = 100
const CLEANED_AWAY = 'making a FIFO of this thread: it was removed again and again. Stop what cleans its directory.'
/** How much is read at once. No FIFO holds less than a page. */
export const FIFO_BUFFER_BYTES = 4096

/** The name that a thread's FIFOs bear; undefined if it has none. */
export function threadNameOf([low, high]: LoopId): string | undefined {
  return low === 0 && high === 0 ? undefined : hexadecimal(high) + hexadecimal(low)
}

function hexadecimal(word: number): string {
  return (word >>> 0).toString(16).padStart(8, '0')
}

/** An open FIFO of this thread. */
export interface OpenedFifo {
  readonly fd: number
  close(): void
}

/**
 * Makes a FIFO and takes its lock. Steps: (1) make the FIFO, and its folder if that was removed; (2) `open` it; (3) take
 * the lock that says that the thread lives; (4) check that it still has its name. A cleaner may have removed it before
 * (3), because until then a new FIFO looks like one that a dead thread left: then all steps are repeated.
 *
 * The FIFO is for this user alone until grantAccess opens it to others.
 * @throws SystemCallError, or what `open` throws; no FIFO is left then
 */
export function makeHeldFifo(place: FifoPlace, path: string, open: (path: string) => OpenedFifo): OpenedFifo {
  for (let attempt = 1; ; attempt++) {
    makeFifoAnew(place, path)
    let opened: OpenedFifo | undefined
    try {
      opened = open(path)
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

function makeFifoAnew(place: FifoPlace, path: string): void {
  for (let attempt = 1; ; attempt++) {
    try {
      makeFifo(path, MODE_AT_FIRST)
      break
    } catch (error) {
      // The last other thread of this user has left and removed the folder; or a cleaner deleted it.
      if (hasCode(error, 'ENOENT') && attempt < ATTEMPTS_MAX) place.restore()
      else if (hasCode(error, 'EEXIST') && attempt < ATTEMPTS_MAX) unlinkFifo(path)
      else throw error
    }
  }
  // Not process.umask(): it sets the mask to 0 for a moment, for all threads of the process.
  const made = lstatSync(path, { bigint: true, throwIfNoEntry: false })
  const isMasked = made !== undefined && (Number(made.mode) & MODE_AT_FIRST) !== MODE_AT_FIRST
  if (isMasked) chmodSync(path, MODE_AT_FIRST)
}

/**
 * Removes a name. It does no harm if the name is gone already, or if this process may not remove it any more because it
 * has changed its user: another thread removes it later.
 */
export function unlinkFifo(path: string): void {
  try {
    unlinkSync(path)
  } catch (error) {
    if (!isSystemError(error)) throw error
  }
}

/** Takes a FIFO's lock: from here on no other thread removes its name. False if its thread has it, or if the name is gone. */
export function holdFifo(fd: number): boolean {
  return tryLock(fd, HOLD_BYTE) && hasName(fd)
}

/** False if the name was deleted: by systemd at logout (RemoveIPC), or by another cleaner. */
export function hasName(fd: number): boolean {
  return statDescriptor(fd).nlink > 0n
}

/** Whether the thread that made this FIFO lives. */
export function isFifoHeld(fd: number): boolean {
  return isLockedByAnother(fd, HOLD_BYTE)
}

/** Which users may attach to the segments of a thread: pairs of the bits for reading and writing. */
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
 * Adds the users who may attach to one more segment. A FIFO has one owner and one group: if the segment belongs to another
 * user, or to a second group, everyone may use the FIFO. That is safe: a wake-up is a hint, and the segment's own mode
 * guards its data.
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

/** A user who may only read, or only write, cannot attach. */
function pairsOf(mode: number): number {
  const readable = mode & READ_BITS & ((mode & WRITE_BITS) << 1)
  return readable | (readable >> 1)
}

export function isOpenToOthers({ mode }: FifoAccess): boolean {
  return (mode & (GROUP_BITS | OTHERS_BITS)) !== 0
}

export function grantAccess(fd: number, kind: FifoKind, { mode, gid }: FifoAccess): void {
  const attempt = 'opening a FIFO of this thread to those who may attach to its segments'
  let granted = mode
  try {
    if ((mode & GROUP_BITS) !== 0) setGroup(fd, gid, attempt)
  } catch (error) {
    if (!hasCode(error, 'EPERM', 'EINVAL')) throw error
    // This user is not in that group, or the group has no number in this user namespace: then everyone may use the FIFO.
    // Users in the group that the FIFO has count by the group's bits alone, and those are set already.
    granted = mode | ((mode & GROUP_BITS) >> 3)
  }
  setMode(fd, OWNER_BITS | (granted & (kind === 'alive' ? READ_BITS : WRITE_BITS)), attempt)
}

/**
 * Reads a FIFO on the event loop, and keeps no process running.
 * @param fd of tryOpenRaw; the socket owns it
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
  // In Node.js's documentation, but not in its types.
  const options = { fd, readable: true, writable: false, onread }
  let socket: Socket
  try {
    socket = new Socket(options)
  } catch (error) {
    closeRaw(fd)
    throw error
  }
  socket.once('end', onEnd)
  socket.read(0)
  return socket.unref()
}
