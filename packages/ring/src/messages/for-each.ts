import type { Signal } from '@isthmus/sync'
import { abortErrorOf, nowMs, onAbort, throwIfAborted } from '@isthmus/sync/internal'

export interface ForEachOptions {
  /** Ends the call with an AbortError, which takes no message: at once, or when the callback is done with its message. */
  readonly signal?: Signal
}

/** How long one turn of the event loop gives messages, before timers and sockets have theirs. */
const SLICE_MS = 1

/** The clock is read after this many messages at most. */
const STRIDE_MAX = 16

/** If that many messages took less, or more, the next time comes after twice as many, or half as many. */
const STRIDE_MS_MIN = 0.03
const STRIDE_MS_MAX = 0.15

/** What one round of callbacks ended with. A promise of the callback is awaited before the next message. */
export type RoundEnd = typeof EMPTY | typeof DUE | typeof OVER | PromiseLike<unknown>
/** Nothing more is there. */
export const EMPTY = 0
/** The event loop is due, or the signal has aborted. */
export const DUE = 1
/** The producer has closed, and everything was received. */
export const OVER = 2

/** Where the messages come from, and how to wait for more. */
export interface RoundSource {
  /** Calls back for one message after the other, until `slice.goesOn()` is false, or the round ends otherwise. */
  round(slice: Slice): RoundEnd
  /** The promise that the last round returned has settled. */
  endCallback(): void
  /** Whether a round may find something now. */
  hasNews(): boolean
  /** Waits until it may. */
  wait(signal: Signal | undefined): Promise<unknown>
  yieldToEventLoop(): Promise<void>
}

/**
 * How long callbacks may go on in this turn of the event loop. It asks the clock now and then: a callback may be done in
 * less time than that takes.
 */
export class Slice {
  #endMs = 0
  #checkedMs = 0
  #stride = 1
  /** Messages until the clock is read. */
  #left = 1
  isAborted = false

  /** The event loop has just had its turn. */
  begin(): void {
    this.#checkedMs = nowMs()
    this.#endMs = this.#checkedMs + SLICE_MS
    this.#left = this.#stride
  }

  /** After each message: whether the next one may follow in this turn. */
  goesOn(): boolean {
    return --this.#left > 0 ? !this.isAborted : this.isInTime()
  }

  /** The same by the clock, for messages that may take long. */
  isInTime(): boolean {
    const now = nowMs()
    const tookMs = now - this.#checkedMs
    if (tookMs < STRIDE_MS_MIN) this.#stride = Math.min(this.#stride * 2, STRIDE_MAX)
    else if (tookMs > STRIDE_MS_MAX) this.#stride = Math.max(this.#stride >> 1, 1)
    this.#checkedMs = now
    this.#left = this.#stride
    return now < this.#endMs && !this.isAborted
  }
}

/**
 * Calls back for one message after the other, without a promise for each of them, until the producer closes.
 *
 * 1. A round of callbacks, which takes about a millisecond at most.
 * 2. It ended with a promise of the callback: await that. It ended because the time is up: let the event loop have its turn.
 *    It ended because nothing is left: wait.
 * 3. Go on with step 1.
 *
 * @throws AbortError
 */
export async function forEachOf(source: RoundSource, signal: Signal | undefined): Promise<void> {
  const slice = new Slice()
  const forgetAbort = onAbort(signal, () => {
    slice.isAborted = true
  })
  try {
    slice.begin()
    for (;;) {
      throwIfAborted(signal)
      let end = source.round(slice)
      if (end === OVER) return
      if (typeof end === 'object') {
        try {
          await end
        } finally {
          source.endCallback()
        }
        if (slice.isInTime()) continue
        end = DUE
      }
      if (slice.isAborted) throw abortErrorOf(signal)
      // A wait that is over at once gives the event loop no turn.
      const hadTurn = end === DUE || !source.hasNews()
      await (end === DUE ? source.yieldToEventLoop() : source.wait(signal))
      if (hadTurn) slice.begin()
    }
  } finally {
    forgetAbort()
  }
}

export function isPromiseLike(value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && typeof (value as { then?: unknown }).then === 'function'
}
