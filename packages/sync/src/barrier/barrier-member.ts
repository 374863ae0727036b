import { IsthmusError, PeerDiedError } from '../errors.js'
import { assertStackRoom } from '../host/stack-room.js'
import { Awaitable } from '../waiting/awaitable.js'
import type { Condition, WaitFor } from '../waiting/condition.js'
import { WAITABLE, type Waitable } from '../waiting/wait-any.js'
import {
  deadlineOf,
  signalOf,
  type TimeoutOptions,
  type UntimedOptions,
  type WaitOptions,
} from '../waiting/wait-options.js'
import type { WaiterSet } from '../waiting/waiter-set.js'
import type { BarrierWords } from './barrier-words.js'
import { followingPhase, hasArrivedAt, peerOfMember } from './layout.js'

const ATTEMPT = 'Waiting at a barrier'

/** This member has arrived at a phase; `verdict` says how the phase ended, once it is known. Waits for one phase share it. */
interface Arrival {
  readonly phase: number
  verdict: 'over' | 'broken' | undefined
}

/**
 * A membership in a barrier. `arrive` and each form of wait arrive first, if this member has not arrived at the current
 * phase. After a timeout or an abort the member stays arrived, and the next wait goes on with the same phase. With `using`,
 * it leaves at the end of the block.
 */
export class BarrierMember extends Awaitable implements Waitable {
  readonly #barrier: BarrierWords
  /** The last arrival, until its verdict has been told. */
  #arrival: Arrival | undefined
  #hasLeft = false
  readonly #baseCondition: Omit<Condition, 'poll'>

  /** @internal Use barrier.join. */
  constructor(barrier: BarrierWords) {
    super()
    this.#barrier = barrier
    this.#baseCondition = {
      reapDead: () => barrier.reapDead(),
      dependsOn: () => barrier.members().map(peerOfMember),
    }
  }

  /** Whether it has left the barrier. */
  get hasLeft(): boolean {
    return this.#hasLeft
  }

  /**
   * Arrives, without waiting.
   *
   * @example
   * ```ts
   * const region = HeapRegion.create(barrier({ parties: 2 }))
   * const member = region.root.join()
   * member.arrive() // false: the other party has not arrived
   * member.leave()
   * ```
   *
   * @returns whether all members have arrived, and the phase is over
   * @throws PeerDiedError `ERR_ISTHMUS_PEER_DIED` if a death broke the barrier
   * @throws IsthmusError `ERR_ISTHMUS_NOT_HELD` after leave; `ERR_ISTHMUS_CLOSED`
   */
  arrive(): boolean {
    return this.#isOver(this.#arrive())
  }

  /**
   * Arrives, and blocks the thread until all members have arrived.
   *
   * @example
   * ```ts
   * const region = HeapRegion.create(barrier())
   * const member = region.root.join()
   * member.waitSync() // true: the only member has arrived
   * ```
   *
   * @returns true once the phase is over; false after `timeoutMs`
   * @throws IsthmusError `EDEADLK` if another member of this very thread has not arrived; this one stays arrived. Errors of
   * `arrive`
   */
  waitSync(): true
  waitSync(options: TimeoutOptions): boolean
  waitSync(options?: TimeoutOptions): boolean {
    const deadline = deadlineOf(options, ATTEMPT)
    const arrival = this.#arrive()
    const condition = this.#conditionOf(arrival)
    const reapDead = () => {
      condition.reapDead()
      this.#assertNotWaitingForOwnThread(arrival.phase)
    }
    return this.#barrier.waiters.waitSync({ ...condition, reapDead }, deadline)
  }

  /**
   * Arrives, and waits for the other members without blocking the event loop. Several calls at once wait for the same phase.
   *
   * @example
   * ```ts
   * const region = HeapRegion.create(barrier())
   * const member = region.root.join()
   * await member.wait() // true: the only member has arrived
   * ```
   *
   * @returns true once the phase is over; false after `timeoutMs`
   * @throws AbortError when the signal aborts; the member stays arrived. Errors of `arrive`
   */
  wait(options?: UntimedOptions): Promise<true>
  wait(options: WaitOptions): Promise<boolean>
  async wait(options?: WaitOptions): Promise<boolean> {
    const deadline = deadlineOf(options, ATTEMPT)
    const signal = signalOf(options, ATTEMPT)
    return this.#barrier.waiters.wait(this.#conditionOf(this.#arrive()), deadline, signal)
  }

  /**
   * Leaves: no phase waits for this member any more. Its pending waits end with `ERR_ISTHMUS_NOT_HELD`, unless their phase is
   * over. Leaving twice does nothing.
   *
   * @example
   * ```ts
   * const { root } = HeapRegion.create(barrier())
   * const member = root.join()
   * member.leave()
   * root.describe().members // []
   * ```
   */
  leave(): void {
    if (this.#hasLeft) return
    assertStackRoom()
    this.#barrier.leave()
    this.#hasLeft = true
    this.#barrier.waiters.pollOwnWaits()
  }

  [Symbol.dispose](): void {
    if (!this.#barrier.region.isClosed) this.leave()
  }

  /**
   * For waitAny, which does not arrive: ready once the phase at which this member has arrived is over or broken, if it has
   * not arrived, once the current phase is. Call `arrive` when it is ready: it says, or throws, what has become of the
   * phase. A member that has left is ready.
   */
  [WAITABLE](): WaitFor {
    const arrival = this.#arrival
    const phase = arrival?.phase ?? this.#barrier.state.phase
    const poll = () => {
      if (this.#hasLeft || arrival?.verdict !== undefined || this.#verdictOn(phase) !== undefined) return true
      return arrival !== undefined && this.#barrier.upholdArrival(phase) && this.#verdictOn(phase) !== undefined
    }
    return { point: this.#barrier.waiters, condition: { ...this.#baseCondition, poll } }
  }

  protected override waitPoints(): readonly WaiterSet[] {
    return [this.#barrier.waiters]
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
    return { ...this.#baseCondition, poll: () => this.#isOver(arrival) }
  }

  /** Whether the phase of this arrival is over. Throws if the barrier broke first. */
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

  /** While this thread blocks for the end of the phase, its other members cannot arrive. */
  #assertNotWaitingForOwnThread(phase: number): void {
    const { peers } = this.#barrier.region
    const isOwnAndMissing = (word: number) => !hasArrivedAt(word, phase) && peers.isOwnThread(peerOfMember(word))
    const isMissing = this.#barrier.members().some(isOwnAndMissing)
    const { state } = this.#barrier
    if (!isMissing || state.isBroken || state.phase !== phase) return
    throw new IsthmusError(
      'EDEADLK',
      `${ATTEMPT}: another member of this very thread has not arrived, and cannot while the thread blocks. Let it arrive first (arrive), or await wait().`,
    )
  }
}

function leftError(): IsthmusError {
  return new IsthmusError('ERR_ISTHMUS_NOT_HELD', `${ATTEMPT}: this member has left it. Join again.`)
}

function brokenError(): PeerDiedError {
  return new PeerDiedError(`${ATTEMPT}: a member died, and broke it for all. Call reset to go on without it.`)
}
