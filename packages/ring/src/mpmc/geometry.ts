import type { Region } from '@isthmus/sync'
import type { Places } from './layout.js'

/** Where a queue lies, how large it is, and what error messages call it. */
export interface QueueGeometry extends Places {
  readonly region: Region
  /** Where the queue begins in its region. */
  readonly byteOffset: number
  /** What error messages call it: `the queue "jobs" of the segment /shop`. */
  readonly subject: string
  readonly blocks: number
  readonly blockBytes: number
  /** The largest message: more than blockBytes if large ones may go through a block in parts. */
  readonly maxMessageBytes: number
  /** How many slots each lane has. */
  readonly slotCount: number
  /** How many priorities there are. */
  readonly lanes: number
  /** The lane of dead letters, which comes after those of the priorities; undefined if the queue keeps none. */
  readonly deadLane: number | undefined
  /** The last blocks of the table, which lane 0 may not use. */
  readonly reserved: number
  readonly packLimit: number
  readonly isAtLeastOnce: boolean
  readonly maxDeliveries: number
}
