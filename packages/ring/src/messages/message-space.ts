import type { TimeoutOptions, UntimedOptions, Waitable, WaitOptions } from '@isthmus/sync'
import { deadlineOf, signalOf, WAITABLE, type WaitFor } from '@isthmus/sync/internal'

/** What a MessageSpace asks its producer for. */
export interface SpaceSource {
  /** How error messages begin. */
  readonly attempt: string
  /** For waitAny: nothing that it polls throws. */
  waitFor(byteLength: number): WaitFor
  wait(byteLength: number, deadline: number, signal: WaitOptions['signal']): Promise<boolean>
  waitSync(byteLength: number, deadline: number): boolean
}

/**
 * Space in a ring for one message of a certain length: see `Producer.spaceFor`. Waiting for it takes and reserves nothing.
 * For waitAny it is ready when there is space, or a reason for the producer to throw.
 *
 * @example
 * ```ts
 * const space = producer.spaceFor(8)
 * await space.wait({ timeoutMs: 1000 }) // true
 * ```
 */
export class MessageSpace implements Waitable {
  readonly #source: SpaceSource
  readonly #byteLength: number

  /** @internal Use `producer.spaceFor()`. */
  constructor(source: SpaceSource, byteLength: number) {
    this.#source = source
    this.#byteLength = byteLength
  }

  /**
   * Waits until there is space, and publishes what is corked. While a send of the same producer waits, there is none: its
   * turn comes first.
   *
   * @example
   * ```ts
   * await producer.spaceFor(100).wait({ signal }) // true
   * ```
   *
   * @returns true once there is space; false after `timeoutMs`
   * @throws AbortError when the signal aborts; IsthmusError `ERR_ISTHMUS_CLOSED`
   * @throws PeerDiedError `ERR_ISTHMUS_PEER_DIED` if there is no space and the consumer is dead: once, as a send would
   */
  wait(options?: UntimedOptions): Promise<true>
  wait(options: WaitOptions): Promise<boolean>
  async wait(options?: WaitOptions): Promise<boolean> {
    const { attempt } = this.#source
    const deadline = deadlineOf(options, attempt)
    const signal = signalOf(options, attempt)
    return this.#source.wait(this.#byteLength, deadline, signal)
  }

  /**
   * As wait, and blocks the thread.
   *
   * @example
   * ```ts
   * producer.spaceFor(100).waitSync({ timeoutMs: 1000 }) // true
   * ```
   *
   * @returns true once there is space; false after `timeoutMs`
   * @throws as wait
   * @throws IsthmusError `EDEADLK` if it would wait for a consumer, or a send, of this very thread
   */
  waitSync(): true
  waitSync(options: TimeoutOptions): boolean
  waitSync(options?: TimeoutOptions): boolean {
    return this.#source.waitSync(this.#byteLength, deadlineOf(options, this.#source.attempt))
  }

  /** For waitAny. */
  [WAITABLE](): WaitFor {
    return this.#source.waitFor(this.#byteLength)
  }
}
