import { randomBytes } from 'node:crypto'
import { closeSync, constants, fstatSync, openSync, type Stats } from 'node:fs'
import { inspect } from 'node:util'
import { threadId } from 'node:worker_threads'
import { IsthmusError, IsthmusTypeError, type Layout } from '@isthmus/sync'
import {
  AttachedRegion,
  assertHolds,
  assertLayout,
  assertReady,
  BOOT_ID_WORD,
  type HeaderFacts,
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
} from '@isthmus/sync/internal'
import { OfdLiveness } from '../liveness/ofd-liveness.js'
import { mapOwnDescription } from '../mapping/mapper.js'
import type { MapperName, Mapping } from '../mapping/mapping.js'
import { allocate, openAnonymousFile } from '../native/anonymous-file.js'
import { explained } from '../native/explanation.js'
import { avoidCopyOnWrite } from '../native/no-copy-on-write.js'
import { assertSupported } from '../native/support.js'
import { hasCode } from '../native/system-error.js'
import { removeFifosIfGone } from '../thread/fifo-removal.js'
import { PeerEndpoints } from '../thread/peer-endpoint.js'
import { type EndpointsReference, ThreadEndpoints } from '../thread/thread-endpoints.js'
import { FutexWaiter } from '../waiting/futex-waiter.js'
import { SegmentWaiter } from '../waiting/segment-waiter.js'
import { bootIdIfKnown, currentBootId } from './boot-id.js'
import { assertLocksWork, assertNameIsFree, makeDurable, openUnnamed, setMode } from './creation.js'
import { FileImage } from './file-image.js'
import { HeaderLockDeadline, isHeaderLocked, type LockedFile, pauseMs, withHeaderLock } from './header-lock.js'
import { listSegments, type SegmentDescription } from './listing.js'
import { type Location, locate, type SegmentFile } from './location.js'
import {
  type AttachOptions,
  assertOptions,
  type CheckedOptions,
  type CreateOptions,
  checkOptions,
  checkPruneOptions,
  type OpenOptions,
  type PruneOptions,
  type UnlinkOptions,
} from './options.js'
import { assertOwnerIsTrusted } from './owner.js'
import { explainingDenials } from './permission-model.js'
import { completeRemoval, pruneSegments, retireAgain, unlinkSegment } from './removal.js'
import { isStillNamed, openExisting, readFacts, readWholeHeader } from './segment-file.js'

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
interface OpenedFile {
  readonly fd: number
  readonly file: Stats
  readonly mapping: Mapping
  readonly presence: EndpointsReference
}

