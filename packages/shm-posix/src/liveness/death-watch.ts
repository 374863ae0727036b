import { constants } from 'node:fs'
import type { Socket } from 'node:net'
import { callAt, eventLoop, nowMs, type Watch } from '@isthmus/sync'
import { statDescriptor } from '../native/descriptor-stat.js'
import { libc } from '../native/libc.js'
import { O_CLOEXEC } from '../native/open-flags.js'
import { isFifoHeld, listenTo } from '../waiting/fifo.js'
import type { PeerEndpoint } from '../waiting/peer-endpoint.js'

const FLAGS = constants.O_RDONLY | constants.O_NONBLOCK | O_CLOEXEC

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

  watch(peer: PeerEndpoint): Watch {
    const { thread } = peer
    if (this.#sockets.has(thread)) return 'already'
    const fd = openLife(peer)
    if (fd === undefined) return 'never'
    // A FIFO whose writer is already gone never tells of the end.
    if (!isFifoHeld(fd)) {
      libc().close(fd)
      lookForDeadForAWhile()
      return 'from-now-on'
    }
    const socket = listenTo(fd, nothing, () => this.#end(thread))
    this.#sockets.set(thread, socket)
    return 'from-now-on'
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
    lookForDeadForAWhile()
  }
}

/**
 * Undefined if there is no way to it: it has no name that we see, no process that we may look into, or no descriptor is
 * left. A thread that ends takes the names away a moment before it is gone.
 */
function openLife(peer: PeerEndpoint): number | undefined {
  const path = peer.pathOf('life')
  if (path === undefined) return undefined
  const named = openFifo(path, FLAGS | constants.O_NOFOLLOW)
  if (named !== undefined) return named
  for (const detour of peer.detoursTo('life')) {
    const fd = openFifo(detour, FLAGS)
    if (fd !== undefined) return fd
  }
  return undefined
}

function openFifo(path: string, flags: number): number | undefined {
  const c = libc()
  const fd = c.open(path, flags)
  if (fd === -1) return undefined
  if (statDescriptor(fd).isFIFO()) return fd
  c.close(fd)
  return undefined
}

function lookForDeadForAWhile(): void {
  for (const delayMs of LOOK_AGAIN_AFTER_MS) callAt(nowMs() + delayMs, () => eventLoop.lookForDead())
}

function nothing(): void {}
