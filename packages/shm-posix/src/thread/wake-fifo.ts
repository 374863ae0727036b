import { constants } from 'node:fs'
import { pendingWaits } from '@isthmus/sync/internal'
import { openRaw } from '../native/raw-descriptor.js'
import {
  FIFO_BUFFER_BYTES,
  type FifoAccess,
  grantAccess,
  hasName,
  listenTo,
  makeHeldFifo,
  type OpenedFifo,
  unlinkFifo,
} from './fifo.js'
import type { FifoPlace } from './fifo-place.js'

/** Both ends, so that it neither waits for a first writer nor ends when the last writer leaves. */
const FLAGS = constants.O_RDWR | constants.O_NONBLOCK | constants.O_NOFOLLOW

/**
 * The hint that makes an event loop poll all its waits. Any other hint is a 32-bit word that names a wait point (see
 * Waiter.hintOf); the loop then polls the waits at that point only.
 *
 * A wake-up that finds the FIFO full is dropped. The FIFO can be full only while a whole buffer is unread, so a loop that
 * reads a whole buffer polls everywhere. It does the same if a stranger has written something that is no word.
 */
export const EVERYWHERE = 0

/** The FIFO through which other threads wake this thread's event loop. */
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
   * Makes the FIFO anew if its name was deleted. From then on a wake-up through the old one fails, and its waker opens the
   * new one.
   * @returns whether it was made anew
   */
  restore(access: FifoAccess): boolean {
    if (hasName(this.#opened.fd)) return false
    const old = this.#opened
    this.#opened = open(this.#place, this.#path, access)
    old.close()
    // In case a wake-up came through the old one that was not read yet.
    pendingWaits.schedulePoll()
    return true
  }

  /** Removes the name; wakers that have opened the FIFO can go on. */
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

function pollHinted(hints: Int32Array, byteLength: number): void {
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

/** The socket takes the descriptor at once: if the thread were terminated before, the descriptor would stay open. */
function openForBoth(path: string): OpenedFifo {
  const fd = openRaw(
    path,
    FLAGS,
    'opening the FIFO through which others wake the event loop of this thread. If the process is out of descriptors, allow more (ulimit -n).',
  )
  const socket = listenTo(fd, pollHinted, () => pendingWaits.repoll())
  return { fd, close: () => socket.destroy() }
}
