import { IsthmusError } from '../errors.js'
import type { MutexGuard } from '../mutex/mutex-guard.js'
import type { RwLock } from './rw-lock.js'

/** What a reader has, until it unlocks, explicitly or with `using`. */
export class ReadGuard {
  readonly #lock: RwLock
  /** @internal How often it was given and not unlocked yet. */
  count = 0
  /** Whether a writer died, and none has marked what the lock protects consistent since. */
  ownerDied = false

  /** @internal */
  constructor(lock: RwLock) {
    this.#lock = lock
  }

  get isHeld(): boolean {
    return this.count > 0
  }

  /** @throws IsthmusError `ERR_ISTHMUS_NOT_HELD` where it was unlocked before; `ERR_ISTHMUS_CLOSED` */
  unlock(): void {
    if (this.count === 0) throw notHeldError('Unlocking after reading')
    this.#lock.endReading(this)
  }

  /** Unlocks, if it is not unlocked yet. */
  [Symbol.dispose](): void {
    if (this.isHeld && !this.#lock.region.isClosed) this.unlock()
  }
}

/** What a writer has, until it unlocks, explicitly or with `using`. */
export class WriteGuard {
  readonly #lock: RwLock
  /** @internal The writers' mutex, while this guard holds it. */
  turn: MutexGuard | undefined

  /** @internal */
  constructor(lock: RwLock) {
    this.#lock = lock
  }

  get isHeld(): boolean {
    return this.turn?.isHeld === true
  }

  /** Whether the writer before this one died, or was told of a death and did not call markConsistent. */
  get ownerDied(): boolean {
    return this.turn?.ownerDied === true
  }

  /** @throws IsthmusError `ERR_ISTHMUS_NOT_HELD` where it was unlocked before; `ERR_ISTHMUS_CLOSED` */
  unlock(): void {
    this.#lock.endWriting(this.#heldTurn('Unlocking after writing'), false)
    this.turn = undefined
  }

  /** After `ownerDied`: what the lock protects has been repaired. */
  markConsistent(): void {
    this.#heldTurn('Marking what a lock protects consistent').markConsistent()
  }

  /** After `ownerDied`: it cannot be repaired. Unlocks; nobody can ever read or write again (`ERR_ISTHMUS_ABANDONED`). */
  abandon(): void {
    this.#lock.endWriting(this.#heldTurn('Abandoning a lock'), true)
    this.turn = undefined
  }

  /** Unlocks, if it is not unlocked yet. */
  [Symbol.dispose](): void {
    if (this.isHeld && !this.#lock.region.isClosed) this.unlock()
  }

  #heldTurn(attempt: string): MutexGuard {
    if (this.turn?.isHeld) return this.turn
    throw notHeldError(attempt)
  }
}

function notHeldError(attempt: string): IsthmusError {
  return new IsthmusError(
    'ERR_ISTHMUS_NOT_HELD',
    `${attempt}: this guard does not hold the lock. It was unlocked before, or another one has been given out since.`,
  )
}
