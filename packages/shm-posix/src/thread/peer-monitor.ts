import { constants } from 'node:fs'
import type { Socket } from 'node:net'
import { callAt, nowMs, pendingWaits, type Watch } from '@isthmus/sync/internal'
import { statDescriptor } from '../native/descriptor-stat.js'
import { closeRaw, tryOpenRaw } from '../native/raw-descriptor.js'
import { isFifoHeld, listenTo } from './fifo.js'
import { SearchLimit } from './fifo-search.js'
import type { PeerEndpoint } from './peer-endpoint.js'

const FLAGS = constants.O_RDONLY | constants.O_NONBLOCK

/**
 * The kernel closes the descriptors of a dead thread in no promised order. So the end of its liveness FIFO may come a
 * moment before the locks that prove its death are free, and the proof is asked for again after these times.
 */
const CHECK_AGAIN_AFTER_MS = [1, 4, 16, 64, 256, 1024]

/** For how long a FIFO whose thread was found gone is not opened again. */
const UNHELD_MS = 1000

/** Tells this thread's event loop of the deaths of other threads, through their liveness FIFOs. */
export class PeerMonitor {
  /** By the keys of their endpoints. */
  readonly #sockets = new Map<string, Socket>()
  /** When a thread was found gone while its peer slot still said that it lives. */
  readonly #unheldMs = new Map<string, number>()
  readonly #searches = new SearchLimit()
  readonly #onDeath: (key: string) => void
  #plannedChecks: (() => void)[] = []

  constructor(onDeath: (key: string) => void) {
    this.#onDeath = onDeath
  }

  watch(peer: PeerEndpoint): Watch {
    const { key } = peer
    if (this.#sockets.has(key)) return 'already'
    const unheldMs = this.#unheldMs.get(key)
    if (unheldMs !== undefined && nowMs() - unheldMs < UNHELD_MS) return 'from-now-on'
    const fd = this.#openLivenessFifo(peer)
    if (fd === undefined) return 'never'
    // A FIFO whose writer is already gone never reports end of file.
    if (!isFifoHeld(fd)) {
      closeRaw(fd)
      this.#unheldMs.set(key, nowMs())
      this.#checkForAWhile()
      return 'from-now-on'
    }
    this.#unheldMs.delete(key)
    const socket = listenTo(fd, nothing, () => this.#end(key))
    this.#sockets.set(key, socket)
    return 'from-now-on'
  }

  close(): void {
    for (const socket of this.#sockets.values()) socket.destroy()
    this.#sockets.clear()
    for (const cancel of this.#plannedChecks.splice(0)) cancel()
  }

  #end(key: string): void {
    this.#sockets.get(key)?.destroy()
    this.#sockets.delete(key)
    this.#onDeath(key)
    pendingWaits.reapDead()
    // The thread may live, and have made its FIFO anew: the poll watches the new one.
    pendingWaits.repoll()
    this.#checkForAWhile()
  }

  /** Replaces a series of checks that is under way. */
  #checkForAWhile(): void {
    for (const cancel of this.#plannedChecks) cancel()
    const now = nowMs()
    this.#plannedChecks = CHECK_AGAIN_AFTER_MS.map((delayMs) => {
      return callAt(now + delayMs, () => {
        this.#forgetUnheld()
        pendingWaits.reapDead()
      })
    })
  }

  #forgetUnheld(): void {
    const now = nowMs()
    for (const [key, unheldMs] of this.#unheldMs) if (now - unheldMs >= UNHELD_MS) this.#unheldMs.delete(key)
  }

  /**
   * Undefined if there is no way to the FIFO: this process sees no name of it, may not look into the peer's process, or
   * has no descriptor left. A thread that ends takes the names away a moment before it is gone.
   */
  #openLivenessFifo(peer: PeerEndpoint): number | undefined {
    const path = peer.pathOf('alive')
    if (path === undefined) return undefined
    const named = openFifo(path, FLAGS | constants.O_NOFOLLOW)
    if (named !== undefined || !this.#searches.isDue(peer.key)) return named
    for (const detour of peer.detoursTo('alive')) {
      const fd = openFifo(detour, FLAGS)
      if (fd !== undefined) return fd
    }
    this.#searches.noteVain(peer.key)
    return undefined
  }
}

function openFifo(path: string, flags: number): number | undefined {
  const fd = tryOpenRaw(path, flags)
  if (fd === undefined || statDescriptor(fd).isFIFO()) return fd
  closeRaw(fd)
  return undefined
}

function nothing(): void {}
