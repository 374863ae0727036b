import { IsthmusError, IsthmusRangeError, inWords } from '../errors.js'
import { notHeldError } from '../guard.js'
import type { Layout } from '../layout/layout.js'
import { LivenessCheckThrottle } from '../peers/liveness-check-throttle.js'
import type { PeerId } from '../peers/peer-id.js'
import type { PeerDescription } from '../peers/peers.js'
import { NO_CELL, OwnedCells } from '../region/owned-cells.js'
import { assertOpen, type Region } from '../region/region.js'
import { Awaitable } from '../waiting/awaitable.js'
import type { Condition, WaitFor } from '../waiting/condition.js'
import { TurnQueue } from '../waiting/turn-queue.js'
import { WAITABLE, type Waitable } from '../waiting/wait-any.js'
import {
  assertOptions,
  deadlineOf,
  signalOf,
  type TimeoutOptions,
  type UntimedOptions,
  type WaitOptions,
} from '../waiting/wait-options.js'
import { WaiterSet } from '../waiting/waiter-set.js'
import { CELLS_OFFSET, PERMITS_MAX, WAITER_SET_OFFSET } from './layout.js'
import { Permit } from './permit.js'

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

const ATTEMPT = 'Acquiring a permit'

/**
 * A counting semaphore in shared memory, for threads and processes: it limits how many do something at a time. The permits
 * of a killed holder come back.
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
      const waiters = new WaiterSet(region, byteOffset + WAITER_SET_OFFSET)
      waiters.sweep(deadPeer)
      const cells = new OwnedCells(region, byteOffset + CELLS_OFFSET, { count: permits, self: deadPeer })
      cells.sweep(deadPeer, () => waiters.notifyOne())
    },
  }
}

/**
 * An attached semaphore. Tasks of one attachment that await a permit are served in the order in which they came; among
 * attachments there is no order. A holder that is stopped keeps its permits.
 *
 * A permit is a cell that names its holder, so there is no count that a killed process could leave wrong. (The kernel's
 * SEM_UNDO does this for System V semaphores; here it needs no kernel.)
 */
export class Semaphore extends Awaitable implements Waitable {
  readonly permits: number
  /** @internal */
  readonly region: Region
  readonly #words: Int32Array
  readonly #firstCell: number
  readonly #cells: OwnedCells
  readonly #waiters: WaiterSet
  readonly #turns = new TurnQueue()
  readonly #livenessChecks = new LivenessCheckThrottle()
  readonly #condition: Condition
  /** The permits of the forms that do not await, one for each cell that was ever taken: that path makes no garbage. */
  readonly #syncPermits: (Permit | undefined)[] = []

