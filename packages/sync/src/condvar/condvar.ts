import { IsthmusError, IsthmusTypeError, inWords, throwIfAborted } from '../errors.js'
import { assertStackRoom } from '../host/stack-room.js'
import type { Layout } from '../layout/layout.js'
import type { MutexGuard } from '../mutex/mutex-guard.js'
import type { PeerDescription } from '../peers/peers.js'
import { assertOpen, type Region } from '../region/region.js'
import type { Condition } from '../waiting/condition.js'
import { deadlineOf, signalOf, type TimeoutOptions, type WaitOptions } from '../waiting/wait-options.js'
import { WAITER_SET_BYTES, WaiterSet } from '../waiting/waiter-set.js'

const ATTEMPT = 'Waiting on a condition variable'

/** Asked with the lock held: whether the wait is over. */
export type Predicate = () => boolean

export interface CondvarDescription {
  readonly waiters: readonly PeerDescription[]
}

/**
 * A condition variable in shared memory: a place to wait, with a mutex, until another agent has changed something. In
 * memory it is a wait set (see WaiterSet for its words), whose sequence is read while the mutex is held.
 *
 * @example
 * ```ts
 * const mailbox = struct({ lock: mutex(), changed: condvar(), letters: u32() })
 * const { lock, changed, letters } = HeapRegion.create(mailbox).root
 * // the sender
 * const sender = lock.lockSync()
 * letters.value += 1
 * sender.unlock()
 * changed.notifyOne()
 * // the receiver
 * const receiver = lock.lockSync()
 * changed.waitSync(receiver, () => letters.value > 0)
 * letters.value -= 1
 * receiver.unlock()
 * ```
 */
export function condvar(): Layout<Condvar> {
  return {
    byteLength: WAITER_SET_BYTES,
    byteAlignment: 4,
    signature: 'condvar@1',
    /** Zeroed memory is a wait set in which nobody waits. */
    initialize() {},
    attach: (region, byteOffset) => new Condvar(region, byteOffset),
    sweep: (region, byteOffset, deadPeer) => new WaiterSet(region, byteOffset).sweep(deadPeer),
  }
}

/**
 * An attached condition variable. Every wait gives the mutex back, sleeps, and has the mutex again when it returns, also
 * after a timeout or an abort: taking it again has no timeout of its own. The guard may then say `ownerDied`.
 *
 * A wait without a predicate may end for no reason, and more waiters than one may wake for one `notifyOne`: check what you
 * wait for, or give a predicate. A notify is never lost on a waiter that gives up, or is killed: another one gets it.
 *
 * The algorithm is the one of Rust's std: a counter that is read under the mutex, and a sleep until it changes.
 */
export class Condvar {
  readonly #region: Region
  readonly #waiters: WaiterSet

  /** @internal Use the `condvar` layout. */
  constructor(region: Region, byteOffset: number) {
    this.#region = region
    this.#waiters = new WaiterSet(region, byteOffset)
  }

  /**
   * Gives the mutex back, blocks the thread until a notify, and takes the mutex again; with a predicate, until it is true.
   * @returns whether it was notified, or the predicate is true; false after `timeoutMs`
   * @throws IsthmusError `ERR_ISTHMUS_NOT_HELD` where the guard does not hold its mutex
   */
  waitSync(guard: MutexGuard, options?: TimeoutOptions): boolean
  waitSync(guard: MutexGuard, predicate: Predicate, options?: TimeoutOptions): boolean
  waitSync(guard: MutexGuard, first?: Predicate | TimeoutOptions, second?: TimeoutOptions): boolean {
    const { predicate, options } = argumentsOf(first, second)
    const deadline = deadlineOf(options, ATTEMPT)
    this.#assertUsable(guard)
    for (;;) {
      if (predicate?.()) return true
      this.#assertUsable(guard)
      assertStackRoom()
      const ticket = this.#waiters.sequence
      let isNotified = false
      // From here on, while we still have the mutex, whoever notifies sees us.
      this.#waiters.enterSync()
      try {
        guard.unlock()
        isNotified = this.#waiters.waitSync(this.#conditionOf(ticket), deadline)
      } finally {
        this.#waiters.leaveSync()
        isNotified = this.#waiters.relaySince(ticket, true)
        guard.mutex.relockSync(guard)
      }
      if (predicate === undefined) return isNotified
      if (!isNotified) return predicate()
    }
  }

  /**
   * As waitSync, without blocking the event loop. The predicate is asked with the lock held, so it may not be asynchronous.
   * @throws AbortError when the signal aborts, once the mutex is taken again
   */
  wait(guard: MutexGuard, options?: WaitOptions): Promise<boolean>
  wait(guard: MutexGuard, predicate: Predicate, options?: WaitOptions): Promise<boolean>
  async wait(guard: MutexGuard, first?: Predicate | WaitOptions, second?: WaitOptions): Promise<boolean> {
    const { predicate, options } = argumentsOf(first, second)
    const deadline = deadlineOf(options, ATTEMPT)
    const signal = signalOf(options, ATTEMPT)
    this.#assertUsable(guard)
    for (;;) {
      throwIfAborted(signal)
      if (predicate?.()) return true
      this.#assertUsable(guard)
      assertStackRoom()
      const ticket = this.#waiters.sequence
      let isNotified = false
      this.#waiters.arm()
      try {
        guard.unlock()
        isNotified = await this.#waiters.wait(this.#conditionOf(ticket), deadline, signal)
      } finally {
        if (!this.#region.isClosed) {
          this.#waiters.disarm()
          isNotified = this.#waiters.relaySince(ticket, signal?.aborted !== true)
          await guard.mutex.relock(guard)
        }
      }
      if (predicate === undefined) return isNotified
      if (!isNotified) return predicate()
    }
  }

  /** Wakes one waiter, thread or event loop, if there is any. It costs a system call only then. */
  notifyOne(): void {
    assertOpen(this.#region)
    this.#waiters.notifyOne()
  }

  /** Wakes all waiters. */
  notifyAll(): void {
    assertOpen(this.#region)
    this.#waiters.notifyAll()
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

  /** Who waits, for people and tools: it is old when it is read. */
  describe(): CondvarDescription {
    assertOpen(this.#region)
    return { waiters: this.#waiters.waiters() }
  }

  #conditionOf(ticket: number): Condition {
    return {
      poll: () => this.#waiters.sequence !== ticket,
      reapDead() {},
      // Whoever would have notified may be anybody; a death notifies nobody.
      dependsOn: () => [],
      // Where the region is closed meanwhile, this is the last chance.
      handOffWakeup: (isReady) => {
        if (!isReady) this.#waiters.relaySince(ticket, false)
      },
    }
  }

  #assertUsable(guard: MutexGuard): void {
    assertOpen(this.#region)
    if (guard?.isHeld === true && guard.mutex?.region === this.#region) return
    throw new IsthmusError(
      'ERR_ISTHMUS_NOT_HELD',
      `${ATTEMPT}: the guard does not hold a mutex of the same region. Lock it before, and wait with that guard.`,
    )
  }
}

function argumentsOf<O extends TimeoutOptions>(first: Predicate | O | undefined, second: O | undefined) {
  if (typeof first === 'function') return { predicate: first, options: second }
  if (first === undefined) return { predicate: undefined, options: second }
  if (second === undefined) return { predicate: undefined, options: first }
  throw new IsthmusTypeError(
    'ERR_ISTHMUS_INVALID_ARGUMENT',
    `${ATTEMPT}: the predicate is ${inWords(first)}. Give a function, or only the options.`,
  )
}
