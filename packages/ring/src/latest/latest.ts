import {
  IsthmusError,
  IsthmusRangeError,
  IsthmusTypeError,
  type Layout,
  type PeerDescription,
  type Region,
  type Signal,
  type TimeoutOptions,
  type UntimedOptions,
  type Waitable,
  type WaitOptions,
} from '@isthmus/sync'
import {
  Awaitable,
  assertOpen,
  assertOptions,
  type Condition,
  deadlineOf,
  inWords,
  isUint8Array,
  MAX_ALIGNMENT,
  nowMs,
  signalOf,
  subjectOf,
  TurnQueue,
  throwIfAborted,
  WAITABLE,
  type WaiterSet,
  type WaitFor,
  yieldBudget,
} from '@isthmus/sync/internal'
import { assertCodec, type Codec } from '../codec.js'
import { MessageIterator } from '../messages/message-iterator.js'
import type { IntoOptions } from '../messages/message-receiver.js'
import type { Role, RoleDescription } from '../role/role.js'
import type { LatestGeometry } from './geometry.js'
import { LatestMemory, waitingReaders, writerRole } from './latest-memory.js'
import {
  BYTE_LENGTH_MAX,
  CURRENT_OFFSET,
  SLOTS_DEFAULT,
  SLOTS_MAX,
  SLOTS_MIN,
  SLOTS_OFFSET,
  strideOf,
  VERSION_MAX,
} from './layout.js'
import { type InPlaceRead, type LatestCallback, LatestReader, type LatestValue } from './reader.js'
import { recoverLatest } from './recovery.js'
import { LatestWriter } from './writer.js'

export interface LatestOptions<T = Uint8Array> {
  /** The longest value, in bytes, from 0 to 2 ** 30. */
  readonly byteLength: number
  /**
   * How many values there is room for, from 2 to 256; 4 if not given. A reader begins anew if `slots` - 1 values are written
   * while it copies one.
   */
  readonly slots?: number
  /** How a value becomes bytes, and bytes a value: `utf8`, `json<Settings>()`, your own. If not given, values are bytes. */
  readonly codec?: Codec<T>
}

export interface AfterOptions {
  /** The version that the program has; 0, the default, for none. Every other version is newer. */
  readonly after?: number
}

export interface LatestDescription {
  /** The longest value, in bytes. */
  readonly byteLength: number
  readonly slots: number
  /** Of the latest value; 0 if nothing was written. */
  readonly version: number
  readonly writer: RoleDescription
  readonly waitingReaders: readonly PeerDescription[]
}

const ATTEMPT = 'Making a latest value'

/**
 * A value that one writer replaces, and of which any number of readers in threads and processes get the newest: a camera's
 * frame, a price, a configuration. There is no queue: a reader that is slow misses values, and holds no one back. A reader gets
 * one whole value in a bounded number of steps, also while the writer is killed or stopped in the midst of a write.
 *
 * `latest({ byteLength, codec: json<Settings>() })` is a `Layout<Latest<Settings>>`. The name of the codec stands in the
 * signature, so two programs that disagree are told when they open the memory. Without a codec, values are Uint8Arrays. It
 * takes `slots` times (16 + `byteLength`) bytes, each rounded up to 128.
 *
 * @example
 * ```ts
 * const temperature = HeapRegion.create(latest({ byteLength: 64, codec: utf8 })).root
 * temperature.writer().write('21.5 °C')
 * temperature.read().value // '21.5 °C'
 * ```
 *
 * @throws IsthmusRangeError `ERR_ISTHMUS_INVALID_ARGUMENT` for a `byteLength` or a number of slots outside its range
 * @throws IsthmusTypeError `ERR_ISTHMUS_INVALID_ARGUMENT` for a codec without its methods, or without a proper name
 */
