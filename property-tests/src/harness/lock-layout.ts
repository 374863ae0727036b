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
  /** Guarded: grows by one with every step of any agent. */
  count: words(1),
  /** Guarded: one word for each agent, which grows by one with every step of that agent, after `count`. */
  steps: words(AGENTS_MAX),
  /** How many agents hold a permit now, and how often they were too many. Permit holders change both atomically. */
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
  /** How many tokens are handed over. */
  goal: u32(),
  /** Waits that ended by a timeout or an abort. */
  givenUp: u32(),

  there: spscRing({ capacityBytes: 4096 }),
  back: spscRing({ capacityBytes: 4096 }),
})
