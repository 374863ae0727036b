export type { MapperName } from './mapping/mapping.js'
export { SystemCallError } from './native/system-error.js'
export type { SegmentDescription } from './segment/listing.js'
export type { SegmentFile } from './segment/location.js'
export type { PruneOptions } from './segment/removal.js'
export {
  type AttachOptions,
  type CreateOptions,
  type OpenOptions,
  Segment,
  type SegmentHandle,
} from './segment/segment.js'
