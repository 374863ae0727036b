import type { PeerId } from '../peers/peer-id.js'

/**
 * How an agent sleeps and how it is woken: its thread on a 32-bit word of the region, its event loop by a wake-up.
 * HeapWaiter implements it over `Atomics` for a plain SharedArrayBuffer; `@isthmus/shm-posix` over futexes and FIFOs.
 */
export interface Waiter {
  /** About how long a wake-up takes to reach an event loop, in milliseconds. */
  readonly wakeLatencyMs: number
  /**
   * Blocks the thread while `words[index]` holds `expected`, until a notifier wakes it, for at most `timeoutMs`. It may
   * return early for no reason: the caller polls its condition again, and asks whether the peer that could change it still
   * lives. It does both after each slice as well (see fallbackPolling).
   */
  waitSync(index: number, expected: number, timeoutMs: number): void
  /** Wakes up to `count` threads that sleep on `words[index]`; returns how many it woke. */
  wakeThreads(index: number, count: number): number
  /**
   * From now on wake-ups reach this agent's event loop. Called before any word says that the loop waits, and again at each
   * tick: it also repairs the channel, if something has happened to it meanwhile.
   */
  listen(): void
  /**
   * Wakes the event loop of a peer: it polls its waits at the wait point with this word, or all its waits if no word is
   * given. A superfluous wake-up costs one poll.
   * @returns false if no one is listening. That does not prove the peer dead, but is a reason to check.
   */
  wakeLoop(peer: PeerId, word?: number): boolean
  /**
   * The number by which a wake-up names the wait point with this word, and the event loop finds its waits there. Several
   * wait points may share one: that costs superfluous polls.
   */
  hintOf(word: number): number
  /** Asks the system to tell this thread when this peer dies; the thread then reaps the dead (see PendingWaits.reapDead). */
  watch(peer: PeerId): Watch
  /** Whether no wake-up can reach this agent's event loop. The loop then polls at its shortest ticks. */
  readonly isUnreachable: boolean
}

/**
 * Whether the system will tell of the death of a peer. `'already'`: it was asked before, so a wait that begins needs no
 * liveness check. `'from-now-on'`: the peer may have died before, so the wait needs one. `'never'`: the system cannot tell,
 * so the wait needs one at every tick.
 */
export type Watch = 'already' | 'from-now-on' | 'never'
