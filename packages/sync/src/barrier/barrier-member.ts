import { IsthmusError } from '../errors.js'
import type { Condition } from '../waiting/condition.js'
import { deadlineOf, signalOf, type TimeoutOptions, type WaitOptions } from '../waiting/wait-options.js'
import type { WaiterSet } from '../waiting/waiter-set.js'
import { type Barrier, brokenError } from './barrier.js'
import { followingPhase } from './layout.js'

const ATTEMPT = 'Waiting at a barrier'

/** That a member has come to the end of a phase; what came of it, once somebody knows. Waits for the same phase share it. */
interface Arrival {
  readonly phase: number
  verdict: 'over' | 'broken' | undefined
}

/**
 * A membership in a barrier. Each of the three forms of wait arrives first, if this member has not arrived at the current
 * phase; after a timeout it stays arrived, and the next wait goes on with the same phase. With `using`, it leaves at the end.
 */
export class BarrierMember {
  readonly #barrier: Barrier
  readonly #waiters: WaiterSet
  /** The last one, until it is known what came of it. */
  #arrival: Arrival | undefined
  #hasLeft = false

  /** @internal Use barrier.join. */
  constructor(barrier: Barrier, waiters: WaiterSet) {
    this.#barrier = barrier
    this.#waiters = waiters
  }

  /**
   * Arrives, without waiting.
   * @returns whether all are there, and the phase is over
   * @throws PeerDiedError `ERR_ISTHMUS_PEER_DIED` where a death broke the barrier
   * @throws IsthmusError `ERR_ISTHMUS_NOT_HELD` after leave
   */
  tryWait(): boolean {
    return this.#isOver(this.#arrive())
  }

  /**
   * Arrives, and blocks the thread until all are there.
   * @returns whether the phase is over; false after `timeoutMs`
   * @throws IsthmusError `EDEADLK` where a member of this very thread has not arrived; it stays arrived; and as tryWait
   */
  waitSync(options?: TimeoutOptions): boolean {
    const deadline = deadlineOf(options, ATTEMPT)
    const arrival = this.#arrive()
    const condition = this.#conditionOf(arrival)
    const prove = () => {
      condition.reapDead()
      this.#barrier.assertNotWaitingForOwnThread(arrival.phase)
    }
    return this.#waiters.waitSync({ ...condition, reapDead: prove }, deadline)
  }

  /**
   * Arrives, and waits for the others without blocking the event loop. Several calls at once wait for the same phase.
   * @throws AbortError when the signal aborts; it stays arrived; and as tryWait
   */
  async wait(options?: WaitOptions): Promise<boolean> {
    const deadline = deadlineOf(options, ATTEMPT)
    const signal = signalOf(options, ATTEMPT)
    return this.#waiters.wait(this.#conditionOf(this.#arrive()), deadline, signal)
  }

  /**
   * No phase waits for this member any more. A wait of its own that is pending ends with `ERR_ISTHMUS_NOT_HELD`, unless its
   * phase is over. Leaving twice does nothing.
   */
  leave(): void {
    if (this.#hasLeft) return
    this.#barrier.leave()
    this.#hasLeft = true
    this.#waiters.pollOwnWaits()
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

  #arrive(): Arrival {
    if (this.#hasLeft) throw leftError()
    if (this.#arrival !== undefined) return this.#arrival
    const { phase, isBroken } = this.#barrier.state
    if (isBroken) throw brokenError()
    const arrival: Arrival = { phase, verdict: undefined }
    this.#arrival = arrival
    this.#barrier.arrive(phase)
    return arrival
  }

  #conditionOf(arrival: Arrival): Condition {
    return {
      poll: () => this.#isOver(arrival),
      reapDead: () => this.#barrier.reapDead(),
      dependsOn: () => this.#barrier.dependsOn(),
    }
  }

  /** Over, one way or the other: it throws where the barrier broke before this phase was over. */
  #isOver(arrival: Arrival): boolean {
    arrival.verdict ??= this.#verdictOn(arrival.phase)
    const mustUphold = arrival.verdict === undefined && !this.#hasLeft
    if (mustUphold && this.#barrier.upholdArrival(arrival.phase)) arrival.verdict = this.#verdictOn(arrival.phase)
    if (arrival.verdict === undefined) {
      if (this.#hasLeft) throw leftError()
      return false
    }
    if (this.#arrival === arrival) this.#arrival = undefined
    if (arrival.verdict === 'broken') throw brokenError()
    return true
  }

  #verdictOn(arrivedPhase: number): Arrival['verdict'] {
    const { phase, isBroken } = this.#barrier.state
    if (phase === followingPhase(arrivedPhase)) return 'over'
    // Broken, or broken and reset since.
    return phase !== arrivedPhase || isBroken ? 'broken' : undefined
  }
}

function leftError(): IsthmusError {
  return new IsthmusError('ERR_ISTHMUS_NOT_HELD', `${ATTEMPT}: this member has left it. Join again.`)
}
