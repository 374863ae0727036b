import { IsthmusError } from '../errors.js'
import { assertStackRoom } from '../host/stack-room.js'
import type { Layout } from '../layout/layout.js'
import type { PeerId } from '../peers/peer-id.js'
import type { PeerDescription } from '../peers/peers.js'
import { assertOpen, type Region } from '../region/region.js'
import { SPIN_WITH_BACKOFF } from '../waiting/adaptive-spin.js'
import type { Condition, WaitFor } from '../waiting/condition.js'
import { TurnQueue } from '../waiting/turn-queue.js'
import { WAITABLE, type Waitable } from '../waiting/wait-any.js'
import { deadlineOf, signalOf, type TimeoutOptions, type WaitOptions } from '../waiting/wait-options.js'
import { WaiterSet } from '../waiting/waiter-set.js'
import {
  ABANDONED,
  CONTENDED,
  INCONSISTENT,
  MUTEX_BYTES,
  OWNER_WORD_OFFSET,
  ownerOf,
  WAIT_SET_OFFSET,
} from './layout.js'
import { MutexGuard } from './mutex-guard.js'
import { abandonedError, OwnerWord } from './owner-word.js'

const ATTEMPT = 'Locking a mutex'

export interface MutexDescription {
  readonly state: 'free' | 'held' | 'abandoned'
  /** Whether an owner died, or did not mark what it found consistent. */
  readonly isInconsistent: boolean
  /** Who holds it, dead or alive. */
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
      const waiters = new WaiterSet(region, byteOffset + WAIT_SET_OFFSET, () => ownerOf(ownerWord.word) === 0)
      waiters.sweep(deadPeer)
      if (ownerWord.sweep(deadPeer)) waiters.notifyOne()
    },
  }
}

/**
 * An attached mutex. Whoever has locked it has a guard, with which it unlocks. Within one attachment, asynchronous tasks
 * are served in the order in which they came; between attachments, whoever is quicker is next.
 *
 * If the owner is killed, the next one to lock gets a guard that says `ownerDied`: what the mutex protects may be half
 * changed. It repairs that and calls `markConsistent`; if it does not, the next owner is told as well. An owner that is
 * merely stopped is never robbed, however long it takes. But a program that forgets a segment without closing it gives up
 * what it holds there: once the segment is garbage-collected, the lock passes on as if the owner had died.
 *
 * The algorithm is Drepper's futex mutex ("Futexes Are Tricky", mutex2), with the owner in the word, as in the kernel's
 * robust futexes; the death is proven by the region's peers instead of the kernel's list.
 */
export class Mutex implements Waitable {
  readonly #region: Region
  readonly #words: Int32Array
  readonly #index: number
  readonly #self: number
  readonly #ownerWord: OwnerWord
  readonly #waiters: WaiterSet
  readonly #locks = new TurnQueue()
  /** The guard of every lock that did not have to wait in between: the fast path makes no garbage. */
  readonly #syncGuard: MutexGuard
  /** @internal Who has it in this attachment. */
  current: MutexGuard | undefined

  /** @internal Use the `mutex` layout. */
  constructor(region: Region, byteOffset: number) {
    this.#region = region
    this.#words = region.words
    this.#index = (byteOffset + OWNER_WORD_OFFSET) >>> 2
    this.#self = region.peers.self
    this.#ownerWord = new OwnerWord(region, byteOffset + OWNER_WORD_OFFSET)
    this.#waiters = new WaiterSet(region, byteOffset + WAIT_SET_OFFSET, () => this.#isFree(), SPIN_WITH_BACKOFF)
    this.#syncGuard = new MutexGuard(this)
  }

