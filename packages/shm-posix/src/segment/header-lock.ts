import { readSync, writeSync } from 'node:fs'
import { IsthmusError } from '@isthmus/sync'
import {
  deadlineAfter,
  LOCK_PID_WORD,
  LOCK_PURPOSE_WORD,
  LOCK_TURN_WORD,
  MAX_PEERS,
  nowMs,
} from '@isthmus/sync/internal'
import { isLockedByAnother, tryLock, unlock } from '../native/ofd-lock.js'
import { isSystemError } from '../native/system-error.js'
import type { FutexWaiter } from '../waiting/futex-waiter.js'

/** The byte after those of the peer slots. */
export const HEADER_LOCK_BYTE = MAX_PEERS

/** What the holder does, for the error of a waiter. The header contains its number in this list, counted from 1. */
const DOINGS = {
  attaching: 'is being attached to by',
  closing: 'is being closed by',
  flushing: 'is being flushed by',
  checking: 'is being checked after a restart of the machine by',
  recovering: 'is being recovered after a restart of the machine by',
  removing: 'is being removed by',
}
export type Purpose = keyof typeof DOINGS
const PURPOSES = Object.keys(DOINGS) as Purpose[]

const LOCK_TIMEOUT_MS_DEFAULT = 2000
/** How long the lock may pass from peer to peer without coming to us. Only peers that do nothing else take that long. */
const TURNS_MS_MAX = 60_000
/** A holder that is killed wakes no waiter, so a waiter looks again by itself after this time. */
const SLICE_MS = 20
const PAUSE_MS_MIN = 1
const PAUSE_GROWTH = 1.5

const pause = new Int32Array(new SharedArrayBuffer(4))
/** Lock pid, lock purpose, lock turn. */
const noted = new Int32Array(3)

/**
 * How long one call waits for the header lock, through all its steps and retries. A stopped holder cannot be told from a
 * slow one, so each holder has `timeoutMs` from the moment at which this call first sees it, however long the call has
 * waited before.
 */
export class HeaderLockDeadline {
  readonly timeoutMs: number
  /** Until when the call repeats what needs no lock, for example if its name leads to another file each time. */
  readonly retryUntilMs: number
  readonly #endMs: number
  #holder: Holder | undefined
  #holderDeadlineMs: number

  /** @throws IsthmusRangeError `ERR_ISTHMUS_INVALID_ARGUMENT` */
  constructor(timeoutMs: number | undefined = LOCK_TIMEOUT_MS_DEFAULT) {
    this.retryUntilMs = deadlineAfter(timeoutMs, 'lockTimeoutMs')
    this.timeoutMs = timeoutMs
    this.#holderDeadlineMs = this.retryUntilMs
    this.#endMs = this.retryUntilMs + TURNS_MS_MAX
  }

  get remainingMs(): number {
    return this.#holderDeadlineMs - nowMs()
  }

  get hasEnded(): boolean {
    return nowMs() >= this.#endMs
  }

