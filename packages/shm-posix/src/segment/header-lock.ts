import { readSync, writeSync } from 'node:fs'
import { IsthmusError, LOCK_PID_WORD, MAX_PEERS, nowMs } from '@isthmus/sync'
import { tryLock, unlock } from '../liveness/ofd-lock.js'
import { hasCode } from '../native/system-error.js'

/** Behind the bytes of the peer slots. */
export const HEADER_LOCK_BYTE = MAX_PEERS
const RETRY_MS = 1
const LOCK_PID_BYTE_OFFSET = LOCK_PID_WORD * 4

const pause = new Int32Array(new SharedArrayBuffer(4))
const pidWord = new Int32Array(1)

/**
 * Runs `action` as the only one that attaches to, removes or repairs this segment. The lock goes with a killed holder;
 * for a stopped one we do not wait longer than until the deadline, since nobody can say when it will go on.
 * @throws IsthmusError `ERR_ISTHMUS_BUSY` after the deadline
 */
export function withHeaderLock<R>(fd: number, subject: string, deadline: number, action: () => R): R {
  while (!tryLock(fd, HEADER_LOCK_BYTE)) {
    if (nowMs() >= deadline) throw busyError(fd, subject)
    pauseMs(RETRY_MS)
  }
  try {
    noteHolder(fd, process.pid)
    return action()
  } finally {
    noteHolder(fd, 0)
    unlock(fd, HEADER_LOCK_BYTE)
  }
}

/** Blocks this thread. */
export function pauseMs(durationMs: number): void {
  Atomics.wait(pause, 0, 0, durationMs)
}

/** For the messages of those who wait. Where it cannot be written (a full disk, say), they get a poorer message. */
function noteHolder(fd: number, pid: number): void {
  pidWord[0] = pid
  try {
    writeSync(fd, pidWord, 0, 4, LOCK_PID_BYTE_OFFSET)
  } catch (error) {
    if (!hasCode(error, 'EIO', 'ENOSPC', 'EDQUOT', 'EROFS', 'EFBIG')) throw error
  }
}

function busyError(fd: number, subject: string): IsthmusError {
  readSync(fd, pidWord, 0, 4, LOCK_PID_BYTE_OFFSET)
  const holder = pidWord[0] === 0 ? 'somebody' : `process ${pidWord[0]}`
  return new IsthmusError(
    'ERR_ISTHMUS_BUSY',
    `Using ${subject}: ${holder} kept its header lock until the deadline. If that process is stopped, let it go on or kill it; or allow more time (lockTimeoutMs).`,
  )
}
