import type { LoopAddress, LoopId, PeerTable } from '@isthmus/sync/internal'
import { threadNameOf } from './fifo.js'
import { type FifoKind, pathAt, type SegmentPlace } from './fifo-place.js'
import { descriptorsOf } from './fifo-search.js'

/** The FIFOs of a peer's thread, as the peer slot names them. */
export class PeerEndpoint {
  readonly thread: string
  /** Identifies the FIFOs. The thread's number alone does not: another user's slot may contain the same one. */
  readonly key: string
  readonly pid: number
  readonly #address: LoopAddress
  readonly #segment: SegmentPlace

  constructor(thread: string, pid: number, address: LoopAddress, segment: SegmentPlace) {
    this.thread = thread
    this.pid = pid
    this.#address = address
    this.#segment = segment
    this.key = this.pathOf('alive') ?? thread
  }

  /** Undefined if the thread has no FIFOs. */
  pathOf(kind: FifoKind): string | undefined {
    return pathAt(this.#address, this.#segment, this.thread, kind)
  }

  /** Other ways to the same FIFO; see descriptorsOf. It costs a system call for every descriptor of that process. */
  detoursTo(kind: FifoKind): Iterable<string> {
    return descriptorsOf(this.pid, this.thread, kind)
  }
}

/** The endpoints of the peers of one segment. Every wake-up asks for one, so each is kept until its slot changes. */
export class PeerEndpoints {
  readonly #peers: PeerTable
  readonly #segment: SegmentPlace
  readonly #known: { loopId: LoopId; address: LoopAddress; endpoint: PeerEndpoint | undefined }[] = []

  constructor(peers: PeerTable, segment: SegmentPlace) {
    this.#peers = peers
    this.#segment = segment
  }

  /** The endpoint of a slot's holder, or of its last holder; undefined if that peer has none. */
  at(slot: number): PeerEndpoint | undefined {
    const known = this.#known[slot]
    const loopId = this.#peers.loopIdAt(slot)
    const address = this.#peers.addressAt(slot)
    const isKnown =
      known !== undefined &&
      known.loopId[0] === loopId[0] &&
      known.loopId[1] === loopId[1] &&
      known.address.place === address.place &&
      known.address.uid === address.uid
    if (isKnown) return known.endpoint
    const thread = threadNameOf(loopId)
    const endpoint =
      thread === undefined ? undefined : new PeerEndpoint(thread, this.#peers.pidAt(slot), address, this.#segment)
    this.#known[slot] = { loopId, address, endpoint }
    return endpoint
  }
}
