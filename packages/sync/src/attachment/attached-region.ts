import { CloseError, closedError, IsthmusTypeError, inWords } from '../errors.js'
import { assertStackRoom } from '../host/stack-room.js'
import type { Layout } from '../layout/layout.js'
import type { PeerTable, Sweep } from '../peers/peer-table.js'
import type { Peers } from '../peers/peers.js'
import type { Region } from '../region/region.js'
import type { Waiter } from '../region/waiter.js'
import { pendingWaits } from '../waiting/pending-waits.js'

/** The memory of a region, as two views. */
export interface Memory {
  readonly words: Int32Array
  /** Read on the first use of the region's `bytes`: the view may be made only then. */
  readonly bytes: Uint8Array
}

/** The parts of one attachment to a region. */
export interface Attachment {
  /** See Region.subject. */
  readonly subject: string
  readonly memory: Memory
  readonly waiter: Waiter
  readonly peers: PeerTable
}

/**
 * What all kinds of regions have in common: the attached root, and an orderly end. An implementation of Region on another
 * kind of memory extends this class. Programs use HeapRegion, or Segment of `@isthmus/shm-posix`.
 *
 * @example
 * ```ts
 * const region = HeapRegion.create(struct({ total: f64() }))
 * region.root.total.value = 12.5
 * region.close()
 * ```
 */
export abstract class AttachedRegion<T> implements Region {
  readonly subject: string
  readonly words: Int32Array
  readonly waiter: Waiter
  protected readonly peerTable: PeerTable
  protected readonly layout: Layout<T>
  protected readonly rootByteOffset: number
  readonly #closeListeners = new Set<() => void>()
  readonly #memory: Memory
  #root: T | undefined
  #isClosed = false

  protected constructor(attachment: Attachment, layout: Layout<T>, rootByteOffset: number) {
    this.subject = attachment.subject
    this.#memory = attachment.memory
    this.words = attachment.memory.words
    this.waiter = attachment.waiter
    this.peerTable = attachment.peers
    this.layout = layout
    this.rootByteOffset = rootByteOffset
  }

  get bytes(): Uint8Array {
    return this.#memory.bytes
  }

  /** @throws IsthmusError `ERR_ISTHMUS_CLOSED` after close */
  get peers(): Peers {
    if (this.#isClosed) throw closedError('Asking for the peers of a region')
    return this.peerTable
  }

  /**
   * The objects that the layout describes, attached to this memory.
   * @throws IsthmusError `ERR_ISTHMUS_CLOSED` after close
   */
  get root(): T {
    if (this.#isClosed) throw closedError('Using the root of a region')
    this.#root ??= this.layout.attach(this, this.rootByteOffset)
    return this.#root
  }

  get isClosed(): boolean {
    return this.#isClosed
  }

  onClose(listener: () => void): () => void {
    if (typeof listener !== 'function') {
      throw new IsthmusTypeError(
        'ERR_ISTHMUS_INVALID_ARGUMENT',
        `Registering what a region does when it closes: the listener is ${inWords(listener)}. Give a function.`,
      )
    }
    this.#closeListeners.add(listener)
    return () => this.#closeListeners.delete(listener)
  }

  /**
   * Ends this attachment. Other attachments, including those of this thread, are not affected. Closing twice does nothing.
   *
   * 1. Its pending waits reject with `ERR_ISTHMUS_CLOSED`.
   * 2. Its handles publish what they hold back, and give their roles back: the newest handle first.
   * 3. What the program still holds (locks, permits) is given back as after a death.
   * 4. The peer slot becomes free, then the memory goes.
   *
   * If the thread is killed half-way, the peer is dead, and others give back the rest.
   * @throws CloseError if several steps fail; a single error is thrown as it is. All other steps are done in either case.
   */
  close(): void {
    if (this.#isClosed) return
    assertStackRoom()
    const errors: unknown[] = []
    const attempt = (action: () => void) => {
      try {
        action()
      } catch (error) {
        errors.push(error)
      }
    }
    attempt(() => pendingWaits.endWaitsOf(this))
    // The newest first: a handle may be built upon an older one.
    for (const listener of [...this.#closeListeners].reverse()) attempt(listener)
    // Nothing that names this slot may remain for its next holder.
    attempt(() => this.sweep(this.peerTable.self))
    this.#isClosed = true
    this.#closeListeners.clear()
    attempt(() => this.detach())
    if (errors.length === 1) throw errors[0]
    if (errors.length > 1) throw new CloseError(errors)
  }

  [Symbol.dispose](): void {
    this.close()
  }

  /** Gives the peer slot back, then the memory. */
  protected abstract detach(): void

  /** Gives back what a proven-dead peer held in the layout's structures. */
  protected readonly sweep: Sweep = (deadPeer) => this.layout.sweep(this, this.rootByteOffset, deadPeer)
}
