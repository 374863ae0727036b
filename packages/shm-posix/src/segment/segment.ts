import { randomBytes } from 'node:crypto'
import { closeSync, constants, fchmodSync, fstatSync, fsyncSync, lstatSync, openSync, type Stats } from 'node:fs'
import { threadId } from 'node:worker_threads'
import zlib from 'node:zlib'
import {
  AttachedRegion,
  assertHolds,
  assertReady,
  BOOT_ID_WORD,
  CHECKSUM_WORD,
  deadlineAfter,
  FLUSHED_WORD,
  type HeaderFacts,
  IsthmusError,
  IsthmusTypeError,
  type Layout,
  markReady,
  nowMs,
  PEERS_BYTE_OFFSET,
  PeerTable,
  planHeader,
  REGION_ID_WORD,
  RETIRED,
  type Sweep,
  slotOf,
  writeHeader,
} from '@isthmus/sync'
import { OfdLiveness } from '../liveness/ofd-liveness.js'
import { mapOwnDescription } from '../mapping/mapper.js'
import type { MapperName, Mapping } from '../mapping/mapping.js'
import { allocate, openAnonymousFile } from '../native/anonymous-file.js'
import { libc } from '../native/libc.js'
import { assertSupported } from '../native/support.js'
import { hasCode, SystemCallError } from '../native/system-error.js'
import { removeFifosIfGone } from '../waiting/fifo-removal.js'
import { FutexWaiter } from '../waiting/futex-waiter.js'
import { PeerEndpoints } from '../waiting/peer-endpoint.js'
import { SegmentWaiter } from '../waiting/segment-waiter.js'
import { type PresenceReference, ThreadPresence } from '../waiting/thread-presence.js'
import { currentBootId } from './boot-id.js'
import { assertLocksWork, existsError, makeDurable, openUnnamed } from './creation.js'
import { pauseMs, withHeaderLock } from './header-lock.js'
import { listSegments, type SegmentDescription } from './listing.js'
import { type Location, locate, type SegmentFile } from './location.js'
import { completeRemoval, type PruneOptions, pruneSegments, unlinkSegment } from './removal.js'
import { isStillNamed, openExisting, readFacts, readWholeHeader, retire, systemError } from './segment-file.js'

export interface AttachOptions {
  /** How the memory is mapped; the best way that works here if not given. Peers need not agree. */
  readonly mapper?: MapperName
  /** How long to wait for another peer that is just attaching or removing, in milliseconds; 2000 if not given. */
  readonly lockTimeoutMs?: number
}

export interface CreateOptions extends AttachOptions {
  /** Who may attach, as for any file; 0o600, this user alone, if not given. */
  readonly mode?: number
}

export interface OpenOptions extends AttachOptions {
  /**
   * For a file that was changed after its last flush when the machine went down: open it all the same, and keep what each
   * structure finds consistent.
   */
  readonly recover?: boolean
}

/** What another thread of this process needs to attach: to be sent with `postMessage` or `workerData`. */
export interface SegmentHandle {
  readonly isthmus: 'segment'
  readonly pid: number
  readonly path: string
  readonly segmentId: string
  readonly subject: string
  /** The directory of a segment file, where its peers find each other. */
  readonly directory: string
  readonly isFile: boolean
}

/** What an attachment stands on. */
interface Foothold {
  readonly fd: number
  readonly file: Stats
  readonly mapping: Mapping
  readonly presence: PresenceReference
}

const MODE_DEFAULT = 0o600
const LOCK_TIMEOUT_MS_DEFAULT = 2000
const MS_SYNC = 4
const FILE_FLAGS = constants.O_RDWR | constants.O_NONBLOCK

/** Descriptors of segments that nobody closed. */
const forgottenDescriptors = new FinalizationRegistry<number>((fd) => closeSync(fd))

