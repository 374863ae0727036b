import { IsthmusError } from '../errors.js'
import type { Peers } from '../peers/peers.js'
import type { Waiter } from '../waiting/waiter.js'

/** Memory that several agents share, and what can be done with it beyond loads and stores. */
export interface Region {
  /** What messages call it: `the segment /orders`, `a heap region`. */
  readonly subject: string
  /** The whole region, for Atomics. Its length is fixed. */
  readonly words: Int32Array
  /** The whole region, the fastest view for bulk copies. On a segment it is made when first asked for. */
  readonly bytes: Uint8Array
  readonly waiter: Waiter
  readonly peers: Peers
  readonly isClosed: boolean
  /**
   * Registers what has to happen before this attachment loses the memory: handles give back what they hold.
   * Returns the function that takes the registration back.
   */
  onClose(listener: () => void): () => void
}

/** @throws IsthmusError `ERR_ISTHMUS_CLOSED` once the region is closed. */
export function assertOpen<R extends Region>(region: R): R {
  if (region.isClosed) throw closedError('Using a structure of a region')
  return region
}

export function closedError(attempt: string): IsthmusError {
  return new IsthmusError(
    'ERR_ISTHMUS_CLOSED',
    `${attempt}: the region or the handle was closed. Open it again, or close it later.`,
  )
}
