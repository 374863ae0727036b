export {
  type BroadcastRing,
  type BroadcastRingDescription,
  type BroadcastRingOptions,
  broadcastRing,
  type PublisherDescription,
} from './broadcast/broadcast-ring.js'
export type { GateDescription } from './broadcast/gates.js'
export type { Publisher } from './broadcast/publisher.js'
export type { Subscriber, SubscriberOptions } from './broadcast/subscriber.js'
export { type Codec, json, utf8 } from './codec.js'
export { IncompleteMessageError, type IncompleteReason, OverrunError } from './errors.js'
export { type AfterOptions, type Latest, type LatestDescription, type LatestOptions, latest } from './latest/latest.js'
export type { InPlaceRead, LatestCallback, LatestValue } from './latest/reader.js'
export type { LatestWriter } from './latest/writer.js'
export type { BatchError } from './messages/batch.js'
export type { ForEachOptions } from './messages/for-each.js'
export type { ChunkOptions, MessageChunk } from './messages/message-chunk.js'
export type { MessageIterator, MessagesOptions } from './messages/message-iterator.js'
export type {
  BatchOptions,
  DrainCallback,
  DrainOptions,
  InPlaceCallback,
  IntoOptions,
  MessageReceiver,
} from './messages/message-receiver.js'
export type { MessageSpace } from './messages/message-space.js'
export type { RecordWriter } from './messages/record-writer.js'
export type { SendLoan, TakenLoan } from './mpmc/loan.js'
export {
  type BlockDescription,
  type MpmcQueue,
  type MpmcQueueDescription,
  type MpmcQueueOptions,
  mpmcQueue,
} from './mpmc/mpmc-queue.js'
export type { Receiver, ReceiverOptions } from './mpmc/receiver.js'
export type { PriorityOptions, Sender } from './mpmc/sender.js'
export type { RoleDescription } from './role/role.js'
export type { Consumer } from './spsc/consumer.js'
export type { Producer } from './spsc/producer.js'
export {
  type RingSideDescription,
  type SpscRing,
  type SpscRingDescription,
  type SpscRingOptions,
  spscRing,
} from './spsc/spsc-ring.js'