/**
 * A region in memory that unrelated processes share: under a name (`/orders`, in /dev/shm), in a file
 * (`{ file: path }`, which survives a reboot), or without a name.
 *
 * Creating, opening and removing are safe against each other and against being killed anywhere: a segment appears whole
 * or not at all, there are never two in use under one name, and what isthmus did not make is never written to. Every
 * attachment has a peer slot that the kernel frees with its holder, so the others can prove its death.
 *
 * @example
 * ```ts
 * const segment = Segment.openOrCreate('/isthmus-example', orders)
 * try {
 *   segment.root.total.value += 1
 * } finally {
 *   segment.close()
 * }
 * Segment.unlink('/isthmus-example')
 * ```
 */
export class Segment<T> extends AttachedRegion<T> {
  /** How this attachment is mapped. */
  readonly mapper: MapperName
  readonly #mapping: Mapping
  readonly #fd: number
  readonly #presence: PresenceReference
  readonly #subject: string
  readonly #directory: string
  readonly #isFile: boolean
  readonly #endpoints: PeerEndpoints
  readonly #segmentId: string
  readonly #lockTimeoutMs: number
  #isBufferTaken = false

  /**
   * Makes a segment that does not exist yet.
   * @throws SystemCallError `EEXIST`; `ENOSPC` where memory or disk is full; `EACCES`
   * @throws IsthmusError `ERR_ISTHMUS_INVALID_NAME`; `ERR_ISTHMUS_INVALID_ARGUMENT` for an option, or what is no layout;
   * `ERR_ISTHMUS_UNSUPPORTED` on another system, or a file system without locks
   */
  static create<T>(where: string | SegmentFile, layout: Layout<T>, options: CreateOptions = {}): Segment<T> {
    assertSupported()
    const location = locate(where)
    const deadline = lockDeadline(options)
    for (;;) {
      try {
        return Segment.#createAt(location, layout, options)
      } catch (error) {
        const isLeftover = hasCode(error, 'EEXIST') && completeRemoval(location, deadline)
        if (!isLeftover) throw error
      }
    }
  }

  /**
   * Attaches to a segment that exists.
   * @throws SystemCallError `ENOENT`, `EACCES`
   * @throws IsthmusError `ERR_ISTHMUS_FOREIGN`, `ERR_ISTHMUS_VERSION`, `ERR_ISTHMUS_SIZE`, `ERR_ISTHMUS_CORRUPT`,
   * `ERR_ISTHMUS_LAYOUT_MISMATCH`: what stands there is something else, and stays as it is; `ERR_ISTHMUS_BUSY`;
   * `ERR_ISTHMUS_TOO_MANY_PEERS`; `ERR_ISTHMUS_UNCLEAN`: see OpenOptions.recover; and what create says of its arguments
   */
  static open<T>(where: string | SegmentFile, layout: Layout<T>, options: OpenOptions = {}): Segment<T> {
    assertSupported()
    const location = locate(where)
    const deadline = lockDeadline(options)
    for (;;) {
      const segment = Segment.#openAt(location, layout, options, deadline)
      if (segment !== undefined) return segment
      if (nowMs() > deadline) throw changingError(location.subject)
    }
  }

  /**
   * Attaches to a segment, and makes it if it does not exist. Of several that try at once, one makes it.
   * @throws as open and create, but for `ENOENT` and `EEXIST`
   */
  static openOrCreate<T>(
    where: string | SegmentFile,
    layout: Layout<T>,
    options: CreateOptions & OpenOptions = {},
  ): Segment<T> {
    const deadline = lockDeadline(options)
    for (;;) {
      try {
        return Segment.open(where, layout, options)
      } catch (error) {
        if (!hasCode(error, 'ENOENT')) throw error
      }
      try {
        return Segment.create(where, layout, options)
      } catch (error) {
        // Full, perhaps of the copies of others that are just creating the same. One of them gets there.
        const mayBeInPassing = hasCode(error, 'ENOSPC') && nowMs() < deadline
        if (mayBeInPassing) pauseMs(1 + Math.random() * 20)
        else if (!hasCode(error, 'EEXIST')) throw error
        else if (nowMs() >= deadline) throw changingError(locate(where).subject)
      }
    }
  }

