import type { Stats } from 'node:fs'
import { eventLoop, type PeerId, type PeerTable, slotOf, type Waiter } from '@isthmus/sync'
import { threadNameOf } from './fifo.js'
import type { FutexWaiter } from './futex-waiter.js'
import type { ThreadPresence } from './thread-presence.js'

const OTHERS_BITS = 0o077
const SUPERUSER = 0

/** Waits in one segment: threads through futexes, event loops through the FIFOs of their threads. */
export class SegmentWaiter implements Waiter {
  readonly bellMs = 0.0125
  readonly #futex: FutexWaiter
  readonly #peers: PeerTable
  readonly #presence: ThreadPresence
  readonly #isTrusted: (uid: number) => boolean
  /** The name of the thread that each slot's last known loop id stands for: asked for at every ring. */
  readonly #threads: { low: number; high: number; name: string | undefined }[] = []

  constructor(futex: FutexWaiter, peers: PeerTable, presence: ThreadPresence, segmentFile: Stats) {
    this.#futex = futex
    this.#peers = peers
    this.#presence = presence
    const ownUid = process.geteuid?.()
    const isOpenToOthers = (segmentFile.mode & OTHERS_BITS) !== 0
    this.#isTrusted = (uid) => isOpenToOthers || uid === ownUid || uid === segmentFile.uid || uid === SUPERUSER
  }

  waitSync(index: number, expected: number, timeoutMs: number): void {
    this.#futex.waitSync(index, expected, timeoutMs)
  }

  wake(index: number, count: number): number {
    return this.#futex.wake(index, count)
  }

  hear(): void {
    this.#presence.hear()
  }

  ring(peer: PeerId): boolean {
    const thread = this.#threadOf(peer)
    if (thread === undefined) return false
    if (thread !== this.#presence.thread) return this.#presence.ropes.ring(thread, this.#isTrusted)
    eventLoop.lookSoon()
    return true
  }

  watch(peer: PeerId): boolean {
    const thread = this.#threadOf(peer)
    if (thread === undefined) return false
    return thread === this.#presence.thread || this.#presence.deathWatch.watch(thread)
  }

  /** Undefined where the peer is gone, where it cannot be reached, and where we are closed. */
  #threadOf(peer: PeerId): string | undefined {
    const slot = slotOf(peer)
    if (this.#presence.isOver || this.#peers.at(slot) !== peer) return undefined
    const [low, high] = this.#peers.loopIdAt(slot)
    const known = this.#threads[slot]
    if (known?.low === low && known.high === high) return known.name
    const name = threadNameOf([low, high])
    this.#threads[slot] = { low, high, name }
    return name
  }
}
