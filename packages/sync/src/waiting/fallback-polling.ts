/** The first slice. */
export const SLICE_MS = 20

/**
 * A wake-up can be lost with a peer that is killed between a store and the wake-up that belongs to it. The system may also
 * be unable to tell of a death. So every waiter also polls by itself: a blocked thread after each *slice* of its sleep, a
 * wait on an event loop at each of its *ticks*. A slice is also how long a worker may take to obey `terminate`.
 *
 * The first slices and ticks are short. Then they grow with the wait, to a tenth of it: a lost wake-up costs a tenth of
 * the time that was waited anyway, and a program that waits for hours does not pay for frequent polls. Neither does an
 * event loop with thousands of waits, whose ticks lie further apart (see PendingWaits). A wake-up that no waiter has taken
 * after `handOffMs` goes on to the next one (see WaiterSet).
 *
 * Nothing else depends on it. Tests switch it off (`handOffMs` is Infinity then) to see that no wake-up is lost while every
 * peer lives and runs.
 */
export const fallbackPolling = { sliceMs: SLICE_MS, longestSliceMs: 250, tickMs: 20, longestTickMs: 2000, handOffMs: 5 }

/** A slice or a tick adds a tenth at most to a wait. Waking up and polling takes between 0.1 and 0.2 ms of a core. */
const SHARE_OF_WAIT = 1 / 10

/** How long a thread that has waited for `waitedMs` sleeps at most before it polls. */
export function sliceAfter(waitedMs: number): number {
  return Math.max(fallbackPolling.sliceMs, Math.min(waitedMs * SHARE_OF_WAIT, fallbackPolling.longestSliceMs))
}

/** After what time a wait on an event loop, which has lasted for `waitedMs`, polls by itself. */
export function tickAfter(waitedMs: number): number {
  return Math.max(fallbackPolling.tickMs, Math.min(waitedMs * SHARE_OF_WAIT, fallbackPolling.longestTickMs))
}

/** Not shorter than the shortest one, which tests make endless. */
export function longestTickMs(): number {
  return Math.max(fallbackPolling.tickMs, fallbackPolling.longestTickMs)
}
