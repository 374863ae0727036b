import { fchmodSync, fchownSync, type Stats, unlinkSync } from 'node:fs'
import { Socket } from 'node:net'
import { join } from 'node:path'
import type { LoopId } from '@isthmus/sync'
import { isLockedByAnother, tryLock } from '../liveness/ofd-lock.js'
import { statDescriptor } from '../native/descriptor-stat.js'
import { libc } from '../native/libc.js'
import { SHARED_MEMORY_DIRECTORY } from '../native/shared-memory-directory.js'
import { hasCode, SystemCallError } from '../native/system-error.js'

/**
 * A thread that is attached to segments has up to two FIFOs, named by its loop id, which stands in its peer slots:
 *
 * | FIFO | its thread holds       | others                          | what it tells them                             |
 * |------|------------------------|---------------------------------|------------------------------------------------|
 * | life | both ends, all along   | read, see DeathWatch            | the end of file: the thread is gone            |
 * | bell | both ends, and reads,  | write, see BellRopes            | no reader: its event loop does not listen      |
 * |      | once its loop waits    |                                 |                                                |
 *
 * Their thread has a lock on each, which the kernel drops with the thread: only who gets the lock may remove a name.
 */
export type FifoKind = 'life' | 'bell'

export const FIFO_NAME = /^isthmus-([0-9a-f]{16})\.(?:life|bell)$/

const MODE_AT_FIRST = 0o600
const HOLD_BYTE = 0
/** Rings that come in one go are heard in one go. */
const BUFFER_BYTES = 4096

/** How FIFOs name a thread; undefined where it has none. */
export function threadNameOf([low, high]: LoopId): string | undefined {
  return low === 0 && high === 0 ? undefined : hexadecimal(high) + hexadecimal(low)
}

function hexadecimal(word: number): string {
  return (word >>> 0).toString(16).padStart(8, '0')
}

export function fifoPath(thread: string, kind: FifoKind): string {
  return join(SHARED_MEMORY_DIRECTORY, `isthmus-${thread}.${kind}`)
}

/** For this user alone, until it is opened to others. */
export function makeFifo(path: string): void {
  const c = libc()
  if (c.mkfifo(path, MODE_AT_FIRST) === 0) return
  const errno = c.errno()
  throw new SystemCallError(
    { errno, syscall: 'mkfifo', path },
    `making ${path}, through which other threads and processes reach this thread. Allow this user to make files in ${SHARED_MEMORY_DIRECTORY}.`,
  )
}

/**
 * Takes a name away. That it is gone already is as good; and where this process may not any more, having changed its user,
 * somebody else does it later.
 */
export function unlinkFifo(path: string): void {
  try {
    unlinkSync(path)
  } catch (error) {
    if (!hasCode(error, 'ENOENT', 'EPERM', 'EACCES', 'EROFS')) throw error
  }
}

/**
 * For the maker of a FIFO: from here on nobody removes it. False where somebody did before, who took it for a leftover:
 * between its making and this there is nothing that tells the difference.
 */
export function holdFifo(fd: number): boolean {
  return tryLock(fd, HOLD_BYTE) && statDescriptor(fd).nlink > 0
}

/** Whether the thread that made this FIFO lives. */
export function isFifoHeld(fd: number): boolean {
  return isLockedByAnother(fd, HOLD_BYTE)
}

/** Who else may use a FIFO. */
export interface FifoAccess {
  readonly mode: number
  readonly gid: number
}

const ACCESS_BITS = 0o666
const OWNER_BITS = 0o600
const GROUP_BITS = 0o060

/**
 * What those need who may attach to a segment, on top of what was granted before. A FIFO has one owner and one group: for
 * another user's segment, or that of a second group, everybody may use it. A ring is a hint; the segment guards its data.
 */
export function widenAccess(access: FifoAccess, segmentFile: Stats): FifoAccess {
  const wanted = segmentFile.mode & ACCESS_BITS
  const isGroupTaken = (access.mode & GROUP_BITS) !== 0
  const isGroupWanted = (wanted & GROUP_BITS) !== 0
  let mode = access.mode | wanted
  if (segmentFile.uid !== process.geteuid?.()) mode |= (wanted & OWNER_BITS) >> 6
  if (isGroupTaken && isGroupWanted && access.gid !== segmentFile.gid) mode |= (wanted & GROUP_BITS) >> 3
  return { mode, gid: isGroupWanted && !isGroupTaken ? segmentFile.gid : access.gid }
}

export function grantAccess(fd: number, { mode, gid }: FifoAccess): void {
  if ((mode & GROUP_BITS) !== 0) {
    try {
      fchownSync(fd, -1, gid)
    } catch (error) {
      // Not one of that group, or it has no number in this user namespace: we attached by what everybody may, so everybody
      // may use the FIFO as well.
      if (!hasCode(error, 'EPERM', 'EINVAL')) throw error
    }
  }
  fchmodSync(fd, mode)
}

/**
 * Reads a FIFO on the event loop, for what happens and not for what is written, and keeps no process running. The socket
 * owns the descriptor, which must come from libc's `open`: one from `fs.openSync` would in a worker be closed a second
 * time at its end, when its number may be that of another thread's locks.
 */
export function listenTo(fd: number, onData: () => void, onEnd: () => void): Socket {
  const onread = {
    buffer: Buffer.alloc(BUFFER_BYTES),
    callback() {
      onData()
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
