import { IsthmusError } from '../errors.js'
import { nowMs } from '../host/clock.js'
import type { Layout } from '../layout/layout.js'
import { ABANDONED, INCONSISTENT, OWNER_MASK, OWNER_WORD_OFFSET } from '../mutex/layout.js'
import { Mutex, type MutexDescription, mutex } from '../mutex/mutex.js'
import type { MutexGuard } from '../mutex/mutex-guard.js'
import { MAX_PEERS, type PeerId, slotOf } from '../peers/peer-id.js'
import type { PeerDescription } from '../peers/peers.js'
import { assertOpen, type Region } from '../region/region.js'
import type { Condition } from '../waiting/condition.js'
import { EventCount } from '../waiting/event-count.js'
import { TurnQueue } from '../waiting/turn-queue.js'
import { deadlineOf, signalOf, type TimeoutOptions, type WaitOptions } from '../waiting/wait-options.js'
import { WaiterSet } from '../waiting/waiter-set.js'
import {
  DRAINED_OFFSET,
  KNOWN_OFFSET,
  MUTEX_OFFSET,
  READER_WORDS_OFFSET,
  READERS_WAIT_SET_OFFSET,
  RW_LOCK_BYTES,
} from './layout.js'
import { ReadGuard, WriteGuard } from './rw-guards.js'

