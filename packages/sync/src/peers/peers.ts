import type { PeerId } from './peer-id.js'

/** The peers of a region: which are attached, and which of them are proven dead. */
export interface Peers {
  /** This attachment. */
  readonly self: PeerId
  /** The peer that the table lists in this slot; undefined if it lists none. */
  at(slot: number): PeerId | undefined
  /**
   * Whether this peer is proven to be gone: its slot was given back or taken over, or the operating system says that its
   * thread no longer runs. Never true for a peer that is merely slow, stopped or being debugged.
   *
   * @example
   * ```ts
   * const [peer] = region.peers.others() // another attachment, such as a worker's
   * region.peers.isDead(peer) // false
   * ```
   */
  isDead(peer: PeerId): boolean
  /**
   * Whether this peer is an attachment of the calling thread, and so can do nothing while that thread blocks. False if that
   * is not known.
   */
  isOwnThread(peer: PeerId): boolean
  /** All peers that the table lists as attached, without this attachment: the peers whose death may matter. */
  others(): PeerId[]
  /** Whether a peer is proven dead and not swept to the end. It costs a system call for each peer. */
  hasDead(): boolean
  /** The table's entry of a peer: for messages and tools, not for decisions. */
  describe(peer: PeerId): PeerDescription
  /** All peers that the table lists as attached, including the dead that are not swept yet. */
  list(): PeerDescription[]
}

export interface PeerDescription {
  readonly peer: PeerId
  /** Its place in the peers table. */
  readonly slot: number
  /** Grows with every attachment that gets this slot, and wraps after 2 ** 22. */
  readonly generation: number
  /** Process id, as its own PID namespace counts; 0 in a runtime without processes. */
  readonly pid: number
  /** worker_threads' threadId; 0 is the main thread. */
  readonly threadId: number
  readonly isDead: boolean
  /**
   * Whether others can wake its event loop. If not, that loop polls every 20 ms: its FIFOs could not be made, or a waker
   * could not reach them (out of descriptors, another file system or container, no permission).
   */
  readonly canBeWoken: boolean
}

/** What a peer says about itself in its slot. */
export interface PeerIdentity {
  readonly pid: number
  readonly threadId: number
  /** Names its thread. On a segment, others find the FIFOs of its event loop by it. */
  readonly loopId?: LoopId
  /** Where those FIFOs are; see peers/layout.ts. */
  readonly address?: LoopAddress
}

/** The two words of a peer slot whose meaning depends on the kind of region. */
export interface LoopAddress {
  readonly place: number
  readonly uid: number
}

/** 64 random bits for each thread, the same for all its attachments; 0 and 0 for none. */
export type LoopId = readonly [low: number, high: number]

/**
 * The leases of slots. A lease ends with its holder, whatever ends the holder: that proves a death. On a segment a lease is
 * a lock of the kernel. On a heap region it is a word, and a death must be declared.
 */
export interface Liveness {
  /** Takes the lease; false if another agent has it. */
  tryAcquire(slot: number): boolean
  /** Ends the lease of this agent. */
  release(slot: number): void
  /** Whether an agent other than this attachment has the lease. */
  isHeldByAnother(slot: number): boolean
}
