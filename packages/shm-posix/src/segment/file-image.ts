import zlib from 'node:zlib'
import { ATTACHMENTS_WORD, CHECKSUM_WORD, FLUSH_NUMBER_WORD, FLUSHED_WORD } from '@isthmus/sync/internal'
import { libc } from '../native/libc.js'
import { EINTR, SystemCallError } from '../native/system-error.js'

const MS_SYNC = 4
/** A multiple of every page size. A signal that interrupts the write-back costs one of them. */
const BLOCK_BYTES = 1 << 26

/** The checksum of a file's content, and which flush took it. */
export interface Reading {
  readonly flushNumber: number
  readonly checksum: number
}

/**
 * What of a segment file is on the disk. Reading it all and writing it back takes long where the file is large, and needs no
 * lock: only `store` does.
 */
export class FileImage {
  readonly #fd: number
  readonly #subject: string
  readonly #memory: { readonly words: Int32Array; readonly bytes: Uint8Array; readonly address: number }
  readonly #rootByteOffset: number

  constructor(
    fd: number,
    subject: string,
    memory: { readonly words: Int32Array; readonly bytes: Uint8Array; readonly address: number },
    rootByteOffset: number,
  ) {
    this.#fd = fd
    this.#subject = subject
    this.#memory = memory
    this.#rootByteOffset = rootByteOffset
  }

  /** How many peers have attached since the file was made: where it has not changed, nobody else can have written. */
  get attachments(): number {
    return Atomics.load(this.#memory.words, ATTACHMENTS_WORD)
  }

  /** For the holder of the header lock, before it changes anything. */
  noteAttachment(): void {
    Atomics.add(this.#memory.words, ATTACHMENTS_WORD, 1)
  }

  /** Whether the content is what it was when its last flush took the checksum. */
  isClean(checksum: number): boolean {
    const { words } = this.#memory
    return words[FLUSHED_WORD] !== 0 && words[CHECKSUM_WORD] === checksum
  }

  /** For a flush: takes a number, which says in which order flushes began, and the checksum. */
  read(onBlock?: () => void): Reading {
    return { flushNumber: this.#nextFlushNumber(), checksum: this.checksum(onBlock) }
  }

  /**
   * Of everything but the header.
   * @param onBlock is called before each of the blocks in which it is read
   */
  checksum(onBlock?: () => void): number {
    const content = this.#memory.bytes.subarray(this.#rootByteOffset)
    let checksum = 0
    for (let start = 0; start < content.byteLength; start += BLOCK_BYTES) {
      onBlock?.()
      checksum = zlib.crc32(content.subarray(start, start + BLOCK_BYTES), checksum)
    }
    return checksum | 0
  }

  /**
   * For the holder of the header lock. Of two flushes at once, the checksum of the one that began first must not come last.
   * The checksum goes first: where we are killed in between, an earlier flush may still store its own.
   */
  store({ flushNumber, checksum }: Reading): void {
    const { words } = this.#memory
    const flushed = words[FLUSHED_WORD]
    const isLater = flushed === 0 || ((flushNumber - flushed) | 0) > 0
    if (!isLater) return
    Atomics.store(words, CHECKSUM_WORD, checksum)
    Atomics.store(words, FLUSHED_WORD, flushNumber)
  }

  /**
   * Brings every changed page to the disk.
   * @throws SystemCallError `EIO` and others, where the disk fails
   */
  writeBack(): void {
    const { byteLength } = this.#memory.words
    for (let start = 0; start < byteLength; start += BLOCK_BYTES) {
      this.#sync('msync', () =>
        libc().msync(this.#memory.address + start, Math.min(BLOCK_BYTES, byteLength - start), MS_SYNC),
      )
    }
    this.#sync('fsync', () => libc().fsync(this.#fd))
  }

  /** Brings what `store` has changed to the disk. */
  writeBackHeader(): void {
    this.#sync('msync', () => libc().msync(this.#memory.address, this.#rootByteOffset, MS_SYNC))
  }

  #sync(syscall: string, call: () => number): void {
    while (call() !== 0) {
      const errno = libc().errno()
      if (errno !== EINTR) throw new SystemCallError({ errno, syscall }, `flushing ${this.#subject}: the disk failed.`)
    }
  }

  /** Never 0, which says that a file was never flushed. */
  #nextFlushNumber(): number {
    const flushNumber = (Atomics.add(this.#memory.words, FLUSH_NUMBER_WORD, 1) + 1) | 0
    return flushNumber === 0 ? this.#nextFlushNumber() : flushNumber
  }
}
