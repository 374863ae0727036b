import { constants } from 'node:fs'
import type { Socket } from 'node:net'
import { eventLoop } from '@isthmus/sync'
import { statDescriptor } from '../native/descriptor-stat.js'
import { libc } from '../native/libc.js'
import { O_CLOEXEC } from '../native/open-flags.js'
import { fifoPath, isFifoHeld, listenTo } from '../waiting/fifo.js'

const FLAGS = constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW | O_CLOEXEC

/**
 * The end of a life FIFO comes a moment before or after the locks that prove the death are free: nobody promises in which
 * order the descriptors of a dead thread are closed.
 */
const LOOK_AGAIN_AFTER_MS = [1, 4, 16, 64, 256, 1024]

/** Tells this thread's event loop of the deaths of other threads, through their life FIFOs. */
export class DeathWatch {
  readonly #sockets = new Map<string, Socket>()
  readonly #onDeath: (thread: string) => void

  constructor(onDeath: (thread: string) => void) {
    this.#onDeath = onDeath
  }

  /** Returns whether it was watched before. Where not, or where there is nothing to watch, the caller asks for a proof. */
  watch(thread: string): boolean {
    if (this.#sockets.has(thread)) return true
    const path = fifoPath(thread, 'life')
    const c = libc()
    const fd = c.open(path, FLAGS)
    // Gone, another user's, or no descriptor left: whoever waits asks for a proof now, and again with every tick.
    if (fd === -1) return false
    // Of what has ended before it was opened, the end is never told.
    if (!statDescriptor(fd).isFIFO() || !isFifoHeld(fd)) {
      c.close(fd)
      return false
    }
    const socket = listenTo(fd, nothing, () => this.#end(thread))
    this.#sockets.set(thread, socket)
    return false
  }

  close(): void {
    for (const socket of this.#sockets.values()) socket.destroy()
    this.#sockets.clear()
  }

  #end(thread: string): void {
    this.#sockets.get(thread)?.destroy()
    this.#sockets.delete(thread)
    this.#onDeath(thread)
    eventLoop.lookForDead()
    for (const delayMs of LOOK_AGAIN_AFTER_MS) setTimeout(() => eventLoop.lookForDead(), delayMs).unref()
  }
}

function nothing(): void {}