export function latest<T>(options: LatestOptions<T> & { readonly codec: Codec<T> }): Layout<Latest<T>>
export function latest(options: LatestOptions): Layout<Latest>
export function latest<T>(options: LatestOptions<T>): Layout<Latest<T>> {
  assertOptions(options, ATTEMPT)
  const { byteLength, slots = SLOTS_DEFAULT, codec } = options
  assertWithin('byteLength', byteLength, 0, BYTE_LENGTH_MAX)
  assertWithin('slots', slots, SLOTS_MIN, SLOTS_MAX)
  if (codec !== undefined) assertCodec(codec, ATTEMPT)
  const codecParameter = codec === undefined ? '' : `,codec=${codec.name}`
  const strideBytes = strideOf(byteLength)
  const geometryAt = (region: Region, byteOffset: number, path?: string): LatestGeometry => {
    return { region, byteOffset, subject: subjectOf('latest value', region, path), byteLength, slots, strideBytes }
  }
  return {
    byteLength: SLOTS_OFFSET + slots * strideBytes,
    byteAlignment: MAX_ALIGNMENT,
    signature: `latest@1(byteLength=${byteLength},slots=${slots}${codecParameter})`,

    /** Zeroed memory is a value that was never written, and a vacant role. */
    initialize() {},
    attach: (region, byteOffset, path) => new Latest(geometryAt(region, byteOffset, path), codec),
    sweep(region, byteOffset, deadPeer) {
      const geometry = geometryAt(region, byteOffset)
      const readers = waitingReaders(geometry)
      readers.sweep(deadPeer)
      // It may have been killed before it woke them.
      if (writerRole(geometry).sweep(deadPeer)) readers.notifyAll()
    },
    recover: (region, byteOffset) => recoverLatest(geometryAt(region, byteOffset)),
  }
}

/**
 * An attached latest value. Any agent reads it, without a role and without a handle of its own. One agent at a time, among
 * threads and processes alike, is its writer.
 *
 * The end of a writer is no end of the value: if the writer closes, or dies, readers keep what it wrote last, and those that wait
 * go on waiting for the next writer. `describe().writer` says whether there is one.
 *
 * The algorithm is a sequence lock for each of several slots: a reader validates its copy by the stamp of the slot, as in Lamport's
 * "Concurrent reading and writing" (1977) and Boehm's "Can seqlocks get along with programming language memory models?" (2012); and
 * the writer never changes the slot that is current, so no reader waits for it.
 */
export class Latest<T = Uint8Array> extends Awaitable {
  readonly #geometry: LatestGeometry
  readonly #region: Region
  readonly #codec: Codec<T> | undefined
  readonly #role: Role
  readonly #readers: WaiterSet
  #memory: LatestMemory | undefined
  #reader: LatestReader | undefined

  /** @internal Use `latest`. */
  constructor(geometry: LatestGeometry, codec: Codec<T> | undefined) {
    super()
    this.#geometry = geometry
    this.#region = geometry.region
    this.#codec = codec
    this.#role = writerRole(geometry)
    this.#readers = waitingReaders(geometry)
  }

  /** The longest value, in bytes. */
  get byteLength(): number {
    return this.#geometry.byteLength
  }

  get slots(): number {
    return this.#geometry.slots
  }

  /**
   * The version of the latest value; 0 if nothing was written. It costs one load.
   *
   * @example
   * ```ts
   * HeapRegion.create(latest({ byteLength: 64 })).root.version // 0
   * ```
   *
   * @throws IsthmusError `ERR_ISTHMUS_CLOSED`
   */
  get version(): number {
    return this.#opened().version
  }

