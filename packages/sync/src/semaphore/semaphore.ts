import { IsthmusError, IsthmusRangeError, inWords } from '../errors.js'
import type { Layout } from '../layout/layout.js'
import { LivenessCheckThrottle } from '../peers/liveness-check-throttle.js'
import { type PeerId, slotOf } from '../peers/peer-id.js'
import type { PeerDescription } from '../peers/peers.js'
import { assertOpen, type Region } from '../region/region.js'
import type { Condition, WaitFor } from '../waiting/condition.js'
import { TurnQueue } from '../waiting/turn-queue.js'
import { WAITABLE, type Waitable } from '../waiting/wait-any.js'
import { assertOptions, deadlineOf, signalOf, type TimeoutOptions, type WaitOptions } from '../waiting/wait-options.js'
import { WaiterSet } from '../waiting/waiter-set.js'
import { CELLS_OFFSET, PERMITS_MAX, WAIT_SET_OFFSET } from './layout.js'

export interface SemaphoreOptions {
  /** How many permits there are, from 1 to 4096. */
  readonly permits: number
}

export interface SemaphoreDescription {
  readonly permits: number
  readonly available: number
  readonly holders: readonly PermitHolder[]
  readonly waiters: readonly PeerDescription[]
}

/** A peer, dead or alive, and how many permits it has. */
export interface PermitHolder extends PeerDescription {
  readonly permits: number
}

const NO_CELL = -1
const ATTEMPT = 'Acquiring a permit'

/**
 * A counting semaphore in shared memory, for threads and processes: so many may do something at a time. The permits of a
 * killed holder come back.
 *
 * @example
 * ```ts
 * const region = HeapRegion.create(semaphore({ permits: 4 }))
 * const permit = region.root.acquireSync()
 * try {
 *   region.root.describe().available // 3
 * } finally {
 *   permit.release()
 * }
 * ```
 *
 * @throws IsthmusRangeError `ERR_ISTHMUS_INVALID_ARGUMENT` for a number of permits outside its range
 */
export function semaphore(options: SemaphoreOptions): Layout<Semaphore> {
  assertOptions(options, 'Making a semaphore')
  const { permits } = options
  if (!Number.isInteger(permits) || permits < 1 || permits > PERMITS_MAX) {
    throw new IsthmusRangeError(
      'ERR_ISTHMUS_INVALID_ARGUMENT',
      `Making a semaphore: permits is ${inWords(permits)}. Give a whole number from 1 to ${PERMITS_MAX}.`,
    )
  }
  return {
    byteLength: CELLS_OFFSET + 4 * permits,
    byteAlignment: 8,
    signature: `semaphore@1(permits=${permits})`,
    /** Zeroed memory is a semaphore whose permits are all free. */
    initialize() {},
    attach: (region, byteOffset) => new Semaphore(region, byteOffset, permits),
    sweep(region, byteOffset, deadPeer) {
      const waiters = new WaiterSet(region, byteOffset + WAIT_SET_OFFSET)
      waiters.sweep(deadPeer)
      const cells = (byteOffset + CELLS_OFFSET) >>> 2
      for (let cell = cells; cell < cells + permits; cell++) {
        if (Atomics.compareExchange(region.words, cell, deadPeer, 0) === deadPeer) waiters.notifyOne()
      }
    },
  }
}

/**
 * An attached semaphore. Asynchronous tasks of one attachment are served in the order in which they came; between
 * attachments, whoever is quicker. A holder that is merely stopped keeps what it has.
 *
 * A permit is a cell with its holder's name in it, so there is no count that a killed process could leave wrong: what the
 * kernel's SEM_UNDO does for System V semaphores, without the kernel.
 */
export class Semaphore implements Waitable {
  readonly permits: number
  readonly #region: Region
  readonly #words: Int32Array
  readonly #firstCell: number
  readonly #self: PeerId
  readonly #waiters: WaiterSet
  readonly #acquires = new TurnQueue()
  readonly #probe = new LivenessCheckThrottle()
  readonly #condition: Condition
  /** One for each cell that was ever taken without waiting on the loop: that path makes no garbage. */
  readonly #syncPermits: (Permit | undefined)[] = []
  /** Where the search for a free cell begins: where one was found last, and at first not where everybody begins. */
  #hint: number

