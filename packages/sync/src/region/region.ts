import { closedError } from '../errors.js'
import type { Peers } from '../peers/peers.js'
import type { Waiter } from './waiter.js'

/** Memory that several agents share: its words, the attached peers, and a way to sleep and wake. */
export interface Region {
  /** What messages call it: `the segment /orders`, `a heap region`. */
  readonly subject: string
  /** The whole region, for Atomics. Its length is fixed. */
  readonly words: Int32Array
  /** The whole region, as the fastest view for bulk copies. On a segment it is made on first use. */
  readonly bytes: Uint8Array
  readonly waiter: Waiter
  readonly peers: Peers
  readonly isClosed: boolean
  /**
   * Registers what must happen before this attachment loses the memory: handles give back what they hold.
   * Returns a function that cancels the registration.
   */
  onClose(listener: () => void): () => void
}

/** @throws IsthmusError `ERR_ISTHMUS_CLOSED` if the region is closed */
export function assertOpen<R extends Region>(region: R): R {
  if (region.isClosed) throw closedError('Using a structure of a region')
  return region
}
