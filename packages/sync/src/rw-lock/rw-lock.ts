import { IsthmusError } from '../errors.js'
import type { Layout } from '../layout/layout.js'
import { Mutex, type MutexDescription, mutex } from '../mutex/mutex.js'
import type { MutexGuard } from '../mutex/mutex-guard.js'
import { MAX_PEERS, type PeerId, slotOf } from '../peers/peer-id.js'
import type { PeerDescription } from '../peers/peers.js'
import { assertOpen, type Region } from '../region/region.js'
import type { Condition } from '../waiting/condition.js'
import { deadlineAfter, nowMs, type TimeoutOptions, type WaitOptions } from '../waiting/deadline.js'
import { EventCount } from '../waiting/event-count.js'
import { eventLoop } from '../waiting/event-loop.js'
import { TaskQueue } from '../waiting/task-queue.js'
import { WaitSet } from '../waiting/wait-set.js'
import {
  DRAINED_OFFSET,
  KNOWN_OFFSET,
  MUTEX_OFFSET,
  READER_WORDS_OFFSET,
  READERS_WAIT_SET_OFFSET,
  RW_LOCK_BYTES,
} from './layout.js'
import { ReadGuard, WriteGuard } from './rw-guards.js'

export interface RwLockDescription {
  /** The writer and those who want to be the next. */
  readonly writers: MutexDescription
  readonly readers: readonly PeerDescription[]
  readonly waitingReaders: readonly PeerDescription[]
}

/**
 * A read-write lock in shared memory: any number of readers, or one writer.
 *
 * @example
 * ```ts
 * const prices = struct({ lock: rwLock(), bid: f64(), ask: f64() })
 * const { lock, bid, ask } = HeapRegion.create(prices).root
 * const reading = lock.readLockSync()
 * const spread = ask.value - bid.value
 * reading.unlock()
 * ```
 */
export function rwLock(): Layout<RwLock> {
  const writers = mutex()
  return {
    byteLength: RW_LOCK_BYTES,
    byteAlignment: writers.byteAlignment,
    signature: 'rw-lock@1',
    /** Zeroed memory is a lock that nobody has. */
    initialize() {},
    attach: (region, byteOffset) => new RwLock(region, byteOffset),
    sweep(region, byteOffset, deadPeer) {
      const readers = new WaitSet(region, byteOffset + READERS_WAIT_SET_OFFSET)
      readers.sweep(deadPeer)
      writers.sweep(region, byteOffset + MUTEX_OFFSET, deadPeer)
      // It may have been the writer that they wait for.
      readers.notifyAll()
      const slot = slotOf(deadPeer)
      const readerIndex = ((byteOffset + READER_WORDS_OFFSET) >>> 2) + slot
      const wasReading = Atomics.compareExchange(region.words, readerIndex, deadPeer, 0) === deadPeer
      const knownIndex = ((byteOffset + KNOWN_OFFSET) >>> 2) + (slot >> 5)
      Atomics.and(region.words, knownIndex, ~(1 << (slot & 31)))
      if (wasReading) new EventCount(region, byteOffset + DRAINED_OFFSET).notify()
    },
  }
}

/**
 * An attached read-write lock. A reader pays one store and one load, and shares no counter with other readers. A writer
 * that has its turn keeps new readers out, but for `tryReadLock` and `readLockSync` of an attachment that reads already;
 * between two writers, readers come in.
 *
 * If a writer is killed, the next guards, of readers and writers alike, say `ownerDied` until a writer has called
 * `markConsistent`. A killed reader is simply gone. A stopped one is waited for.
 *
 * The readers' side is the one of BRAVO (Dice, Kogan: "Biased Locking for Reader-Writer Locks"), with a word per peer
 * instead of a hashed table; the writers' side is Mutex.
 */
export class RwLock {
  readonly #region: Region
  readonly #words: Int32Array
  readonly #firstKnown: number
  readonly #firstReader: number
  readonly #ownReader: number
  /** Whether writers know that this slot may read. */
  #isKnown = false
  readonly #self: PeerId
  readonly #writers: Mutex
  readonly #drained: EventCount
  readonly #readers: WaitSet
  readonly #writes = new TaskQueue()
  readonly #readCondition: Condition
  readonly #readInTurnCondition: Condition
  readonly #drainCondition: Condition
  /** How many of this attachment read. */
  #readCount = 0
  readonly #syncReadGuard: ReadGuard
  readonly #syncWriteGuard: WriteGuard