  /**
   * Makes a segment without a name, for the threads of this process: `segment.handle` leads to it. It cannot be truncated.
   * @throws as create, but for `EEXIST`
   *
   * @example
   * ```ts
   * const segment = Segment.anonymous(orders)
   * // new Worker('./worker.js', { workerData: segment.handle }), and in the worker, with its workerData:
   * const sameSegment = Segment.attach(segment.handle, orders)
   * sameSegment.root.total.value = 12.5
   * segment.root.total.value // 12.5
   * sameSegment.close()
   * segment.close()
   * ```
   */
  static anonymous<T>(layout: Layout<T>, options: AttachOptions = {}): Segment<T> {
    assertSupported()
    const plan = planHeader(layout)
    const fd = openAnonymousFile(plan.byteLength)
    const location = { path: '', directory: '', subject: 'an anonymous segment', isFile: false }
    return closingOnError(fd, () => Segment.#initialize(fd, location, layout, options))
  }

  /**
   * Attaches this thread to a segment of another thread of the same process, also when its name is gone.
   * @throws IsthmusTypeError `ERR_ISTHMUS_INVALID_ARGUMENT` for what is no handle, or one of another process
   * @throws IsthmusError `ERR_ISTHMUS_CLOSED` where the attachment that gave the handle is closed;
   * `ERR_ISTHMUS_LAYOUT_MISMATCH`, `ERR_ISTHMUS_BUSY`, `ERR_ISTHMUS_TOO_MANY_PEERS`
   */
  static attach<T>(handle: SegmentHandle, layout: Layout<T>, options: AttachOptions = {}): Segment<T> {
    assertSupported()
    if (handle?.isthmus !== 'segment' || handle.pid !== process.pid) {
      throw new IsthmusTypeError(
        'ERR_ISTHMUS_INVALID_ARGUMENT',
        'Attaching to a segment: this is not the handle of a segment of this process. Between processes, use its name.',
      )
    }
    const closed = (cause?: unknown) =>
      new IsthmusError(
        'ERR_ISTHMUS_CLOSED',
        `Attaching to ${handle.subject}: the attachment that gave this handle is closed. Close it after the others have attached.`,
        { cause },
      )
    let fd: number
    try {
      fd = openSync(handle.path, FILE_FLAGS)
    } catch (error) {
      if (!hasCode(error, 'EMFILE', 'ENFILE', 'EACCES')) throw closed(error)
      throw systemError(
        error,
        `Attaching to ${handle.subject}: its file cannot be opened once more. Allow more descriptors (ulimit -n); where the process has changed its user, attach before that.`,
      )
    }
    return closingOnError(fd, () => {
      let facts: HeaderFacts
      try {
        facts = readFacts(fd, handle.subject)
      } catch (error) {
        throw closed(error)
      }
      if (facts.regionId !== handle.segmentId) throw closed()
      assertHolds(layout, handle.subject, readWholeHeader(fd, facts), facts)
      const { subject, directory, isFile } = handle
      const location = { path: '', directory, subject, isFile }
      return withHeaderLock(fd, handle.subject, lockDeadline(options), () => {
        return Segment.#join(fd, location, layout, facts, options)
      })
    })
  }

  static #createAt<T>(location: Location, layout: Layout<T>, options: CreateOptions): Segment<T> {
    const plan = planHeader(layout)
    // Before memory is taken for a second copy, for which there may be no room.
    if (lstatSync(location.path, { bigint: true, throwIfNoEntry: false }) !== undefined) throw existsError(location)
    const mode = options.mode ?? MODE_DEFAULT
    const unnamed = openUnnamed(location, mode)
    let segment: Segment<T> | undefined
    try {
      const { fd } = unnamed
      allocate(fd, plan.byteLength, location.subject)
      fchmodSync(fd, mode)
      assertLocksWork(fd, fstatSync(fd).dev, location.subject)
      segment = Segment.#initialize(fd, location, layout, options)
      if (location.isFile) makeDurable(fd)
      unnamed.publish()
      forgottenDescriptors.register(segment, fd, segment)
      return segment
    } catch (error) {
      if (segment === undefined) closeSync(unnamed.fd)
      else segment.#letGo()
      unnamed.discard()
      throw error
    }
  }

