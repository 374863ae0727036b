import { isSingleCore, nowMs, type TurnQueue } from '@isthmus/sync/internal'
import type { Taking } from '../messages/taking.js'

/** About 10 microseconds: a fragment is copied in this time. */
const POLLS = 150

/** For how long one turn of the event loop polls and copies, before timers and sockets have theirs. */
const SLICE_MS = 1

/**
 * An event loop that is in the midst of a large message polls for the next fragment, or for the space for it, before it
 * waits: if the other side is at work on the same message, it has it in the time that a fragment takes to be copied, and the
 * way through a promise and a turn of the event loop takes as long.
 */
export class LargeMessagePolling {
  readonly #turns: TurnQueue
  #endMs = nowMs() + SLICE_MS

  constructor(turns: TurnQueue) {
    this.#turns = turns
  }

  /** Polls, if the event loop is not due. Returns whether the condition is true now. */
  until(condition: { poll(): boolean }): boolean {
    if (isSingleCore || this.isTurnDue) return false
    for (let poll = 0; poll < POLLS; poll++) if (condition.poll()) return true
    return false
  }

  get isTurnDue(): boolean {
    return nowMs() >= this.#endMs
  }

  async yieldToEventLoop(): Promise<void> {
    await this.#turns.yieldNow()
    this.#endMs = nowMs() + SLICE_MS
  }
}

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