  /**
   * Locks, if that is possible now. A dead owner is proven dead, which takes a system call where somebody has the lock.
   * @returns the guard, the same object each time; undefined where somebody else has the lock
   * @throws IsthmusError `ERR_ISTHMUS_ABANDONED`
   */
  tryLock(): MutexGuard | undefined {
    const guard = this.#syncGuard
    if (this.#tryFast(guard)) return guard
    if (this.current !== undefined) return undefined
    return this.#take(guard, 0) || (this.reapDead() && this.#take(guard, CONTENDED)) ? guard : undefined
  }

  /**
   * Locks, and blocks the thread until that is possible.
   * @returns the guard, the same object each time; undefined after `timeoutMs`
   * @throws IsthmusError `EDEADLK` where this very thread has the lock, through whichever attachment; `ERR_ISTHMUS_ABANDONED`
   */
  lockSync(): MutexGuard
  lockSync(options: TimeoutOptions): MutexGuard | undefined
  lockSync(options?: TimeoutOptions): MutexGuard | undefined {
    const deadline = deadlineOf(options, ATTEMPT)
    const guard = this.#syncGuard
    return this.#tryFast(guard) ? guard : this.#lockSlowly(guard, deadline)
  }

  /**
   * Locks without blocking the event loop.
   * @returns a guard of its own; undefined after `timeoutMs`
   * @throws AbortError when the signal aborts; IsthmusError `ERR_ISTHMUS_ABANDONED`
   */
  lock(): Promise<MutexGuard>
  lock(options: WaitOptions): Promise<MutexGuard | undefined>
  async lock(options?: WaitOptions): Promise<MutexGuard | undefined> {
    const deadline = deadlineOf(options, ATTEMPT)
    return this.#lockInTurn(new MutexGuard(this), deadline, signalOf(options, ATTEMPT))
  }

  /** Pending locks keep the process running; this is the default. */
  ref(): this {
    this.#waiters.setRef(true)
    return this
  }

  /** Pending locks no longer keep the process running. */
  unref(): this {
    this.#waiters.setRef(false)
    return this
  }

  /** Who has it and who waits, for people and tools: it is old when it is read. */
  describe(): MutexDescription {
    const { word } = this.#ownerWord
    const { peers } = this.#region
    const owner = peers.list().find(({ peer }) => peer === ownerOf(word))
    return {
      state: word === ABANDONED ? 'abandoned' : ownerOf(word) === 0 ? 'free' : 'held',
      isInconsistent: word !== ABANDONED && (word & INCONSISTENT) !== 0,
      owner,
      waiters: this.#waiters.waiters(),
    }
  }

  /** For waitAny: ready when it is free, or its owner dead. */
  [WAITABLE](): WaitFor {
    return {
      point: this.#waiters,
      condition: {
        poll: () => this.#isFree(),
        pollArmed: () => this.#isFreeOrMarked(),
        reapDead: () => this.reapDead(),
        dependsOn: () => this.#region.peers.others(),
        handOffWakeup: () => this.handOffWakeup(),
      },
    }
  }

  /** @internal */
  get region(): Region {
    return this.#region
  }

  /** @internal Whether somebody has it, dead or alive: what a reader of an RwLock asks. */
  isTaken(): boolean {
    const { word } = this.#ownerWord
    if (word === ABANDONED) throw abandonedError()
    return ownerOf(word) !== 0
  }

  /** @internal Whether this attachment has it. */
  get isHeldHere(): boolean {
    return this.current !== undefined
  }

  /** @internal Frees it from a dead owner; returns whether it did. */
  reapDead(): boolean {
    if (!this.#ownerWord.reapDead()) return false
    this.#waiters.notifyOne()
    return true
  }

  /** @internal Who has it, dead or alive; 0 for nobody. */
  get owner(): PeerId | 0 {
    return ownerOf(this.#ownerWord.word) as PeerId | 0
  }

  /** @internal */
  isHeldBy(guard: MutexGuard): boolean {
    return this.current === guard
  }

  /** @internal Use guard.unlock. */
  unlock(guard: MutexGuard): void {
    this.#assertHeldBy(guard, 'Unlocking')
    if (!this.#locks.isBusy) {
      this.current = undefined
      if (Atomics.compareExchange(this.#words, this.#index, this.#self, 0) === this.#self) return
      this.current = guard
    }
    this.#unlockSlowly()
  }

  /** @internal Use guard.markConsistent. */
  markConsistent(guard: MutexGuard): void {
    this.#assertHeldBy(guard, 'Marking a mutex consistent')
    this.#ownerWord.markConsistent()
  }

  /** @internal Use guard.abandon. */
  abandon(guard: MutexGuard): void {
    this.#assertHeldBy(guard, 'Abandoning a mutex')
    assertStackRoom()
    this.#ownerWord.abandon()
    this.current = undefined
    this.#waiters.notifyAll()
    this.#waiters.schedulePollOfOwnWaits()
  }

  /** @internal For a condition variable: takes it once more, into the same guard. */
  relockSync(guard: MutexGuard): void {
    this.#lockSlowly(guard, Number.POSITIVE_INFINITY)
  }

  /** @internal */
  async relock(guard: MutexGuard): Promise<void> {
    await this.#lockInTurn(guard, Number.POSITIVE_INFINITY, undefined)
  }

  /**
   * Takes it if it is free and its word says nothing else. Here, as in `#take`, no call stands between the CAS and the
   * note of it: where the stack is full, a call throws, and nobody would know that the lock is ours.
   */
  #tryFast(guard: MutexGuard): boolean {
    assertOpen(this.#region)
    if (this.current !== undefined) return false
    if (Atomics.compareExchange(this.#words, this.#index, 0, this.#self) !== 0) return false
    this.current = guard
    guard.ownerDied = false
    return true
  }

  /** Takes it if it is free. `flag` is CONTENDED for one that has slept: others may sleep on. */
  #take(guard: MutexGuard, flag: 0 | typeof CONTENDED): boolean {
    for (;;) {
      const { word } = this.#ownerWord
      if (word === ABANDONED) throw abandonedError()
      if (ownerOf(word) !== 0) return false
      const taken = this.#self | (word & INCONSISTENT) | flag
      if (Atomics.compareExchange(this.#words, this.#index, word, taken) !== word) continue
      this.current = guard
      guard.ownerDied = (word & INCONSISTENT) !== 0
      return true
    }
  }

  /** Takes it if it is free; otherwise its owner will see, when it unlocks, that somebody sleeps. */
  #takeOrMark(guard: MutexGuard): boolean {
    for (;;) {
      if (this.#take(guard, CONTENDED)) return true
      if (this.#ownerWord.mark()) return false
    }
  }

  #unlockSlowly(): void {
    assertStackRoom()
    const isAwaited = this.#ownerWord.release()
    this.current = undefined
    if (isAwaited) this.#waiters.notifyOne()
    if (this.#locks.isBusy) this.#waiters.schedulePollOfOwnWaits()
  }

  #lockSlowly(guard: MutexGuard, deadline: number): MutexGuard | undefined {
    if (this.current !== undefined) throw deadlockError('this very attachment has it locked')
    const wish: LockAttempt = { guard, hasSlept: false, isGranted: false }
    try {
      return this.#waiters.waitSync(this.#syncConditionOf(wish), deadline) ? guard : undefined
    } catch (error) {
      // Granted, and then something threw. Given back without a call: where the stack is full, that would throw, too.
      if (wish.isGranted) {
        this.current = undefined
        const word = Atomics.and(this.#words, this.#index, INCONSISTENT)
        if ((word & CONTENDED) !== 0) this.#waiters.notifyOne()
      }
      throw error
    }
  }

  async #lockInTurn(
    guard: MutexGuard,
    deadline: number,
    signal: WaitOptions['signal'],
  ): Promise<MutexGuard | undefined> {
    if (signal?.aborted !== true && this.#locks.canCompleteSynchronously() && this.#tryFast(guard)) return guard
    const wish: LockAttempt = { guard, hasSlept: false, isGranted: false }
    if (!this.#locks.tryEnter() && !(await this.#locks.enter(deadline, signal))) return undefined
    try {
      return (await this.#waiters.wait(this.#conditionOf(wish), deadline, signal)) ? guard : undefined
    } catch (error) {
      if (wish.isGranted && !this.#region.isClosed) this.#unlockSlowly()
      throw error
    } finally {
      this.#locks.leave()
    }
  }

  /** Where this attachment has it, its unlock looks for its own tasks. The mark is for the others' sake. */
  #conditionOf(wish: LockAttempt): Condition {
    return {
      poll: () => {
        if (this.current === undefined) wish.isGranted = this.#take(wish.guard, wish.hasSlept ? CONTENDED : 0)
        return wish.isGranted
      },
      pollArmed: () => {
        wish.hasSlept = true
        if (this.current === undefined) wish.isGranted = this.#takeOrMark(wish.guard)
        return wish.isGranted
      },
      reapDead: () => this.reapDead(),
      // Whoever is attached may have the lock next.
      dependsOn: () => this.#region.peers.others(),
      handOffWakeup: (isReady) => {
        if (!isReady) this.handOffWakeup()
      },
    }
  }

  #syncConditionOf(wish: LockAttempt): Condition {
    const prove = () => {
      this.reapDead()
      const { owner } = this
      if (owner !== 0 && this.#region.peers.isOwnThread(owner)) {
        throw deadlockError('this very thread has it locked through another attachment')
      }
    }
    return { ...this.#conditionOf(wish), reapDead: prove }
  }

  #isFree(): boolean {
    return ownerOf(this.#ownerWord.word) === 0
  }

  #isFreeOrMarked(): boolean {
    for (;;) {
      const { word } = this.#ownerWord
      if (ownerOf(word) === 0) return true
      if (this.#ownerWord.mark()) return false
    }
  }

  /**
   * @internal A wake-up may have come to us that was meant for whoever is next; or the mark may be gone that we would have
   * renewed.
   */
  handOffWakeup(): void {
    const { word } = this.#ownerWord
    if (word === ABANDONED) return
    if (this.#isFreeOrMarked()) this.#waiters.notifyOne()
  }

  #assertHeldBy(guard: MutexGuard, attempt: string): void {
    assertOpen(this.#region)
    if (this.current === guard) return
    throw new IsthmusError(
      'ERR_ISTHMUS_NOT_HELD',
      `${attempt}: this guard does not hold the mutex. It was unlocked before, or another one has been given out since.`,
    )
  }
}

/** One call's wish to have the lock. */
interface LockAttempt {
  readonly guard: MutexGuard
  hasSlept: boolean
  isGranted: boolean
}

function deadlockError(state: string): IsthmusError {
  return new IsthmusError(
    'EDEADLK',
    `${ATTEMPT}: ${state}, and cannot unlock it while it blocks. Unlock it first, or await lock().`,
  )
}
