import type { Stats } from 'node:fs'
import type { PeerId } from '@isthmus/sync'
import { nowMs, type PeerTable, pendingWaits, slotOf, type Waiter, type Watch } from '@isthmus/sync/internal'
import type { SegmentPlace } from '../thread/fifo-place.js'
import type { PeerEndpoint, PeerEndpoints } from '../thread/peer-endpoint.js'
import type { ThreadEndpoints } from '../thread/thread-endpoints.js'
import { EVERYWHERE } from '../thread/wake-fifo.js'
import type { FutexWaiter } from './futex-waiter.js'

const OTHERS_BITS = 0o077
const SUPERUSER = 0
/**
 * A waker may come a moment too early or too late, or be out of descriptors for a while. So this thread takes the mark
 * "cannot be woken" back after this time, and after twice the time when it comes again. If the reason persists, the next
 * waker sets the mark again.
 */
const FORGIVE_AFTER_MS = 1000
const FORGIVE_AFTER_MS_MAX = 60_000
/** A mark that comes for the third time is no coincidence any more. */
const MARKS_WITHOUT_WARNING = 2

/** What a SegmentWaiter has to know of its segment. */
export interface WaitedSegment extends SegmentPlace {
  readonly file: Stats
  readonly subject: string
  /** A part of the segment's random id, so that hints of two segments rarely collide. */
  readonly key: number
}

/** Waits in one segment: threads sleep on futexes, event loops are woken through the FIFOs of their threads. */
export class SegmentWaiter implements Waiter {
  readonly wakeLatencyMs = 0.0125
  readonly #futex: FutexWaiter
  readonly #peers: PeerTable
  readonly #thread: ThreadEndpoints
  readonly #segment: WaitedSegment
  readonly #peerEndpoints: PeerEndpoints
  readonly #isTrusted: (uid: number) => boolean
  #marks = 0
  #forgiveAfterMs = FORGIVE_AFTER_MS
  #forgiveAtMs = Number.NEGATIVE_INFINITY

  constructor(
    futex: FutexWaiter,
    peers: PeerTable,
    thread: ThreadEndpoints,
    peerEndpoints: PeerEndpoints,
    segment: WaitedSegment,
  ) {
    this.#futex = futex
    this.#peers = peers
    this.#thread = thread
    this.#peerEndpoints = peerEndpoints
    this.#segment = segment
    const { file } = segment
    const ownUid = process.geteuid?.()
    const isOpenToOthers = (file.mode & OTHERS_BITS) !== 0
    this.#isTrusted = (uid) => isOpenToOthers || uid === ownUid || uid === file.uid || uid === SUPERUSER
  }

  waitSync(index: number, expected: number, timeoutMs: number): void {
    this.#futex.waitSync(index, expected, timeoutMs)
  }

  wakeThreads(index: number, count: number): number {
    return this.#futex.wake(index, count)
  }

  listen(): void {
    this.#thread.listen()
    const { refusal } = this.#thread
    if (refusal !== undefined) {
      this.#peers.noteUnreachable(this.#peers.self)
      warnOnce(`its FIFOs cannot be made: ${(refusal as Error).message}`, this.#segment.subject)
    } else if (this.#peers.isUnreachable) this.#forgiveOrBelieve()
  }

  get isUnreachable(): boolean {
    return this.#thread.refusal !== undefined || this.#peers.isUnreachable
  }

  wakeLoop(peer: PeerId, word?: number): boolean {
    const endpoint = this.#endpointOf(peer)
    if (endpoint === undefined) return false
    if (endpoint.thread === this.#thread.thread) {
      pendingWaits.schedulePoll(word === undefined ? undefined : this.hintOf(word))
      return true
    }
    const hint = word === undefined ? EVERYWHERE : this.hintOf(word)
    if (this.#thread.remoteWakers.wake(endpoint, hint, this.#isTrusted)) return true
    if (!this.#peers.isDead(peer)) this.#peers.noteUnreachable(peer)
    return false
  }

  hintOf(word: number): number {
    return (this.#segment.key + word) | 0 || 1
  }

  watch(peer: PeerId): Watch {
    const endpoint = this.#endpointOf(peer)
    if (endpoint === undefined) return 'from-now-on'
    return endpoint.thread === this.#thread.thread ? 'already' : this.#thread.peerMonitor.watch(endpoint)
  }

  /** Undefined if the peer is gone, or if this thread's endpoints are closed. */
  #endpointOf(peer: PeerId): PeerEndpoint | undefined {
    const slot = slotOf(peer)
    return this.#thread.isOver || this.#peers.at(slot) !== peer ? undefined : this.#peerEndpoints.at(slot)
  }

  #forgiveOrBelieve(): void {
    const now = nowMs()
    if (now < this.#forgiveAtMs) return
    this.#peers.forgetUnreachable()
    if (this.#marks++ < MARKS_WITHOUT_WARNING) return
    this.#forgiveAtMs = now + this.#forgiveAfterMs
    this.#forgiveAfterMs = Math.min(this.#forgiveAfterMs * 2, FORGIVE_AFTER_MS_MAX)
    warnOnce(
      'a peer could not reach its FIFOs. The peer may run in a container of its own, lack the permission, or be out of descriptors',
      this.#segment.subject,
    )
  }
}

let isWarned = false

function warnOnce(reason: string, subject: string): void {
  if (isWarned) return
  isWarned = true
  process.emitWarning(
    `Peers cannot wake the event loop of this thread (in ${subject}), so it polls every 20 ms. The reason: ${reason}.`,
    { type: 'IsthmusWarning', code: 'ISTHMUS_UNREACHABLE' },
  )
}
