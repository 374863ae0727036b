import { bytes, json, mpmcQueue, struct } from 'isthmus'

/** A part of the memory, and the document that lies in it. */
export type Part = { byteOffset: number; byteLength: number; number: number }

export const MEMORY_BYTES = 1 << 20

/** One segment for all documents. Its manager gives each one a part of the memory. */
export const pool = struct({
  memory: bytes(MEMORY_BYTES),
  work: mpmcQueue({ blocks: 16, blockBytes: 128, codec: json<Part>(), delivery: 'at-least-once' }),
  done: mpmcQueue({ blocks: 16, blockBytes: 128, codec: json<Part & { sum: number }>() }),
})
