import { randomFillSync } from 'node:crypto'
import type { Stats } from 'node:fs'
import { closedError, type LoopAddress, type LoopId, nowMs } from '@isthmus/sync/internal'
import { hasCode, isSystemError } from '../native/system-error.js'
import { type FifoAccess, isOpenToOthers, threadNameOf, widenAccess } from './fifo.js'
import { FifoPlace, placesFor, type SegmentPlace } from './fifo-place.js'
import { pruneSomeFifos } from './fifo-removal.js'
import { LivenessFifo } from './liveness-fifo.js'
import { PeerMonitor } from './peer-monitor.js'
import { RemoteWakers } from './remote-wakers.js'
import { WakeFifo } from './wake-fifo.js'

const NO_ADDRESS: LoopAddress = { place: 0, uid: 0 }
/** A lack of these ends soon, or has to be told; what else keeps a thread from having FIFOs stays so. */
const SHORTAGES = ['EMFILE', 'ENFILE', 'ENOMEM']
/** How often a thread looks whether its FIFOs still have their names, and tries again to make those that it could not. */
const MEND_EVERY_MS = 100

/**
 * Those of this thread: one for its segments in memory, and one for each directory of segment files. A process that changes
 * its user gets others, since it may do nothing more with the FIFOs of the user before.
 */
const endpointsByKey = new Map<string, ThreadEndpoints>()

/**
 * What others find of this thread while it is attached to segments of one kind: its life line, and its doorbell once it
 * waits on its event loop. With it, what the thread holds of others: their bells, and watches over their lives.
 *
 * It begins with the thread's first such segment and ends with its last one, or with the thread. Of a thread that was killed
 * or terminated the FIFOs stay, until somebody sweeps one of its slots, prunes, or comes along later.
 *
 * A thread that can have no FIFOs, wherever it tries, attaches all the same: blocking calls need none, and its event loop
 * looks at every tick.
 */
export class ThreadEndpoints {
  readonly loopId: LoopId
  readonly thread: string
  readonly remoteWakers = new RemoteWakers()
  readonly peerMonitor = new PeerMonitor((thread) => this.remoteWakers.drop(thread))
  readonly #key: string
  readonly #place: FifoPlace | undefined
  readonly #livenessFifo: LivenessFifo | undefined
  #wakeFifo: WakeFifo | undefined
  /** Why there is no life line, or no doorbell. */
  #refusal: unknown
  #access: FifoAccess
  #mendedMs = nowMs()
  #references = 0
  #isOver = false

  private constructor(key: string, segment: SegmentPlace, access: FifoAccess) {
    this.#key = key
    this.#access = access
    const { loopId, thread } = newThread()
    this.loopId = loopId
    this.thread = thread
    for (const kind of placesFor(segment)) {
      let place: FifoPlace | undefined
      try {
        place = FifoPlace.open(kind, segment, isOpenToOthers(access))
        pruneSomeFifos(place)
        this.#livenessFifo = LivenessFifo.begin(thread, place, access)
        this.#place = place
        this.#refusal = undefined
        break
      } catch (error) {
        place?.leave()
        if (!isSystemError(error) || hasCode(error, ...SHORTAGES)) {
          this.remoteWakers.close()
          throw error
        }
        this.#refusal = error
      }
    }
  }

  /** For an attachment to the segment in this file: whoever may attach to it may watch and ring this thread. */
  static acquire(segment: SegmentPlace, file: Stats): EndpointsReference {
    const key = `${process.geteuid?.()}:${segment.isFile ? segment.directory : ''}`
    let presence = endpointsByKey.get(key)
    if (presence === undefined) {
      presence = new ThreadEndpoints(key, segment, widenAccess({ mode: 0, gid: file.gid }, file))
      if (endpointsByKey.size === 0) process.on('exit', leaveAll)
      endpointsByKey.set(key, presence)
    }
    presence.#widen(file)
    presence.#references++
    return new EndpointsReference(presence, presence.#release)
  }

  get isOver(): boolean {
    return this.#isOver
  }

  /** Where others find its FIFOs. */
  get address(): LoopAddress {
    return this.#place?.address ?? NO_ADDRESS
  }

  /** Why others cannot ring it; undefined if they can, as far as this thread knows. */
  get refusal(): unknown {
    return this.#refusal
  }

  /**
   * From now on the doorbell is heard. FIFOs whose names were deleted are made anew.
   * @throws SystemCallError if the process is out of descriptors
   */
  listen(): void {
    if (this.#isOver) throw closedError('Waiting on an event loop')
    if (this.#place === undefined) return
    const now = nowMs()
    const isDue = now - this.#mendedMs >= MEND_EVERY_MS
    if (this.#wakeFifo === undefined) {
      if (this.#refusal === undefined || isDue) this.#open(this.#place)
    } else if (isDue) this.#mend(this.#wakeFifo)
    if (isDue) this.#mendedMs = now
  }

  #open(place: FifoPlace): void {
    try {
      this.#wakeFifo = WakeFifo.open(this.thread, place, this.#access)
      this.#refusal = undefined
    } catch (error) {
      // A wait that goes on already does not fail because none is left for a while.
      const isShortOfIt = hasCode(error, ...SHORTAGES) && this.#refusal === undefined
      if (!isSystemError(error) || isShortOfIt) throw error
      this.#refusal = error
    }
  }

  /** If that does not succeed, the old ones can still be reached through the descriptors of this process. */
  #mend(doorbell: WakeFifo): void {
    try {
      this.#livenessFifo?.restore(this.#access)
      doorbell.restore(this.#access)
    } catch (error) {
      if (!isSystemError(error)) throw error
    }
  }

  #widen(segmentFile: Stats): void {
    const access = widenAccess(this.#access, segmentFile)
    if (access.mode === this.#access.mode) return
    if (isOpenToOthers(access)) this.#place?.letOthersPass()
    this.#livenessFifo?.grant(access)
    this.#wakeFifo?.grant(access)
    this.#access = access
  }

  readonly #release = (): void => {
    if (--this.#references > 0) return
    this.#isOver = true
    endpointsByKey.delete(this.#key)
    if (endpointsByKey.size === 0) process.off('exit', leaveAll)
    this.remoteWakers.close()
    this.peerMonitor.close()
    try {
      this.#wakeFifo?.close()
    } finally {
      this.#livenessFifo?.end()
      this.#place?.leave()
    }
  }

  /** The descriptors stay until the thread has ended: that it is gone must not be told before. */
  leave(): void {
    this.#wakeFifo?.unlink()
    this.#livenessFifo?.unlink()
    this.#place?.leave()
  }
}

function leaveAll(): void {
  for (const presence of endpointsByKey.values()) presence.leave()
}

/** Never a number twice: a pruner that is about to remove the FIFO that had it before must not meet ours. */
function newThread(): { loopId: LoopId; thread: string } {
  for (;;) {
    const [low, high] = randomFillSync(new Int32Array(2))
    const thread = threadNameOf([low, high])
    if (thread !== undefined) return { loopId: [low, high], thread }
  }
}

/** One attachment's part in the presence of its thread. */
export class EndpointsReference {
  readonly endpoints: ThreadEndpoints
  readonly #release: () => void
  #isReleased = false

  constructor(presence: ThreadEndpoints, release: () => void) {
    this.endpoints = presence
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

const forgotten = new FinalizationRegistry<EndpointsReference>((reference) => reference.release())
