import { advance, DATA, fitsRecord, RECORD_HEADER_BYTES, recordBytesOf } from './layout.js'
import { privateBytes } from './private-bytes.js'
import { markAsUntransferable } from './untransferable.js'

/** A larger message gets an array of its own: for it, that costs hardly more than a place in a block. */
const RUN_MESSAGE_BYTES_MAX = 4096

/** V8 makes an array of up to this size without an ArrayBuffer: one by one, such messages cost less as arrays of their own … */
const TINY_BYTES_MAX = 64
/** … and in a run, if as much is there. */
const TINY_RUN_BYTES_MIN = 2048

/** An array of its own costs a message of 128 bytes to 1 KiB about 1 µs, a view of a block of this size a quarter of that. */
const BLOCK_BYTES = 64 * 1024

/** The first message of a run waits for the copy of the whole run. */
const RUN_BYTES_MAX = 16 * 1024
/** What is copied at first, and at least: after runs that end early, no more than a little is copied in vain. */
const RUN_BYTES_MIN = 1024

/** Up to here, copying word by word is faster than the call that copies bytes. */
const WORDWISE_BYTES_MAX = 256

/** Private memory of this thread. Each byte of it is used once: what was given to the program never changes. */
interface Block {
  readonly bytes: Uint8Array
  readonly words: Int32Array
  /** From its beginning on. */
  usedBytes: number
}

const NO_BLOCK: Block = { bytes: new Uint8Array(), words: new Int32Array(), usedBytes: 0 }

/** One for all consumers of a thread: an idle consumer keeps no block. */
let current = NO_BLOCK

/** Whether a message of this length is to be copied as part of a run, if so much is published from its record on. */
export const isWorthRun = (byteLength: number, publishedBytes: number): boolean =>
  byteLength <= RUN_MESSAGE_BYTES_MAX && (byteLength > TINY_BYTES_MAX || publishedBytes >= TINY_RUN_BYTES_MIN)

/**
 * A private copy of several records of a ring that follow each other, each of them a whole message: copied in one go, and
 * given to the program one after the other. A message is a view of the copy. The copy is a cache: consuming moves along
 * the ring's own positions, and a copy that does not begin at the consumer's position is not used.
 *
 * The producer's process may change the records while they are copied, and afterwards. So nothing that was read from the
 * ring decides anything here: the headers are read in the copy, checked there, and used.
 */
export class PrivateRun {
  /** What a payload has before the message. */
  readonly #prefixBytes: number
  #block = NO_BLOCK
  /** Of the next record in the block. */
  #offset = 0
  #endOffset = 0
  /** How much the next copy takes, in the hope that so much of it are small messages. */
  #hopedBytes = RUN_BYTES_MIN
  /** Of the next record in the ring. */
  position = 0

  constructor(prefixBytes = 0) {
    this.#prefixBytes = prefixBytes
  }

  /** Length of the next payload, if it is the one at this position of the ring; -1 if it must be read from the ring. */
  byteLengthAt(position: number): number {
    const remainingBytes = this.#endOffset - this.#offset
    if (remainingBytes === 0 || position !== this.position) return -1
    const { words } = this.#block
    const word = this.#offset >> 2
    const byteLength = words[word]
    // A block that the program has transferred to another thread has no words any more.
    return words[word + 1] === DATA && fitsRecord(byteLength, remainingBytes, remainingBytes) ? byteLength : -1
  }