const READING = 'Locking for reading'
const WRITING = 'Locking for writing'

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
      const readers = new WaiterSet(region, byteOffset + READERS_WAIT_SET_OFFSET)
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
  readonly #writerIndex: number
  readonly #drained: EventCount
  readonly #readers: WaiterSet
  readonly #writes = new TurnQueue()
  readonly #readCondition: Omit<Condition, 'poll'>
  readonly #drainCondition: Condition
  readonly #drainSyncCondition: Condition
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
    this.#writerIndex = (byteOffset + MUTEX_OFFSET + OWNER_WORD_OFFSET) >>> 2
    this.#drained = new EventCount(region, byteOffset + DRAINED_OFFSET)
    this.#readers = new WaiterSet(region, byteOffset + READERS_WAIT_SET_OFFSET)
    this.#syncReadGuard = new ReadGuard(this)
    this.#syncWriteGuard = new WriteGuard(this)
    this.#readCondition = {
      reapDead: () => this.#proveWriter(),
      dependsOn: () => region.peers.others(),
    }
    this.#drainCondition = {
      poll: () => this.#isDrained(),
      reapDead: () => this.#proveReaders(),
      dependsOn: () => region.peers.others(),
    }
    const prove = () => {
      this.#proveReaders()
      this.#assertNoOwnReader()
    }
    this.#drainSyncCondition = { ...this.#drainCondition, reapDead: prove }
  }

  /**
   * Locks for reading, if that is possible now.
   * @returns the guard, the same object each time, to be unlocked as often as it was given; undefined where there is a writer
   * @throws IsthmusError `ERR_ISTHMUS_ABANDONED`
   */
  tryReadLock(): ReadGuard | undefined {
    const guard = this.#syncReadGuard
    if (this.#tryEnter(guard)) return guard
    if (!this.#writers.reapDead()) return undefined
    this.#readers.notifyAll()
    return this.#tryEnter(guard) ? guard : undefined
  }

  /**
   * Locks for reading, and blocks the thread until that is possible.
   * @returns as tryReadLock; undefined after `timeoutMs`
   * @throws IsthmusError `EDEADLK` where this very thread writes, through whichever attachment; `ERR_ISTHMUS_ABANDONED`
   */
  readLockSync(): ReadGuard
  readLockSync(options: TimeoutOptions): ReadGuard | undefined
  readLockSync(options?: TimeoutOptions): ReadGuard | undefined {
    const deadline = deadlineOf(options, READING)
    const guard = this.#syncReadGuard
    return this.#tryEnter(guard) ? guard : this.#readLockSlowly(guard, deadline)
  }

  /**
   * Locks for reading without blocking the event loop. Where a writer waits for the readers to leave, it goes first, also if
   * other tasks of this attachment read: so a task that reads must not await the same lock for reading once more.
   * @returns a guard of its own; undefined after `timeoutMs`
   * @throws AbortError when the signal aborts; IsthmusError `ERR_ISTHMUS_ABANDONED`
   */
  readLock(): Promise<ReadGuard>
  readLock(options: WaitOptions): Promise<ReadGuard | undefined>
  async readLock(options?: WaitOptions): Promise<ReadGuard | undefined> {
    const deadline = deadlineOf(options, READING)
    const signal = signalOf(options, READING)
    const guard = new ReadGuard(this)
    const isReady = () => guard.isHeld || this.#tryEnterInTurn(guard)
    try {
      return (await this.#readers.wait({ ...this.#readCondition, poll: isReady }, deadline, signal)) ? guard : undefined
    } catch (error) {
      if (guard.isHeld && !this.#region.isClosed) guard.unlock()
      throw error
    }
  }

  /**
   * Locks for writing, if that is possible now.
   * @returns the guard, the same object each time; undefined where somebody reads or writes
   */
  tryWriteLock(): WriteGuard | undefined {
    return this.#write(undefined)
  }

  /**
   * Locks for writing, and blocks the thread until that is possible.
   * @returns the guard, the same object each time; undefined after `timeoutMs`
   * @throws IsthmusError `EDEADLK` where this very thread reads or writes, through whichever attachment; `ERR_ISTHMUS_ABANDONED`
   */
  writeLockSync(): WriteGuard
  writeLockSync(options: TimeoutOptions): WriteGuard | undefined
  writeLockSync(options?: TimeoutOptions): WriteGuard | undefined {
    const deadline = deadlineOf(options, WRITING)
    assertOpen(this.#region)
    if (this.#readCount > 0) throw deadlockError(WRITING, 'attachment reads')
    return this.#write(deadline)
  }

  /**
   * Locks for writing without blocking the event loop.
   * @returns a guard of its own; undefined after `timeoutMs`
   * @throws AbortError when the signal aborts; IsthmusError `ERR_ISTHMUS_ABANDONED`
   */
  writeLock(): Promise<WriteGuard>
  writeLock(options: WaitOptions): Promise<WriteGuard | undefined>
  async writeLock(options?: WaitOptions): Promise<WriteGuard | undefined> {
    const deadline = deadlineOf(options, WRITING)
    const signal = signalOf(options, WRITING)
    if (!this.#writes.tryEnter() && !(await this.#writes.enter(deadline, signal))) return undefined
    let turn: MutexGuard | undefined
    let isDrained = false
    try {
      turn = await this.#writers.lock({ ...remaining(deadline), ...(signal && { signal }) })
      if (turn === undefined) return undefined
      isDrained = await this.#drained.wait(this.#drainCondition, deadline, signal)
      if (!isDrained) return undefined
      const guard = new WriteGuard(this)
      guard.turn = turn
      return guard
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

  /** @internal Use guard.unlock. No call between the store and its notes, as in `#tryEnter`. */
  endReading(guard: ReadGuard): void {
    assertOpen(this.#region)
    if (this.#readCount === 1) Atomics.store(this.#words, this.#ownReader, 0)
    this.#readCount--
    guard.count--
    if (this.#readCount === 0) this.#drained.notify()
  }

  /** @internal Use guard.unlock. */
  endWriting(turn: MutexGuard, isAbandoned: boolean): void {
    if (isAbandoned) turn.abandon()
    else turn.unlock()
    this.#readers.notifyAll()
    this.#readers.schedulePollOfOwnWaits()
  }

  /** Takes the writers' turn and waits for the readers to leave; without a deadline, it only looks. */
  #write(deadline: number | undefined): WriteGuard | undefined {
    const guard = this.#syncWriteGuard
    const turn = deadline === undefined ? this.#writers.tryLock() : this.#writers.lockSync(remaining(deadline))
    if (turn === undefined) return undefined
    try {
      const isDrained =
        deadline === undefined ? this.#isDrainedNow() : this.#drained.waitSync(this.#drainSyncCondition, deadline)
      if (isDrained) {
        guard.turn = turn
        return guard
      }
      this.#giveUpWriting(turn)
      return undefined
    } catch (error) {
      // Given back without a call: where the stack is full, that would throw, too.
      if (this.#writers.current === turn) {
        this.#writers.current = undefined
        Atomics.and(this.#words, this.#writerIndex, INCONSISTENT)
        this.#writers.handOffWakeup()
        this.#readers.notifyAll()
      }
      throw error
    }
  }

  #readLockSlowly(guard: ReadGuard, deadline: number): ReadGuard | undefined {
    if (this.#writers.isHeldHere) throw deadlockError(READING, 'attachment writes')
    let isEntered = false
    const condition: Condition = {
      ...this.#readCondition,
      poll: () => {
        isEntered = isEntered || this.#tryEnter(guard)
        return isEntered
      },
      reapDead: () => {
        this.#proveWriter()
        this.#assertNoOwnWriter()
      },
    }
    try {
      return this.#readers.waitSync(condition, deadline) ? guard : undefined
    } catch (error) {
      // Entered, and then something threw.
      if (isEntered) {
        Atomics.store(this.#words, this.#ownReader, 0)
        this.#readCount--
        guard.count--
        this.#drained.notify()
      }
      throw error
    }
  }

  /** Tasks that read by turns would never all have left: a writer would wait for ever, and everybody else for the writer. */
  #tryEnterInTurn(guard: ReadGuard): boolean {
    const isOvertaking = this.#readCount > 0 && this.#writers.isTaken()
    return !isOvertaking && this.#tryEnter(guard)
  }

  /**
   * For the thread's own tasks it is one reader; they count among themselves. No call stands between the store and the
   * notes of it: where the stack is full, a call throws, and a word without a reader would keep writers out for ever.
   */
  #tryEnter(guard: ReadGuard): boolean {
    const { words } = assertOpen(this.#region)
    if (this.#readCount === 0) {
      // Not a step forth and one back for every look of those who wait: each would wake the writer.
      if (this.#writers.isTaken()) return false
      if (!this.#isKnown) this.#becomeKnown()
      // SYNC reader or writer: our word first, then the look at the mutex; a writer does it the other way round
      Atomics.store(words, this.#ownReader, this.#self)
    }
    const writer = Atomics.load(words, this.#writerIndex)
    if (this.#readCount > 0 || (writer !== ABANDONED && (writer & OWNER_MASK) === 0)) {
      this.#readCount++
      guard.count++
      guard.ownerDied = writer !== ABANDONED && (writer & INCONSISTENT) !== 0
      return true
    }
    Atomics.store(words, this.#ownReader, 0)
    // SYNC a writer that drains: it sees the store, or we see that it sleeps
    this.#drained.notify()
    return false
  }

  #becomeKnown(): void {
    const slot = slotOf(this.#self)
    Atomics.or(this.#words, this.#firstKnown + (slot >> 5), 1 << (slot & 31))
    this.#isKnown = true
  }

  #isDrainedNow(): boolean {
    if (this.#isDrained()) return true
    this.#proveReaders()
    return this.#isDrained()
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
    if (this.#writers.reapDead()) this.#readers.notifyAll()
  }

  #assertNoOwnWriter(): void {
    const writer = this.#writers.owner
    if (writer === 0 || !this.#region.peers.isOwnThread(writer)) return
    throw deadlockError(READING, 'thread writes through another attachment')
  }

  #assertNoOwnReader(): void {
    const { peers } = this.#region
    for (let reader = this.#firstReader; reader < this.#firstReader + MAX_PEERS; reader++) {
      const peer = Atomics.load(this.#words, reader)
      if (peer === 0 || !peers.isOwnThread(peer as PeerId)) continue
      throw deadlockError(WRITING, 'thread reads through another attachment')
    }
  }

  /** Readers have stepped back for us. */
  #giveUpWriting(turn: MutexGuard): void {
    this.endWriting(turn, false)
  }
}

function remaining(deadline: number): TimeoutOptions {
  return deadline === Number.POSITIVE_INFINITY ? {} : { timeoutMs: Math.max(0, deadline - nowMs()) }
}

function deadlockError(attempt: string, state: string): IsthmusError {
  return new IsthmusError(
    'EDEADLK',
    `${attempt}: this very ${state}, and cannot unlock while it blocks. Unlock first, or await the lock.`,
  )
}
