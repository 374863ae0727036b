import { spscRing } from '@isthmus/ring'
import { barrier, condvar, mutex, rwLock, semaphore, struct, u32, words } from '@isthmus/sync'

export const AGENTS_MAX = 8
export const PERMITS = 2

/** One of each lock, and plain words that only a lock protects. */
export const lockLayout = struct({
  lock: mutex(),
  permits: semaphore({ permits: PERMITS }),
  shared: rwLock(),
  meeting: barrier({ onDeath: 'drop' }),
  /** Guarded: one more with every step, whoever takes it. */
  count: words(1),
  /** Guarded: one more with every step of that agent, after `count`. */
  steps: words(AGENTS_MAX),
  /** How many hold a permit now, and whether there ever were too many: changed atomically, by permit holders. */
  inside: u32(),
  crowds: u32(),
  /** How many owners were told of a death. */
  deaths: u32(),

  notEmpty: condvar(),
  notFull: condvar(),
  /** Guarded: 0 or 1. */
  tokens: words(1),
  produced: words(1),
  consumed: words(1),
  /** So many tokens are handed over. */
  goal: u32(),
  /** Waits that ended by a timeout or an abort. */
  givenUp: u32(),

  there: spscRing({ capacityBytes: 4096 }),
  back: spscRing({ capacityBytes: 4096 }),
})
