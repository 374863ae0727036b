import { nowMs, type TurnQueue } from '@isthmus/sync/internal'
import { LargeMessagePolling } from '../record/large-message-polling.js'
import type { Taking } from './taking.js'

/** How a reader of a ring waits for the next fragment of a large message. */
export interface FragmentWait {
  readonly turns: TurnQueue
  /** Whether there may be something to take. */
  readonly condition: { poll(): boolean }
  /** Whether the large message is still under way. */
  isInside(): boolean
  /** Waits on the event loop until the condition is true. */
  wait(): Promise<unknown>
}

/** Takes fragments until the message is whole, or the deadline has passed: polls first, and waits if nothing comes. */
export async function takeFragments(from: FragmentWait, taking: Taking<unknown>, deadline: number): Promise<void> {
  const polling = new LargeMessagePolling(from.turns)
  do {
    while (polling.until(from.condition)) if (taking.poll() || nowMs() >= deadline) return
    if (polling.isTurnDue) await polling.yieldToEventLoop()
    await from.wait()
  } while (!taking.poll() && nowMs() < deadline && from.isInside())
}