  /** Starts the time anew if the lock has changed hands, or if its holder has made progress. */
  see(holder: Holder): void {
    if (holder.pid === this.#holder?.pid && holder.turn === this.#holder.turn) return
    this.#holder = holder
    this.#holderDeadlineMs = Math.min(nowMs() + this.timeoutMs, this.#endMs)
  }
}

/** A segment's file whose header lock is wanted. */
export interface LockedFile {
  readonly fd: number
  readonly subject: string
  /** If the file is mapped, a waiter sleeps until the lock is free. Otherwise it asks again and again. */
  readonly memory?: { readonly words: Int32Array; readonly futex: FutexWaiter }
}

/**
 * Runs `action` as the only one that attaches to, closes, flushes or removes this segment.
 *
 * Steps: (1) take the kernel's lock, or sleep on the lock turn and try again; (2) note in the header who has the lock, and
 * for what; (3) run the action; (4) clear the note; (5) drop the kernel's lock; (6) raise the lock turn, and wake one
 * sleeper, which tries again. Only the kernel's lock decides, and it goes with a killed holder. The words in the header
 * inform waiters, and wake them; a holder that is killed before (6) costs them a slice.
 *
 * @param action gets a function that tells waiters that this thread makes progress, and with what: their time starts anew
 * @throws IsthmusError `ERR_ISTHMUS_BUSY` if one holder keeps the lock for too long
 */
export function withHeaderLock<R>(
  file: LockedFile,
  purpose: Purpose,
  deadline: HeaderLockDeadline,
  action: (note: (purpose: Purpose) => void) => R,
): R {
  takeLock(file, deadline)
  try {
    noteHolder(file, process.pid, purpose)
    return action((next) => {
      noteHolder(file, process.pid, next)
      if (file.memory !== undefined) Atomics.add(file.memory.words, LOCK_TURN_WORD, 1)
    })
  } finally {
    noteHolder(file, 0)
    unlock(file.fd, HEADER_LOCK_BYTE)
    wakeNext(file)
  }
}

export function isHeaderLocked({ fd }: LockedFile): boolean {
  return isLockedByAnother(fd, HEADER_LOCK_BYTE)
}

/** Blocks this thread. */
export function pauseMs(durationMs: number): void {
  Atomics.wait(pause, 0, 0, durationMs)
}

function takeLock(file: LockedFile, deadline: HeaderLockDeadline): void {
  const { fd, memory } = file
  let stepMs = PAUSE_MS_MIN
  for (;;) {
    // SYNC header lock free
    // Read before the attempt: if the turn ends between the attempt and the sleep, the sleep does not begin.
    const turn = memory === undefined ? 0 : Atomics.load(memory.words, LOCK_TURN_WORD)
    if (tryLock(fd, HEADER_LOCK_BYTE)) return
    const holder = readHolder(file)
    deadline.see(holder)
    const { remainingMs } = deadline
    if (remainingMs <= 0) throw deadline.hasEnded ? overtakenError(file) : busyError(file, holder, deadline)
    if (memory === undefined) {
      pauseMs(Math.min(stepMs, remainingMs))
      stepMs = Math.min(stepMs * PAUSE_GROWTH, SLICE_MS)
    } else {
      memory.futex.waitSync(LOCK_TURN_WORD, turn, Math.min(SLICE_MS, remainingMs))
    }
  }
}

/** Called after the lock is free. If another thread takes it before the woken one, that thread wakes the next in turn. */
function wakeNext({ memory }: LockedFile): void {
  if (memory === undefined) return
  // SYNC header lock free
  Atomics.add(memory.words, LOCK_TURN_WORD, 1)
  memory.futex.wake(LOCK_TURN_WORD, 1)
}

/** Tells waiters who has the lock. If that cannot be written (a full disk, say), their error message says less. */
function noteHolder({ fd, memory }: LockedFile, pid: number, doing?: Purpose): void {
  const purpose = doing === undefined ? 0 : PURPOSES.indexOf(doing) + 1
  if (memory !== undefined) {
    Atomics.store(memory.words, LOCK_PURPOSE_WORD, purpose)
    Atomics.store(memory.words, LOCK_PID_WORD, pid)
    return
  }
  noted[0] = pid
  noted[1] = purpose
  try {
    writeSync(fd, noted, 0, 8, LOCK_PID_WORD * 4)
  } catch (error) {
    if (!isSystemError(error)) throw error
  }
}

interface Holder {
  readonly pid: number
  readonly purpose: number
  readonly turn: number
}

function readHolder({ fd, memory }: LockedFile): Holder {
  if (memory !== undefined) {
    const [pid, purpose, turn] = memory.words.subarray(LOCK_PID_WORD, LOCK_TURN_WORD + 1)
    return { pid, purpose, turn }
  }
  noted.fill(0)
  readSync(fd, noted, 0, 12, LOCK_PID_WORD * 4)
  const [pid, purpose, turn] = noted
  return { pid, purpose, turn }
}

function busyError({ subject }: LockedFile, { pid, purpose }: Holder, { timeoutMs }: HeaderLockDeadline): IsthmusError {
  const doing = DOINGS[PURPOSES[purpose - 1]] ?? 'is in use by'
  const holder = pid === 0 ? 'a process that has not noted its number' : `process ${pid}`
  return new IsthmusError(
    'ERR_ISTHMUS_BUSY',
    `Using ${subject}: it ${doing} ${holder}, which has kept its header lock for ${timeoutMs} ms. If that process is stopped, let it go on or kill it; if it is slow, allow more time (lockTimeoutMs).`,
  )
}

function overtakenError({ subject }: LockedFile): IsthmusError {
  return new IsthmusError(
    'ERR_ISTHMUS_BUSY',
    `Using ${subject}: for ${TURNS_MS_MAX / 1000} seconds, other threads had its header lock in turn and this thread never did. Let fewer peers attach and close at the same time.`,
  )
}
