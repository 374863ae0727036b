import { IsthmusError, IsthmusTypeError, inWords, throwIfAborted } from '../errors.js'
import { assertStackRoom } from '../host/stack-room.js'
import type { Layout } from '../layout/layout.js'
import type { MutexGuard } from '../mutex/mutex-guard.js'
import type { PeerDescription } from '../peers/peers.js'
import { assertOpen, type Region } from '../region/region.js'
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
import { WAITER_SET_BYTES, WaiterSet } from '../waiting/waiter-set.js'

const ATTEMPT = 'Waiting on a condition variable'

/** Called with the mutex locked: whether what is waited for is there. */
export type Predicate = () => boolean

export interface CondvarDescription {
  readonly waiters: readonly PeerDescription[]
}

/**
 * A condition variable in shared memory: a place to wait, with a mutex, until another agent has changed something. In
 * memory it is a waiter set (WaiterSet has the drawing), whose sequence is read while the mutex is locked.
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
    /** Zeroed memory is a waiter set without waiters. */
    initialize() {},
    attach: (region, byteOffset) => new Condvar(region, byteOffset),
    sweep: (region, byteOffset, deadPeer) => new WaiterSet(region, byteOffset).sweep(deadPeer),
  }
}

/**
 * An attached condition variable. Every wait unlocks the mutex, sleeps, and has the mutex locked again when it returns, also
 * after a timeout or an abort: locking again has no timeout of its own. The guard may then say `ownerDied`.
 *
 * A wait without a predicate may end although nothing has changed, and one `notifyOne` may wake several waiters: check what
 * you wait for, or give a predicate. A notification is never lost on a waiter that gives up, or is killed: another waiter
 * gets it. The death of a peer notifies no waiter.
 *
 * The algorithm is that of Rust's std: a counter that is read under the mutex, and a sleep until it changes.
 */
export class Condvar extends Awaitable implements Waitable {
  readonly #region: Region
  readonly #waiters: WaiterSet

  /** @internal Use the `condvar` layout. */
  constructor(region: Region, byteOffset: number) {
    super()
    this.#region = region
    this.#waiters = new WaiterSet(region, byteOffset)
  }

