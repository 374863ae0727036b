import { json, mpmcQueue, struct } from 'isthmus'

/** A segment that contains one document. */
export type Box = { name: string; byteLength: number; number: number }

/** A segment for each document. What goes through the queue is its name. */
export const post = struct({
  work: mpmcQueue({ blocks: 16, blockBytes: 256, codec: json<Box>(), delivery: 'at-least-once' }),
  done: mpmcQueue({ blocks: 16, blockBytes: 256, codec: json<Box & { sum: number }>() }),
})
