import { IsthmusError } from '../errors.js'
import type { Layout } from '../layout/layout.js'
import type { PeerDescription } from '../peers/peers.js'
import { assertOpen, type Region } from '../region/region.js'
import type { Condition } from '../waiting/condition.js'
import { deadlineAfter, type TimeoutOptions, type WaitOptions } from '../waiting/deadline.js'
import { eventLoop, type WaitFor } from '../waiting/event-loop.js'
import { LOOK_RARELY } from '../waiting/spin.js'
import { TaskQueue } from '../waiting/task-queue.js'
import { WAITABLE, type Waitable } from '../waiting/wait-any.js'
import { WaitSet } from '../waiting/wait-set.js'
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
import { abandonedError, NOT_TAKEN, OwnerWord, TAKEN_INCONSISTENT, type Taking } from './owner-word.js'

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
      const waiters = new WaitSet(region, byteOffset + WAIT_SET_OFFSET, () => ownerOf(ownerWord.word) === 0)
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
 * merely stopped is never robbed, however long it takes.
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
  readonly #waiters: WaitSet
  readonly #locks = new TaskQueue()
  /** The guard of every lock that did not have to wait in between: the fast path makes no garbage. */
  readonly #syncGuard: MutexGuard
  /** Who has it in this attachment. */
  #current: MutexGuard | undefined

  /** @internal Use the `mutex` layout. */
  constructor(region: Region, byteOffset: number) {
    this.#region = region
    this.#words = region.words
    this.#index = (byteOffset + OWNER_WORD_OFFSET) >>> 2
    this.#self = region.peers.self
    this.#ownerWord = new OwnerWord(region, byteOffset + OWNER_WORD_OFFSET)
    this.#waiters = new WaitSet(region, byteOffset + WAIT_SET_OFFSET, () => this.#isFree(), LOOK_RARELY)
    this.#syncGuard = new MutexGuard(this)
  }

  /**
   * Locks, if that is possible now. A dead owner is proven dead, which takes a system call where somebody has the lock.
   * @returns the guard, the same object each time; undefined where somebody else has the lock
   * @throws IsthmusError `ERR_ISTHMUS_ABANDONED`
   */
  tryLock(): MutexGuard | undefined {
    if (this.#tryFast()) return this.#begin(this.#syncGuard, false)
    if (this.#current !== undefined) return undefined
    let taking = this.#ownerWord.take(0)
    if (taking === NOT_TAKEN && this.prove()) taking = this.#ownerWord.take(CONTENDED)
    return taking === NOT_TAKEN ? undefined : this.#begin(this.#syncGuard, taking === TAKEN_INCONSISTENT)
  }

  /**
   * Locks, and blocks the thread until that is possible.
   * @returns the guard, the same object each time; undefined after `timeoutMs`
   * @throws IsthmusError `EDEADLK` where this very attachment has the lock; `ERR_ISTHMUS_ABANDONED`
   */
  lockSync(): MutexGuard
  lockSync(options: TimeoutOptions): MutexGuard | undefined
  lockSync(options?: TimeoutOptions): MutexGuard | undefined {
    const deadline = deadlineAfter(options?.timeoutMs)
    if (this.#tryFast()) return this.#begin(this.#syncGuard, false)
    return this.#lockSlowly(this.#syncGuard, deadline)
  }

  /**
   * Locks without blocking the event loop.
   * @returns a guard of its own; undefined after `timeoutMs`
   * @throws AbortError when the signal aborts; IsthmusError `ERR_ISTHMUS_ABANDONED`
   */
  lock(): Promise<MutexGuard>
  lock(options: WaitOptions): Promise<MutexGuard | undefined>
  async lock({ timeoutMs, signal }: WaitOptions = {}): Promise<MutexGuard | undefined> {
    return this.#lockInTurn(new MutexGuard(this), deadlineAfter(timeoutMs), signal)
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
        isReady: () => this.#isFree(),
        lastLook: () => this.#isFreeOrMarked(),
        prove: () => this.prove(),
        dependsOn: () => this.#region.peers.others(),
        passOn: () => this.#passOn(),
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
    return this.#current !== undefined
  }

  /** @internal Frees it from a dead owner; returns whether it did. */
  prove(): boolean {
    if (!this.#ownerWord.prove()) return false
    this.#waiters.notifyOne()
    return true
  }

  /** @internal */
  isInconsistent(): boolean {
    return (this.#ownerWord.word & INCONSISTENT) !== 0
  }

  /** @internal */
  isHeldBy(guard: MutexGuard): boolean {
    return this.#current === guard
  }

  /** @internal Use guard.unlock. */
  unlock(guard: MutexGuard): void {
    this.#assertHeldBy(guard, 'Unlocking')
    this.#current = undefined
    if (Atomics.compareExchange(this.#words, this.#index, this.#self, 0) !== this.#self) {
      if (this.#ownerWord.release()) this.#waiters.notifyOne()
    }
    if (this.#locks.isBusy) eventLoop.lookSoon(this.#waiters.hint)
  }

  /** @internal Use guard.markConsistent. */
  markConsistent(guard: MutexGuard): void {
    this.#assertHeldBy(guard, 'Marking a mutex consistent')
    this.#ownerWord.markConsistent()
  }

  /** @internal Use guard.abandon. */
  abandon(guard: MutexGuard): void {
    this.#assertHeldBy(guard, 'Abandoning a mutex')
    this.#current = undefined
    this.#ownerWord.abandon()
    this.#waiters.notifyAll()
    eventLoop.lookSoon(this.#waiters.hint)
  }

  /** @internal For a condition variable: takes it once more, into the same guard. */
  relockSync(guard: MutexGuard): void {
    this.#lockSlowly(guard, Number.POSITIVE_INFINITY)
  }

  /** @internal */
  async relock(guard: MutexGuard): Promise<void> {
    await this.#lockInTurn(guard, Number.POSITIVE_INFINITY, undefined)
  }

  #tryFast(): boolean {
    assertOpen(this.#region)
    return this.#current === undefined && Atomics.compareExchange(this.#words, this.#index, 0, this.#self) === 0
  }

  #lockSlowly(guard: MutexGuard, deadline: number): MutexGuard | undefined {
    if (this.#current !== undefined) {
      throw new IsthmusError(
        'EDEADLK',
        'Locking a mutex: this very attachment has it locked, and nobody else could unlock it. Unlock it first, or await lock().',
      )
    }
    const wish = new Wish(this.#ownerWord, () => this.#current === undefined)
    if (!this.#waiters.waitSync(this.#conditionOf(wish), deadline)) return undefined
    return this.#begin(guard, wish.taking === TAKEN_INCONSISTENT)
  }

  async #lockInTurn(
    guard: MutexGuard,
    deadline: number,
    signal: WaitOptions['signal'],
  ): Promise<MutexGuard | undefined> {
    if (signal?.aborted !== true && this.#locks.mayPass() && this.#tryFast()) return this.#begin(guard, false)
    const entered = this.#locks.enter(deadline, signal)
    if (entered !== true && !(await entered)) return undefined
    // Noted at once when it is taken: before the promise settles, other code of this thread runs.
    const wish = new Wish(
      this.#ownerWord,
      () => this.#current === undefined,
      (taking) => this.#begin(guard, taking === TAKEN_INCONSISTENT),
    )
    try {
      return (await this.#waiters.wait(this.#conditionOf(wish), deadline, signal)) ? guard : undefined
    } finally {
      this.#locks.leave()
    }
  }

  #conditionOf(wish: Wish): Condition {
    return {
      isReady: () => wish.isGranted(),
      lastLook: () => wish.isGrantedOrMarked(),
      prove: () => this.prove(),
      // Whoever is attached may have the lock next.
      dependsOn: () => this.#region.peers.others(),
      passOn: (isReady) => {
        if (!isReady) this.#passOn()
      },
    }
  }

  #begin(guard: MutexGuard, ownerDied: boolean): MutexGuard {
    this.#current = guard
    guard.ownerDied = ownerDied
    return guard
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

  /** A wake-up may have come to us that was meant for whoever is next; or the mark may be gone that we would have renewed. */
  #passOn(): void {
    const { word } = this.#ownerWord
    if (word === ABANDONED) return
    if (this.#isFreeOrMarked()) this.#waiters.notifyOne()
  }

  #assertHeldBy(guard: MutexGuard, attempt: string): void {
    assertOpen(this.#region)
    if (this.#current === guard) return
    throw new IsthmusError(
      'ERR_ISTHMUS_NOT_HELD',
      `${attempt}: this guard does not hold the mutex. It was unlocked before, or another one has been given out since.`,
    )
  }
}

/** One call's wish to have the lock. */
class Wish {
  readonly #ownerWord: OwnerWord
  readonly #isFreeHere: () => boolean
  readonly #onGranted: ((taking: Taking) => void) | undefined
  #hasSlept = false
  taking: Taking = NOT_TAKEN

  constructor(ownerWord: OwnerWord, isFreeHere: () => boolean, onGranted?: (taking: Taking) => void) {
    this.#ownerWord = ownerWord
    this.#isFreeHere = isFreeHere
    this.#onGranted = onGranted
  }

  isGranted(): boolean {
    return this.#isFreeHere() && this.#note(this.#ownerWord.take(this.#hasSlept ? CONTENDED : 0))
  }

  isGrantedOrMarked(): boolean {
    this.#hasSlept = true
    // Where this attachment has it, its unlock looks for its own tasks. The mark is for the others' sake.
    return this.#isFreeHere() && this.#note(this.#ownerWord.takeOrMark())
  }

  #note(taking: Taking): boolean {
    this.taking = taking
    if (taking === NOT_TAKEN) return false
    this.#onGranted?.(taking)
    return true
  }
}