const BOOT_ID_WORDS = 4
const ANONYMOUS: Location = { path: '', directory: '', subject: 'an anonymous segment', isFile: false }
/** How often a checksum is computed again, outside of the lock, because somebody has attached and gone meanwhile. */
const READINGS_MAX = 4
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
  readonly #presence: EndpointsReference
  readonly #directory: string
  readonly #file: LockedFile
  readonly #image: FileImage
  readonly #isFile: boolean
  readonly #endpoints: PeerEndpoints
  readonly #segmentId: string
  readonly #lockTimeoutMs: number | undefined
  #isBufferTaken = false

  /**
   * Makes a segment that does not exist yet.
   * @throws SystemCallError `EEXIST`; `ENOSPC` where memory or disk is full; `EACCES`
   * @throws IsthmusError `ERR_ISTHMUS_INVALID_NAME`; `ERR_ISTHMUS_INVALID_ARGUMENT` for an option, or what is no layout;
   * `ERR_ISTHMUS_UNSUPPORTED` on another system, or a file system without locks
   */
  static create<T>(where: string | SegmentFile, layout: Layout<T>, options: CreateOptions = {}): Segment<T> {
    const { location, checked } = prepare('Creating a segment', where, layout, options)
    return explainingDenials(`Creating ${location.subject}`, () => Segment.#create(location, layout, checked))
  }

  /**
   * Attaches to a segment that exists.
   * @throws SystemCallError `ENOENT`, `EACCES`
   * @throws IsthmusError `ERR_ISTHMUS_FOREIGN`, `ERR_ISTHMUS_VERSION`, `ERR_ISTHMUS_SIZE`, `ERR_ISTHMUS_CORRUPT`,
   * `ERR_ISTHMUS_LAYOUT_MISMATCH`: what stands there is something else, and stays as it is; `ERR_ISTHMUS_FOREIGN_OWNER`:
   * see OpenOptions.owner; `ERR_ISTHMUS_BUSY`; `ERR_ISTHMUS_TOO_MANY_PEERS`; `ERR_ISTHMUS_UNCLEAN`: see
   * OpenOptions.recover; and what create says of its arguments
   */
  static open<T>(where: string | SegmentFile, layout: Layout<T>, options: OpenOptions = {}): Segment<T> {
    const { location, checked } = prepare('Opening a segment', where, layout, options)
    return explainingDenials(`Opening ${location.subject}`, () => Segment.#open(location, layout, checked))
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
    const { location, checked } = prepare('Opening or creating a segment', where, layout, options)
    return explainingDenials(`Opening or creating ${location.subject}`, () =>
      Segment.#openOrCreate(location, layout, checked),
    )
  }

  /**
   * Makes a segment without a name, for the threads of this process: `segment.handle` leads to it. It cannot be truncated.
   * @throws as create, but for `EEXIST`
   *
   * @example
   * ```ts
   * const segment = Segment.createAnonymous(orders)
   * // new Worker('./worker.js', { workerData: segment.handle }), and in the worker, with its workerData:
   * const sameSegment = Segment.attach(segment.handle, orders)
   * sameSegment.root.total.value = 12.5
   * segment.root.total.value // 12.5
   * sameSegment.close()
   * segment.close()
   * ```
   */
  static createAnonymous<T>(layout: Layout<T>, options: AttachOptions = {}): Segment<T> {
    const attempt = 'Making an anonymous segment'
    assertSupported()
    assertLayout(layout, attempt)
    const checked = checkOptions(options, attempt)
    return explainingDenials(attempt, () => {
      const fd = openAnonymousFile(planHeader(layout).byteLength)
      return owningDescriptor(fd, () => Segment.#initialize(fd, ANONYMOUS, layout, checked))
    })
  }

  /**
   * Attaches this thread to a segment of another thread of the same process, also when its name is gone.
   * @throws IsthmusTypeError `ERR_ISTHMUS_INVALID_ARGUMENT` for what is no handle, or one of another process
   * @throws IsthmusError `ERR_ISTHMUS_CLOSED` where the attachment that gave the handle is closed;
   * `ERR_ISTHMUS_LAYOUT_MISMATCH`, `ERR_ISTHMUS_BUSY`, `ERR_ISTHMUS_TOO_MANY_PEERS`
   */
  static attach<T>(handle: SegmentHandle, layout: Layout<T>, options: AttachOptions = {}): Segment<T> {
    const attempt = 'Attaching to a segment'
    assertSupported()
    assertHandle(handle)
    assertLayout(layout, attempt)
    const checked = checkOptions(options, attempt)
    return explainingDenials(`Attaching to ${handle.subject}`, () => Segment.#attach(handle, layout, checked))
  }

  /**
   * Takes the name away: peers that are attached keep their memory, and whoever opens the name next finds none. It maps
   * nothing, so whose segment it is does not matter: it removes what the file system lets this user remove, if this user
   * may also read and write it; root removes any.
   * @throws SystemCallError `ENOENT`, `EACCES`, `EPERM`
   * @throws IsthmusError `ERR_ISTHMUS_FOREIGN`: it was not made by isthmus, and stays; `ERR_ISTHMUS_BUSY`
   */
  static unlink(where: string | SegmentFile, options: UnlinkOptions = {}): void {
    const attempt = 'Removing a segment'
    assertSupported()
    const location = locate(where)
    assertOptions(options, attempt)
    const patience = new HeaderLockDeadline(options.lockTimeoutMs)
    explainingDenials(`Removing ${location.subject}`, () => unlinkSegment(location, patience))
  }

  /**
   * The named segments of this machine that may be read, with their peers, whoever owns them. Those that may not be read
   * are left out.
   * @throws SystemCallError where /dev/shm cannot be read; `EMFILE`
   */
  static list(...unexpected: never[]): SegmentDescription[] {
    const attempt = 'Listing segments'
    assertSupported()
    if (unexpected.some((argument) => argument !== undefined)) {
      throw new IsthmusTypeError(
        'ERR_ISTHMUS_INVALID_ARGUMENT',
        `${attempt}: got ${inspect(unexpected[0])}. It takes no argument and lists all of them: filter what it returns.`,
      )
    }
    return explainingDenials(attempt, listSegments)
  }

  /**
   * Removes the named segments whose peers are all proven dead or gone, and in which nothing waits to be delivered. What it
   * may not remove stays, without an error.
   * @returns the names of those it removed
   * @throws SystemCallError where /dev/shm cannot be read; `EMFILE`
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
    const checked = checkPruneOptions(options)
    return explainingDenials('Pruning segments', () => pruneSegments(checked))
  }

  static #create<T>(location: Location, layout: Layout<T>, options: CheckedOptions): Segment<T> {
    for (;;) {
      try {
        return Segment.#createAt(location, layout, options)
      } catch (error) {
        const isLeftover = hasCode(error, 'EEXIST') && completeRemoval(location, options.owner, options.patience)
        if (!isLeftover) throw error
      }
    }
  }

  static #createAt<T>(location: Location, layout: Layout<T>, options: CheckedOptions): Segment<T> {
    const { byteLength } = planHeader(layout)
    assertNameIsFree(location)
    const unnamed = openUnnamed(location, options.mode)
    let segment: Segment<T> | undefined
    try {
      const { fd } = unnamed
      if (location.isFile) avoidCopyOnWrite(fd)
      allocate(fd, byteLength, location.subject)
      setMode(fd, options.mode, location.subject)
      assertLocksWork(fd, fstatSync(fd).dev, location.subject)
      segment = Segment.#initialize(fd, location, layout, options)
      if (location.isFile) makeDurable(fd, location.subject)
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
  static #initialize<T>(fd: number, location: Location, layout: Layout<T>, options: CheckedOptions): Segment<T> {
    const plan = planHeader(layout)
    const segmentId = randomBytes(8)
    const bootId = location.isFile ? currentBootId() : bootIdIfKnown()
    const mapping = mapOwnDescription(fd, plan.byteLength, options.mapper)
    return Segment.#mapped(fd, mapping, location, (foothold) => {
      const id = segmentId.toString('hex')
      const segment = new Segment(foothold, location, layout, plan.rootByteOffset, id, options)
      // Not segment.bytes, which are made when the program first asks for them.
      const header = new Uint8Array(segment.words.buffer, segment.words.byteOffset, plan.rootByteOffset)
      writeHeader(segment.words, header, plan, layout)
      header.set(segmentId, REGION_ID_WORD * 4)
      if (bootId !== undefined) segment.#writeBootId(bootId)
      segment.#claimSlot()
      layout.initialize(segment, plan.rootByteOffset)
      markReady(segment.words)
      return segment
    })
  }

  static #openOrCreate<T>(location: Location, layout: Layout<T>, options: CheckedOptions): Segment<T> {
    const { deadline } = options.patience
    for (;;) {
      try {
        return Segment.#open(location, layout, options)
      } catch (error) {
        if (!hasCode(error, 'ENOENT')) throw error
      }
      try {
        return Segment.#create(location, layout, options)
      } catch (error) {
        // Full, perhaps of the copies of others that are just creating the same. One of them gets there.
        const mayBeInPassing = hasCode(error, 'ENOSPC') && nowMs() < deadline
        if (mayBeInPassing) pauseMs(1 + Math.random() * 20)
        else if (!hasCode(error, 'EEXIST')) throw error
        else if (nowMs() >= deadline) throw changingError(location.subject)
      }
    }
  }

  static #open<T>(location: Location, layout: Layout<T>, options: CheckedOptions): Segment<T> {
    for (;;) {
      const segment = Segment.#openAt(location, layout, options)
      if (segment !== undefined) return segment
      if (nowMs() > options.patience.deadline) throw changingError(location.subject)
    }
  }

  /** Returns undefined where the segment was removed meanwhile: look again. */
  static #openAt<T>(location: Location, layout: Layout<T>, options: CheckedOptions): Segment<T> | undefined {
    const { path, subject } = location
    const fd = openExisting(location)
    const segment = owningDescriptor(fd, () => {
      assertOwnerIsTrusted(fd, subject, options.owner)
      const facts = readFacts(fd, subject)
      if (facts.state === RETIRED) {
        retireAgain(fd, location, options.patience)
        return undefined
      }
      assertReady(subject, facts)
      return Segment.#map(fd, location, layout, facts, options)
    })
    if (segment === undefined) return undefined
    return segment.#join(options, () => isStillNamed(fd, path) && readFacts(fd, subject).state !== RETIRED)
  }

  static #attach<T>(handle: SegmentHandle, layout: Layout<T>, options: CheckedOptions): Segment<T> {
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
      if (!hasCode(error, 'EMFILE', 'ENFILE', 'EACCES', 'ERR_ACCESS_DENIED')) throw closed(error)
      throw explained(
        error,
        `Attaching to ${handle.subject}: its file cannot be opened once more. Allow more descriptors (ulimit -n); where the process has changed its user, or the mode of the file was changed, attach before that.`,
      )
    }
    const segment = owningDescriptor(fd, () => {
      let facts: HeaderFacts
      try {
        facts = readFacts(fd, handle.subject)
      } catch (error) {
        throw closed(error)
      }
      // The descriptor's number may be that of another file by now.
      if (facts.regionId !== handle.segmentId) throw closed()
      return Segment.#map(fd, handle, layout, facts, options)
    })
    return segment.#join(options, () => true) as Segment<T>
  }

  /** Everything that takes long, before the header lock is asked for. */
  static #map<T>(
    fd: number,
    location: Location,
    layout: Layout<T>,
    facts: HeaderFacts,
    options: CheckedOptions,
  ): Segment<T> {
    assertHolds(layout, location.subject, readWholeHeader(fd, location.subject, facts), facts)
    const mapping = mapOwnDescription(fd, facts.byteLength, options.mapper)
    return Segment.#mapped(
      fd,
      mapping,
      location,
      (foothold) => new Segment(foothold, location, layout, facts.rootByteOffset, facts.regionId, options),
    )
  }

  /** Where no segment comes about, the file's memory is let go, and so is the thread's presence in it. */
  static #mapped<T>(
    fd: number,
    mapping: Mapping,
    location: Location,
    build: (foothold: OpenedFile) => Segment<T>,
  ): Segment<T> {
    let presence: EndpointsReference | undefined
    try {
      const file = fstatSync(fd)
      presence = ThreadEndpoints.acquire(location, file)
      const segment = build({ fd, file, mapping, presence })
      presence.belongTo(segment)
      return segment
    } catch (error) {
      presence?.release()
      mapping.unmap()
      throw error
    }
  }

  private constructor(
    { fd, file, mapping, presence }: OpenedFile,
    location: Location,
    layout: Layout<T>,
    rootByteOffset: number,
    segmentId: string,
    options: CheckedOptions,
  ) {
    const peers = new PeerTable(mapping.words, PEERS_BYTE_OFFSET, new OfdLiveness(fd))
    const { subject, directory, isFile } = location
    const key = Number.parseInt(segmentId.slice(0, 8), 16) | 0
    const segment = { subject, directory, isFile, file, key }
    const futex = new FutexWaiter(mapping.address)
    const waiter = new SegmentWaiter(futex, peers, presence.endpoints, segment)
    super({ subject, memory: mapping, waiter, peers }, layout, rootByteOffset)
    this.mapper = mapping.mapper
    this.#mapping = mapping
    this.#presence = presence
    this.#directory = directory
    this.#isFile = isFile
    this.#endpoints = new PeerEndpoints(peers, segment)
    this.#segmentId = segmentId
    this.#lockTimeoutMs = options.lockTimeoutMs
    this.#file = { fd, subject, memory: { words: mapping.words, futex } }
    this.#image = new FileImage(fd, subject, mapping, rootByteOffset)
  }

  /** What attaches other threads of this process; see Segment.attach. */
  get handle(): SegmentHandle {
    this.#assertOpen('Making a handle')
    const path = `/proc/self/fd/${this.#file.fd}`
    return {
      isthmus: 'segment',
      pid: process.pid,
      path,
      segmentId: this.#segmentId,
      subject: this.#file.subject,
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
   * @throws IsthmusError `ERR_ISTHMUS_BUSY` where one other peer attaches or closes for longer than `lockTimeoutMs`
   */
  flush(): void {
    this.#assertOpen('Flushing')
    if (!this.#isFile) return
    const image = this.#image
    const reading = image.read()
    image.writeBack()
    withHeaderLock(this.#file, 'flushing', new HeaderLockDeadline(this.#lockTimeoutMs), () => image.store(reading))
    image.writeBackHeader()
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
   * second one finds itself alone. The flush itself is made before, outside of the lock; where somebody was there meanwhile
   * and has gone, it is made again.
   */
  #leaveFile(): void {
    const image = this.#image
    const patience = new HeaderLockDeadline(this.#lockTimeoutMs)
    let outcome: 'changed' | 'left' | 'flushed' | 'flushed under the lock' = 'changed'
    for (let readings = 1; outcome === 'changed'; readings++) {
      // Before the look at the others: who comes after it is counted.
      const { attachments } = image
      const reading = this.#isLastPeer() ? image.read() : undefined
      if (reading !== undefined) image.writeBack()
      outcome = withHeaderLock(this.#file, 'closing', patience, (note) => {
        const isLast = this.#isLastPeer()
        const isFresh = reading !== undefined && image.attachments === attachments
        if (isLast && !isFresh && readings < READINGS_MAX) return 'changed'
        if (isLast) image.store(isFresh ? reading : image.read(() => note('flushing')))
        this.peerTable.release()
        if (!isLast) return 'left'
        return isFresh ? 'flushed' : 'flushed under the lock'
      })
    }
    if (outcome === 'flushed') image.writeBackHeader()
    if (outcome === 'flushed under the lock') image.writeBack()
  }

  /**
   * Takes a slot. Returns undefined, and lets everything go, where the segment is not there any more: it was removed since
   * it was opened.
   */
  #join(options: CheckedOptions, isStillThere: () => boolean): Segment<T> | undefined {
    const image = this.#image
    let outcome: 'attached' | 'gone' | 'changed' | undefined
    try {
      for (let readings = 1; outcome !== 'attached'; readings++) {
        const { attachments } = image
        const checksum = this.#isOfAnotherBoot() ? image.checksum() : undefined
        const isUnclean = checksum !== undefined && !image.isClean(checksum) && !options.recover
        const isBeingRecovered = () => isHeaderLocked(this.#file) || image.attachments !== attachments
        if (isUnclean && isStillThere() && !isBeingRecovered() && this.#isOfAnotherBoot()) {
          // Without the lock, which would leave its traces: what is refused stays as it is.
          throw uncleanError(this.#file.subject)
        }
        outcome = withHeaderLock(this.#file, 'attaching', options.patience, (note) => {
          if (!isStillThere()) return 'gone'
          if (this.#isOfAnotherBoot()) {
            const isFresh = checksum !== undefined && image.attachments === attachments
            if (!isFresh && readings < READINGS_MAX) return 'changed'
            const isClean = image.isClean(isFresh ? checksum : image.checksum(() => note('checking')))
            if (!isClean && !options.recover) throw uncleanError(this.#file.subject)
            note('recovering')
            this.#recoverAfterBoot(isClean)
          } else {
            image.noteAttachment()
          }
          this.#claimSlot()
          return 'attached'
        })
        if (outcome === 'gone') return undefined
      }
      return this
    } finally {
      if (outcome !== 'attached') this.#letGo()
    }
  }

  #claimSlot(): void {
    const { loopId, address } = this.#presence.endpoints
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
      closeSync(this.#file.fd)
      // The slot goes first: nobody is to find a peer in it that cannot be reached any more.
      this.#presence.release()
    }
  }

  /** Nobody has opened this file since the machine was started. All its peers are dead then. */
  #isOfAnotherBoot(): boolean {
    return this.#isFile && this.#bootId() !== currentBootId() && !this.#hasLivePeer()
  }

  /** The first one after a start of the machine, under the lock: what is in the file is what reached the disk. */
  #recoverAfterBoot(isClean: boolean): void {
    this.#image.noteAttachment()
    // From here on a clean one is a segment whose peers have died, as any other. Killed while we sweep, we leave the rest
    // to those who take the slots; the checksum, which knows nothing of a sweep, is not asked again.
    if (isClean) this.#writeBootId(currentBootId())
    this.peerTable.sweepDead(this.#sweepSlot)
    if (isClean) return
    // Killed on the way, we leave the old boot id, and the next one begins again.
    this.layout.recover?.(this, this.rootByteOffset)
    this.#writeBootId(currentBootId())
  }

  #bootId(): string {
    return Buffer.from(this.words.slice(BOOT_ID_WORD, BOOT_ID_WORD + BOOT_ID_WORDS).buffer).toString('hex')
  }

  #writeBootId(bootId: string): void {
    this.words.set(new Int32Array(new Uint8Array(Buffer.from(bootId, 'hex')).buffer), BOOT_ID_WORD)
  }

  #assertOpen(attempt: string): void {
    if (!this.isClosed) return
    throw new IsthmusError(
      'ERR_ISTHMUS_CLOSED',
      `${attempt} of ${this.#file.subject}: it was closed before. Open it again.`,
    )
  }
}