  /**
   * Becomes the writer. If a predecessor died in the midst of a write, that write was not made.
   * @throws IsthmusError `ERR_ISTHMUS_ROLE_TAKEN` if a live agent is the writer; `ERR_ISTHMUS_CLOSED`
   *
   * @example
   * ```ts
   * const cell = HeapRegion.create(latest({ byteLength: 64, codec: utf8 })).root
   * cell.writer().write('espresso') // 1
   * ```
   */
  writer(): LatestWriter<T> {
    // Made before the role is taken: it maps memory, and a role whose handle could not be made could not be given back.
    const memory = this.#writable()
    return new LatestWriter<T>(memory, this.#role, this.#readers, this.#codec, this.#role.acquire())
  }

  /**
   * As writer; returns undefined if a live agent is the writer.
   *
   * @example
   * ```ts
   * const cell = HeapRegion.create(latest({ byteLength: 64 })).root
   * const first = cell.tryWriter()
   * cell.tryWriter() // undefined
   * ```
   */
  tryWriter(): LatestWriter<T> | undefined {
    const memory = this.#writable()
    const acquired = this.#role.tryAcquire()
    return acquired && new LatestWriter<T>(memory, this.#role, this.#readers, this.#codec, acquired)
  }

  /**
   * A copy of the latest value, into memory that the program has: for long values, of which new memory costs more than the
   * copy. The codec is not used. If this throws, `into` may contain anything.
   * @returns `value` is the part of `into` that was written, `into.subarray(0, n)`
   * @throws IsthmusRangeError `ERR_ISTHMUS_MESSAGE_TOO_LARGE` if the value is longer than `into`
   *
   * @example
   * ```ts
   * const into = new Uint8Array(64)
   * cell.read({ into }).value.byteLength // 1
   * ```
   */
  read(options: IntoOptions): LatestValue<Uint8Array> | undefined
  /**
   * The latest value, and its version: a private copy, or what the codec made of it. A copy may be part of a block that it shares
   * with others, as a message of a ring.
   * @returns undefined if nothing was written
   * @throws IsthmusError `ERR_ISTHMUS_BUSY` if the writer has overtaken every copy, of 64 MiB in all, 100 at least and 100,000 at most: there
   * are too few slots
   * @throws IsthmusError `ERR_ISTHMUS_CLOSED`, `ERR_ISTHMUS_CORRUPT`
   *
   * @example
   * ```ts
   * const { value, version } = cell.read()
   * value[0] // 1
   * ```
   */
  read(): LatestValue<T> | undefined
  read(options?: IntoOptions): LatestValue<T> | LatestValue<Uint8Array> | undefined {
    const into = options === undefined ? undefined : this.#targetOf(options, 'Reading')
    return this.#decoded(this.#opened().take(into), into)
  }

  /**
   * Shows the latest value where it lies, without a copy and without the codec: for values of many megabytes. The callback is
   * called once, with `byteLength` bytes from `byteOffset` on, a multiple of 8, in `bytes`. They are shared memory, which may
   * change under it, if `slots` - 1 values or more are written meanwhile: it must come to an end whatever it reads. Afterwards
   * `isWhole` says whether that has happened; what was computed then is to be dropped. Do not await in the callback: the result
   * is about the bytes until it returns. What it throws, this call throws, and nothing says whether the bytes had changed.
   * @returns what the callback returned, the version, and whether the bytes were unchanged; undefined if nothing was written
   * @throws as read
   *
   * @example
   * ```ts
   * const sum = (bytes, byteOffset, byteLength) => bytes[byteOffset] + bytes[byteOffset + byteLength - 1]
   * const { value, isWhole } = cell.readInPlace(sum)
   * isWhole && value // 2
   * ```
   */
  readInPlace<R>(callback: LatestCallback<R>): InPlaceRead<R> | undefined {
    if (typeof callback === 'function') return this.#opened().show(callback)
    throw new IsthmusTypeError(
      'ERR_ISTHMUS_INVALID_ARGUMENT',
      `Reading ${this.#geometry.subject} in place: got ${inWords(callback)} instead of the callback. Give a function.`,
    )
  }

  /**
   * Waits, blocking the thread, until there is a value that is not the one with the version `after`, and reads the latest.
   * Versions are compared for equality: the one after 2 ** 32 - 1 is newer, although it is smaller. Without `after`, this waits
   * only if nothing was written yet.
   * @returns as read; undefined after `timeoutMs`
   * @throws as read
   * @throws IsthmusRangeError, IsthmusTypeError `ERR_ISTHMUS_INVALID_ARGUMENT` for an `after` that is no version
   * @throws IsthmusError `EDEADLK` if it would wait for a writer of this very thread
   *
   * @example
   * ```ts
   * cell.nextSync({ timeoutMs: 1000 }).version // 1
   * ```
   */
  nextSync(options: AfterOptions & IntoOptions & UntimedOptions): LatestValue<Uint8Array>
  nextSync(options: AfterOptions & IntoOptions & TimeoutOptions): LatestValue<Uint8Array> | undefined
  nextSync(options?: AfterOptions & UntimedOptions): LatestValue<T>
  nextSync(options: AfterOptions & TimeoutOptions): LatestValue<T> | undefined
  nextSync(
    options: AfterOptions & TimeoutOptions & Partial<IntoOptions> = {},
  ): LatestValue<T> | LatestValue<Uint8Array> | undefined {
    const deadline = deadlineOf(options, 'Waiting for a newer value')
    const after = this.#afterOf(options)
    const into = this.#targetOf(options, 'Waiting for a newer value of')
    const reader = this.#opened()
    for (;;) {
      const taken = takeNewer(reader, after, into)
      if (taken !== undefined) return this.#decoded(taken, into)
      if (!this.#waitSync(reader, after, deadline)) return undefined
    }
  }

  /**
   * As nextSync, without blocking the event loop. Any number of calls may wait at once; all of them get the newest value.
   *
   * If the writer dies or closes, the call goes on waiting: for the next writer.
   * @throws AbortError when the signal aborts
   *
   * @example
   * ```ts
   * const { value, version } = await cell.next({ signal })
   * await cell.next({ after: version, timeoutMs: 5 }) // undefined
   * ```
   */
  next(options: AfterOptions & IntoOptions & UntimedOptions): Promise<LatestValue<Uint8Array>>
  next(options: AfterOptions & IntoOptions & WaitOptions): Promise<LatestValue<Uint8Array> | undefined>
  next(options?: AfterOptions & UntimedOptions): Promise<LatestValue<T>>
  next(options: AfterOptions & WaitOptions): Promise<LatestValue<T> | undefined>
  async next(
    options: AfterOptions & WaitOptions & Partial<IntoOptions> = {},
  ): Promise<LatestValue<T> | LatestValue<Uint8Array> | undefined> {
    const deadline = deadlineOf(options, 'Waiting for a newer value')
    const signal = signalOf(options, 'Waiting for a newer value')
    const after = this.#afterOf(options)
    const into = this.#targetOf(options, 'Waiting for a newer value of')
    const reader = this.#opened()
    throwIfAborted(signal)
    if (!yieldBudget.canCompleteSynchronously()) await yieldBudget.yieldToEventLoop()
    const condition = this.#conditionOf(reader, after)
    for (;;) {
      assertOpen(this.#region)
      const taken = takeNewer(reader, after, into)
      if (taken !== undefined) return this.#decoded(taken, into)
      if (!(await this.#readers.wait(condition, deadline, signal))) return undefined
    }
  }

  /**
   * The latest value, and then each newer one, without blocking the event loop: always the newest, so values that were replaced
   * meanwhile are skipped. With `after`, it begins with the first value that is not that version. It goes on through the death,
   * the close and the succession of writers, and ends with its signal, by an AbortError, or when the loop is left.
   * @throws as next
   *
   * @example
   * ```ts
   * for await (const { value, version } of cell.watch({ signal })) {
   *   handle(value)
   *   break
   * }
   * ```
   */
  watch(options: AfterOptions & { readonly signal?: Signal } = {}): MessageIterator<LatestValue<T>> {
    const attempt = `Watching ${this.#geometry.subject}`
    const signal = signalOf(options, attempt)
    let after = this.#afterOf(options)
    const reader = this.#opened()
    const turns = new TurnQueue()
    const tryNext = (): IteratorResult<LatestValue<T>, void> | undefined => {
      assertOpen(this.#region)
      const taken = takeNewer(reader, after, undefined)
      if (taken === undefined) return undefined
      const value = this.#decoded(taken, undefined) as LatestValue<T>
      after = taken.version
      return { done: false, value }
    }
    const source = {
      tryNext,
      canCompleteSynchronously: () => {
        assertOpen(this.#region)
        return turns.canCompleteSynchronously()
      },
      inTurn: async <R>(tryTake: () => R | undefined, signal: Signal, hasTried: boolean): Promise<R | undefined> => {
        if (!turns.tryEnter()) await turns.enter(Number.POSITIVE_INFINITY, signal)
        try {
          if (!hasTried) await turns.yieldToEventLoop()
          for (let isFirst = hasTried; ; isFirst = false) {
            const taken = isFirst ? undefined : tryTake()
            if (taken !== undefined) return taken
            await this.#readers.wait(this.#conditionOf(reader, after), Number.POSITIVE_INFINITY, signal)
          }
        } finally {
          turns.leave()
        }
      },
    }
    return new MessageIterator(source, signal)
  }

  /**
   * For waitAny: ready when there is a value that is not the one with this version. 0 stands for none.
   * @throws IsthmusRangeError, IsthmusTypeError `ERR_ISTHMUS_INVALID_ARGUMENT` for what is no version
   *
   * @example
   * ```ts
   * await waitAny([cell.newerThan(cell.version)], { timeoutMs: 5 }) // []
   * ```
   */
  newerThan(version: number): Waitable {
    const after = this.#afterOf({ after: version })
    return {
      [WAITABLE]: (): WaitFor => ({ point: this.#readers, condition: this.#conditionOf(this.#opened(), after) }),
    }
  }

  /**
   * Who is the writer, who waits, and how many values have been written: for people and tools. It may be out of date when it
   * returns.
   *
   * @example
   * ```ts
   * const cell = HeapRegion.create(latest({ byteLength: 64 })).root
   * cell.describe().writer.state // 'vacant'
   * ```
   */
  describe(): LatestDescription {
    const { region, byteOffset, byteLength, slots } = this.#geometry
    return {
      byteLength,
      slots,
      version: Atomics.load(assertOpen(region).words, (byteOffset + CURRENT_OFFSET) >>> 2) >>> 0,
      writer: this.#role.describe(),
      waitingReaders: this.#readers.waiters(),
    }
  }

  protected override waitPoints(): readonly WaiterSet[] {
    return [this.#readers]
  }

  /** What reads the memory, which is mapped when a program first asks for it. */
  #opened(): LatestReader {
    assertOpen(this.#region)
    return this.#reader ?? this.#open()
  }

  #open(): LatestReader {
    this.#reader = new LatestReader(this.#mapped())
    return this.#reader
  }

  #writable(): LatestMemory {
    assertOpen(this.#region)
    return this.#mapped()
  }

  #mapped(): LatestMemory {
    this.#memory ??= new LatestMemory(this.#geometry)
    return this.#memory
  }

  #decoded(
    taken: LatestValue<Uint8Array> | undefined,
    into: Uint8Array | undefined,
  ): LatestValue<T> | LatestValue<Uint8Array> | undefined {
    if (taken === undefined || into !== undefined || this.#codec === undefined) return taken
    return { value: this.#codec.decode(taken.value), version: taken.version }
  }

  #conditionOf(reader: LatestReader, after: number): Condition {
    return {
      poll: () => isNewer(reader.version, after),
      reapDead: () => {
        this.#role.observe()
      },
      // None of them can end the wait. But one that was killed may owe a wake-up, so its death is a reason to look.
      dependsOn: () => this.#role.holders(),
    }
  }

  /** Blocks until there is something newer; false if the time is up. */
  #waitSync(reader: LatestReader, after: number, deadline: number): boolean {
    if (nowMs() >= deadline) return false
    if (this.#role.isHeldBySelf()) {
      throw new IsthmusError(
        'EDEADLK',
        `Waiting for a newer value of ${this.#geometry.subject}: its writer belongs to this very thread and cannot write while the thread blocks. Write first.`,
      )
    }
    return this.#readers.waitSync(this.#conditionOf(reader, after), deadline)
  }

  #afterOf({ after = 0 }: AfterOptions): number {
    if (Number.isInteger(after) && after >= 0 && after <= VERSION_MAX) return after
    const InvalidArgumentError = typeof after === 'number' ? IsthmusRangeError : IsthmusTypeError
    throw new InvalidArgumentError(
      'ERR_ISTHMUS_INVALID_ARGUMENT',
      `Waiting for a newer value of ${this.#geometry.subject}: the version to compare with is ${inWords(after)}. Give the version of the value that you have, or 0 for none.`,
    )
  }

  #targetOf(options: Partial<IntoOptions>, attempt: string): Uint8Array | undefined {
    assertOptions(options, `${attempt} ${this.#geometry.subject}`)
    const { into } = options
    if (into === undefined || isUint8Array(into)) return into
    throw new IsthmusTypeError(
      'ERR_ISTHMUS_INVALID_ARGUMENT',
      `${attempt} ${this.#geometry.subject}: into is ${inWords(into)}. Give a Uint8Array that is long enough, or leave it out.`,
    )
  }
}

function isNewer(version: number, after: number): boolean {
  return version !== 0 && version !== after
}

/** The latest value, if it is another than this one. */
function takeNewer(
  reader: LatestReader,
  after: number,
  into: Uint8Array | undefined,
): LatestValue<Uint8Array> | undefined {
  if (!isNewer(reader.version, after)) return undefined
  const taken = reader.take(into)
  // It may have come round to this version in between.
  return taken?.version === after ? undefined : taken
}

function assertWithin(name: string, value: unknown, least: number, most: number): void {
  if (Number.isInteger(value) && (value as number) >= least && (value as number) <= most) return
  throw new IsthmusRangeError(
    'ERR_ISTHMUS_INVALID_ARGUMENT',
    `${ATTEMPT}: ${name} is ${inWords(value)}. Give a whole number from ${least} to ${most}.`,
  )
}
