import { constants } from 'node:fs'
import type { Socket } from 'node:net'
import { eventLoop } from '@isthmus/sync'
import { libc } from '../native/libc.js'
import { O_CLOEXEC } from '../native/open-flags.js'
import { ENOENT, SystemCallError } from '../native/system-error.js'
import { type FifoAccess, fifoPath, grantAccess, holdFifo, listenTo, makeFifo, unlinkFifo } from './fifo.js'

/** Both ends: it neither waits for somebody to ring nor ends when the last one leaves. */
const FLAGS = constants.O_RDWR | constants.O_NONBLOCK | constants.O_NOFOLLOW | O_CLOEXEC

/** A thread's bell FIFO: any byte that is written to it makes the thread's event loop look around. */
export class Doorbell {
  readonly #fd: number
  readonly #path: string
  readonly #socket: Socket

  private constructor(fd: number, path: string) {
    this.#fd = fd
    this.#path = path
    const look = () => eventLoop.lookAround()
    this.#socket = listenTo(fd, look, look)
  }

  /** @throws SystemCallError where this thread may not make it */
  static hang(thread: string, access: FifoAccess): Doorbell {
    const path = fifoPath(thread, 'bell')
    const c = libc()
    for (;;) {
      makeFifo(path)
      const fd = c.open(path, FLAGS)
      if (fd === -1) {
        const errno = c.errno()
        // Where somebody has removed our life FIFO by hand, this one looks like a leftover until it is held.
        if (errno === ENOENT) continue
        unlinkFifo(path)
        throw new SystemCallError(
          { errno, syscall: 'open', path },
          'opening the FIFO through which others wake the event loop of this thread. Nobody but isthmus should change what is in /dev/shm under its name; or the process is out of descriptors (ulimit -n).',
        )
      }
      let isOurs = false
      try {
        isOurs = holdFifo(fd)
        if (isOurs) grantAccess(fd, access)
      } catch (error) {
        c.close(fd)
        unlinkFifo(path)
        throw error
      }
      if (isOurs) return new Doorbell(fd, path)
      c.close(fd)
    }
  }

  grant(access: FifoAccess): void {
    grantAccess(this.#fd, access)
  }

  /** Nobody finds it any more; those who found it can go on ringing. */
  unlink(): void {
    unlinkFifo(this.#path)
  }

  close(): void {
    try {
      this.unlink()
    } finally {
      this.#socket.destroy()
    }
  }
}
