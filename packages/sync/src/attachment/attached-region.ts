import { CloseError, closedError, IsthmusTypeError, inWords } from '../errors.js'
import { assertStackRoom } from '../host/stack-room.js'
import type { Layout } from '../layout/layout.js'
import type { PeerTable, Sweep } from '../peers/peer-table.js'
import type { Peers } from '../peers/peers.js'
import type { Region } from '../region/region.js'
import type { Waiter } from '../region/waiter.js'
import { pendingWaits } from '../waiting/pending-waits.js'

/** The memory of a region, seen in two ways. */
export interface Memory {
  readonly words: Int32Array
  /** Asked for when the region is asked for them: they may be made only then. */
  readonly bytes: Uint8Array
}

/** What one attachment to a region consists of. */
export interface Attachment {
  /** See Region.subject. */
  readonly subject: string
  readonly memory: Memory
  readonly waiter: Waiter
  readonly peers: PeerTable
}

/**
 * What every kind of region has in common: the attached root, and an orderly end. For those who implement Region on
 * another kind of memory; programs use HeapRegion, or Segment of `@isthmus/shm-posix`.
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

  /** @throws IsthmusError `ERR_ISTHMUS_CLOSED` after close. */
  get peers(): Peers {
    if (this.#isClosed) throw closedError('Asking for the peers of a region')
    return this.peerTable
  }

  /**
   * The objects that the layout describes, attached to this memory.
   * @throws IsthmusError `ERR_ISTHMUS_CLOSED` after close.
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
   * Ends this attachment: its handles publish what they hold back and give their roles back, the peer slot becomes free,
   * the memory goes. Other attachments, of this thread too, are not touched. Closing twice does nothing.
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
    // The last first: what was built upon something else ends before it.
    for (const listener of [...this.#closeListeners].reverse()) attempt(listener)
    // What the program still holds is given back as if it had died: nothing may stand in the name of the slot's next holder.
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
