import { i64, struct, u32 } from 'isthmus'

/** What all workers count. Each `add` is atomic; no message is sent, and no peer waits. */
export const counters = struct({ requests: u32(), failures: u32(), bytes: i64(), isOver: u32() })
export const name = '/isthmus-example-counters'