  /** @internal Use the `rwLock` layout. */
  constructor(region: Region, byteOffset: number) {
    this.#region = region
    this.#words = region.words
    this.#self = region.peers.self
    this.#firstKnown = (byteOffset + KNOWN_OFFSET) >>> 2
    this.#firstReader = (byteOffset + READER_WORDS_OFFSET) >>> 2
    this.#ownReader = this.#firstReader + slotOf(this.#self)
    this.#writers = new Mutex(region, byteOffset + MUTEX_OFFSET)
    this.#drained = new EventCount(region, byteOffset + DRAINED_OFFSET)
    this.#readers = new WaitSet(region, byteOffset + READERS_WAIT_SET_OFFSET)
    this.#syncReadGuard = new ReadGuard(this)
    this.#syncWriteGuard = new WriteGuard(this)
    this.#readCondition = {
      isReady: () => this.#tryEnter(),
      prove: () => this.#proveWriter(),
      dependsOn: () => region.peers.others(),
    }
    this.#readInTurnCondition = { ...this.#readCondition, isReady: () => this.#tryEnterInTurn() }
    this.#drainCondition = {
      isReady: () => this.#isDrained(),
      prove: () => this.#proveReaders(),
      dependsOn: () => region.peers.others(),
    }
  }

  /**
   * Locks for reading, if that is possible now.
   * @returns the guard, the same object each time, to be unlocked as often as it was given; undefined where there is a writer
   * @throws IsthmusError `ERR_ISTHMUS_ABANDONED`
   */
  tryReadLock(): ReadGuard | undefined {
    if (this.#tryEnter()) return this.#syncReadGuard.begin(this.#writers.isInconsistent())
    if (!this.#writers.prove()) return undefined
    this.#readers.notifyAll()
    return this.#tryEnter() ? this.#syncReadGuard.begin(this.#writers.isInconsistent()) : undefined
  }

  /**
   * Locks for reading, and blocks the thread until that is possible.
   * @returns as tryReadLock; undefined after `timeoutMs`
   * @throws IsthmusError `EDEADLK` where this very attachment writes; `ERR_ISTHMUS_ABANDONED`
   */
  readLockSync(): ReadGuard
  readLockSync(options: TimeoutOptions): ReadGuard | undefined
  readLockSync(options?: TimeoutOptions): ReadGuard | undefined {
    const deadline = deadlineAfter(options?.timeoutMs)
    if (!this.#tryEnter()) {
      if (this.#writers.isHeldHere) throw deadlockError('reading', 'writes')
      if (!this.#readers.waitSync(this.#readCondition, deadline)) return undefined
    }
    return this.#syncReadGuard.begin(this.#writers.isInconsistent())
  }

  /**
   * Locks for reading without blocking the event loop. Where a writer waits for the readers to leave, it goes first, also if
   * other tasks of this attachment read: so a task that reads must not await the same lock for reading once more.
   * @returns a guard of its own; undefined after `timeoutMs`
   * @throws AbortError when the signal aborts; IsthmusError `ERR_ISTHMUS_ABANDONED`
   */
  readLock(): Promise<ReadGuard>
  readLock(options: WaitOptions): Promise<ReadGuard | undefined>
  async readLock({ timeoutMs, signal }: WaitOptions = {}): Promise<ReadGuard | undefined> {
    const deadline = deadlineAfter(timeoutMs)
    if (!(await this.#readers.wait(this.#readInTurnCondition, deadline, signal))) return undefined
    return new ReadGuard(this).begin(this.#writers.isInconsistent())
  }

  /**
   * Locks for writing, if that is possible now.
   * @returns the guard, the same object each time; undefined where somebody reads or writes
   */
  tryWriteLock(): WriteGuard | undefined {
    const turn = this.#writers.tryLock()
    if (turn === undefined) return undefined
    if (!this.#isDrained()) this.#proveReaders()
    if (this.#isDrained()) return this.#syncWriteGuard.begin(turn)
    this.#giveUpWriting(turn)
    return undefined
  }

  /**
   * Locks for writing, and blocks the thread until that is possible.
   * @returns the guard, the same object each time; undefined after `timeoutMs`
   * @throws IsthmusError `EDEADLK` where this very attachment reads or writes; `ERR_ISTHMUS_ABANDONED`
   */
  writeLockSync(): WriteGuard
  writeLockSync(options: TimeoutOptions): WriteGuard | undefined
  writeLockSync(options: TimeoutOptions = {}): WriteGuard | undefined {
    const deadline = deadlineAfter(options.timeoutMs)
    assertOpen(this.#region)
    if (this.#readCount > 0) throw deadlockError('writing', 'reads')
    const turn = this.#writers.lockSync(remaining(deadline))
    if (turn === undefined) return undefined
    try {
      if (this.#drained.waitSync(this.#drainCondition, deadline)) return this.#syncWriteGuard.begin(turn)
    } catch (error) {
      this.#giveUpWriting(turn)
      throw error
    }
    this.#giveUpWriting(turn)
    return undefined
  }

  /**
   * Locks for writing without blocking the event loop.
   * @returns a guard of its own; undefined after `timeoutMs`
   * @throws AbortError when the signal aborts; IsthmusError `ERR_ISTHMUS_ABANDONED`
   */
  writeLock(): Promise<WriteGuard>
  writeLock(options: WaitOptions): Promise<WriteGuard | undefined>
  async writeLock({ timeoutMs, signal }: WaitOptions = {}): Promise<WriteGuard | undefined> {
    const deadline = deadlineAfter(timeoutMs)
    const entered = this.#writes.enter(deadline, signal)
    if (entered !== true && !(await entered)) return undefined
    let turn: MutexGuard | undefined
    let isDrained = false
    try {
      turn = await this.#writers.lock({ ...remaining(deadline), ...(signal && { signal }) })
      if (turn === undefined) return undefined
      isDrained = await this.#drained.wait(this.#drainCondition, deadline, signal)
      return isDrained ? new WriteGuard(this).begin(turn) : undefined
    } finally {
      if (turn !== undefined && !isDrained && !this.#region.isClosed) this.#giveUpWriting(turn)
      this.#writes.leave()
    }
  }

  /** Pending locks keep the process running; this is the default. */
  ref(): this {
    this.#writers.ref()
    for (const point of [this.#readers, this.#drained]) point.setRef(true)
    return this
  }

  /** Pending locks no longer keep the process running. */
  unref(): this {
    this.#writers.unref()
    for (const point of [this.#readers, this.#drained]) point.setRef(false)
    return this
  }

  /** Who reads, writes and waits, for people and tools: it is old when it is read. */
  describe(): RwLockDescription {
    const { peers, words } = assertOpen(this.#region)
    const isReading = ({ peer, slot }: PeerDescription) => Atomics.load(words, this.#firstReader + slot) === peer
    return {
      writers: this.#writers.describe(),
      readers: peers.list().filter(isReading),
      waitingReaders: this.#readers.waiters(),
    }
  }

  /** @internal */
  get region(): Region {
    return this.#region
  }

  /** @internal Use guard.unlock. */
  endReading(): void {
    assertOpen(this.#region)
    if (--this.#readCount === 0) this.#leave()
  }

  /** @internal Use guard.unlock. */
  endWriting(turn: MutexGuard, isAbandoned: boolean): void {
    if (isAbandoned) turn.abandon()
    else turn.unlock()
    this.#readers.notifyAll()
    eventLoop.lookSoon(this.#readers.hint)
  }

  /** Tasks that read by turns would never all have left: a writer would wait for ever, and everybody else for the writer. */
  #tryEnterInTurn(): boolean {
    const isOvertaking = this.#readCount > 0 && this.#writers.isTaken()
    return !isOvertaking && this.#tryEnter()
  }

  /** For the thread's own tasks it is one reader; they count among themselves. */
  #tryEnter(): boolean {
    const { words } = assertOpen(this.#region)
    if (this.#readCount > 0) {
      this.#readCount++
      return true
    }
    // Not a step forth and one back for every look of those who wait: each would wake the writer.
    if (this.#writers.isTaken()) return false
    if (!this.#isKnown) this.#becomeKnown()
    // SYNC reader or writer: our word first, then the look at the mutex; a writer does it the other way round
    Atomics.store(words, this.#ownReader, this.#self)
    try {
      if (!this.#writers.isTaken()) this.#readCount = 1
      return this.#readCount === 1
    } finally {
      if (this.#readCount === 0) this.#leave()
    }
  }

  #leave(): void {
    Atomics.store(this.#words, this.#ownReader, 0)
    // SYNC a writer that drains: it sees the store, or we see that it sleeps
    this.#drained.notify()
  }

  #becomeKnown(): void {
    const slot = slotOf(this.#self)
    Atomics.or(this.#words, this.#firstKnown + (slot >> 5), 1 << (slot & 31))
    this.#isKnown = true
  }

  #isDrained(): boolean {
    const { words } = assertOpen(this.#region)
    for (let group = 0; group < MAX_PEERS / 32; group++) {
      for (let bits = Atomics.load(words, this.#firstKnown + group); bits !== 0; bits &= bits - 1) {
        const slot = group * 32 + 31 - Math.clz32(bits & -bits)
        if (Atomics.load(words, this.#firstReader + slot) !== 0) return false
      }
    }
    return true
  }

  /** For the owner of the mutex: those who are proven dead read no more. */
  #proveReaders(): void {
    const { peers } = this.#region
    for (let reader = this.#firstReader; reader < this.#firstReader + MAX_PEERS; reader++) {
      const peer = Atomics.load(this.#words, reader)
      if (peer !== 0 && peers.isDead(peer as PeerId)) Atomics.compareExchange(this.#words, reader, peer, 0)
    }
  }

  #proveWriter(): void {
    if (this.#writers.prove()) this.#readers.notifyAll()
  }

  /** Readers have stepped back for us. */
  #giveUpWriting(turn: MutexGuard): void {
    this.endWriting(turn, false)
  }
}

function remaining(deadline: number): TimeoutOptions {
  return deadline === Number.POSITIVE_INFINITY ? {} : { timeoutMs: Math.max(0, deadline - nowMs()) }
}

function deadlockError(wish: string, state: string): IsthmusError {
  return new IsthmusError(
    'EDEADLK',
    `Locking for ${wish}: this very attachment ${state}, and nobody else could unlock it. Unlock first.`,
  )
}