  /** Takes the next message, whose payload has this length, and moves `position` behind its record. */
  take(byteLength: number): Uint8Array {
    const block = this.#block
    const recordBytes = recordBytesOf(byteLength)
    const nextOffset = this.#offset + recordBytes
    const nextPosition = advance(this.position, recordBytes)
    const prefixBytes = this.#prefixBytes
    const from = this.#offset + RECORD_HEADER_BYTES + prefixBytes
    const message = new Uint8Array(block.bytes.buffer, from, byteLength - prefixBytes)
    this.#offset = nextOffset
    this.position = nextPosition
    if (nextOffset === this.#endOffset) this.#block = NO_BLOCK
    return message
  }

  /**
   * Copies the record at this position, and the small messages that follow it. It copies first and looks for the end of the
   * run in the copy: a look into the ring would wait for each record's cache line to come from the producer's core, one after
   * the other, while a copy fetches many of them at a time.
   * @param byteOffset where the record begins in `bytes` and `words`
   * @param recordBytes its size
   * @param availableBytes published bytes from there on, up to the end of the ring
   */
  copy(
    bytes: Uint8Array,
    words: Int32Array,
    byteOffset: number,
    recordBytes: number,
    availableBytes: number,
    position: number,
  ): void {
    const block = current.bytes.byteLength - current.usedBytes < recordBytes ? nextBlock() : current
    const offset = block.usedBytes
    const hopedBytes = Math.max(recordBytes, this.#hopedBytes)
    const copiedBytes = Math.min(availableBytes, hopedBytes, block.bytes.byteLength - offset)
    if (copiedBytes <= WORDWISE_BYTES_MAX) {
      const from = byteOffset >>> 2
      const to = offset >> 2
      for (let word = copiedBytes >> 2; --word >= 0; ) block.words[to + word] = words[from + word]
    } else {
      block.bytes.set(bytes.subarray(byteOffset, byteOffset + copiedBytes), offset)
    }
    let runBytes = recordBytes
    while (runBytes < copiedBytes) {
      const word = (offset + runBytes) >> 2
      const byteLength = block.words[word]
      if (block.words[word + 1] !== DATA || byteLength >>> 0 > RUN_MESSAGE_BYTES_MAX) break
      const endBytes = runBytes + recordBytesOf(byteLength)
      if (endBytes > copiedBytes) break
      runBytes = endBytes
    }
    if (runBytes * 2 <= copiedBytes) this.#hopedBytes = Math.max(RUN_BYTES_MIN, runBytes)
    else if (copiedBytes === hopedBytes) this.#hopedBytes = Math.min(RUN_BYTES_MAX, hopedBytes * 2)
    block.usedBytes = offset + runBytes
    this.#block = block
    this.#offset = offset
    this.#endOffset = offset + runBytes
    this.position = position
  }

  /** The consumer is about to move on in another way. */
  drop(): void {
    this.#block = NO_BLOCK
    this.#offset = this.#endOffset
  }
}

/**
 * A private copy of one message. `byteOffset`, where it begins in `bytes` and `words`, is a multiple of 8.
 */
export function privateCopyOf(
  bytes: Uint8Array,
  words: Int32Array,
  byteOffset: number,
  byteLength: number,
): Uint8Array {
  if (byteLength <= TINY_BYTES_MAX || byteLength > RUN_MESSAGE_BYTES_MAX) {
    return bytes.slice(byteOffset, byteOffset + byteLength)
  }
  const paddedBytes = (byteLength + 7) & -8
  const block = current.bytes.byteLength - current.usedBytes < paddedBytes ? nextBlock() : current
  const offset = block.usedBytes
  if (byteLength <= WORDWISE_BYTES_MAX) {
    const from = byteOffset >>> 2
    const to = offset >> 2
    for (let word = (byteLength + 3) >> 2; --word >= 0; ) block.words[to + word] = words[from + word]
  } else {
    block.bytes.set(bytes.subarray(byteOffset, byteOffset + byteLength), offset)
  }
  const copy = new Uint8Array(block.bytes.buffer, offset, byteLength)
  block.usedBytes = offset + paddedBytes
  return copy
}

/** Private memory with a copy of several messages, which begins at `byteOffset`, a multiple of 8. */
export interface PrivateCopy {
  readonly bytes: Uint8Array
  readonly words: Int32Array
  readonly byteOffset: number
}

/**
 * A private copy of several messages, to be given to the program as views of it. `byteOffset`, where it begins in `bytes`, is a
 * multiple of 8.
 */
export function privateCopyOfSeveral(bytes: Uint8Array, byteOffset: number, byteLength: number): PrivateCopy {
  const paddedBytes = (byteLength + 7) & -8
  if (paddedBytes > RUN_BYTES_MAX) {
    const copy = new Uint8Array(paddedBytes)
    copy.set(bytes.subarray(byteOffset, byteOffset + byteLength))
    markAsUntransferable(copy.buffer)
    return { bytes: copy, words: new Int32Array(copy.buffer), byteOffset: 0 }
  }
  const block = current.bytes.byteLength - current.usedBytes < paddedBytes ? nextBlock() : current
  const offset = block.usedBytes
  block.bytes.set(bytes.subarray(byteOffset, byteOffset + byteLength), offset)
  block.usedBytes = offset + paddedBytes
  return { bytes: block.bytes, words: block.words, byteOffset: offset }
}

function nextBlock(): Block {
  const bytes = privateBytes(BLOCK_BYTES)
  markAsUntransferable(bytes.buffer)
  current = { bytes, words: new Int32Array(bytes.buffer), usedBytes: 0 }
  return current
}
