import { closeSync, constants, openSync } from 'node:fs'
import { type FifoAccess, grantAccess, hasName, makeHeldFifo, unlinkFifo } from './fifo.js'
import type { FifoPlace } from './fifo-place.js'

const FLAGS = constants.O_RDWR | constants.O_NONBLOCK | constants.O_NOFOLLOW

/**
 * The FIFO by which other threads learn of this thread's death: they read it, and reach its end when the thread is gone,
 * whatever ended it. The descriptor is one of Node.js's own, which closes it with the thread.
 */
export class LivenessFifo {
  readonly #place: FifoPlace
  readonly #path: string
  #fd: number

  private constructor(place: FifoPlace, path: string, fd: number) {
    this.#place = place
    this.#path = path
    this.#fd = fd
  }

  /** @throws SystemCallError if this thread may not make it */
  static open(thread: string, place: FifoPlace, access: FifoAccess): LivenessFifo {
    const path = place.pathOf(thread, 'alive')
    return new LivenessFifo(place, path, open(place, path, access))
  }

  grant(access: FifoAccess): void {
    grantAccess(this.#fd, 'alive', access)
  }

  /**
   * Makes the FIFO anew if its name was deleted. The threads that watch the old one reach its end, find this thread alive,
   * and watch the new one.
   * @returns whether it was made anew
   */
  restore(access: FifoAccess): boolean {
    if (hasName(this.#fd)) return false
    const old = this.#fd
    this.#fd = open(this.#place, this.#path, access)
    closeSync(old)
    return true
  }

  /** Removes the name; threads that have opened the FIFO go on watching. */
  unlink(): void {
    unlinkFifo(this.#path)
  }

  close(): void {
    try {
      this.unlink()
    } finally {
      closeSync(this.#fd)
    }
  }
}

function open(place: FifoPlace, path: string, access: FifoAccess): number {
  const { fd } = makeHeldFifo(place, path, (path) => {
    const fd = openSync(path, FLAGS)
    return { fd, close: () => closeSync(fd) }
  })
  try {
    grantAccess(fd, 'alive', access)
    return fd
  } catch (error) {
    unlinkFifo(path)
    closeSync(fd)
    throw error
  }
}
