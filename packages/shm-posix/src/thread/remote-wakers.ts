import { closeSync, constants, openSync } from 'node:fs'
import { statDescriptor } from '../native/descriptor-stat.js'
import { writeQuietly } from '../native/quiet-write.js'
import { EAGAIN, hasCode, isSystemError } from '../native/system-error.js'
import { SearchLimit } from './fifo-search.js'
import type { PeerEndpoint } from './peer-endpoint.js'

const FLAGS = constants.O_WRONLY | constants.O_NONBLOCK
const WAKERS_MAX = 32
const hint = new Int32Array(1)
const ring = new Uint8Array(hint.buffer)

/** The end of a bell FIFO that is written to. */
interface RemoteWaker {
  readonly fd: number
  /** Whose bell it is. */
  readonly uid: number
}

/**
 * The bells of others, as far as this thread has rung them lately. Failures are no errors: what a ring tells has happened
 * already. The caller tells the peer that it could not be reached.
 */
export class RemoteWakers {
  /** The one that was used last stands last. */
  readonly #wakers = new Map<string, RemoteWaker>()
  #last: string | undefined
  /** A descriptor in reserve: without it, a process out of descriptors could not open the bell of a peer. */
  #reserve: number | undefined
  readonly #searches = new SearchLimit()

  constructor() {
    this.#keepReserve()
  }

  /** Returns false if nobody hears it, or if the bell is of a user that may not be trusted with it. */
  wake(peer: PeerEndpoint, word: number, isTrusted: (uid: number) => boolean): boolean {
    const { key } = peer
    const rope = this.#wakers.get(key) ?? this.#take(peer)
    if (rope === undefined || !isTrusted(rope.uid)) return false
    if (key !== this.#last) {
      this.#wakers.delete(key)
      this.#wakers.set(key, rope)
      this.#last = key
    }
    if (write(rope.fd, word)) return true
    this.drop(key)
    // Its thread may have made it anew, because the name was deleted.
    const renewed = this.#take(peer)
    return renewed !== undefined && isTrusted(renewed.uid) && write(renewed.fd, word)
  }

  /** @param key of a PeerEndpoint */
  drop(key: string): void {
    const rope = this.#wakers.get(key)
    if (rope === undefined) return
    this.#wakers.delete(key)
    if (this.#last === key) this.#last = undefined
    closeSync(rope.fd)
    this.#keepReserve()
  }

  close(): void {
    for (const key of [...this.#wakers.keys()]) this.drop(key)
    if (this.#reserve !== undefined) closeSync(this.#reserve)
    this.#reserve = undefined
  }

  #take(peer: PeerEndpoint): RemoteWaker | undefined {
    const rope = this.#openWakeFifo(peer)
    if (rope === undefined) return undefined
    if (this.#wakers.size === WAKERS_MAX) {
      const [oldest] = this.#wakers.keys()
      this.drop(oldest)
    }
    this.#wakers.set(peer.key, rope)
    return rope
  }

  #openWakeFifo(peer: PeerEndpoint): RemoteWaker | undefined {
    const path = peer.pathOf('wake')
    if (path === undefined) return undefined
    const rope = this.#open(path, FLAGS | constants.O_NOFOLLOW)
    if (rope !== undefined) return rope
    if (!this.#searches.isDue(peer.key)) return undefined
    for (const detour of peer.detoursTo('wake')) {
      const found = this.#open(detour, FLAGS)
      if (found !== undefined) return found
    }
    this.#searches.noteVain(peer.key)
    return undefined
  }

  /** Undefined if there is no such bell, nobody behind it, or no permission. */
  #open(path: string, flags: number): RemoteWaker | undefined {
    let fd: number
    try {
      // Of Node.js, which closes it when this thread is terminated.
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
      // A rope that is let go becomes the reserve.
      const [oldest] = this.#wakers.keys()
      if (oldest !== undefined) this.drop(oldest)
    }
    if (this.#reserve !== undefined) closeSync(this.#reserve)
    this.#reserve = undefined
    return openSync(path, flags)
  }

  /** If there is none left, the next rope that is let go makes room for it. */
  #keepReserve(): void {
    if (this.#reserve !== undefined) return
    try {
      this.#reserve = openSync('/dev/null', constants.O_RDONLY)
    } catch (error) {
      // Nor is one to be had under Node.js's permission model without a right to read it.
      if (!isSystemError(error) && !hasCode(error, 'ERR_ACCESS_DENIED')) throw error
    }
  }
}

/** Returns false if nobody reads it any more. */
function write(fd: number, word: number): boolean {
  hint[0] = word
  // Not fs.writeSync: it makes an error of a full FIFO, which costs twenty times the ring.
  const errno = writeQuietly(fd, ring)
  // EAGAIN: full of rings that its thread has not heard yet; see EVERYWHERE.
  return errno === 0 || errno === EAGAIN
}