  /** Maps and fills a file that nobody else can reach. */
  static #initialize<T>(fd: number, location: Location, layout: Layout<T>, options: AttachOptions): Segment<T> {
    const plan = planHeader(layout)
    const segmentId = randomBytes(8)
    const mapping = mapOwnDescription(fd, plan.byteLength, options.mapper)
    return Segment.#mapped(fd, mapping, location, (foothold) => {
      const id = segmentId.toString('hex')
      const segment = new Segment(foothold, location, layout, plan.rootByteOffset, id, options)
      writeHeader(segment.words, segment.bytes, plan, layout)
      segment.bytes.set(segmentId, REGION_ID_WORD * 4)
      segment.#writeBootId()
      segment.#claimSlot()
      layout.initialize(segment, plan.rootByteOffset)
      markReady(segment.words)
      return segment
    })
  }

  /** Returns undefined where the segment was removed meanwhile: look again. */
  static #openAt<T>(
    location: Location,
    layout: Layout<T>,
    options: OpenOptions,
    deadline: number,
  ): Segment<T> | undefined {
    const fd = openExisting(location)
    return closingOnError(fd, () => {
      const { subject, path } = location
      const facts = readFacts(fd, subject)
      if (facts.state !== RETIRED) {
        assertReady(subject, facts)
        assertHolds(layout, subject, readWholeHeader(fd, facts), facts)
      }
      return withHeaderLock(fd, subject, deadline, () => {
        if (!isStillNamed(fd, path)) return undefined
        // Once more: it may have been removed meanwhile, or recovered after a boot.
        const lockedFacts = readFacts(fd, subject)
        if (lockedFacts.state === RETIRED) {
          retire(fd, path)
          return undefined
        }
        return Segment.#join(fd, location, layout, lockedFacts, options)
      })
    })
  }

  /** For the holder of the header lock: maps the segment and takes a peer slot. */
  static #join<T>(
    fd: number,
    location: Location,
    layout: Layout<T>,
    facts: HeaderFacts,
    options: OpenOptions,
  ): Segment<T> {
    const mapping = mapOwnDescription(fd, facts.byteLength, options.mapper)
    return Segment.#mapped(fd, mapping, location, (foothold) => {
      const segment = new Segment(foothold, location, layout, facts.rootByteOffset, facts.regionId, options)
      if (location.isFile && facts.bootId !== currentBootId() && !segment.#hasLivePeer()) {
        segment.#recoverAfterBoot(options.recover === true)
      }
      segment.#claimSlot()
      return segment
    })
  }

  /** Where no segment comes about, the file's memory is let go, and so is the thread's presence in it. */
  static #mapped<T>(
    fd: number,
    mapping: Mapping,
    location: Location,
    build: (foothold: Foothold) => Segment<T>,
  ): Segment<T> {
    let presence: PresenceReference | undefined
    try {
      const file = fstatSync(fd)
      presence = ThreadPresence.acquire(location, file)
      const segment = build({ fd, file, mapping, presence })
      presence.belongTo(segment)
      return segment
    } catch (error) {
      presence?.release()
      mapping.unmap()
      throw error
    }
  }

  /**
   * Takes the name away: peers that are attached keep their memory, and whoever opens the name next finds none.
   * @throws SystemCallError `ENOENT`, `EACCES`
   * @throws IsthmusError `ERR_ISTHMUS_FOREIGN`: it was not made by isthmus, and stays; `ERR_ISTHMUS_BUSY`
   */
  static unlink(where: string | SegmentFile, options: AttachOptions = {}): void {
    assertSupported()
    unlinkSegment(locate(where), lockDeadline(options))
  }

  /** The named segments of this machine that may be read, with their peers. Those of others are left out. */
  static list(): SegmentDescription[] {
    assertSupported()
    return listSegments()
  }

  /**
   * Removes the named segments whose peers are all proven dead or gone, and in which nothing waits to be delivered. What it
   * may not remove stays, without an error.
   * @returns the names of those it removed
   *
   * @example
   * ```ts
   * Segment.create('/isthmus-example', orders).close()
   * Segment.list().some(({ name }) => name === '/isthmus-example') // true
   * Segment.prune({ prefix: '/isthmus-example' }).length // 1
   * ```
   */
  static prune(options: PruneOptions = {}): string[] {
    assertSupported()
    return pruneSegments(options)
  }

  private constructor(
    { fd, file, mapping, presence }: Foothold,
    location: Location,
    layout: Layout<T>,
    rootByteOffset: number,
    segmentId: string,
    options: AttachOptions,
  ) {
    const peers = new PeerTable(mapping.words, PEERS_BYTE_OFFSET, new OfdLiveness(fd))
    const { subject, directory, isFile } = location
    const key = Number.parseInt(segmentId.slice(0, 8), 16) | 0
    const segment = { subject, directory, isFile, file, key }
    const waiter = new SegmentWaiter(new FutexWaiter(mapping.address), peers, presence.presence, segment)
    super({ subject, memory: mapping, waiter, peers }, layout, rootByteOffset)
    this.mapper = mapping.mapper
    this.#mapping = mapping
    this.#fd = fd
    this.#presence = presence
    this.#subject = subject
    this.#directory = directory
    this.#isFile = isFile
    this.#endpoints = new PeerEndpoints(peers, segment)
    this.#segmentId = segmentId
    this.#lockTimeoutMs = options.lockTimeoutMs ?? LOCK_TIMEOUT_MS_DEFAULT
  }

  /** What attaches other threads of this process; see Segment.attach. */
  get handle(): SegmentHandle {
    this.#assertOpen('Making a handle')
    const path = `/proc/self/fd/${this.#fd}`
    return {
      isthmus: 'segment',
      pid: process.pid,
      path,
      segmentId: this.#segmentId,
      subject: this.#subject,
      directory: this.#isFile ? this.#directory : '',
      isFile: this.#isFile,
    }
  }

  /**
   * The memory itself: a SharedArrayBuffer, with the view mapper an ArrayBuffer. Once it was asked for, `close` leaves it
   * in place until nobody has it any more, since it may have been posted to other threads.
   */
  get buffer(): ArrayBufferLike {
    this.#assertOpen('Taking the buffer')
    this.#isBufferTaken = true
    return this.words.buffer
  }

  /**
   * Makes the present state of a segment file durable: after a crash of the machine it is trusted if nothing was changed
   * after its last flush. The last peer that closes a segment file flushes it. For a segment in memory it does nothing.
   * @throws SystemCallError `EIO` and others, where the disk fails
   * @throws IsthmusError `ERR_ISTHMUS_BUSY` where somebody else flushes, opens or closes it until `lockTimeoutMs` is over
   */
  flush(): void {
    this.#assertOpen('Flushing')
    if (!this.#isFile) return
    // Of two that flush at once, the checksum of the first must not come last. Most of the work is done before.
    this.#writeBack()
    withHeaderLock(this.#fd, this.#subject, nowMs() + this.#lockTimeoutMs, () => this.#flushFile())
  }

  protected override detach(): void {
    try {
      if (this.#isFile) this.#leaveFile()
    } finally {
      this.#letGo()
    }
  }

  /** Then the machine is still up, whatever the boot id says: some containers have one of their own. */
  #hasLivePeer(): boolean {
    return this.peerTable.list().some(({ isDead }) => !isDead)
  }

  #isLastPeer(): boolean {
    const { self } = this.peerTable
    return !this.peerTable.list().some(({ peer, isDead }) => peer !== self && !isDead)
  }

  /**
   * The last one flushes. Everyone looks under the lock, and lets go of its slot under it: of two that close at once, the
   * second one finds itself alone. Most of the work is done before, since nobody else can open or close meanwhile.
   */
  #leaveFile(): void {
    if (this.#isLastPeer()) this.#writeBack()
    withHeaderLock(this.#fd, this.#subject, nowMs() + this.#lockTimeoutMs, () => {
      if (this.#isLastPeer()) this.#flushFile()
      this.peerTable.release()
    })
  }

  #claimSlot(): void {
    const { loopId, address } = this.#presence.presence
    this.peerTable.claim({ pid: process.pid, threadId, loopId, address }, this.#sweepSlot)
  }

  /** With what the slot's last holder left outside of the segment. */
  readonly #sweepSlot: Sweep = (deadPeer) => {
    this.sweep(deadPeer)
    const thread = this.#endpoints.at(slotOf(deadPeer))
    if (thread !== undefined) removeFifosIfGone(thread)
  }

  #letGo(): void {
    forgottenDescriptors.unregister(this)
    try {
      if (this.peerTable.isAttached) this.peerTable.release()
      if (!this.#isBufferTaken) this.#mapping.unmap()
    } finally {
      closeSync(this.#fd)
      // The slot goes first: nobody is to find a peer in it that cannot be reached any more.
      this.#presence.release()
    }
  }

  /** The first one after a start of the machine. All peers are dead; what is in the file is what reached the disk. */
  #recoverAfterBoot(isForced: boolean): void {
    const isClean = this.words[FLUSHED_WORD] !== 0 && this.words[CHECKSUM_WORD] === this.#checksum()
    if (!isClean && !isForced) {
      throw new IsthmusError(
        'ERR_ISTHMUS_UNCLEAN',
        `Opening ${this.#subject}: it was changed after its last flush, and then the machine went down. ` +
          'Open it with { recover: true } to keep what is consistent, or remove it.',
      )
    }
    // From here on a clean one is a segment whose peers have died, as any other. Killed while we sweep, we leave the rest
    // to those who take the slots; the checksum, which knows nothing of a sweep, is not asked again.
    if (isClean) this.#writeBootId()
    this.peerTable.sweepDead(this.#sweepSlot)
    if (isClean) return
    // Killed on the way, we leave the old boot id, and the next one begins again.
    this.layout.recover?.(this, this.rootByteOffset)
    this.#writeBootId()
  }

  #flushFile(): void {
    this.words[FLUSHED_WORD]++
    this.words[CHECKSUM_WORD] = this.#checksum()
    this.#writeBack()
  }

  /** Brings every changed page to the disk. */
  #writeBack(): void {
    const c = libc()
    const isSynced = c.msync(this.#mapping.address, this.words.byteLength, MS_SYNC) === 0
    if (!isSynced) throw new SystemCallError({ errno: c.errno(), syscall: 'msync' }, `flushing ${this.#subject}`)
    fsyncSync(this.#fd)
  }

  /** Of everything but the header. */
  #checksum(): number {
    return zlib.crc32(this.bytes.subarray(this.rootByteOffset)) | 0
  }

  #writeBootId(): void {
    this.bytes.set(Buffer.from(currentBootId(), 'hex'), BOOT_ID_WORD * 4)
  }

  #assertOpen(attempt: string): void {
    if (!this.isClosed) return
    throw new IsthmusError('ERR_ISTHMUS_CLOSED', `${attempt} of ${this.#subject}: it was closed before. Open it again.`)
  }
}

function lockDeadline(options: AttachOptions): number {
  return deadlineAfter(options.lockTimeoutMs ?? LOCK_TIMEOUT_MS_DEFAULT, 'lockTimeoutMs')
}

/** Closes the descriptor, unless the action makes a segment, which then owns it. */
function closingOnError<T>(fd: number, action: () => Segment<T>): Segment<T>
function closingOnError<T>(fd: number, action: () => Segment<T> | undefined): Segment<T> | undefined
function closingOnError<T>(fd: number, action: () => Segment<T> | undefined): Segment<T> | undefined {
  let segment: Segment<T> | undefined
  try {
    segment = action()
    if (segment !== undefined) forgottenDescriptors.register(segment, fd, segment)
    return segment
  } finally {
    if (segment === undefined) closeSync(fd)
  }
}

function changingError(subject: string): IsthmusError {
  return new IsthmusError(
    'ERR_ISTHMUS_BUSY',
    `Opening ${subject}: until the deadline, its name led to another file each time. Either something keeps creating and removing it, or its file system does not keep inode numbers.`,
  )
}