  /**
   * Unlocks the mutex, blocks the thread until it is notified, and locks the mutex again; with a predicate, until that is
   * true. The steps:
   *
   * 1. With a predicate: ask it, with the mutex locked. If it is true, the wait is over.
   * 2. Read the sequence, and set our bit in the waiter set. The mutex is still locked, so an agent that changes something
   *    under it from now on, and then notifies, sees the bit.
   * 3. Unlock the mutex, and sleep until the sequence has changed or the time is up.
   * 4. Clear our bit. If there was more than one notification, or we do not use the one there was, wake the other waiters.
   * 5. Lock the mutex again, into the same guard. With a predicate, go on at 1.
   *
   * @example
   * ```ts
   * const { lock, changed, letters } = HeapRegion.create(struct({ lock: mutex(), changed: condvar(), letters: u32() })).root
   * const guard = lock.lockSync()
   * changed.waitSync(guard, () => letters.value > 0, { timeoutMs: 5 }) // false
   * guard.unlock()
   * ```
   *
   * @returns true if it was notified, or the predicate is true; false after `timeoutMs`
   * @throws IsthmusError `ERR_ISTHMUS_NOT_HELD` if the guard holds no mutex of this region; `ERR_ISTHMUS_ABANDONED` if the mutex
   * was abandoned meanwhile; `ERR_ISTHMUS_CLOSED`. What the predicate throws, with the mutex locked
   */
  waitSync(guard: MutexGuard, predicate?: Predicate): true
  waitSync(guard: MutexGuard, options: TimeoutOptions): boolean
  waitSync(guard: MutexGuard, predicate: Predicate, options: TimeoutOptions): boolean
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
      this.#waiters.enterSync()
      try {
        guard.unlock()
        isNotified = this.#waiters.waitSync(this.#conditionOf(ticket), deadline)
      } finally {
        this.#waiters.leaveSync()
        isNotified = this.#waiters.relaySince(ticket, true)
        guard.relockSync()
      }
      if (predicate === undefined) return isNotified
      if (!isNotified) return predicate()
    }
  }

  /**
   * As waitSync, without blocking the event loop. The predicate is called with the mutex locked, so it must not be
   * asynchronous.
   *
   * @example
   * ```ts
   * const { lock, changed, letters } = HeapRegion.create(struct({ lock: mutex(), changed: condvar(), letters: u32() })).root
   * const guard = await lock.lock()
   * await changed.wait(guard, () => letters.value > 0, { timeoutMs: 5 }) // false
   * guard.unlock()
   * ```
   *
   * @throws AbortError when the signal aborts, once the mutex is locked again. Errors of waitSync
   */
  wait(guard: MutexGuard, options?: UntimedOptions): Promise<true>
  wait(guard: MutexGuard, predicate: Predicate, options?: UntimedOptions): Promise<true>
  wait(guard: MutexGuard, options: WaitOptions): Promise<boolean>
  wait(guard: MutexGuard, predicate: Predicate, options: WaitOptions): Promise<boolean>
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
          await guard.relock()
        }
      }
      if (predicate === undefined) return isNotified
      if (!isNotified) return predicate()
    }
  }

  /**
   * Wakes one waiter, thread or event loop, if there is any. Only then does it cost a system call.
   *
   * @example
   * ```ts
   * HeapRegion.create(condvar()).root.notifyOne()
   * ```
   *
   * @throws IsthmusError `ERR_ISTHMUS_CLOSED`
   */
  notifyOne(): void {
    assertOpen(this.#region)
    this.#waiters.notifyOne()
  }

  /**
   * Wakes all waiters.
   *
   * @example
   * ```ts
   * HeapRegion.create(condvar()).root.notifyAll()
   * ```
   *
   * @throws IsthmusError `ERR_ISTHMUS_CLOSED`
   */
  notifyAll(): void {
    assertOpen(this.#region)
    this.#waiters.notifyAll()
  }

  /**
   * Shows the waiters, for people and tools. It may be outdated when it is read.
   *
   * @example
   * ```ts
   * HeapRegion.create(condvar()).root.describe().waiters // []
   * ```
   */
  describe(): CondvarDescription {
    assertOpen(this.#region)
    return { waiters: this.#waiters.waiters() }
  }

  /**
   * For waitAny: ready once it has been notified after the call of waitAny. Check what you wait for and call waitAny while
   * you have the mutex locked, then unlock: no notification after your check is missed.
   *
   * @example
   * ```ts
   * const { lock, changed, letters } = HeapRegion.create(struct({ lock: mutex(), changed: condvar(), letters: u32() })).root
   * const guard = await lock.lock()
   * const waiting = letters.value > 0 ? undefined : waitAny([changed], { timeoutMs: 5 })
   * guard.unlock()
   * await waiting // []
   * ```
   */
  [WAITABLE](): WaitFor {
    const ticket = this.#waiters.sequence
    const handOffWakeup = (isUsed: boolean) => void this.#waiters.relaySince(ticket, isUsed)
    return { point: this.#waiters, condition: { ...this.#conditionOf(ticket), handOffWakeup }, isMomentary: true }
  }

  protected override waitPoints(): readonly WaiterSet[] {
    return [this.#waiters]
  }

  #conditionOf(ticket: number): Condition {
    return {
      poll: () => this.#waiters.sequence !== ticket,
      reapDead() {},
      // Any peer may notify, and a death notifies no waiter.
      dependsOn: () => [],
      // If the region is closed meanwhile, this is the last chance to wake another waiter.
      handOffWakeup: (isReady) => {
        if (!isReady) this.#waiters.relaySince(ticket, false)
      },
    }
  }

  #assertUsable(guard: MutexGuard): void {
    assertOpen(this.#region)
    const isUsable = guard?.isHeld === true && typeof guard.relockSync === 'function' && guard.region === this.#region
    if (isUsable) return
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
