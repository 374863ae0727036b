import type { PeerId } from '../peers/peer-id.js'

/**
 * How an agent sleeps and how it is woken: its thread on a 32-bit word of the region, its event loop by its bell.
 * Implemented over `Atomics` for a plain SharedArrayBuffer, and over futexes and FIFOs for a segment.
 */
export interface Waiter {
  /** About how long it takes until an event loop hears its bell, in milliseconds. */
  readonly wakeLatencyMs: number
  /**
   * Blocks the thread while `words[index]` holds `expected`, until somebody wakes it, for at most `timeoutMs`. It may
   * return early for no reason: the caller looks again at what it waits for, and at whether the peer that could bring it
   * still lives; and so it does after each slice (see fallbackPolling).
   */
  waitSync(index: number, expected: number, timeoutMs: number): void
  /** Wakes up to `count` threads that sleep on `words[index]`; returns how many it woke. */
  wakeThreads(index: number, count: number): number
  /**
   * From now on this agent's event loop hears its bell. Called before any word says that it waits, and again at each tick:
   * it also mends what has become of the bell meanwhile.
   */
  listen(): void
  /**
   * Rings the bell of a peer: its event loop looks at what it waits for at the wait point with this word, or, if none is
   * given, at everything it waits for. A superfluous ring costs one look.
   * @returns false if no one hears it. That does not prove the peer dead, but is a reason to ask.
   */
  wakeLoop(peer: PeerId, word?: number): boolean
  /** By which the event loop finds the waits at the wait point with this word when the bell rings. Waits of others may share it. */
  hintOf(word: number): number
  /** Asks the system to tell this thread when this peer dies; this thread then looks for the dead. */
  watch(peer: PeerId): Watch
  /** Whether others cannot ring this agent's bell. Its event loop then looks at every tick of the shortest kind. */
  readonly isUnreachable: boolean
}

/**
 * Whether the death of a peer will be told. `'already'`: it was asked for before, so a wait that begins needs no proof of
 * life. `'from-now-on'`: the peer may have died before, so it does. `'never'`: the system cannot tell, so it needs one at
 * every tick.
 */
export type Watch = 'already' | 'from-now-on' | 'never'

/**
 * A wake-up can be lost with a peer that is killed between a store and the wake-up that belongs to it; and so can a death
 * that no system tells. So everything that waits also looks by itself: a blocked thread after each slice, a wait on an
 * event loop at each of its ticks. A worker that is told to terminate does so within a slice.
 *
 * The first slices and ticks are short. Then they grow with the wait, to a tenth of it: what is lost costs a tenth of the
 * time that was waited anyway, and a program that waits for hours does not pay for looking often; neither does a loop with
 * thousands of waits, whose ticks lie further apart (see PendingWaits). A wake-up that no waiter
 * has taken after `handOffMs` goes on to the next one (see WaiterSet).
 *
 * Nothing else depends on it. Tests take the net away to see that no wake-up is lost while every peer lives and runs:
 * `handOffMs` is Infinity then.
 */
export const fallbackPolling = { sliceMs: 20, longestSliceMs: 250, tickMs: 20, longestTickMs: 2000, handOffMs: 5 }

/** A slice or a tick adds a tenth at most to a wait. Waking up and looking takes between 0.1 and 0.2 ms of a core. */
const SHARE_OF_WAIT = 1 / 10

/** How long a thread that has waited for `waitedMs` sleeps at most before it looks. */
export function sliceAfter(waitedMs: number): number {
  return Math.max(fallbackPolling.sliceMs, Math.min(waitedMs * SHARE_OF_WAIT, fallbackPolling.longestSliceMs))
}

/** Not shorter than the shortest one, which tests make endless. */
export function longestTickMs(): number {
  return Math.max(fallbackPolling.tickMs, fallbackPolling.longestTickMs)
}

/** After what time a wait on an event loop, which has lasted for `waitedMs`, looks again by itself. */
export function tickAfter(waitedMs: number): number {
  return Math.max(fallbackPolling.tickMs, Math.min(waitedMs * SHARE_OF_WAIT, fallbackPolling.longestTickMs))
}
