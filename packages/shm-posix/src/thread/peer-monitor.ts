import { constants } from 'node:fs'
import type { Socket } from 'node:net'
import { callAt, nowMs, pendingWaits, type Watch } from '@isthmus/sync/internal'
import { statDescriptor } from '../native/descriptor-stat.js'
import { libc } from '../native/libc.js'
import { O_CLOEXEC } from '../native/open-flags.js'
import { isFifoHeld, listenTo } from './fifo.js'
import { SearchLimit } from './fifo-search.js'
import type { PeerEndpoint } from './peer-endpoint.js'

const FLAGS = constants.O_RDONLY | constants.O_NONBLOCK | O_CLOEXEC

/**
 * The end of a life FIFO comes a moment before or after the locks that prove the death are free: nobody promises in which
 * order the descriptors of a dead thread are closed.
 */
const LOOK_AGAIN_AFTER_MS = [1, 4, 16, 64, 256, 1024]

/** For how long a FIFO that nobody holds is not opened again. */
const UNHELD_MS = 1000

/** Tells this thread's event loop of the deaths of other threads, through their life FIFOs. */
export class PeerMonitor {
  /** By the keys of their endpoints. */
  readonly #sockets = new Map<string, Socket>()
  /** Of threads that are gone while their slots still say that they live: when that was found. */
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
    const fd = this.#openLife(peer)
    if (fd === undefined) return 'never'
    // A FIFO whose writer is already gone never tells of the end.
    if (!isFifoHeld(fd)) {
      libc().close(fd)
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
    for (const forget of this.#plannedChecks.splice(0)) forget()
  }

  #end(key: string): void {
    this.#sockets.get(key)?.destroy()
    this.#sockets.delete(key)
    this.#onDeath(key)
    pendingWaits.reapDead()
    // It may live, and have made its FIFO anew: then it is watched anew.
    pendingWaits.repoll()
    this.#checkForAWhile()
  }

  /** A new series takes the place of one that is under way. */
  #checkForAWhile(): void {
    for (const forget of this.#plannedChecks) forget()
    const now = nowMs()
    this.#plannedChecks = LOOK_AGAIN_AFTER_MS.map((delayMs) => {
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
   * Undefined if there is no way to it: it has no name that we see, no process that we may look into, or no descriptor is
   * left. A thread that ends takes the names away a moment before it is gone.
   */
  #openLife(peer: PeerEndpoint): number | undefined {
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
  const c = libc()
  const fd = c.open(path, flags)
  if (fd === -1) return undefined
  if (statDescriptor(fd).isFIFO()) return fd
  c.close(fd)
  return undefined
}

function nothing(): void {}
