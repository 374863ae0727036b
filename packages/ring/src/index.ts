export { type Decoder, type Encoder, json, utf8 } from './codec.js'
export { IncompleteMessageError, type IncompleteReason } from './errors.js'
export type {
  ChunkOptions,
  Consumer,
  ConsumerOptions,
  DrainCallback,
  MessageChunk,
  ReceiveOptions,
} from './spsc/consumer.js'
export type { Producer, ProducerOptions, SendOptions } from './spsc/producer.js'
export { type SpscRing, type SpscRingOptions, spscRing } from './spsc/spsc-ring.js'