  /** @internal Use the `semaphore` layout. */
  constructor(region: Region, byteOffset: number, permits: number) {
    super()
    this.permits = permits
    this.region = region
    this.#words = region.words
    this.#firstCell = (byteOffset + CELLS_OFFSET) >>> 2
    this.#cells = new OwnedCells(region, byteOffset + CELLS_OFFSET, { count: permits })
    this.#waiters = new WaiterSet(region, byteOffset + WAITER_SET_OFFSET, () => this.#cells.isAnyFree)
    this.#condition = {
      poll: () => this.#cells.isAnyFree,
      reapDead: () => this.#cells.reapDead(),
      dependsOn: () => region.peers.others(),
      handOffWakeup: () => this.#handOffWakeup(),
    }
  }

  /**
   * Takes a permit, if one is free. If all are held, it asks now and then whether a holder is dead, which takes a system call.
   *
   * @example
   * ```ts
   * const { root } = HeapRegion.create(semaphore({ permits: 1 }))
   * const permit = root.tryAcquire()
   * root.tryAcquire() // undefined
   * permit?.release()
   * ```
   *
   * @returns the permit, the same object each time for the same cell; undefined if all are held
   * @throws IsthmusError `ERR_ISTHMUS_CLOSED`
   */
  tryAcquire(): Permit | undefined {
    const permit = this.#takeSyncPermit()
    if (permit !== undefined || !this.#livenessChecks.isDue()) return permit
    this.#cells.reapDead()
    return this.#takeSyncPermit()
  }

  /**
   * Takes a permit; blocks the thread until one is free, or a holder dead.
   *
   * @example
   * ```ts
   * const { root } = HeapRegion.create(semaphore({ permits: 1 }))
   * const permit = root.acquireSync({ timeoutMs: 100 })
   * permit?.release()
   * ```
   *
   * @returns the permit, as from tryAcquire; undefined after `timeoutMs`
   * @throws IsthmusError `EDEADLK` if this very thread holds all permits, through any attachments; `ERR_ISTHMUS_CLOSED`
   */
  acquireSync(): Permit
  acquireSync(options: TimeoutOptions): Permit | undefined
  acquireSync(options?: TimeoutOptions): Permit | undefined {
    const deadline = deadlineOf(options, ATTEMPT)
    return this.#takeSyncPermit() ?? this.#acquireSlowly(deadline)
  }

  /**
   * Takes a permit without blocking the event loop.
   *
   * @example
   * ```ts
   * const { root } = HeapRegion.create(semaphore({ permits: 1 }))
   * const permit = await root.acquire({ signal: AbortSignal.timeout(1000) })
   * permit.release()
   * ```
   *
   * @returns a new permit; undefined after `timeoutMs`
   * @throws AbortError when the signal aborts; IsthmusError `ERR_ISTHMUS_CLOSED`
   */
  acquire(options?: UntimedOptions): Promise<Permit>
  acquire(options: WaitOptions): Promise<Permit | undefined>
  async acquire(options?: WaitOptions): Promise<Permit | undefined> {
    const deadline = deadlineOf(options, ATTEMPT)
    const signal = signalOf(options, ATTEMPT)
    const permit = new Permit(this)
    if (signal?.aborted !== true && this.#turns.canCompleteSynchronously() && this.#take(permit)) return permit
    if (!this.#turns.tryEnter() && !(await this.#turns.enter(deadline, signal))) return undefined
    try {
      // Once taken, the permit stays so until the promise is settled: other tasks of this thread may take meanwhile.
      const poll = () => permit.isHeld || (this.#cells.isAnyFree && this.#take(permit))
      return (await this.#waiters.wait({ ...this.#condition, poll }, deadline, signal)) ? permit : undefined
    } catch (error) {
      if (permit.isHeld && !this.region.isClosed) permit.release()
      throw error
    } finally {
      this.#turns.leave()
    }
  }

  /**
   * Shows the holders and the waiters, for people and tools. It may be outdated when it is read.
   *
   * @example
   * ```ts
   * const { root } = HeapRegion.create(semaphore({ permits: 2 }))
   * root.describe().available // 2
   * ```
   */
  describe(): SemaphoreDescription {
    const { peers } = assertOpen(this.region)
    const permitsOf = new Map<number, number>()
    for (const holder of this.#cells.owners()) permitsOf.set(holder, (permitsOf.get(holder) ?? 0) + 1)
    const holders = peers
      .list()
      .map((description) => ({ ...description, permits: permitsOf.get(description.peer) ?? 0 }))
      .filter(({ permits }) => permits > 0)
    return { permits: this.permits, available: permitsOf.get(0) ?? 0, holders, waiters: this.#waiters.waiters() }
  }

  /** For waitAny: ready once a permit is free. */
  [WAITABLE](): WaitFor {
    return { point: this.#waiters, condition: this.#condition }
  }

  protected override waitPoints(): readonly WaiterSet[] {
    return [this.#waiters]
  }

  /** @internal Use permit.release. */
  release(permit: Permit): void {
    if (permit.holdCount === 0 || !this.#cells.release(permit.cell)) throw notHeldError('Releasing a permit')
    permit.holdCount = 0
    this.#waiters.notifyOne()
    if (this.#turns.isBusy) this.#waiters.schedulePollOfOwnWaits()
  }

  /** Between the taking and what notes it stands no call; see OwnedCells. */
  #take(permit: Permit): boolean {
    const cell = this.#cells.tryTake()
    if (cell === NO_CELL) return false
    permit.cell = cell
    permit.holdCount = 1
    return true
  }

  #takeSyncPermit(): Permit | undefined {
    const cell = this.#cells.tryTake()
    if (cell === NO_CELL) return undefined
    try {
      return this.#syncPermitOf(cell)
    } catch (error) {
      // Given back without a call: at the edge of the stack a call would throw as well.
      Atomics.store(this.#words, this.#firstCell + cell, 0)
      this.#waiters.notifyOne()
      throw error
    }
  }

  /**
   * Takes a permit when none was free at first:
   *
   * 1. Spin: poll, which takes a cell by CAS. It only looks for a free one first, so that the cells' cache lines stay with
   *    their holders.
   * 2. Reap: free the cells of holders that are proven dead, and take one of them.
   * 3. Set our bit in the waiter set, poll once more, sleep. A holder frees its cell, then wakes one waiter.
   * 4. Clear our bit, and poll again. If another waiter was quicker, go on at 2.
   * 5. However it ended: if a cell is free, hand off the wake-up, since several may have come to us alone.
   */
  #acquireSlowly(deadline: number): Permit | undefined {
    let cell = NO_CELL
    const condition: Condition = {
      ...this.#condition,
      poll: () => {
        if (cell === NO_CELL && this.#cells.isAnyFree) cell = this.#cells.tryTake()
        return cell !== NO_CELL
      },
      reapDead: () => {
        this.#cells.reapDead()
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
    permit.holdCount = 1
    return permit
  }

  /** If this thread holds all permits itself, none can be released while it blocks. */
  #assertOthersHoldSome(): void {
    const { peers } = this.region
    // One may be free now, perhaps because its holder was just proven dead.
    const isOwn = (holder: PeerId | 0) => holder !== 0 && peers.isOwnThread(holder)
    if (![...new Set(this.#cells.owners())].every(isOwn)) return
    throw new IsthmusError(
      'EDEADLK',
      `${ATTEMPT}: this very thread holds all ${this.permits}, and cannot release one while it blocks. Release one first, or await acquire().`,
    )
  }

  #handOffWakeup(): void {
    if (this.#cells.isAnyFree) this.#waiters.notifyOne()
  }
}
