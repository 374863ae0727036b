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
/** A lack of these may end soon, so it is an error. Any other reason why a thread can have no FIFOs is likely to stay. */
const SHORTAGES = ['EMFILE', 'ENFILE', 'ENOMEM']
/** How often a thread checks that its FIFOs still have their names, and retries to make those that it could not make. */
const MEND_EVERY_MS = 100

/**
 * The endpoints of this thread: one for its segments in memory, and one for each directory of segment files. A process
 * that changes its user gets new ones, since it may not touch the FIFOs of its earlier user any more.
 */
const endpointsByKey = new Map<string, ThreadEndpoints>()

/**
 * What this thread publishes while it is attached to segments of one kind: a liveness FIFO, and a wake FIFO once it waits
 * on its event loop. With it, what the thread keeps open of other threads: their wake FIFOs, and watches over their lives.
 *
 * It begins with the thread's first such segment and ends with the last one, or with the thread. The FIFOs of a thread
 * that was killed or terminated stay until another thread sweeps one of its peer slots, prunes, or attaches later.
 *
 * A thread that can have FIFOs nowhere attaches all the same: blocking calls need none, and its event loop polls at every
 * tick.
 */
export class ThreadEndpoints {
  readonly loopId: LoopId
  readonly thread: string
  readonly remoteWakers = new RemoteWakers()
  readonly peerMonitor = new PeerMonitor((key) => this.remoteWakers.drop(key))
  readonly #key: string
  readonly #place: FifoPlace | undefined
  readonly #livenessFifo: LivenessFifo | undefined
  #wakeFifo: WakeFifo | undefined
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
        this.#livenessFifo = LivenessFifo.open(thread, place, access)
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

  /** For an attachment to the segment in this file: every user who may attach to it may watch and wake this thread. */
  static acquire(segment: SegmentPlace, file: Stats): EndpointsReference {
    const key = `${process.geteuid?.()}:${segment.isFile ? segment.directory : ''}`
    let endpoints = endpointsByKey.get(key)
    if (endpoints === undefined) {
      endpoints = new ThreadEndpoints(key, segment, widenAccess({ mode: 0, gid: file.gid }, file))
      if (endpointsByKey.size === 0) process.on('exit', leaveAll)
      endpointsByKey.set(key, endpoints)
    }
    endpoints.#widen(file)
    endpoints.#references++
    return new EndpointsReference(endpoints, endpoints.#release)
  }

  get isOver(): boolean {
    return this.#isOver
  }

  /** Where other threads find this thread's FIFOs. */
  get address(): LoopAddress {
    return this.#place?.address ?? NO_ADDRESS
  }

  /** The error for which this thread has no FIFOs, so that others cannot wake it; undefined if it has them. */
  get refusal(): unknown {
    return this.#refusal
  }

  /**
   * Makes this thread's event loop listen to wake-ups. FIFOs whose names were deleted are made anew.
   * @throws SystemCallError if the process is out of descriptors
   */
  listen(): void {
    if (this.#isOver) throw closedError('Waiting on an event loop')
    if (this.#place === undefined) return
    const now = nowMs()
    const isDue = now - this.#mendedMs >= MEND_EVERY_MS
    if (this.#wakeFifo === undefined) {
      if (this.#refusal === undefined || isDue) this.#openWakeFifo(this.#place)
    } else if (isDue) this.#mend(this.#wakeFifo)
    if (isDue) this.#mendedMs = now
  }

  #openWakeFifo(place: FifoPlace): void {
    try {
      this.#wakeFifo = WakeFifo.open(this.thread, place, this.#access)
      this.#refusal = undefined
    } catch (error) {
      // A wait that has begun does not fail because descriptors are short for a while.
      const isShortage = hasCode(error, ...SHORTAGES) && this.#refusal === undefined
      if (!isSystemError(error) || isShortage) throw error
      this.#refusal = error
    }
  }

  /** If this fails, peers still reach the old FIFOs through the descriptors of this process. */
  #mend(wakeFifo: WakeFifo): void {
    try {
      this.#livenessFifo?.restore(this.#access)
      wakeFifo.restore(this.#access)
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
      this.#livenessFifo?.close()
      this.#place?.leave()
    }
  }

  /** Removes the names when the process exits. The descriptors stay open: peers must not be told of the end before it. */
  leave(): void {
    this.#wakeFifo?.unlink()
    this.#livenessFifo?.unlink()
    this.#place?.leave()
  }
}

function leaveAll(): void {
  for (const endpoints of endpointsByKey.values()) endpoints.leave()
}

/** A number that no thread had before: a pruner that is about to remove the FIFO of its last holder must not meet ours. */
function newThread(): { loopId: LoopId; thread: string } {
  for (;;) {
    const [low, high] = randomFillSync(new Int32Array(2))
    const thread = threadNameOf([low, high])
    if (thread !== undefined) return { loopId: [low, high], thread }
  }
}

/** One attachment's reference to the endpoints of its thread, which end with the last reference. */
export class EndpointsReference {
  readonly endpoints: ThreadEndpoints
  readonly #release: () => void
  #isReleased = false

  constructor(endpoints: ThreadEndpoints, release: () => void) {
    this.endpoints = endpoints
    this.#release = release
  }

  /** From the second time on it does nothing. */
  release(): void {
    if (this.#isReleased) return
    this.#isReleased = true
    this.#release()
  }

  /** Releases the reference also if the program forgets its owner. */
  belongTo(owner: object): void {
    forgotten.register(owner, this)
  }
}

const forgotten = new FinalizationRegistry<EndpointsReference>((reference) => reference.release())
