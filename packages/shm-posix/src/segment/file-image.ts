import zlib from 'node:zlib'
import { ATTACHMENTS_WORD, CHECKSUM_WORD, FLUSH_NUMBER_WORD, FLUSHED_WORD } from '@isthmus/sync/internal'
import { writeBackFile, writeBackMemory } from '../native/write-back.js'

/** A multiple of every page size. A signal that interrupts the write-back costs one block. */
const BLOCK_BYTES = 1 << 26

/** The checksum of a file's content, and the number of the flush that computed it. */
export interface Reading {
  readonly flushNumber: number
  readonly checksum: number
}

/** The memory of a file. */
interface FileMemory {
  readonly words: Int32Array
  readonly bytes: Uint8Array
  readonly address: number
}

/**
 * How a segment file's content relates to what is on the disk. Reading a large file and writing it back takes long, and
 * needs no lock: only `store` does.
 */
export class FileImage {
  readonly #fd: number
  readonly #subject: string
  readonly #memory: FileMemory
  readonly #rootByteOffset: number

  constructor(fd: number, subject: string, memory: FileMemory, rootByteOffset: number) {
    this.#fd = fd
    this.#subject = subject
    this.#memory = memory
    this.#rootByteOffset = rootByteOffset
  }

  get words(): Int32Array {
    return this.#memory.words
  }

  /** How many peers have attached since the file was made. As long as it stays the same, no new peer has written. */
  get attachments(): number {
    // SYNC attachment counted before its peer writes
    return Atomics.load(this.#memory.words, ATTACHMENTS_WORD)
  }

  /** For the holder of the header lock, before it changes anything. */
  countAttachment(): void {
    // SYNC attachment counted before its peer writes
    Atomics.add(this.#memory.words, ATTACHMENTS_WORD, 1)
  }

  /** Whether the content is what it was at the last flush. */
  isClean(checksum: number): boolean {
    const { words } = this.#memory
    // SYNC checksum stored before its flush number
    return words[FLUSHED_WORD] !== 0 && words[CHECKSUM_WORD] === checksum
  }

  /** For a flush: takes a number, which tells in which order flushes began, and computes the checksum. */
  read(onBlock?: () => void): Reading {
    return { flushNumber: this.#nextFlushNumber(), checksum: this.checksum(onBlock) }
  }

  /**
   * Computes the checksum of everything but the header.
   * @param onBlock is called before each block that is read
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
   * For the holder of the header lock: notes a checksum, unless a flush that began later has noted its own. If we are
   * killed between the two stores, an earlier flush that is still under way may store its own checksum.
   */
  store({ flushNumber, checksum }: Reading): void {
    const { words } = this.#memory
    const flushed = words[FLUSHED_WORD]
    const isLater = flushed === 0 || ((flushNumber - flushed) | 0) > 0
    if (!isLater) return
    Atomics.store(words, CHECKSUM_WORD, checksum)
    // SYNC checksum stored before its flush number
    Atomics.store(words, FLUSHED_WORD, flushNumber)
  }

  /**
   * Writes every changed page to the disk.
   * @throws SystemCallError `EIO` and others, if the disk fails
   */
  writeBack(): void {
    const { address, words } = this.#memory
    for (let start = 0; start < words.byteLength; start += BLOCK_BYTES) {
      writeBackMemory(address + start, Math.min(BLOCK_BYTES, words.byteLength - start), `flushing ${this.#subject}`)
    }
    writeBackFile(this.#fd, `flushing ${this.#subject}`)
  }

  /** Writes to the disk what `store` has changed. */
  writeBackHeader(): void {
    writeBackMemory(this.#memory.address, this.#rootByteOffset, `flushing ${this.#subject}`)
  }

  /** Never 0, which says that a file was never flushed. */
  #nextFlushNumber(): number {
    const flushNumber = (Atomics.add(this.#memory.words, FLUSH_NUMBER_WORD, 1) + 1) | 0
    return flushNumber === 0 ? this.#nextFlushNumber() : flushNumber
  }
}
