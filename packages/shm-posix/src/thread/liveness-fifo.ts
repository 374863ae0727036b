import { closeSync, constants, openSync } from 'node:fs'
import { type FifoAccess, grantAccess, hasName, makeHeldFifo, unlinkFifo } from './fifo.js'
import type { FifoPlace } from './fifo-place.js'

const FLAGS = constants.O_RDWR | constants.O_NONBLOCK | constants.O_NOFOLLOW

/**
 * A thread's life FIFO: those who read it reach its end when the thread is gone, whatever ended it. The descriptor is one
 * of Node.js's own, which closes it with the thread.
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
  static begin(thread: string, place: FifoPlace, access: FifoAccess): LivenessFifo {
    const path = place.pathOf(thread, 'alive')
    return new LivenessFifo(place, path, open(place, path, access))
  }

  grant(access: FifoAccess): void {
    grantAccess(this.#fd, 'alive', access)
  }

  /**
   * Makes it anew, if its name was deleted. Those who watch the old one reach its end, find its thread alive, and watch
   * the new one.
   * @returns whether it had to
   */
  restore(access: FifoAccess): boolean {
    if (hasName(this.#fd)) return false
    const old = this.#fd
    this.#fd = open(this.#place, this.#path, access)
    closeSync(old)
    return true
  }

  /** Nobody finds it any more; those who found it go on watching. */
  unlink(): void {
    unlinkFifo(this.#path)
  }

  end(): void {
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