/** Checks what all ways to a named segment or a file are given, before anything is done. */
function prepare(
  attempt: string,
  where: string | SegmentFile,
  layout: Layout<unknown>,
  options: CreateOptions & OpenOptions,
): { location: Location; checked: CheckedOptions } {
  assertSupported()
  const location = locate(where)
  assertLayout(layout, attempt)
  return { location, checked: checkOptions(options, attempt) }
}

function assertHandle(handle: SegmentHandle): void {
  const isHandle =
    handle?.isthmus === 'segment' &&
    handle.pid === process.pid &&
    typeof handle.path === 'string' &&
    typeof handle.directory === 'string'
  if (isHandle) return
  throw new IsthmusTypeError(
    'ERR_ISTHMUS_INVALID_ARGUMENT',
    'Attaching to a segment: this is not the handle of a segment of this process. Between processes, use its name.',
  )
}

/** Closes the descriptor, unless the action makes a segment, which then owns it. */
function owningDescriptor<T>(fd: number, action: () => Segment<T>): Segment<T>
function owningDescriptor<T>(fd: number, action: () => Segment<T> | undefined): Segment<T> | undefined
function owningDescriptor<T>(fd: number, action: () => Segment<T> | undefined): Segment<T> | undefined {
  let segment: Segment<T> | undefined
  try {
    segment = action()
    if (segment !== undefined) forgottenDescriptors.register(segment, fd, segment)
    return segment
  } finally {
    if (segment === undefined) closeSync(fd)
  }
}

function uncleanError(subject: string): IsthmusError {
  return new IsthmusError(
    'ERR_ISTHMUS_UNCLEAN',
    `Opening ${subject}: it was changed after its last flush, and then the machine went down. ` +
      'Open it with { recover: true } to keep what is consistent, or remove it.',
  )
}

function changingError(subject: string): IsthmusError {
  return new IsthmusError(
    'ERR_ISTHMUS_BUSY',
    `Opening ${subject}: until the deadline, its name led to another file each time. Either something keeps creating and removing it, or its file system does not keep inode numbers.`,
  )
}
