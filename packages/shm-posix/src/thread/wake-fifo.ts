import { constants } from 'node:fs'
import { pendingWaits } from '@isthmus/sync/internal'
import { libc } from '../native/libc.js'
import { O_CLOEXEC } from '../native/open-flags.js'
import { SystemCallError } from '../native/system-error.js'
import { FIFO_BUFFER_BYTES, type FifoAccess, grantAccess, hasName, listenTo, makeHeldFifo, unlinkFifo } from './fifo.js'
import type { FifoPlace } from './fifo-place.js'

/** Both ends: it neither waits for somebody to ring nor ends when the last one leaves. */
const FLAGS = constants.O_RDWR | constants.O_NONBLOCK | constants.O_NOFOLLOW | O_CLOEXEC

/**
 * A thread's bell FIFO: what is written to it makes the thread's event loop look. Each ring is a 32-bit word, the hint at
 * the wait point (see Waiter.hintOf), or EVERYWHERE.
 *
 * A ring that finds the FIFO full is dropped. That can only be while a whole buffer is unread, so the loop that reads a
 * whole buffer looks everywhere; and so it does if a stranger has written something that is no word.
 */
export const EVERYWHERE = 0

export class WakeFifo {
  readonly #place: FifoPlace
  readonly #path: string
  #opened: OpenedFifo

  private constructor(place: FifoPlace, path: string, opened: OpenedFifo) {
    this.#place = place
    this.#path = path
    this.#opened = opened
  }

  /** @throws SystemCallError if this thread may not make it */
  static open(thread: string, place: FifoPlace, access: FifoAccess): WakeFifo {
    const path = place.pathOf(thread, 'wake')
    return new WakeFifo(place, path, open(place, path, access))
  }

  grant(access: FifoAccess): void {
    grantAccess(this.#opened.fd, 'wake', access)
  }

  /**
   * Makes it anew, if its name was deleted. A ring through the old one fails from then on, and its waker opens the new one.
   * @returns whether it had to
   */
  restore(access: FifoAccess): boolean {
    if (hasName(this.#opened.fd)) return false
    const old = this.#opened
    this.#opened = open(this.#place, this.#path, access)
    old.close()
    // What came through the old one and was not read yet.
    pendingWaits.schedulePoll()
    return true
  }

  /** Nobody finds it any more; those who found it can go on ringing. */
  unlink(): void {
    unlinkFifo(this.#path)
  }

  close(): void {
    try {
      this.unlink()
    } finally {
      this.#opened.close()
    }
  }
}

function look(hints: Int32Array, byteLength: number): void {
  const count = byteLength >>> 2
  let isEverywhere = byteLength === FIFO_BUFFER_BYTES || byteLength !== count * 4
  for (let index = 0; index < count; index++) isEverywhere ||= hints[index] === EVERYWHERE
  if (isEverywhere) {
    pendingWaits.repoll()
    return
  }
  for (let index = 0; index < count; index++) {
    // The same hint comes several times if several wakers saw the same waiter.
    if (index === 0 || hints[index] !== hints[index - 1]) pendingWaits.repoll(hints[index])
  }
}

interface OpenedFifo {
  readonly fd: number
  close(): void
}

function open(place: FifoPlace, path: string, access: FifoAccess): OpenedFifo {
  const opened = makeHeldFifo(place, path, openForBoth)
  try {
    grantAccess(opened.fd, 'wake', access)
    return opened
  } catch (error) {
    unlinkFifo(path)
    opened.close()
    throw error
  }
}

/** The socket has it at once: of a thread that is terminated before, the descriptor would stay. */
function openForBoth(path: string): OpenedFifo {
  const c = libc()
  const fd = c.open(path, FLAGS)
  if (fd === -1) {
    throw new SystemCallError(
      { errno: c.errno(), syscall: 'open', path },
      'opening the FIFO through which others wake the event loop of this thread. If the process is out of descriptors, allow more (ulimit -n).',
    )
  }
  const socket = listenTo(fd, look, () => pendingWaits.repoll())
  return { fd, close: () => socket.destroy() }
}
