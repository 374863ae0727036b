import type { PeerId } from '../peers/peer-id.js'

/**
 * How an agent sleeps and how it is woken: its thread on a 32-bit word of the region, its event loop by its bell.
 * Implemented over `Atomics` for a plain SharedArrayBuffer, and over futexes and FIFOs for a segment.
 */
export interface Waiter {
  /** About how long it takes until an event loop hears its bell, in milliseconds. */
  readonly bellMs: number
  /**
   * Blocks the thread while `words[index]` holds `expected`, until somebody wakes it, for at most `timeoutMs`. It may
   * return early for no reason: the caller looks again at what it waits for, and at whether the peer that could bring it
   * still lives; and so it does after each slice (see safetyNet).
   */
  waitSync(index: number, expected: number, timeoutMs: number): void
  /** Wakes up to `count` threads that sleep on `words[index]`; returns how many it woke. */
  wake(index: number, count: number): number
  /** From now on this agent's event loop hears its bell. To be called before any word says that it waits. */
  hear(): void
  /**
   * Rings the bell of a peer: its event loop looks at everything it waits for. A ring too many costs one look.
   * @returns false where nobody hears it: what does not prove that the peer is dead, but makes it worth asking
   */
  ring(peer: PeerId): boolean
  /**
   * From now on this thread looks for the dead when this peer dies, as soon as the system tells.
   * @returns whether that was so before: then whoever begins to wait need not ask for a proof
   */
  watch(peer: PeerId): boolean
}

/**
 * What is lost with a peer that is killed between a store and the wake-up that belongs to it, or with a death that no
 * system told, is found by a look around: by a blocked thread after each slice, by an event loop that waits at each tick.
 * A worker that is told to terminate does so within a slice. Who has waited for long, and will perhaps wait for hours,
 * looks around less often: see sliceAfter.
 *
 * Nothing else depends on it. Tests take the net away to see that no wake-up is ever lost while everybody lives.
 */
export const safetyNet = { sliceMs: 50, longestSliceMs: 250, tickMs: 2000 }

/** A slice adds a tenth at most to a wait. Waking up and looking around takes between 0.1 and 0.2 ms of a core. */
const SLICE_SHARE = 1 / 10

/** How long a thread that has waited for `waitedMs` sleeps at most before it looks around. */
export function sliceAfter(waitedMs: number): number {
  return Math.max(safetyNet.sliceMs, Math.min(waitedMs * SLICE_SHARE, safetyNet.longestSliceMs))
}
