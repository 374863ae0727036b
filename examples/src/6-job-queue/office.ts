import { json, mpmcQueue, struct, u32 } from 'isthmus'

type Job = { number: number }
type Result = { number: number; square: number }

/** Jobs, each of which is done even if a worker dies, and what comes of them. */
export const office = struct({
  jobs: mpmcQueue({ blocks: 64, blockBytes: 256, codec: json<Job>(), delivery: 'at-least-once' }),
  results: mpmcQueue({ blocks: 64, blockBytes: 256, codec: json<Result>() }),
  accidents: u32(),
})
