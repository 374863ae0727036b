import type { Region } from '@isthmus/sync'

/** Where a ring lies, how large it is, and what error messages call it. */
export interface RingGeometry {
  readonly region: Region
  /** Where the ring begins in its region. */
  readonly byteOffset: number
  /** What error messages call it: `the ring "orders" of the segment /shop`. */
  readonly subject: string
  readonly capacityBytes: number
  readonly maxRecordBytes: number
  readonly maxMessageBytes: number
}
