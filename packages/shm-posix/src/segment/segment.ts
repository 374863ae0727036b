import { inspect } from 'node:util'
import { IsthmusError, IsthmusTypeError, type Layout } from '@isthmus/sync'
import { AttachedRegion, assertLayout } from '@isthmus/sync/internal'
import type { MapperName } from '../mapping/mapping.js'
import { assertSupported } from '../native/support.js'
import type { SegmentAttachment } from './attachment.js'
import { assertHandle, type SegmentHandle } from './handle.js'
import { HeaderLockDeadline } from './header-lock.js'
import { listSegments, type SegmentDescription } from './listing.js'
import { type Location, locate, type SegmentFile } from './location.js'
import { attach, create, createAnonymous, open, openOrCreate, type Plan } from './opening.js'
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
import { explainingDenials } from './permission-model.js'
import { pruneSegments, unlinkSegment } from './removal.js'

/**
 * A region in memory that unrelated processes share: under a name (`/orders`, in /dev/shm), in a file
 * (`{ file: path }`, which survives a reboot), or without a name.
 *
 * Creating, opening and removing are safe against each other, and against a kill at any moment: a segment appears whole or
 * not at all, a name never leads to two segments in use, and a file that isthmus did not make is never written to. Every
 * attachment has a peer slot that the kernel frees with its holder, so other peers can prove its death.
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
  readonly #attachment: SegmentAttachment
  readonly #lockTimeoutMs: number | undefined
  #isBufferTaken = false

  /**
   * Makes a segment that does not exist yet. If this process is killed meanwhile, no segment is left.
   * @throws SystemCallError `EEXIST`; `ENOSPC` if memory or disk is full; `EACCES`
   * @throws IsthmusError `ERR_ISTHMUS_INVALID_NAME`; `ERR_ISTHMUS_INVALID_ARGUMENT` for an option, or for a value that is no
   * layout; `ERR_ISTHMUS_UNSUPPORTED` on another system, or on a file system without locks
   *
   * @example
   * ```ts
   * const segment = Segment.create('/isthmus-example', orders, { mode: 0o660 })
   * segment.root.total.value // 0
   * segment.close()
   * ```
   */
  static create<T>(where: string | SegmentFile, layout: Layout<T>, options: CreateOptions = {}): Segment<T> {
    const { location, checked } = prepare('Creating a segment', where, layout, options)
    return explainingDenials(`Creating ${location.subject}`, () => create(location, Segment.#plan(layout, checked)))
  }

  /**
   * Attaches to a segment that exists. What a dead peer held is given back before its slot is taken over.
   * @throws SystemCallError `ENOENT`, `EACCES`
   * @throws IsthmusError if something else has the name, which stays as it is: `ERR_ISTHMUS_FOREIGN`, `ERR_ISTHMUS_VERSION`,
   * `ERR_ISTHMUS_SIZE`, `ERR_ISTHMUS_CORRUPT`, `ERR_ISTHMUS_LAYOUT_MISMATCH`; `ERR_ISTHMUS_FOREIGN_OWNER`: see
   * OpenOptions.owner; `ERR_ISTHMUS_UNCLEAN`: see OpenOptions.recover; `ERR_ISTHMUS_BUSY`; `ERR_ISTHMUS_TOO_MANY_PEERS`; and
   * the errors of create for its arguments
   *
   * @example
   * ```ts
   * Segment.create('/isthmus-example', orders).close()
   * const segment = Segment.open('/isthmus-example', orders)
   * segment.peers.list().length // 1
   * segment.close()
   * ```
   */
  static open<T>(where: string | SegmentFile, layout: Layout<T>, options: OpenOptions = {}): Segment<T> {
    const { location, checked } = prepare('Opening a segment', where, layout, options)
    return explainingDenials(`Opening ${location.subject}`, () => open(location, Segment.#plan(layout, checked)))
  }

  /**
   * Attaches to a segment, and makes it if it does not exist. If several callers try at once, one of them makes it.
   * `lockTimeoutMs` is allotted once for all attempts to open and to create it.
   * @throws as open and create, except `ENOENT` and `EEXIST`
   *
   * @example
   * ```ts
   * const first = Segment.openOrCreate('/isthmus-example', orders)
   * const second = Segment.openOrCreate('/isthmus-example', orders)
   * first.root.total.value = 12.5
   * second.root.total.value // 12.5
   * first.close()
   * second.close()
   * ```
   */
  static openOrCreate<T>(
    where: string | SegmentFile,
    layout: Layout<T>,
    options: CreateOptions & OpenOptions = {},
  ): Segment<T> {
    const { location, checked } = prepare('Opening or creating a segment', where, layout, options)
    return explainingDenials(`Opening or creating ${location.subject}`, () =>
      openOrCreate(location, Segment.#plan(layout, checked)),
    )
  }

  /**
   * Makes a segment without a name, for the threads of this process, which attach by its handle. It cannot be truncated.
   * @throws as create, except `EEXIST`
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
  static createAnonymous<T>(layout: Layout<T>, options: Pick<AttachOptions, 'mapper'> = {}): Segment<T> {
    const attempt = 'Making an anonymous segment'
    assertSupported()
    assertLayout(layout, attempt)
    const checked = checkOptions(options, attempt)
    return explainingDenials(attempt, () => createAnonymous(Segment.#plan(layout, checked)))
  }

  /**
   * Attaches this thread to a segment of another thread of the same process, even if the segment's name is gone.
   * @throws IsthmusTypeError `ERR_ISTHMUS_INVALID_ARGUMENT` for a value that is no handle, or a handle of another process
   * @throws IsthmusError `ERR_ISTHMUS_CLOSED` if the attachment that gave the handle is closed;
   * `ERR_ISTHMUS_LAYOUT_MISMATCH`, `ERR_ISTHMUS_BUSY`, `ERR_ISTHMUS_TOO_MANY_PEERS`
   *
   * @example
   * ```ts
   * const segment = Segment.createAnonymous(orders)
   * const sameSegment = Segment.attach(segment.handle, orders)
   * segment.peers.list().length // 2
   * sameSegment.close()
   * segment.close()
   * ```
   */
  static attach<T>(handle: SegmentHandle, layout: Layout<T>, options: AttachOptions = {}): Segment<T> {
    const attempt = 'Attaching to a segment'
    assertSupported()
    assertHandle(handle)
    assertLayout(layout, attempt)
    const checked = checkOptions(options, attempt)
    return explainingDenials(`Attaching to ${handle.subject}`, () => attach(handle, Segment.#plan(layout, checked)))
  }

  /**
   * Removes the name. Attached peers keep their memory; the next one that opens the name finds nothing. The segment is not
   * mapped, so it does not matter whose it is: this user needs the right to read and write it, and the file system's
   * permission to remove the name. Root may remove any.
   * @throws SystemCallError `ENOENT`, `EACCES`, `EPERM`
   * @throws IsthmusError `ERR_ISTHMUS_FOREIGN`: isthmus did not make it, and it stays; `ERR_ISTHMUS_BUSY`
   *
   * @example
   * ```ts
   * const segment = Segment.create('/isthmus-example', orders)
   * Segment.unlink('/isthmus-example')
   * segment.root.total.value = 12.5
   * segment.close()
   * ```
   */
  static unlink(where: string | SegmentFile, options: UnlinkOptions = {}): void {
    const attempt = 'Removing a segment'
    assertSupported()
    const location = locate(where)
    assertOptions(options, attempt)
    const deadline = new HeaderLockDeadline(options.lockTimeoutMs)
    explainingDenials(`Removing ${location.subject}`, () => unlinkSegment(location, deadline))
  }

  /**
   * Lists the named segments of this machine that this user may read, with their peers, whoever owns them.
   * @throws SystemCallError if /dev/shm cannot be read; `EMFILE`
   *
   * @example
   * ```ts
   * const segment = Segment.create('/isthmus-example', orders)
   * const listed = Segment.list().find(({ name }) => name === '/isthmus-example')
   * listed?.peers.length // 1
   * segment.close()
   * ```
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
   * Removes the named segments that have no live peer and no undelivered messages. Segments that this user may not remove
   * stay, without an error. It also removes the FIFOs of threads that are gone.
   * @returns the names of the removed segments
   * @throws SystemCallError if /dev/shm cannot be read; `EMFILE`
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

  static #plan<T>(layout: Layout<T>, options: CheckedOptions): Plan<Segment<T>> {
    const build = (attachment: SegmentAttachment, rootByteOffset: number) => {
      const segment = new Segment(attachment, layout, rootByteOffset, options)
      return {
        segment,
        sweep: segment.sweep,
        initialize: () => layout.initialize(segment, rootByteOffset),
        recover: () => layout.recover?.(segment, rootByteOffset),
      }
    }
    return { layout, options, build }
  }

  private constructor(
    attachment: SegmentAttachment,
    layout: Layout<T>,
    rootByteOffset: number,
    { lockTimeoutMs }: CheckedOptions,
  ) {
    super(attachment, layout, rootByteOffset)
    this.mapper = attachment.memory.mapper
    this.#attachment = attachment
    this.#lockTimeoutMs = lockTimeoutMs
    attachment.belongTo(this)
  }

  /**
   * Attaches other threads of this process: send it with `postMessage` or `workerData`, and see Segment.attach. It is good
   * as long as this attachment is open.
   * @throws IsthmusError `ERR_ISTHMUS_CLOSED` after close
   *
   * @example
   * ```ts
   * const segment = Segment.createAnonymous(orders)
   * structuredClone(segment.handle).isthmus // 'segment'
   * segment.close()
   * ```
   */
  get handle(): SegmentHandle {
    this.#assertOpen('Making a handle')
    const { fd, segmentId, location } = this.#attachment
    const { subject, directory, isFile } = location
    return {
      isthmus: 'segment',
      pid: process.pid,
      path: `/proc/self/fd/${fd}`,
      segmentId,
      subject,
      directory: isFile ? directory : '',
      isFile,
    }
  }

  /**
   * The memory itself: a SharedArrayBuffer, or an ArrayBuffer with the mapper `view`. Once the program has asked for it,
   * `close` leaves it in place until it is collected, since the program may have posted it to other threads.
   * @throws IsthmusError `ERR_ISTHMUS_CLOSED` after close
   *
   * @example
   * ```ts
   * const segment = Segment.createAnonymous(orders)
   * const { buffer } = segment
   * segment.close()
   * buffer.byteLength > 0 // true
   * ```
   */
  get buffer(): ArrayBufferLike {
    this.#assertOpen('Taking the buffer')
    this.#isBufferTaken = true
    return this.words.buffer
  }

  /**
   * Makes the present state of a segment file durable: after a crash of the machine the file is trusted if nothing was
   * changed after its last flush. The last peer that closes a segment file flushes it. For a segment in memory it does
   * nothing.
   * @throws SystemCallError `EIO` and others, if the disk fails
   * @throws IsthmusError `ERR_ISTHMUS_BUSY` if one other peer attaches or closes for longer than `lockTimeoutMs`;
   * `ERR_ISTHMUS_CLOSED` after close
   *
   * @example
   * ```ts
   * const segment = Segment.openOrCreate({ file: '/dev/shm/isthmus-example' }, orders)
   * segment.root.total.value = 12.5
   * segment.flush()
   * segment.close()
   * Segment.unlink({ file: '/dev/shm/isthmus-example' })
   * ```
   */
  flush(): void {
    this.#assertOpen('Flushing')
    this.#attachment.durability?.flush(new HeaderLockDeadline(this.#lockTimeoutMs))
  }

  /**
   * The end of `close`, after the handles have closed and the structures were swept. Steps: (1) as the last peer of a file,
   * flush it (see Durability.leave); (2) release the slot; (3) unmap the memory; (4) close the descriptor; (5) give back the
   * thread's FIFOs, which go with its last segment. All steps are taken even if one throws. A peer that is killed in
   * between leaves a slot that the kernel frees, and FIFOs that another thread removes.
   */
  protected override detach(): void {
    try {
      this.#attachment.durability?.leave(new HeaderLockDeadline(this.#lockTimeoutMs))
    } finally {
      this.#attachment.release(this.#isBufferTaken)
    }
  }

  #assertOpen(attempt: string): void {
    if (!this.isClosed) return
    throw new IsthmusError('ERR_ISTHMUS_CLOSED', `${attempt} of ${this.subject}: it was closed before. Open it again.`)
  }
}

/** Checks the arguments of all ways to a named segment or a file, before anything is done. */
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
