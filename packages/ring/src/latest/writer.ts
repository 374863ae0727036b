import { IsthmusError, IsthmusRangeError } from '@isthmus/sync'
import { closedError, inWords, type WaiterSet } from '@isthmus/sync/internal'
import type { Codec } from '../codec.js'
import { bytesOf } from '../messages/message-bytes.js'
import type { AcquiredRole, Role } from '../role/role.js'
import type { LatestMemory } from './latest-memory.js'
import { LENGTH_WORD, nextVersion, SLOT_HEADER_BYTES, slotOfVersion } from './layout.js'

const settled = Promise.resolve()

/** What a writer is doing; see `#state`. */
const IDLE = 0
const CLAIMED = 1
const CLOSED = 2

/**
 * The writing side of a latest value. It copies values in (`write`), or lets the program write them in place (`claim` …
 * `commit`). No call waits for a reader, or for anything else.
 *
 * In place means bytes: `claim` and `commit` bypass the codec. Write what the codec of the layout decodes.
 *
 * If the writer's process is killed, wherever that is, readers go on with the last value whose `write` or `commit` was over,
 * and the next writer continues from there.
 *
 * @example
 * ```ts
 * const writer = HeapRegion.create(latest({ byteLength: 64, codec: utf8 })).root.writer()
 * writer.write('21.5 °C') // 1
 * ```
 */
export class LatestWriter<T = Uint8Array> {
  readonly #subject: string
  readonly #codec: Codec<T> | undefined
  readonly #byteLength: number
  readonly #slots: number
  readonly #bytes: Uint8Array
  readonly #words: Int32Array
  readonly #currentWord: number
  readonly #firstHeaderWord: number
  readonly #strideWords: number
  readonly #memory: LatestMemory
  /** What claims have given, by slot. */
  readonly #claims: (Uint8Array | undefined)[] = []

  /** Of the latest value. */
  #version: number
  #state: typeof IDLE | typeof CLAIMED | typeof CLOSED = IDLE
  /** Whether `close` has done everything: an earlier call may have thrown half-way. */
  #isCloseOver = false

  readonly #role: Role
  readonly #roleWord: number
  readonly #readers: WaiterSet
  readonly #forgetClose: () => void

  /** @internal Use `cell.writer()`. */
  constructor(
    memory: LatestMemory,
    role: Role,
    readers: WaiterSet,
    codec: Codec<T> | undefined,
    { word }: AcquiredRole,
  ) {
    const { region, subject, byteLength, slots, strideBytes } = memory.geometry
    this.#subject = subject
    this.#codec = codec
    this.#byteLength = byteLength
    this.#slots = slots
    this.#bytes = memory.bytes
    this.#words = memory.words
    this.#currentWord = memory.currentWord
    this.#firstHeaderWord = memory.headerWordOf(0)
    this.#strideWords = strideBytes / 4
    this.#memory = memory
    this.#role = role
    this.#roleWord = word
    this.#readers = readers
    // Only the writer writes this word, so we continue after the last value of our predecessor. What it had begun is written anew.
    this.#version = Atomics.load(this.#words, this.#currentWord) >>> 0
    this.#forgetClose = region.onClose(() => this.close())
    // Wake sleeping readers: they must now watch this writer.
    this.#readers.notifyAll()
  }

