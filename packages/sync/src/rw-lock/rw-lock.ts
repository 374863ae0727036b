import { IsthmusError } from '../errors.js'
import type { Layout } from '../layout/layout.js'
import { ABANDONED, INCONSISTENT, OWNER_MASK, OWNER_WORD_OFFSET } from '../mutex/layout.js'
import { Mutex, type MutexDescription, mutex } from '../mutex/mutex.js'
import { OwnerWord } from '../mutex/owner-word.js'
import { MAX_PEERS, type PeerId, slotOf } from '../peers/peer-id.js'
import type { PeerDescription } from '../peers/peers.js'
import { lowestSlotOf, SlotBitmap } from '../peers/slot-bitmap.js'
import { OwnedCells } from '../region/owned-cells.js'
import { assertOpen, type Region } from '../region/region.js'
import { Awaitable } from '../waiting/awaitable.js'
import type { Condition, WaitFor } from '../waiting/condition.js'
import { EventCount } from '../waiting/event-count.js'
import { TurnQueue } from '../waiting/turn-queue.js'
import { WAITABLE, type Waitable } from '../waiting/wait-any.js'
import {
  deadlineOf,
  signalOf,
  type TimeoutOptions,
  type UntimedOptions,
  type WaitOptions,
} from '../waiting/wait-options.js'
import type { WaitPoint } from '../waiting/wait-point.js'
import { WaiterSet } from '../waiting/waiter-set.js'
import {
  DRAINED_OFFSET,
  KNOWN_OFFSET,
  MUTEX_OFFSET,
  READER_WORDS_OFFSET,
  READERS_WAITER_SET_OFFSET,
  RW_LOCK_BYTES,
} from './layout.js'
import { ReadGuard, WriteGuard } from './rw-guards.js'

const READING = 'Locking for reading'
const WRITING = 'Locking for writing'

export interface RwLockDescription {
  /** The writer, and those that wait to be the next. */
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
    /** Zeroed memory is a lock without readers and writer. */
    initialize() {},
    attach: (region, byteOffset) => new RwLock(region, byteOffset),
    sweep(region, byteOffset, deadPeer) {
      const readers = new WaiterSet(region, byteOffset + READERS_WAITER_SET_OFFSET)
      readers.sweep(deadPeer)
      writers.sweep(region, byteOffset + MUTEX_OFFSET, deadPeer)
      // The dead peer may have been the writer that readers wait for.
      readers.notifyAll()
      const wasReading = readerCells(region, byteOffset, deadPeer).free(slotOf(deadPeer), deadPeer)
      new SlotBitmap(region.words, byteOffset + KNOWN_OFFSET).clear(deadPeer)
      if (wasReading) new EventCount(region, byteOffset + DRAINED_OFFSET).notify()
    },
  }
}

/** The reader words: each cell is reserved for the holder of its slot. */
function readerCells(region: Region, byteOffset: number, self = region.peers.self): OwnedCells {
  return new OwnedCells(region, byteOffset + READER_WORDS_OFFSET, { count: MAX_PEERS, self })
}

/**
 * An attached read-write lock. A reader pays one store and one load, and shares no counter with other readers. A writer
 * that has its turn keeps new readers out, except `tryReadLock` and `readLockSync` of an attachment that reads already;
 * between two writers, readers come in.
 *
 * If a writer is killed, the guards of all later readers and writers say `ownerDied`, until a writer has called
 * `markConsistent`. A reader that is killed has left. A reader or writer that is stopped is waited for.
 *
 * The readers' side is that of BRAVO (Dice, Kogan: "Biased Locking for Reader-Writer Locks"), with a word for each peer
 * instead of a hashed table; the writers' side is Mutex.
 */
