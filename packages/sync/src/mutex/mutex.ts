import { IsthmusError } from '../errors.js'
import { assertStackRoom } from '../host/stack-room.js'
import type { Layout } from '../layout/layout.js'
import type { PeerDescription } from '../peers/peers.js'
import { assertOpen, type Region } from '../region/region.js'
import { SPIN_WITH_BACKOFF } from '../waiting/adaptive-spin.js'
import { Awaitable } from '../waiting/awaitable.js'
import type { Condition, WaitFor } from '../waiting/condition.js'
import { TurnQueue } from '../waiting/turn-queue.js'
import { WAITABLE, type Waitable } from '../waiting/wait-any.js'
import {
  deadlineOf,
  signalOf,
  type TimeoutOptions,
  type UntimedOptions,
  type WaitOptions,
} from '../waiting/wait-options.js'
import { WaiterSet } from '../waiting/waiter-set.js'
import type { ExclusiveGuard } from './exclusive-guard.js'
import {
  ABANDONED,
  CONTENDED,
  INCONSISTENT,
  MUTEX_BYTES,
  OWNER_WORD_OFFSET,
  ownerOf,
  WAITER_SET_OFFSET,
} from './layout.js'
import { MutexGuard } from './mutex-guard.js'
import { abandonedError, OwnerWord } from './owner-word.js'

const ATTEMPT = 'Locking a mutex'

export interface MutexDescription {
  readonly state: 'free' | 'held' | 'abandoned'
  /** Whether an owner died or was told of a death, and none has called markConsistent since. */
  readonly isInconsistent: boolean
  /** The owner, dead or alive. */
  readonly owner: PeerDescription | undefined
  readonly waiters: readonly PeerDescription[]
}

/**
 * A lock in shared memory, for threads and processes, that survives its owner.
 *
 * @example
 * ```ts
 * const account = struct({ lock: mutex(), balance: f64() })
 * const region = HeapRegion.create(account)
 * const guard = region.root.lock.lockSync()
 * try {
 *   region.root.balance.value += 10
 * } finally {
 *   guard.unlock()
 * }
 * ```
 */
export function mutex(): Layout<Mutex> {
  return {
    byteLength: MUTEX_BYTES,
    byteAlignment: MUTEX_BYTES,
    signature: 'mutex@1',
    /** Zeroed memory is a free mutex. */
    initialize() {},
    attach: (region, byteOffset) => new Mutex(region, byteOffset),
    sweep(region, byteOffset, deadPeer) {
      const ownerWord = new OwnerWord(region, byteOffset + OWNER_WORD_OFFSET)
      const waiters = new WaiterSet(region, byteOffset + WAITER_SET_OFFSET, () => ownerOf(ownerWord.word) === 0)
      waiters.sweep(deadPeer)
      if (ownerWord.sweep(deadPeer)) waiters.notifyOne()
    },
  }
}

/**
 * An attached mutex. Its owner has a guard, with which it unlocks. Tasks of one attachment that await the mutex are served
 * in the order in which they came; among attachments there is no order.
 *
 * If the owner is killed, the next owner gets a guard that says `ownerDied`: what the mutex protects may be half changed.
 * It repairs that and calls `markConsistent`; otherwise the next owner is told as well. An owner that is stopped keeps the
 * mutex, however long it is stopped. But a program that forgets a segment without closing it gives up what it holds there:
 * once the segment is garbage-collected, the mutex passes on as if the owner had died.
 *
 * The algorithm is Drepper's futex mutex ("Futexes Are Tricky", mutex2) with the owner in the word, as in the kernel's
 * robust futexes; the region's peers prove the death, instead of the kernel's list.
 */
export class Mutex extends Awaitable implements Waitable {
  /** @internal */
  readonly region: Region
  readonly #words: Int32Array
  readonly #index: number
  readonly #self: number
  readonly #ownerWord: OwnerWord
  readonly #waiters: WaiterSet
  readonly #turns = new TurnQueue()
  /** The guard of all locks that do not await: the fast path makes no garbage. */
  readonly #syncGuard: MutexGuard
  /** The guard of this attachment's last lock. If it is held, this attachment owns the mutex. */
  #lastGuard: ExclusiveGuard