  /** @internal Use the `semaphore` layout. */
  constructor(region: Region, byteOffset: number, permits: number) {
    this.permits = permits
    this.#region = region
    this.#words = region.words
    this.#firstCell = (byteOffset + CELLS_OFFSET) >>> 2
    this.#self = region.peers.self
    this.#hint = slotOf(this.#self) % permits
    this.#waiters = new WaiterSet(region, byteOffset + WAIT_SET_OFFSET, () => this.#isAnyFree())
    this.#condition = {
      poll: () => this.#isAnyFree(),
      reapDead: () => this.#prove(),
      dependsOn: () => region.peers.others(),
      handOffWakeup: () => this.#passOn(),
    }
  }

  /**
   * Takes a permit, if one is free now.
   * @returns the permit, which is the same object each time for the same cell; undefined where all are held
   */
  tryAcquire(): Permit | undefined {
    const permit = this.#takeSyncPermit()
    if (permit !== undefined || !this.#probe.isDue()) return permit
    this.#prove()
    return this.#takeSyncPermit()
  }

  /**
   * Takes a permit, and blocks the thread until one is free.
   * @returns the permit, as from tryAcquire; undefined after `timeoutMs`
   * @throws IsthmusError `EDEADLK` where this very thread holds all permits, through whichever attachments
   */
  acquireSync(): Permit
  acquireSync(options: TimeoutOptions): Permit | undefined
  acquireSync(options?: TimeoutOptions): Permit | undefined {
    const deadline = deadlineOf(options, ATTEMPT)
    return this.#takeSyncPermit() ?? this.#acquireSlowly(deadline)
  }

  /**
   * Takes a permit without blocking the event loop.
   * @returns a permit of its own; undefined after `timeoutMs`
   * @throws AbortError when the signal aborts
   */
  acquire(): Promise<Permit>
  acquire(options: WaitOptions): Promise<Permit | undefined>
  async acquire(options?: WaitOptions): Promise<Permit | undefined> {
    const deadline = deadlineOf(options, ATTEMPT)
    const signal = signalOf(options, ATTEMPT)
    const permit = new Permit(this)
    if (signal?.aborted !== true && this.#acquires.canCompleteSynchronously() && this.#take(permit)) return permit
    if (!this.#acquires.tryEnter() && !(await this.#acquires.enter(deadline, signal))) return undefined
    try {
      // Between the taking and the settling of the promise others of this thread may take, too.
      const isReady = () => permit.isHeld || (this.#isAnyFree() && this.#take(permit))
      return (await this.#waiters.wait({ ...this.#condition, poll: isReady }, deadline, signal)) ? permit : undefined
    } catch (error) {
      if (permit.isHeld && !this.#region.isClosed) permit.release()
      throw error
    } finally {
      this.#acquires.leave()
    }
  }

  /** Pending acquires keep the process running; this is the default. */
  ref(): this {
    this.#waiters.setRef(true)
    return this
  }

  /** Pending acquires no longer keep the process running. */
  unref(): this {
    this.#waiters.setRef(false)
    return this
  }

  /** Who has permits and who waits, for people and tools: it is old when it is read. */
  describe(): SemaphoreDescription {
    const { peers } = assertOpen(this.#region)
    const permitsOf = new Map<number, number>()
    for (let cell = 0; cell < this.permits; cell++) {
      const holder = Atomics.load(this.#words, this.#firstCell + cell)
      permitsOf.set(holder, (permitsOf.get(holder) ?? 0) + 1)
    }
    const holders = peers
      .list()
      .map((description) => ({ ...description, permits: permitsOf.get(description.peer) ?? 0 }))
      .filter(({ permits }) => permits > 0)
    return { permits: this.permits, available: permitsOf.get(0) ?? 0, holders, waiters: this.#waiters.waiters() }
  }

  /** For waitAny: ready when a permit is free. */
  [WAITABLE](): WaitFor {
    return { point: this.#waiters, condition: this.#condition }
  }

  /** @internal Use permit.release. The cell is free after it, and nobody knows yet. */
  freeCell(cell: number): void {
    assertOpen(this.#region)
    if (Atomics.compareExchange(this.#words, this.#firstCell + cell, this.#self, 0) !== this.#self) {
      throw new IsthmusError(
        'ERR_ISTHMUS_NOT_HELD',
        'Releasing a permit: this one is not held. Acquire before, and release as often as acquired.',
      )
    }
    this.#hint = cell
  }

  /** @internal Use permit.release. */
  tellOfFreeCell(): void {
    this.#waiters.notifyOne()
    if (this.#acquires.isBusy) this.#waiters.schedulePollOfOwnWaits()
  }

  /** @internal */
  get region(): Region {
    return this.#region
  }

  /** Takes any free cell. Its caller notes that before it makes another call: where the stack is full, that would throw. */
  #takeCell(): number {
    const { words } = assertOpen(this.#region)
    for (let step = 0, cell = this.#hint; step < this.permits; step++) {
      if (Atomics.compareExchange(words, this.#firstCell + cell, 0, this.#self) === 0) {
        this.#hint = cell + 1 === this.permits ? 0 : cell + 1
        return cell
      }
      cell = cell + 1 === this.permits ? 0 : cell + 1
    }
    return NO_CELL
  }

  #take(permit: Permit): boolean {
    permit.cell = this.#takeCell()
    return permit.cell !== NO_CELL
  }

  #takeSyncPermit(): Permit | undefined {
    const cell = this.#takeCell()
    if (cell === NO_CELL) return undefined
    try {
      return this.#syncPermitOf(cell)
    } catch (error) {
      Atomics.store(this.#words, this.#firstCell + cell, 0)
      this.#waiters.notifyOne()
      throw error
    }
  }

  #acquireSlowly(deadline: number): Permit | undefined {
    let cell = NO_CELL
    const condition: Condition = {
      ...this.#condition,
      poll: () => {
        // Those who look again and again leave the cells' cache lines to those who hold them.
        if (cell === NO_CELL && this.#isAnyFree()) cell = this.#takeCell()
        return cell !== NO_CELL
      },
      reapDead: () => {
        this.#prove()
        this.#assertOthersHoldSome()
      },
    }
    try {
      return this.#waiters.waitSync(condition, deadline) ? this.#syncPermitOf(cell) : undefined
    } catch (error) {
      if (cell !== NO_CELL) {
        Atomics.store(this.#words, this.#firstCell + cell, 0)
        this.#waiters.notifyOne()
      }
      throw error
    }
  }

  #syncPermitOf(cell: number): Permit {
    const permit = this.#syncPermits[cell] ?? new Permit(this)
    this.#syncPermits[cell] = permit
    permit.cell = cell
    return permit
  }

  #isAnyFree(): boolean {
    const { words } = assertOpen(this.#region)
    for (let cell = 0; cell < this.permits; cell++) {
      if (Atomics.load(words, this.#firstCell + cell) === 0) return true
    }
    return false
  }

  /** Of a thread that holds all of them itself, nobody could release one while it blocks. */
  #assertOthersHoldSome(): void {
    let owned = 0
    for (let cell = 0; cell < this.permits; cell++) {
      const holder = Atomics.load(this.#words, this.#firstCell + cell)
      // Free, perhaps because its holder was just proven dead.
      if (holder === 0) return
      if (holder !== owned && !this.#region.peers.isOwnThread(holder as PeerId)) return
      owned = holder
    }
    if (owned === 0) return
    throw new IsthmusError(
      'EDEADLK',
      `${ATTEMPT}: this very thread holds all ${this.permits}, and cannot release one while it blocks. Release one first, or await acquire().`,
    )
  }

  /** Frees the cells of those who are proven dead. */
  #prove(): void {
    const { peers } = this.#region
    const isDead = new Map<number, boolean>()
    for (let cell = 0; cell < this.permits; cell++) {
      const index = this.#firstCell + cell
      const holder = Atomics.load(this.#words, index)
      if (holder === 0) continue
      if (!isDead.has(holder)) isDead.set(holder, peers.isDead(holder as PeerId))
      if (isDead.get(holder)) Atomics.compareExchange(this.#words, index, holder, 0)
    }
  }

  /** Several wake-ups may have come to us alone: what is left is for somebody else. */
  #passOn(): void {
    if (this.#isAnyFree()) this.#waiters.notifyOne()
  }
}

/** Leave to do what the semaphore limits, until it is released, explicitly or with `using`. */
export class Permit {
  readonly #semaphore: Semaphore
  /** @internal Where it stands while it is held. */
  cell = NO_CELL

  /** @internal */
  constructor(semaphore: Semaphore) {
    this.#semaphore = semaphore
  }

  get isHeld(): boolean {
    return this.cell !== NO_CELL
  }

  /** @throws IsthmusError `ERR_ISTHMUS_NOT_HELD` where it was released before; `ERR_ISTHMUS_CLOSED` */
  release(): void {
    if (!this.isHeld) {
      throw new IsthmusError(
        'ERR_ISTHMUS_NOT_HELD',
        'Releasing a permit: it was released before. Release as often as acquired.',
      )
    }
    this.#semaphore.freeCell(this.cell)
    this.cell = NO_CELL
    this.#semaphore.tellOfFreeCell()
  }

  /** Releases it, if it is not released yet. */
  [Symbol.dispose](): void {
    if (this.isHeld && !this.#semaphore.region.isClosed) this.release()
  }
}
