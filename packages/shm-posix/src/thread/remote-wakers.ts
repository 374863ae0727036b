import { closeSync, constants, openSync } from 'node:fs'
import { statDescriptor } from '../native/descriptor-stat.js'
import { writeQuietly } from '../native/quiet-write.js'
import { EAGAIN, hasCode, isSystemError } from '../native/system-error.js'
import { SearchLimit } from './fifo-search.js'
import type { PeerEndpoint } from './peer-endpoint.js'

const FLAGS = constants.O_WRONLY | constants.O_NONBLOCK
const WAKERS_MAX = 32
const hint = new Int32Array(1)
const hintBytes = new Uint8Array(hint.buffer)

/** The write end of another thread's wake FIFO. */
interface RemoteWaker {
  readonly fd: number
  /** The FIFO's owner. */
  readonly uid: number
}

/**
 * The wake FIFOs of other threads that this thread has written to lately. Failures are ignored: a wake-up is only a hint,
 * and the caller marks a peer that it could not reach, which then polls by itself.
 */
export class RemoteWakers {
  /** By the keys of their endpoints, the least recently used first. */
  readonly #wakers = new Map<string, RemoteWaker>()
  #lastKey: string | undefined
  /** A descriptor in reserve: without it, a process that is out of descriptors could not open a peer's FIFO. */
  #reserve: number | undefined
  readonly #searches = new SearchLimit()

  constructor() {
    this.#keepReserve()
  }

  /** Returns false if no event loop listens, or if the FIFO belongs to a user that is not trusted with a hint. */
  wake(peer: PeerEndpoint, word: number, isTrusted: (uid: number) => boolean): boolean {
    const { key } = peer
    const waker = this.#wakers.get(key) ?? this.#take(peer)
    if (waker === undefined || !isTrusted(waker.uid)) return false
    if (key !== this.#lastKey) {
      this.#wakers.delete(key)
      this.#wakers.set(key, waker)
      this.#lastKey = key
    }
    if (write(waker.fd, word)) return true
    this.drop(key)
    // Its thread may have made the FIFO anew, because the name was deleted.
    const renewed = this.#take(peer)
    return renewed !== undefined && isTrusted(renewed.uid) && write(renewed.fd, word)
  }

  /** @param key of a PeerEndpoint */
  drop(key: string): void {
    const waker = this.#wakers.get(key)
    if (waker === undefined) return
    this.#wakers.delete(key)
    if (this.#lastKey === key) this.#lastKey = undefined
    closeSync(waker.fd)
    this.#keepReserve()
  }

  close(): void {
    for (const key of [...this.#wakers.keys()]) this.drop(key)
    if (this.#reserve !== undefined) closeSync(this.#reserve)
    this.#reserve = undefined
  }

  #take(peer: PeerEndpoint): RemoteWaker | undefined {
    const waker = this.#openWakeFifo(peer)
    if (waker === undefined) return undefined
    if (this.#wakers.size === WAKERS_MAX) {
      const [oldest] = this.#wakers.keys()
      this.drop(oldest)
    }
    this.#wakers.set(peer.key, waker)
    return waker
  }

  #openWakeFifo(peer: PeerEndpoint): RemoteWaker | undefined {
    const path = peer.pathOf('wake')
    if (path === undefined) return undefined
    const waker = this.#open(path, FLAGS | constants.O_NOFOLLOW)
    if (waker !== undefined) return waker
    if (!this.#searches.isDue(peer.key)) return undefined
    for (const detour of peer.detoursTo('wake')) {
      const found = this.#open(detour, FLAGS)
      if (found !== undefined) return found
    }
    this.#searches.noteVain(peer.key)
    return undefined
  }

  /** Undefined if there is no such FIFO, if no thread reads it, or if this user may not write it. */
  #open(path: string, flags: number): RemoteWaker | undefined {
    let fd: number
    try {
      // Through Node.js, which closes it when this thread is terminated.
      fd = this.#openWithReserve(path, flags)
    } catch (error) {
      this.#keepReserve()
      if (isSystemError(error)) return undefined
      throw error
    }
    const stat = statDescriptor(fd)
    if (stat.isFIFO()) return { fd, uid: Number(stat.uid) }
    closeSync(fd)
    this.#keepReserve()
    return undefined
  }

  #openWithReserve(path: string, flags: number): number {
    try {
      return openSync(path, flags)
    } catch (error) {
      if (!hasCode(error, 'EMFILE', 'ENFILE')) throw error
    }
    if (this.#reserve === undefined) {
      // The descriptor that `drop` closes becomes the reserve.
      const [oldest] = this.#wakers.keys()
      if (oldest !== undefined) this.drop(oldest)
    }
    if (this.#reserve !== undefined) closeSync(this.#reserve)
    this.#reserve = undefined
    return openSync(path, flags)
  }

  /** If no descriptor is left, the next `drop` makes room for it. */
  #keepReserve(): void {
    if (this.#reserve !== undefined) return
    try {
      this.#reserve = openSync('/dev/null', constants.O_RDONLY)
    } catch (error) {
      // Node.js's permission model may not allow /dev/null: then there is no reserve.
      if (!isSystemError(error) && !hasCode(error, 'ERR_ACCESS_DENIED')) throw error
    }
  }
}

/** Returns false if no thread reads the FIFO any more. */
function write(fd: number, word: number): boolean {
  hint[0] = word
  // Not fs.writeSync: it makes an error of a full FIFO, which costs twenty times the wake-up.
  const errno = writeQuietly(fd, hintBytes)
  // EAGAIN: full of wake-ups that its thread has not read yet; see EVERYWHERE.
  return errno === 0 || errno === EAGAIN
}
