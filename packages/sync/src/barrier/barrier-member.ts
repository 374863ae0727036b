import { IsthmusError } from '../errors.js'
import type { Condition } from '../waiting/condition.js'
import { deadlineAfter, type TimeoutOptions, type WaitOptions } from '../waiting/deadline.js'
import type { WaitSet } from '../waiting/wait-set.js'
import { type Barrier, brokenError } from './barrier.js'
import { followingPhase } from './layout.js'

/**
 * A membership in a barrier. Each of the three forms of wait arrives first, if this member has not arrived at the current
 * phase; after a timeout it stays arrived, and the next wait goes on with the same phase. With `using`, it leaves at the end.
 */
export class BarrierMember {
  readonly #barrier: Barrier
  readonly #waiters: WaitSet
  readonly #condition: Condition
  /** The phase at which it has arrived, until it knows that it is over. */
  #arrivedPhase: number | undefined
  #hasLeft = false

  /** @internal Use barrier.join. */
  constructor(barrier: Barrier, waiters: WaitSet) {
    this.#barrier = barrier
    this.#waiters = waiters
    this.#condition = {
      isReady: () => this.#isOver(),
      prove: () => barrier.prove(),
      dependsOn: () => barrier.dependsOn(),
    }
  }

  /**
   * Arrives, without waiting.
   * @returns whether all are there, and the phase is over
   * @throws PeerDiedError `ERR_ISTHMUS_PEER_DIED` where a death broke the barrier
   * @throws IsthmusError `ERR_ISTHMUS_NOT_HELD` after leave
   */
  tryWait(): boolean {
    this.#arrive()
    return this.#passed(this.#isOver())
  }

  /**
   * Arrives, and blocks the thread until all are there.
   * @returns whether the phase is over; false after `timeoutMs`
   * @throws as tryWait
   */
  waitSync({ timeoutMs }: TimeoutOptions = {}): boolean {
    const deadline = deadlineAfter(timeoutMs)
    this.#arrive()
    return this.#passed(this.#waiters.waitSync(this.#condition, deadline))
  }

  /**
   * Arrives, and waits for the others without blocking the event loop.
   * @throws AbortError when the signal aborts; it stays arrived; and as tryWait
   */
  async wait({ timeoutMs, signal }: WaitOptions = {}): Promise<boolean> {
    const deadline = deadlineAfter(timeoutMs)
    this.#arrive()
    return this.#passed(await this.#waiters.wait(this.#condition, deadline, signal))
  }

  /** No phase waits for this member any more. Leaving twice does nothing. */
  leave(): void {
    if (this.#hasLeft) return
    this.#barrier.leave()
    this.#hasLeft = true
  }

  [Symbol.dispose](): void {
    if (!this.#barrier.region.isClosed) this.leave()
  }

  /** Pending waits keep the process running; this is the default. */
  ref(): this {
    this.#waiters.setRef(true)
    return this
  }

  /** Pending waits no longer keep the process running. */
  unref(): this {
    this.#waiters.setRef(false)
    return this
  }

  #arrive(): void {
    if (this.#hasLeft) {
      throw new IsthmusError('ERR_ISTHMUS_NOT_HELD', 'Waiting at a barrier: this member has left it. Join again.')
    }
    if (this.#arrivedPhase !== undefined) return
    const { phase, isBroken } = this.#barrier.state
    if (isBroken) throw brokenError()
    this.#arrivedPhase = phase
    this.#barrier.arrive(phase)
  }

  /** Over, one way or the other: it throws where the barrier broke before this phase was over. */
  #isOver(): boolean {
    const { phase, isBroken } = this.#barrier.state
    const arrivedPhase = this.#arrivedPhase ?? phase
    if (phase === followingPhase(arrivedPhase)) return true
    // The others go on without it.
    if (this.#hasLeft && phase !== arrivedPhase) return true
    if (phase === arrivedPhase && !isBroken) return false
    // Broken, or broken and reset since.
    this.#arrivedPhase = undefined
    throw brokenError()
  }

  #passed(isOver: boolean): boolean {
    if (isOver) this.#arrivedPhase = undefined
    return isOver
  }
}