  /** @internal Use the `mutex` layout. */
  constructor(region: Region, byteOffset: number) {
    super()
    this.region = region
    this.#words = region.words
    this.#index = (byteOffset + OWNER_WORD_OFFSET) >>> 2
    this.#self = region.peers.self
    this.#ownerWord = new OwnerWord(region, byteOffset + OWNER_WORD_OFFSET)
    this.#waiters = new WaiterSet(region, byteOffset + WAITER_SET_OFFSET, () => this.#isFree(), SPIN_WITH_BACKOFF)
    this.#syncGuard = new MutexGuard(this)
    this.#lastGuard = this.#syncGuard
  }

  /**
   * Locks if the mutex is free, or if its owner is dead. The proof of death takes a system call, if there is an owner.
   *
   * @example
   * ```ts
   * const { root } = HeapRegion.create(mutex())
   * const guard = root.tryLock()
   * root.tryLock() // undefined
   * guard?.unlock()
   * ```
   *
   * @returns the guard, the same object each time; undefined if the mutex has a living owner
   * @throws IsthmusError `ERR_ISTHMUS_ABANDONED`, `ERR_ISTHMUS_CLOSED`
   */
  tryLock(): MutexGuard | undefined {
    const guard = this.#syncGuard
    return this.#tryFast(guard) || this.#tryLockSlowly(guard) ? guard : undefined
  }

  /**
   * Locks; blocks the thread until the mutex is free or its owner dead.
   *
   * @example
   * ```ts
   * const { root } = HeapRegion.create(mutex())
   * const guard = root.lockSync({ timeoutMs: 100 })
   * guard?.unlock()
   * ```
   *
   * @returns the guard, the same object each time; undefined after `timeoutMs`
   * @throws IsthmusError `EDEADLK` if this very thread owns the mutex, through any attachment; `ERR_ISTHMUS_ABANDONED`,
   * `ERR_ISTHMUS_CLOSED`
   */
  lockSync(): MutexGuard
  lockSync(options: TimeoutOptions): MutexGuard | undefined
  lockSync(options?: TimeoutOptions): MutexGuard | undefined {
    const deadline = deadlineOf(options, ATTEMPT)
    const guard = this.#syncGuard
    return this.#tryFast(guard) || this.#lockSlowly(guard, deadline) ? guard : undefined
  }

  /**
   * Locks without blocking the event loop.
   *
   * @example
   * ```ts
   * const { root } = HeapRegion.create(mutex())
   * const guard = await root.lock({ signal: AbortSignal.timeout(1000) })
   * guard.unlock()
   * ```
   *
   * @returns a new guard; undefined after `timeoutMs`
   * @throws AbortError when the signal aborts; IsthmusError `ERR_ISTHMUS_ABANDONED`, `ERR_ISTHMUS_CLOSED`
   */
  lock(options?: UntimedOptions): Promise<MutexGuard>
  lock(options: WaitOptions): Promise<MutexGuard | undefined>
  async lock(options?: WaitOptions): Promise<MutexGuard | undefined> {
    const deadline = deadlineOf(options, ATTEMPT)
    const guard = new MutexGuard(this)
    return (await this.lockInto(guard, deadline, signalOf(options, ATTEMPT))) ? guard : undefined
  }

  /**
   * Shows the owner and the waiters, for people and tools. It may be outdated when it is read.
   *
   * @example
   * ```ts
   * const { root } = HeapRegion.create(mutex())
   * root.describe().state // 'free'
   * ```
   */
  describe(): MutexDescription {
    const { word } = this.#ownerWord
    const { peers } = this.region
    const owner = peers.list().find(({ peer }) => peer === ownerOf(word))
    return {
      state: word === ABANDONED ? 'abandoned' : ownerOf(word) === 0 ? 'free' : 'held',
      isInconsistent: word !== ABANDONED && (word & INCONSISTENT) !== 0,
      owner,
      waiters: this.#waiters.waiters(),
    }
  }

  /** For waitAny: ready once the mutex is free or abandoned, or its owner dead. */
  [WAITABLE](): WaitFor {
    return {
      point: this.#waiters,
      condition: {
        poll: () => this.#isFree(),
        pollArmed: () => this.#isFreeOrMarked(),
        reapDead: () => this.reapDead(),
        dependsOn: () => this.region.peers.others(),
        handOffWakeup: () => this.handOffWakeup(),
      },
    }
  }

  /** @internal Where its calls wait: for structures that contain a mutex. */
  get waiterSet(): WaiterSet {
    return this.#waiters
  }