  /**
   * Makes a copy of this value the latest one.
   * @returns its version
   * @throws IsthmusRangeError `ERR_ISTHMUS_MESSAGE_TOO_LARGE` above the `byteLength` of the layout
   * @throws IsthmusTypeError `ERR_ISTHMUS_INVALID_ARGUMENT` for a value that is no Uint8Array, without a codec
   * @throws IsthmusError `ERR_ISTHMUS_CALL_ORDER` while a claim is open, `ERR_ISTHMUS_CLOSED`
   *
   * @example
   * ```ts
   * writer.write(Uint8Array.of(1, 2, 3)) // 2
   * ```
   */
  write(value: T): number {
    const bytes = bytesOf(value, this.#codec, 'Writing a latest value')
    const { length } = bytes
    if (this.#state !== IDLE || length > this.#byteLength) throw this.#writeError(length)
    const version = nextVersion(this.#version, this.#slots)
    const header = this.#firstHeaderWord + slotOfVersion(version, this.#slots) * this.#strideWords
    const words = this.#words
    // V1. The load orders the plain stores behind it: see layout.ts.
    // SYNC stamp tells whether the bytes are those of the version
    Atomics.store(words, header, 0)
    Atomics.load(words, header)
    this.#bytes.set(bytes, header * 4 + SLOT_HEADER_BYTES)
    words[header + LENGTH_WORD] = length
    this.#publish(header, version)
    return version
  }

  /**
   * The bytes of the next value, to be written in place and then committed or aborted: an array of the layout's `byteLength`,
   * with older bytes in it. It lies in shared memory. The same array comes again `slots` writes later.
   *
   * A writer that is killed or stopped with an open claim is in no reader's way.
   * @throws IsthmusError `ERR_ISTHMUS_CALL_ORDER` while another claim is open, `ERR_ISTHMUS_CLOSED`
   *
   * @example
   * ```ts
   * const frame = writer.claim()
   * frame.fill(7)
   * writer.commit() // 2
   * ```
   */
  claim(): Uint8Array {
    if (this.#state !== IDLE) throw this.#claimError()
    const slot = slotOfVersion(nextVersion(this.#version, this.#slots), this.#slots)
    const header = this.#firstHeaderWord + slot * this.#strideWords
    const bytes = this.#claims[slot] ?? this.#memory.bytesOf(slot)
    this.#claims[slot] = bytes
    // As in write.
    // SYNC stamp tells whether the bytes are those of the version
    Atomics.store(this.#words, header, 0)
    Atomics.load(this.#words, header)
    this.#state = CLAIMED
    return bytes
  }

  /**
   * Makes the bytes of the open claim the latest value.
   * @param byteLength how many of them, from the first one on; all if not given
   * @returns its version
   * @throws IsthmusError `ERR_ISTHMUS_CALL_ORDER` if no claim is open
   * @throws IsthmusRangeError `ERR_ISTHMUS_INVALID_ARGUMENT` for a length that is no integer from 0 to `byteLength`; the claim
   * stays open
   *
   * @example
   * ```ts
   * writer.claim().set([1, 2, 3])
   * writer.commit(3) // 2
   * ```
   */
  commit(byteLength: number = this.#byteLength): number {
    if (this.#state !== CLAIMED) throw this.#noClaimError('Committing')
    if (typeof byteLength !== 'number' || byteLength >>> 0 !== byteLength || byteLength > this.#byteLength) {
      throw this.#lengthError(byteLength)
    }
    const version = nextVersion(this.#version, this.#slots)
    const header = this.#firstHeaderWord + slotOfVersion(version, this.#slots) * this.#strideWords
    this.#words[header + LENGTH_WORD] = byteLength
    this.#publish(header, version)
    return version
  }

  /**
   * Drops the open claim: the latest value stays as it is.
   * @throws IsthmusError `ERR_ISTHMUS_CALL_ORDER` if no claim is open
   *
   * @example
   * ```ts
   * writer.claim()
   * writer.abort()
   * ```
   */
  abort(): void {
    if (this.#state !== CLAIMED) throw this.#noClaimError('Aborting')
    this.#state = IDLE
  }

  /**
   * Drops an open claim and gives the role back. The latest value stays, and readers wait for the next writer.
   *
   * @example
   * ```ts
   * writer.close()
   * ```
   */
  close(): void {
    if (this.#isCloseOver) return
    this.#state = CLOSED
    this.#role.close(this.#roleWord)
    this.#forgetClose()
    this.#isCloseOver = true
  }

  [Symbol.dispose](): void {
    this.close()
  }

  /** V3 to V5. It throws before V4 or not at all: a value whose write failed is not the latest one. */
  #publish(header: number, version: number): void {
    // SYNC stamp tells whether the bytes are those of the version
    Atomics.store(this.#words, header, version)
    // SYNC value visible to reader
    Atomics.store(this.#words, this.#currentWord, version)
    this.#version = version
    this.#state = IDLE
    try {
      this.#readers.notifyAll()
    } catch {
      try {
        // The stack is full. Notify again when it is empty; an error of that is reported as an unhandled rejection.
        settled.then(this.#notifyReaders)
      } catch {
        // No room even for that. The value is the latest one, so this must not throw: the next write wakes the readers, or
        // their own polling finds it.
      }
    }
  }

  readonly #notifyReaders = (): void => {
    if (this.#state !== CLOSED) this.#readers.notifyAll()
  }

  #writeError(length: number): Error {
    if (this.#state === CLOSED) return this.#closedError('Writing')
    if (this.#state === CLAIMED) {
      return new IsthmusError(
        'ERR_ISTHMUS_CALL_ORDER',
        `Writing ${this.#subject}: a claim is open. Commit or abort it first.`,
      )
    }
    return new IsthmusRangeError(
      'ERR_ISTHMUS_MESSAGE_TOO_LARGE',
      `Writing ${this.#subject}: the value has ${length} bytes, of ${this.#byteLength}. Make the layout with a larger byteLength.`,
    )
  }

  #claimError(): Error {
    if (this.#state === CLOSED) return this.#closedError('Claiming a slot')
    return new IsthmusError(
      'ERR_ISTHMUS_CALL_ORDER',
      `Claiming a slot of ${this.#subject}: the last claim is still open. Commit or abort it first.`,
    )
  }

  #noClaimError(attempt: string): Error {
    if (this.#state === CLOSED) return this.#closedError(attempt)
    return new IsthmusError('ERR_ISTHMUS_CALL_ORDER', `${attempt} a claim: none is open. Call claim first.`)
  }

  #closedError(attempt: string): IsthmusError {
    return closedError(`${attempt} through the writer of ${this.#subject}`)
  }

  #lengthError(byteLength: unknown): IsthmusRangeError {
    return new IsthmusRangeError(
      'ERR_ISTHMUS_INVALID_ARGUMENT',
      `Committing a value of ${this.#subject}: byteLength is ${inWords(byteLength)}. Give a number of bytes from 0 to ${this.#byteLength}, or leave it out.`,
    )
  }
}
