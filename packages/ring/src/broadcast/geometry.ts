import type { Region } from '@isthmus/sync'

/** Where a broadcast ring lies, how large it is, and what error messages call it. */
export interface BroadcastGeometry {
  readonly region: Region
  /** Where the ring begins in its region. */
  readonly byteOffset: number
  /** What error messages call it: `the broadcast ring "prices" of the segment /shop`. */
  readonly subject: string
  readonly capacityBytes: number
  /** How many subscribers can hold the publisher back. */
  readonly gates: number
  readonly maxRecordBytes: number
  readonly maxMessageBytes: number
}
