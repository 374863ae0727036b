import { MUTEX_BYTES } from '../mutex/layout.js'
import { MAX_PEERS } from '../peers/peer-id.js'
import { EVENT_COUNT_BYTES } from '../waiting/event-count.js'
import { WAITER_SET_BYTES } from '../waiting/waiter-set.js'

/**
 * A read-write lock: a mutex for the writers, and a word for each peer that reads. There is no count of readers, which a
 * killed one would leave wrong.
 *
 * ```
 * byte  0              64              72                 108           124              636    640
 *       +--------------+---------------+------------------+-------------+---- … ---------+-------+
 *       | writer mutex | event count:  | wait set:        | known: 128  | 128 reader     |   0   |
 *       |              | drained       | readers          | bits        | words          |       |
 *       +--------------+---------------+------------------+-------------+---- … ---------+-------+
 * ```
 *
 * | word         | written by                               | read by     | its writer is killed right after              |
 * |--------------|------------------------------------------|-------------|-----------------------------------------------|
 * | writer mutex | see mutex/layout.ts                      | everyone    | see there; readers and writers are told       |
 * | reader word  | the holder of that slot: its id before   | the writer  | it is dead: whoever wants to write proves it  |
 * |              | it looks at the mutex, 0 when it is done | that drains | and stores 0 by CAS from the id; or a sweep   |
 * |              | or has found a writer                    |             |                                               |
 * | known        | the holder of a slot: its bit, once,     | the writer  | the bit stays until its slot is swept: the    |
 * |              | before its first reader word; a sweep:   |             | writer looks at a reader word that is 0       |
 * |              | takes it back, after the reader word     |             |                                               |
 * | drained      | see EventCount: its sleeper is the owner of the writer mutex, its notifiers are readers that leave     |
 * | readers      | see WaiterSet: sleepers want to read, the writer notifies when it is done                               |
 *
 * Never both: a reader stores its word, then looks at the mutex; a writer takes the mutex, then looks at the reader words
 * of all who are known. One of the two sees the other, and it is the reader that steps back.
 */
export const MUTEX_OFFSET = 0
export const DRAINED_OFFSET = MUTEX_BYTES
export const READERS_WAIT_SET_OFFSET = DRAINED_OFFSET + EVENT_COUNT_BYTES
export const KNOWN_OFFSET = READERS_WAIT_SET_OFFSET + WAITER_SET_BYTES
export const READER_WORDS_OFFSET = KNOWN_OFFSET + MAX_PEERS / 8
export const RW_LOCK_BYTES = 640

if (READER_WORDS_OFFSET + 4 * MAX_PEERS > RW_LOCK_BYTES) throw new Error('The reader words do not fit into an RwLock')
