import type { PeerId } from './peer-id.js'

/** Who is attached to a region, and who of them is proven dead. */
export interface Peers {
  /** This attachment. */
  readonly self: PeerId
  /** Who holds this slot now, as far as the table says; undefined where nobody does. */
  at(slot: number): PeerId | undefined
  /**
   * True once it is proven that this peer is gone: its slot has been given back or taken over, or the operating system
   * says that its holder no longer runs. Never true for a peer that is merely slow, stopped or being debugged.
   */
  isDead(peer: PeerId): boolean
  /**
   * Whether this peer is an attachment of this very thread, which can do nothing for us while we block. False where nothing
   * says so.
   */
  isOwnThread(peer: PeerId): boolean
  /** Everyone but this attachment whom the table lists as attached: whose death may matter. */
  others(): PeerId[]
  /** Whether anybody is proven dead who has not been swept to the end. It costs a system call for each peer. */
  hasDead(): boolean
  /** What the table says about a peer: for messages and tools, not for decisions. */
  describe(peer: PeerId): PeerDescription
  /** Everyone whom the table lists as attached, the dead who have not been swept included. */
  list(): PeerDescription[]
}

export interface PeerDescription {
  readonly peer: PeerId
  /** Its place in the peers table. */
  readonly slot: number
  /** Grows with every attachment that gets this slot, and wraps after 2 ** 22. */
  readonly generation: number
  /** Process id as its own PID namespace sees it; 0 where the runtime has none. */
  readonly pid: number
  /** worker_threads' threadId; 0 is the main thread. */
  readonly threadId: number
  readonly isDead: boolean
  /**
   * Whether others can wake its event loop. If not, that loop looks for itself, every 20 ms: its FIFOs could not be made, or
   * a waker could not reach them (out of descriptors, another file system or container, no permission).
   */
  readonly canBeWoken: boolean
}

/** What a peer tells the others about itself. */
export interface PeerIdentity {
  readonly pid: number
  readonly threadId: number
  /** Names its thread. On a segment its event loop can be rung by it. */
  readonly loopId?: LoopId
  /** Where it can be rung; see peers/layout.ts. */
  readonly address?: LoopAddress
}

/** Two words of the kind of region at hand. */
export interface LoopAddress {
  readonly place: number
  readonly uid: number
}

/** 64 random bits for each thread, the same for all its attachments; 0 and 0 where it has none. */
export type LoopId = readonly [low: number, high: number]

/**
 * The proof of life: a hold on a slot that ends with its holder, whatever ends it.
 * On a segment it is a lock of the kernel; on a heap region a word, and a death has to be declared.
 */
export interface Liveness {
  /** Takes the hold; false where another agent has it. */
  tryAcquire(slot: number): boolean
  /** Gives one's own hold back. */
  release(slot: number): void
  /** Whether anybody but this attachment has the hold. */
  isHeldByAnother(slot: number): boolean
}
