import { MUTEX_BYTES } from '../mutex/layout.js'
import { MAX_PEERS } from '../peers/peer-id.js'
import { SLOT_BITMAP_BYTES } from '../peers/slot-bitmap.js'
import { EVENT_COUNT_BYTES } from '../waiting/event-count.js'
import { WAITER_SET_BYTES } from '../waiting/waiter-set.js'

/**
 * A read-write lock: a mutex for the writers, and a word for each peer that reads. There is no count of readers, which a
 * killed reader would leave wrong.
 *
 * ```
 * byte  0              64              72                 112           128              640
 *       +--------------+---------------+------------------+-------------+---- … ---------+
 *       | writer mutex | event count:  | waiter set:      | known: 128  | 128 reader     |
 *       |              | drained       | readers          | bits        | words          |
 *       +--------------+---------------+------------------+-------------+---- … ---------+
 * ```
 *
 * | word         | written by                               | read by     | its writer is killed right after              |
 * |--------------|------------------------------------------|-------------|-----------------------------------------------|
 * | writer mutex | see mutex/layout.ts                      | everyone    | see there; readers and writers are told       |
 * | reader word  | the holder of that slot: its id before   | the writer  | it is dead: a peer that wants to write proves |
 * |              | it looks at the mutex, 0 when it has     | that drains | it and stores 0 by CAS from the id; or a      |
 * |              | read, or has found a writer              |             | sweep does (see OwnedCells)                   |
 * | known        | the holder of a slot: its bit, once,     | the writer  | the bit stays until its slot is swept: the    |
 * |              | before its first reader word; a sweep:   | that drains | writer looks at a reader word that is 0       |
 * |              | takes it back, after the reader word     |             |                                               |
 * | drained      | see EventCount: its sleeper is the owner of the writer mutex, its notifiers are readers that leave     |
 * | readers      | see WaiterSet: its sleepers want to read, the writer notifies when it has written                       |
 *
 * No reader beside a writer: a reader stores its word, then looks at the mutex; a writer takes the mutex, then looks at the
 * reader words of all peers that are known. One of the two sees the other, and the reader steps back.
 */
export const MUTEX_OFFSET = 0
export const DRAINED_OFFSET = MUTEX_BYTES
export const READERS_WAITER_SET_OFFSET = DRAINED_OFFSET + EVENT_COUNT_BYTES
export const KNOWN_OFFSET = READERS_WAITER_SET_OFFSET + WAITER_SET_BYTES
export const READER_WORDS_OFFSET = KNOWN_OFFSET + SLOT_BITMAP_BYTES
export const RW_LOCK_BYTES = 640

if (READER_WORDS_OFFSET + 4 * MAX_PEERS > RW_LOCK_BYTES) throw new Error('The reader words do not fit into an RwLock')
