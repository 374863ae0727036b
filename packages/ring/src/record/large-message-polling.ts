import { isSingleCore, nowMs, type TurnQueue } from '@isthmus/sync/internal'

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
