export { type Codec, json, utf8 } from './codec.js'
export { IncompleteMessageError, type IncompleteReason } from './errors.js'
export type { RoleDescription } from './role/role.js'
export type { BatchError } from './spsc/batch.js'
export type {
  BatchOptions,
  ChunkOptions,
  Consumer,
  DrainCallback,
  DrainOptions,
  InPlaceCallback,
  IntoOptions,
  MessageChunk,
} from './spsc/consumer.js'
export type { ForEachOptions } from './spsc/for-each.js'
export type { MessageIterator, MessagesOptions } from './spsc/message-iterator.js'
export type { MessageSpace } from './spsc/message-space.js'
export type { Producer } from './spsc/producer.js'
export {
  type RingSideDescription,
  type SpscRing,
  type SpscRingDescription,
  type SpscRingOptions,
  spscRing,
} from './spsc/spsc-ring.js'
