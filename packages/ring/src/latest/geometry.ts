import type { Region } from '@isthmus/sync'

/** Where a latest value lies, how large it is, and what error messages call it. */
export interface LatestGeometry {
  readonly region: Region
  /** Where it begins in its region. */
  readonly byteOffset: number
  /** What error messages call it: `the latest value "frame" of the segment /camera`. */
  readonly subject: string
  /** The longest value, in bytes. */
  readonly byteLength: number
  readonly slots: number
  /** Bytes from one slot to the next. */
  readonly strideBytes: number
}
