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
import { isLockedByAnother, tryLock, unlock } from '../liveness/ofd-lock.js'
import { isSystemError } from '../native/system-error.js'
import type { FutexWaiter } from '../waiting/futex-waiter.js'

/** Behind the bytes of the peer slots. */
export const HEADER_LOCK_BYTE = MAX_PEERS

/** What the holder does, as those who wait are told. In the header, each has its place in this list, from 1 on, as its number. */
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
/** How long the lock may change hands without coming to us. Only peers that do nothing else can take that long. */
const TURNS_MS_MAX = 60_000
/** A holder that is killed wakes nobody. */
const SLICE_MS = 20
const PAUSE_MS_MIN = 1
const PAUSE_GROWTH = 1.5

const pause = new Int32Array(new SharedArrayBuffer(4))
/** Lock pid, lock purpose, lock turn. */
const noted = new Int32Array(3)

/**
 * How long a call waits, through all its steps. A holder that is stopped cannot be told from a slow one, so each has
 * `timeoutMs` from the moment at which it is first seen, however long the call took to come to the lock.
 */
export class HeaderLockDeadline {
  readonly #timeoutMs: number
  readonly #endMs: number
  /** For what is no lock: a name that leads to another file each time. */
  readonly deadline: number
  #holder: Holder | undefined
  #holderDeadline: number

  /** @throws IsthmusRangeError `ERR_ISTHMUS_INVALID_ARGUMENT` */
  constructor(timeoutMs: number | undefined = LOCK_TIMEOUT_MS_DEFAULT) {
    this.deadline = deadlineAfter(timeoutMs, 'lockTimeoutMs')
    this.#timeoutMs = timeoutMs
    this.#holderDeadline = this.deadline
    this.#endMs = this.deadline + TURNS_MS_MAX
  }

  get remainingMs(): number {
    return this.#holderDeadline - nowMs()
  }

  get hasEnded(): boolean {
    return nowMs() >= this.#endMs
  }

  get timeoutMs(): number {
    return this.#timeoutMs
  }

  /** The time begins anew where the lock has changed hands. */
  see(holder: Holder): void {
    if (holder.pid === this.#holder?.pid && holder.turn === this.#holder.turn) return
    this.#holder = holder
    this.#holderDeadline = Math.min(nowMs() + this.#timeoutMs, this.#endMs)
  }
}

/** A segment's file whose header lock is wanted. */
export interface LockedFile {
  readonly fd: number
  readonly subject: string
  /** For those who have it mapped: they sleep until the lock is left. Others ask again and again. */
  readonly memory?: { readonly words: Int32Array; readonly futex: FutexWaiter }
}

/**
 * Runs `action` as the only one that attaches to, removes or repairs this segment. The kernel's lock alone decides, and
 * goes with a killed holder; the words in the header only tell who has it, and wake the next one.
 * @param action is given what tells those who wait that this thread is getting on, and with what: their time begins anew
 * @throws IsthmusError `ERR_ISTHMUS_BUSY` where one holder keeps it for too long
 */
export function withHeaderLock<R>(
  file: LockedFile,
  purpose: Purpose,
  patience: HeaderLockDeadline,
  action: (note: (purpose: Purpose) => void) => R,
): R {
  takeLock(file, patience)
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

function takeLock(file: LockedFile, patience: HeaderLockDeadline): void {
  const { fd, memory } = file
  let stepMs = PAUSE_MS_MIN
  for (;;) {
    // Before the attempt: a turn that ends between it and the sleep is not slept through.
    const turn = memory === undefined ? 0 : Atomics.load(memory.words, LOCK_TURN_WORD)
    if (tryLock(fd, HEADER_LOCK_BYTE)) return
    const holder = readHolder(file)
    patience.see(holder)
    const { remainingMs } = patience
    if (remainingMs <= 0) throw patience.hasEnded ? overtakenError(file) : busyError(file, holder, patience)
    if (memory === undefined) {
      pauseMs(Math.min(stepMs, remainingMs))
      stepMs = Math.min(stepMs * PAUSE_GROWTH, SLICE_MS)
    } else {
      memory.futex.waitSync(LOCK_TURN_WORD, turn, Math.min(SLICE_MS, remainingMs))
    }
  }
}

/** After the lock is free: who is woken finds it so, unless somebody was quicker, who wakes the next one in turn. */
function wakeNext({ memory }: LockedFile): void {
  if (memory === undefined) return
  Atomics.add(memory.words, LOCK_TURN_WORD, 1)
  memory.futex.wake(LOCK_TURN_WORD, 1)
}

/** For those who wait. Where it cannot be written (a full disk, say), they get a poorer message. */
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
  const holder = pid === 0 ? 'a process that has not said its number' : `process ${pid}`
  return new IsthmusError(
    'ERR_ISTHMUS_BUSY',
    `Using ${subject}: it ${doing} ${holder}, which has kept its header lock for ${timeoutMs} ms. If that process is stopped, let it go on or kill it; if it is slow, allow more time (lockTimeoutMs).`,
  )
}

function overtakenError({ subject }: LockedFile): IsthmusError {
  return new IsthmusError(
    'ERR_ISTHMUS_BUSY',
    `Using ${subject}: for ${TURNS_MS_MAX / 1000} seconds, others had its header lock in turn and this thread never did. Let fewer peers attach and close at the same time.`,
  )
}
