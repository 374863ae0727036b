import type { Stats } from 'node:fs'
import { closedError, type LoopId } from '@isthmus/sync'
import { DeathWatch } from '../liveness/death-watch.js'
import { LifeLine } from '../liveness/life-line.js'
import { hasCode } from '../native/system-error.js'
import { BellRopes } from './bell-ropes.js'
import { Doorbell } from './doorbell.js'
import { type FifoAccess, threadNameOf, widenAccess } from './fifo.js'
import { pruneSomeFifos } from './fifo-removal.js'

const NO_LOOP_ID: LoopId = [0, 0]
/** What a system says where this user cannot have files in /dev/shm. */
const REFUSALS = ['EACCES', 'EPERM', 'EROFS', 'ENOENT', 'ENOTDIR', 'ENOSPC', 'EDQUOT']

let present: ThreadPresence | undefined

/**
 * What others find of this thread while it is attached to any segment: its life line, and its doorbell once it waits on
 * its event loop. With it, what the thread holds of others: their bells, and watches over their lives.
 *
 * It begins with the thread's first segment and ends with its last one, or with the thread. Of a thread that was killed or
 * terminated the FIFOs stay, until somebody sweeps one of its slots, prunes, or comes along later.
 */
export class ThreadPresence {
  readonly loopId: LoopId
  readonly thread: string | undefined
  readonly ropes = new BellRopes()
  readonly deathWatch = new DeathWatch((thread) => this.ropes.letGo(thread))
  readonly #lifeLine: LifeLine | undefined
  /** Why there is no life line. */
  readonly #refusal: unknown
  #doorbell: Doorbell | undefined
  #access: FifoAccess
  #references = 0
  #isOver = false

  private constructor(access: FifoAccess) {
    this.#access = access
    try {
      pruneSomeFifos()
      this.#lifeLine = LifeLine.begin(access)
    } catch (error) {
      // Segments work without, and so does waiting in a thread. Who waits on the event loop is told; see hear.
      if (!hasCode(error, ...REFUSALS)) throw error
      this.#refusal = error
    }
    this.loopId = this.#lifeLine?.loopId ?? NO_LOOP_ID
    this.thread = threadNameOf(this.loopId)
    process.on('exit', this.#leave)
  }

  /** For an attachment to the segment in this file: whoever may attach to it may watch and ring this thread. */
  static acquire(segmentFile: Stats): PresenceReference {
    present ??= new ThreadPresence(widenAccess({ mode: 0, gid: segmentFile.gid }, segmentFile))
    present.#widen(segmentFile)
    present.#references++
    return new PresenceReference(present, present.#release)
  }

  get isOver(): boolean {
    return this.#isOver
  }

  /** From now on the doorbell is heard. */
  hear(): void {
    if (this.#isOver) throw closedError('Waiting on an event loop')
    if (this.#doorbell !== undefined) return
    if (this.thread === undefined) throw this.#refusal
    this.#doorbell = Doorbell.hang(this.thread, this.#access)
  }

  #widen(segmentFile: Stats): void {
    const access = widenAccess(this.#access, segmentFile)
    if (access.mode === this.#access.mode) return
    this.#lifeLine?.grant(access)
    this.#doorbell?.grant(access)
    this.#access = access
  }

  readonly #release = (): void => {
    if (--this.#references > 0) return
    this.#isOver = true
    present = undefined
    process.off('exit', this.#leave)
    this.ropes.close()
    this.deathWatch.close()
    try {
      this.#doorbell?.close()
    } finally {
      this.#lifeLine?.end()
    }
  }

  /** The descriptors stay until the thread has ended: that it is gone must not be told before. */
  readonly #leave = (): void => {
    this.#doorbell?.unlink()
    this.#lifeLine?.unlink()
  }
}

/** One attachment's part in the presence of its thread. */
export class PresenceReference {
  readonly presence: ThreadPresence
  readonly #release: () => void
  #isReleased = false

  constructor(presence: ThreadPresence, release: () => void) {
    this.presence = presence
    this.#release = release
  }

  /** From the second time on it does nothing. */
  release(): void {
    if (this.#isReleased) return
    this.#isReleased = true
    this.#release()
  }

  /** Releases it also where its owner is forgotten. */
  belongTo(owner: object): void {
    forgotten.register(owner, this)
  }
}

const forgotten = new FinalizationRegistry<PresenceReference>((reference) => reference.release())