export class RwLock extends Awaitable {
  /** @internal */
  readonly region: Region
  readonly #words: Int32Array
  readonly #readerCells: OwnedCells
  readonly #ownReader: number
  readonly #known: SlotBitmap
  /** Whether writers know that this slot may read. */
  #isKnown = false
  readonly #self: PeerId
  readonly #writers: Mutex
  readonly #writerWord: OwnerWord
  readonly #writerIndex: number
  readonly #drained: EventCount
  readonly #readers: WaiterSet
  readonly #writerTurns = new TurnQueue()
  readonly #readCondition: Omit<Condition, 'poll'>
  readonly #drainCondition: Condition
  readonly #drainSyncCondition: Condition
  /** How many readers this attachment has. */
  #readCount = 0
  readonly #syncReadGuard: ReadGuard
  readonly #syncWriteGuard: WriteGuard

  /** @internal Use the `rwLock` layout. */
  constructor(region: Region, byteOffset: number) {
    super()
    this.region = region
    this.#words = region.words
    this.#self = region.peers.self
    this.#readerCells = readerCells(region, byteOffset)
    this.#ownReader = ((byteOffset + READER_WORDS_OFFSET) >>> 2) + slotOf(this.#self)
    this.#known = new SlotBitmap(region.words, byteOffset + KNOWN_OFFSET)
    this.#writers = new Mutex(region, byteOffset + MUTEX_OFFSET)
    this.#writerWord = new OwnerWord(region, byteOffset + MUTEX_OFFSET + OWNER_WORD_OFFSET)
    this.#writerIndex = (byteOffset + MUTEX_OFFSET + OWNER_WORD_OFFSET) >>> 2
    this.#drained = new EventCount(region, byteOffset + DRAINED_OFFSET)
    this.#readers = new WaiterSet(region, byteOffset + READERS_WAITER_SET_OFFSET)
    this.#syncReadGuard = new ReadGuard(this)
    this.#syncWriteGuard = new WriteGuard(this.#writers, this)
    this.#readCondition = {
      reapDead: () => this.#reapDeadWriter(),
      dependsOn: () => region.peers.others(),
    }
    this.#drainCondition = {
      poll: () => this.#isDrained(),
      reapDead: () => this.#readerCells.reapDead(),
      dependsOn: () => region.peers.others(),
    }
    const reapDead = () => {
      this.#readerCells.reapDead()
      this.#assertNoOwnReader()
    }
    this.#drainSyncCondition = { ...this.#drainCondition, reapDead }
  }

  /**
   * Locks for reading, if no living writer has the lock or waits for the readers to leave. If this attachment reads already,
   * it locks in any case.
   *
   * @example
   * ```ts
   * const { root } = HeapRegion.create(rwLock())
   * const guard = root.tryReadLock()
   * guard?.unlock()
   * ```
   *
   * @returns the guard, the same object each time, to be unlocked as often as it was given out; undefined if there is a writer
   * @throws IsthmusError `ERR_ISTHMUS_ABANDONED`, `ERR_ISTHMUS_CLOSED`
   */
  tryReadLock(): ReadGuard | undefined {
    const guard = this.#syncReadGuard
    if (this.#tryEnter(guard)) return guard
    if (!this.#writers.reapDead()) return undefined
    this.#readers.notifyAll()
    return this.#tryEnter(guard) ? guard : undefined
  }

  /**
   * Locks for reading; blocks the thread until there is no writer.
   *
   * @example
   * ```ts
   * const { root } = HeapRegion.create(rwLock())
   * const guard = root.readLockSync({ timeoutMs: 100 })
   * guard?.unlock()
   * ```
   *
   * @returns as tryReadLock; undefined after `timeoutMs`
   * @throws IsthmusError `EDEADLK` if this very thread writes, through any attachment; `ERR_ISTHMUS_ABANDONED`,
   * `ERR_ISTHMUS_CLOSED`
   */
  readLockSync(): ReadGuard
  readLockSync(options: TimeoutOptions): ReadGuard | undefined
  readLockSync(options?: TimeoutOptions): ReadGuard | undefined {
    const deadline = deadlineOf(options, READING)
    const guard = this.#syncReadGuard
    return this.#tryEnter(guard) ? guard : this.#readLockSlowly(guard, deadline)
  }

  /**
   * Locks for reading without blocking the event loop. A writer that waits for the readers to leave goes first, even if
   * other tasks of this attachment read: so a task that reads must not await the same lock for reading once more.
   *
   * @example
   * ```ts
   * const { root } = HeapRegion.create(rwLock())
   * const guard = await root.readLock({ signal: AbortSignal.timeout(1000) })
   * guard.unlock()
   * ```
   *
   * @returns a new guard; undefined after `timeoutMs`
   * @throws AbortError when the signal aborts; IsthmusError `ERR_ISTHMUS_ABANDONED`, `ERR_ISTHMUS_CLOSED`
   */
  readLock(options?: UntimedOptions): Promise<ReadGuard>
  readLock(options: WaitOptions): Promise<ReadGuard | undefined>
  async readLock(options?: WaitOptions): Promise<ReadGuard | undefined> {
    const deadline = deadlineOf(options, READING)
    const signal = signalOf(options, READING)
    const guard = new ReadGuard(this)
    const poll = () => guard.isHeld || this.#tryEnterInTurn(guard)
    try {
      return (await this.#readers.wait({ ...this.#readCondition, poll }, deadline, signal)) ? guard : undefined
    } catch (error) {
      if (guard.isHeld && !this.region.isClosed) guard.unlock()
      throw error
    }
  }

  /**
   * Locks for writing, if there is no living reader or writer.
   *
   * @example
   * ```ts
   * const { root } = HeapRegion.create(rwLock())
   * const guard = root.tryWriteLock()
   * root.tryReadLock() // undefined
   * guard?.unlock()
   * ```
   *
   * @returns the guard, the same object each time; undefined if there is a reader or writer
   * @throws IsthmusError `ERR_ISTHMUS_ABANDONED`, `ERR_ISTHMUS_CLOSED`
   */
  tryWriteLock(): WriteGuard | undefined {
    return this.#writeLock(undefined)
  }

  /**
   * Locks for writing; blocks the thread until there is no reader and no other writer.
   *
   * @example
   * ```ts
   * const { root } = HeapRegion.create(rwLock())
   * const guard = root.writeLockSync({ timeoutMs: 100 })
   * guard?.unlock()
   * ```
   *
   * @returns the guard, the same object each time; undefined after `timeoutMs`
   * @throws IsthmusError `EDEADLK` if this very thread reads or writes, through any attachment; `ERR_ISTHMUS_ABANDONED`,
   * `ERR_ISTHMUS_CLOSED`
   */
  writeLockSync(): WriteGuard
  writeLockSync(options: TimeoutOptions): WriteGuard | undefined
  writeLockSync(options?: TimeoutOptions): WriteGuard | undefined {
    const deadline = deadlineOf(options, WRITING)
    assertOpen(this.region)
    if (this.#readCount > 0) throw deadlockError(WRITING, 'attachment reads')
    return this.#writeLock(deadline)
  }

  /**
   * Locks for writing without blocking the event loop. It takes the steps of `#writeLock`, after it has waited for its turn
   * among the tasks of this attachment.
   *
   * @example
   * ```ts
   * const { root } = HeapRegion.create(rwLock())
   * const guard = await root.writeLock({ signal: AbortSignal.timeout(1000) })
   * guard.unlock()
   * ```
   *
   * @returns a new guard; undefined after `timeoutMs`
   * @throws AbortError when the signal aborts; IsthmusError `ERR_ISTHMUS_ABANDONED`, `ERR_ISTHMUS_CLOSED`
   */
  writeLock(options?: UntimedOptions): Promise<WriteGuard>
  writeLock(options: WaitOptions): Promise<WriteGuard | undefined>
  async writeLock(options?: WaitOptions): Promise<WriteGuard | undefined> {
    const deadline = deadlineOf(options, WRITING)
    const signal = signalOf(options, WRITING)
    if (!this.#writerTurns.tryEnter() && !(await this.#writerTurns.enter(deadline, signal))) return undefined
    const guard = new WriteGuard(this.#writers, this)
    let isDrained = false
    try {
      if (!(await this.#writers.lockInto(guard, deadline, signal))) return undefined
      isDrained = await this.#drained.wait(this.#drainCondition, deadline, signal)
      return isDrained ? guard : undefined
    } finally {
      // Given back, the lock lets the readers in that stepped back for us.
      if (!isDrained) guard[Symbol.dispose]()
      this.#writerTurns.leave()
    }
  }

  /**
   * For waitAny: ready once `tryReadLock` would lock. There is no such thing for writing: readers that leave tell the
   * writer that has its turn, and telling others as well would make each of them slower. Await `writeLock` instead.
   *
   * @example
   * ```ts
   * const { root } = HeapRegion.create(rwLock())
   * await waitAny([root.forReading])
   * const guard = root.tryReadLock() // undefined if a writer was quicker
   * guard?.unlock()
   * ```
   */
  get forReading(): Waitable {
    const poll = () => this.#readCount > 0 || this.#writerWord.owner === 0
    return { [WAITABLE]: (): WaitFor => ({ point: this.#readers, condition: { ...this.#readCondition, poll } }) }
  }

  /**
   * Shows the readers, the writer and the waiters, for people and tools. It may be outdated when it is read.
   *
   * @example
   * ```ts
   * const { root } = HeapRegion.create(rwLock())
   * root.describe().readers // []
   * ```
   */
  describe(): RwLockDescription {
    const { peers } = assertOpen(this.region)
    const isReading = ({ peer, slot }: PeerDescription) => this.#readerCells.ownerOf(slot) === peer
    return {
      writers: this.#writers.describe(),
      readers: peers.list().filter(isReading),
      waitingReaders: this.#readers.waiters(),
    }
  }

  protected override waitPoints(): readonly WaitPoint[] {
    return [this.#readers, this.#drained, this.#writers.waiterSet]
  }

  /** @internal Use guard.unlock. As in `#tryEnter`, no call stands between the store and what notes it. */
  endReading(guard: ReadGuard): void {
    guard.assertHeld('Unlocking after reading')
    // SYNC reader gone
    if (this.#readCount === 1) Atomics.store(this.#words, this.#ownReader, 0)
    this.#readCount--
    guard.holdCount--
    if (this.#readCount === 0) this.#drained.notify()
  }

  /** @internal After a writer. */
  wakeReaders(): void {
    this.#readers.notifyAll()
    this.#readers.schedulePollOfOwnWaits()
  }

  /**
   * Locks for writing:
   *
   * 1. Lock the writers' mutex, straight into the guard; Mutex says how, and how a dead writer is reaped.
   * 2. Readers that come from now on see the mutex taken, and step back or wait.
   * 3. Look at the reader words of all known slots. If all are 0, the lock is ours.
   * 4. Reap: free the words of readers that are proven dead, and check again.
   * 5. Name us as the sleeper of `drained`, check once more, sleep. The last reader of each attachment stores 0, then
   *    wakes the sleeper, if there is one.
   * 6. After the deadline or an error: unlock the mutex, and wake the readers that stepped back for us.
   *
   * @param deadline undefined to take steps 1, 3 and 4 without waiting
   */
  #writeLock(deadline: number | undefined): WriteGuard | undefined {
    const guard = this.#syncWriteGuard
    const isLocked =
      deadline === undefined ? this.#writers.tryLockInto(guard) : this.#writers.lockSyncInto(guard, deadline)
    if (!isLocked) return undefined
    try {
      const isDrained =
        deadline === undefined ? this.#isDrainedNow() : this.#drained.waitSync(this.#drainSyncCondition, deadline)
      if (isDrained) return guard
      guard.unlock()
      return undefined
    } catch (error) {
      // Given back without a call: at the edge of the stack a call would throw as well.
      if (guard.holdCount > 0) {
        guard.holdCount = 0
        Atomics.and(this.#words, this.#writerIndex, INCONSISTENT)
        this.#writers.handOffWakeup()
        this.#readers.notifyAll()
      }
      throw error
    }
  }

  /**
   * Locks for reading when a writer was there at first:
   *
   * 1. Spin: poll, which enters (see `#tryEnter`) once the mutex names no owner.
   * 2. Reap: free the mutex from a dead writer, and wake the other readers.
   * 3. Set our bit in the waiter set, poll once more, sleep. The writer wakes all readers after it has unlocked.
   * 4. Clear our bit, and poll again. If the next writer was quicker, go on at 2.
   */
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
        this.#reapDeadWriter()
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
        guard.holdCount--
        this.#drained.notify()
      }
      throw error
    }
  }

  /** Overlapping readers of one attachment could starve a writer, and all that wait for it. */
  #tryEnterInTurn(guard: ReadGuard): boolean {
    const isOvertaking = this.#readCount > 0 && this.#writerWord.isTaken()
    return !isOvertaking && this.#tryEnter(guard)
  }

  /**
   * Begins to read if there is no writer. To the other attachments the tasks of this one are one reader; here they are
   * counted. No call stands between the store and what notes it: at the edge of the stack a call throws, and a word without
   * a reader would keep writers out until this attachment is closed.
   */
  #tryEnter(guard: ReadGuard): boolean {
    const { words } = assertOpen(this.region)
    if (this.#readCount === 0) {
      // Looked at before we announce ourselves: to announce and step back with every poll would wake the writer each time.
      if (this.#writerWord.isTaken()) return false
      if (!this.#isKnown) this.#becomeKnown()
      // SYNC reader or writer
      Atomics.store(words, this.#ownReader, this.#self)
    }
    const writer = Atomics.load(words, this.#writerIndex)
    if (this.#readCount > 0 || (writer !== ABANDONED && (writer & OWNER_MASK) === 0)) {
      this.#readCount++
      guard.holdCount++
      guard.ownerDied = writer !== ABANDONED && (writer & INCONSISTENT) !== 0
      return true
    }
    // SYNC reader gone
    Atomics.store(words, this.#ownReader, 0)
    this.#drained.notify()
    return false
  }

  #becomeKnown(): void {
    this.#known.set(this.#self)
    this.#isKnown = true
  }

  #isDrainedNow(): boolean {
    if (this.#isDrained()) return true
    this.#readerCells.reapDead()
    return this.#isDrained()
  }

  /** For the owner of the mutex, after it has taken it: whether no peer reads. */
  #isDrained(): boolean {
    const { words } = assertOpen(this.region)
    const firstReader = this.#ownReader - slotOf(this.#self)
    for (let group = 0; group < SlotBitmap.wordCount; group++) {
      for (let bits = this.#known.bitsOf(group); bits !== 0; bits &= bits - 1) {
        // SYNC reader or writer
        // SYNC reader gone
        if (Atomics.load(words, firstReader + lowestSlotOf(group, bits)) !== 0) return false
      }
    }
    return true
  }

  #reapDeadWriter(): void {
    if (this.#writers.reapDead()) this.#readers.notifyAll()
  }

  #assertNoOwnWriter(): void {
    const writer = this.#writerWord.owner
    if (writer === 0 || !this.region.peers.isOwnThread(writer)) return
    throw deadlockError(READING, 'thread writes through another attachment')
  }

  #assertNoOwnReader(): void {
    const { peers } = this.region
    if (!this.#readerCells.owners().some((reader) => reader !== 0 && peers.isOwnThread(reader))) return
    throw deadlockError(WRITING, 'thread reads through another attachment')
  }
}

function deadlockError(attempt: string, state: string): IsthmusError {
  return new IsthmusError(
    'EDEADLK',
    `${attempt}: this very ${state}, and cannot unlock while it blocks. Unlock first, or await the lock.`,
  )
}