  protected override waitPoints(): readonly WaiterSet[] {
    return [this.#waiters]
  }

  /** @internal Whether this attachment owns the mutex. */
  get isHeldHere(): boolean {
    return this.#lastGuard.holdCount > 0
  }

  /** @internal Frees the mutex from a dead owner, and wakes a waiter; returns whether it did. */
  reapDead(): boolean {
    if (!this.#ownerWord.reapDead()) return false
    this.#waiters.notifyOne()
    return true
  }

  /** @internal `tryLock` into the guard of a caller. */
  tryLockInto(guard: ExclusiveGuard): boolean {
    return this.#tryFast(guard) || this.#tryLockSlowly(guard)
  }

  /** @internal `lockSync` into the guard of a caller. */
  lockSyncInto(guard: ExclusiveGuard, deadline: number): boolean {
    return this.#tryFast(guard) || this.#lockSlowly(guard, deadline)
  }

  /** @internal `lock` into the guard of a caller. `#lockSlowly` says what it does, after it has waited for its turn. */
  async lockInto(guard: ExclusiveGuard, deadline: number, signal: WaitOptions['signal']): Promise<boolean> {
    if (signal?.aborted !== true && this.#turns.canCompleteSynchronously() && this.#tryFast(guard)) return true
    const attempt: LockAttempt = { guard, hasSlept: false, isGranted: false }
    if (!this.#turns.tryEnter() && !(await this.#turns.enter(deadline, signal))) return false
    try {
      return await this.#waiters.wait(this.#conditionOf(attempt), deadline, signal)
    } catch (error) {
      if (attempt.isGranted && !this.region.isClosed) this.#unlockSlowly(guard)
      throw error
    } finally {
      this.#turns.leave()
    }
  }

  /** @internal */
  relockSync(guard: MutexGuard): void {
    this.#lockSlowly(guard, Number.POSITIVE_INFINITY)
  }

  /** @internal */
  async relock(guard: MutexGuard): Promise<void> {
    await this.lockInto(guard, Number.POSITIVE_INFINITY, undefined)
  }

  /** @internal Use guard.unlock. */
  unlock(guard: ExclusiveGuard): void {
    guard.assertHeld('Unlocking')
    if (!this.#turns.isBusy) {
      guard.holdCount = 0
      // SYNC lock handed over
      if (Atomics.compareExchange(this.#words, this.#index, this.#self, 0) === this.#self) return
      guard.holdCount = 1
    }
    this.#unlockSlowly(guard)
  }

  /** @internal Use guard.markConsistent. */
  markConsistent(guard: ExclusiveGuard): void {
    guard.assertHeld('Marking what a lock protects consistent')
    this.#ownerWord.markConsistent()
  }

  /** @internal Use guard.abandon. */
  abandon(guard: ExclusiveGuard): void {
    guard.assertHeld('Abandoning a lock')
    assertStackRoom()
    this.#ownerWord.abandon()
    guard.holdCount = 0
    this.#waiters.notifyAll()
    this.#waiters.schedulePollOfOwnWaits()
  }

  /**
   * @internal For a waiter that gives up: it may have consumed the next waiter's wake-up, or the CONTENDED mark may have been
   * cleared on its behalf.
   */
  handOffWakeup(): void {
    const { word } = this.#ownerWord
    if (word === ABANDONED) return
    if (this.#isFreeOrMarked()) this.#waiters.notifyOne()
  }

  /**
   * Takes the mutex if its word is 0. Here and in `#take`, no call stands between the CAS and the stores that note it: at
   * the edge of the stack a call throws, and nothing would say that the mutex is ours.
   */
  #tryFast(guard: ExclusiveGuard): boolean {
    assertOpen(this.region)
    if (this.#lastGuard.holdCount > 0) return false
    // SYNC lock handed over
    if (Atomics.compareExchange(this.#words, this.#index, 0, this.#self) !== 0) return false
    this.#lastGuard = guard
    guard.holdCount = 1
    guard.ownerDied = false
    return true
  }

  /** Takes the mutex if it is free but inconsistent, or if its owner is dead. */
  #tryLockSlowly(guard: ExclusiveGuard): boolean {
    if (this.isHeldHere) return false
    return this.#take(guard, 0) || (this.reapDead() && this.#take(guard, CONTENDED))
  }

  /** Takes the mutex if it is free. `flag` is CONTENDED for a waiter that has slept, since others may still sleep. */
  #take(guard: ExclusiveGuard, flag: 0 | typeof CONTENDED): boolean {
    for (;;) {
      const { word } = this.#ownerWord
      if (word === ABANDONED) throw abandonedError()
      if (ownerOf(word) !== 0) return false
      const taken = this.#self | (word & INCONSISTENT) | flag
      // SYNC lock handed over
      if (Atomics.compareExchange(this.#words, this.#index, word, taken) !== word) continue
      this.#lastGuard = guard
      guard.holdCount = 1
      guard.ownerDied = (word & INCONSISTENT) !== 0
      return true
    }
  }

  /** Takes the mutex if it is free; otherwise marks it, so that its owner looks for sleepers when it unlocks. */
  #takeOrMark(guard: ExclusiveGuard): boolean {
    for (;;) {
      if (this.#take(guard, CONTENDED)) return true
      if (this.#ownerWord.mark()) return false
    }
  }

  #unlockSlowly(guard: ExclusiveGuard): void {
    assertStackRoom()
    const isAwaited = this.#ownerWord.release()
    guard.holdCount = 0
    if (isAwaited) this.#waiters.notifyOne()
    if (this.#turns.isBusy) this.#waiters.schedulePollOfOwnWaits()
  }

  /**
   * Locks when the fast path has failed. A blocking and an awaiting waiter take the same steps (WaitPoint has their order):
   *
   * 1. Spin: poll, which takes the mutex by CAS once its word names no owner.
   * 2. Reap: if the owner is proven dead, free the mutex from it, marked INCONSISTENT, and wake a waiter.
   * 3. Set our bit in the waiter set: an unlock from now on finds us.
   * 4. Poll armed: take the mutex with CONTENDED if it is free by now, otherwise mark it CONTENDED, so that the owner's
   *    unlock looks for sleepers.
   * 5. Sleep, until a notifier wakes us or the slice is over, and clear our bit.
   * 6. Poll: take the mutex with CONTENDED, since other waiters may still sleep. If it has an owner, go on at 2.
   * 7. After a timeout, an abort or an error: if a wake-up may have come to us, hand it off to the next waiter.
   *
   * @returns false after the deadline
   */
  #lockSlowly(guard: ExclusiveGuard, deadline: number): boolean {
    if (this.isHeldHere) throw deadlockError('this very attachment owns it')
    const attempt: LockAttempt = { guard, hasSlept: false, isGranted: false }
    try {
      return this.#waiters.waitSync(this.#syncConditionOf(attempt), deadline)
    } catch (error) {
      // Granted, and then something threw. Given back without a call: at the edge of the stack a call would throw as well.
      if (attempt.isGranted) {
        guard.holdCount = 0
        const word = Atomics.and(this.#words, this.#index, INCONSISTENT)
        if ((word & CONTENDED) !== 0) this.#waiters.notifyOne()
      }
      throw error
    }
  }

  /** If this attachment owns the mutex, its unlock polls its own tasks. The mark is for waiters of other attachments. */
  #conditionOf(attempt: LockAttempt): Condition {
    return {
      poll: () => {
        if (!this.isHeldHere) attempt.isGranted = this.#take(attempt.guard, attempt.hasSlept ? CONTENDED : 0)
        return attempt.isGranted
      },
      pollArmed: () => {
        attempt.hasSlept = true
        if (!this.isHeldHere) attempt.isGranted = this.#takeOrMark(attempt.guard)
        return attempt.isGranted
      },
      reapDead: () => this.reapDead(),
      // Any peer may be the next owner.
      dependsOn: () => this.region.peers.others(),
      handOffWakeup: (isReady) => {
        if (!isReady) this.handOffWakeup()
      },
    }
  }

  #syncConditionOf(attempt: LockAttempt): Condition {
    const reapDead = () => {
      this.reapDead()
      const { owner } = this.#ownerWord
      if (owner !== 0 && this.region.peers.isOwnThread(owner)) {
        throw deadlockError('this very thread owns it through another attachment')
      }
    }
    return { ...this.#conditionOf(attempt), reapDead }
  }

  #isFree(): boolean {
    return this.#ownerWord.owner === 0
  }

  #isFreeOrMarked(): boolean {
    for (;;) {
      if (this.#isFree()) return true
      if (this.#ownerWord.mark()) return false
    }
  }
}

/** One call that wants the mutex, and what has come of it so far. */
interface LockAttempt {
  readonly guard: ExclusiveGuard
  hasSlept: boolean
  isGranted: boolean
}

function deadlockError(state: string): IsthmusError {
  return new IsthmusError(
    'EDEADLK',
    `${ATTEMPT}: ${state}, and cannot unlock it while it blocks. Unlock it first, or await lock().`,
  )
}
