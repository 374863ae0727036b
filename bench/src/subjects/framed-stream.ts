import type { Writable } from 'node:stream'
import type { Messenger } from './messenger.js'

export const LENGTH_BYTES = 4
export const READ_BUFFER_BYTES = 64 * 1024

/** How many messages are corked at once, by the caller; or all that are written within one turn of the event loop. */
export type Corking = number | 'per turn'

/** Puts messages, each with its length in front of it, into a stream of bytes. */
export class FrameWriter {
  readonly #stream: Writable
  readonly #frames: Buffer[]
  readonly #messageBytes: number
  readonly #isCorkedPerTurn: boolean
  #frameIndex = 0

  /** Every message has `messageBytes`. */
  constructor(stream: Writable, messageBytes: number, corking: Corking) {
    this.#stream = stream
    this.#messageBytes = messageBytes
    this.#isCorkedPerTurn = corking === 'per turn'
    const corkedFrames = corking === 'per turn' ? 0 : corking
    // The stream keeps at most this many before it asks us to wait. With one more, none is changed while it is kept.
    const heldFramesMax = Math.ceil(stream.writableHighWaterMark / (LENGTH_BYTES + messageBytes)) + corkedFrames
    this.#frames = Array.from({ length: heldFramesMax + 1 }, () => Buffer.alloc(LENGTH_BYTES + messageBytes))
  }

  /** Returns false if the caller must wait for `drained`. */
  write(message: Uint8Array): boolean {
    const frame = this.nextFrame()
    frame.set(message, LENGTH_BYTES)
    return this.writeFrame(frame)
  }

  /** Where the caller writes the next message, after the LENGTH_BYTES of its length. */
  nextFrame(): Buffer {
    this.#frameIndex = (this.#frameIndex + 1) % this.#frames.length
    const frame = this.#frames[this.#frameIndex]
    frame.writeUInt32LE(this.#messageBytes)
    return frame
  }

  /** As `write`, for what `nextFrame` returned. */
  writeFrame(frame: Buffer): boolean {
    if (this.#isCorkedPerTurn && this.#stream.writableCorked === 0) {
      this.#stream.cork()
      process.nextTick(() => this.#stream.uncork())
    }
    return this.#stream.write(frame)
  }

  /** What is written from now on collects. */
  cork(): void {
    this.#stream.cork()
  }

  /** Writes what has collected. Returns false if the caller must wait for `drained`. */
  uncork(): boolean {
    this.#stream.uncork()
    return !this.#stream.writableNeedDrain
  }

  /** Resolves when the stream may be written to again. */
  drained(): Promise<void> {
    return new Promise((resolve) => this.#stream.once('drain', resolve))
  }

  async flush(): Promise<void> {
    if (this.#stream.writableLength > 0) await new Promise((resolve) => this.#stream.write('', resolve))
  }
}

/**
 * Finds the messages in the stretches of bytes in which they arrive. A message that lies within one stretch is handed out
 * where it lies, others are put together in a buffer that is used again.
 */
export class FrameReader {
  readonly #message: Uint8Array
  readonly #onMessage: (message: Uint8Array) => void
  readonly #buffer = Buffer.allocUnsafe(READ_BUFFER_BYTES)
  #lengthBytes = 0
  #length = 0
  #messageBytes = 0

  constructor(messageBytes: number, onMessage: (message: Uint8Array) => void) {
    this.#message = new Uint8Array(messageBytes)
    this.#onMessage = onMessage
  }

  /** For the option `onread`: one buffer for all reads, and the largest messages are read straight to their place. */
  get onread() {
    const callback = (byteLength: number, target: Uint8Array): true => {
      return target === this.#buffer ? this.take(target, byteLength) : this.#arrived(byteLength)
    }
    const isRestLarge = () => this.#length - this.#messageBytes >= READ_BUFFER_BYTES
    const nextTarget = () => (isRestLarge() ? this.#message.subarray(this.#messageBytes) : this.#buffer)
    return { buffer: this.#message.byteLength > READ_BUFFER_BYTES ? nextTarget : this.#buffer, callback }
  }

  /** Returns true, which tells the stream to go on reading. */
  take(bytes: Uint8Array, byteLength: number): true {
    let offset = 0
    while (offset < byteLength) {
      const messageOffset = offset + LENGTH_BYTES
      const isWhole = this.#lengthBytes === 0 && messageOffset + this.#message.byteLength <= byteLength
      if (isWhole) {
        this.#checkLength(
          bytes[offset] | (bytes[offset + 1] << 8) | (bytes[offset + 2] << 16) | (bytes[offset + 3] << 24),
        )
        offset = messageOffset + this.#message.byteLength
        this.#onMessage(bytes.subarray(messageOffset, offset))
      } else if (this.#lengthBytes < LENGTH_BYTES) {
        this.#length |= bytes[offset++] << (8 * this.#lengthBytes++)
        if (this.#lengthBytes === LENGTH_BYTES) this.#checkLength(this.#length)
      } else {
        const takenBytes = Math.min(this.#length - this.#messageBytes, byteLength - offset)
        this.#message.set(bytes.subarray(offset, offset + takenBytes), this.#messageBytes)
        offset += takenBytes
        this.#arrived(takenBytes)
      }
    }
    return true
  }

  #checkLength(length: number): void {
    if (length !== this.#message.byteLength) throw new Error(`A message of ${length} bytes arrived`)
  }

  /** So many more bytes of the message stand in its place. */
  #arrived(byteLength: number): true {
    this.#messageBytes += byteLength
    if (this.#messageBytes < this.#length) return true
    this.#lengthBytes = 0
    this.#length = 0
    this.#messageBytes = 0
    this.#onMessage(this.#message)
    return true
  }
}

/** A messenger over streams: it writes to one, and receives what its reader finds. */
export class FramedMessenger implements Messenger {
  onMessage: (message: Uint8Array) => void = () => {}
  onEnd: () => void = () => {}
  readonly reader: FrameReader
  readonly #messageBytes: number
  readonly #corking: Corking
  #writer: FrameWriter | undefined
  #close: () => void = () => {}

  constructor(messageBytes: number, corking: Corking = 0) {
    this.#messageBytes = messageBytes
    this.#corking = corking
    this.reader = new FrameReader(messageBytes, (message) => this.onMessage(message))
  }

  connect(stream: Writable, close: () => void): void {
    this.#writer = new FrameWriter(stream, this.#messageBytes, this.#corking)
    this.#close = close
  }

  get writer(): FrameWriter {
    if (this.#writer === undefined) throw new Error('Sending: the other side is not connected')
    return this.#writer
  }

  send(message: Uint8Array): void | Promise<void> {
    if (!this.writer.write(message)) return this.writer.drained()
  }

  async flush(): Promise<void> {
    await this.#writer?.flush()
  }

  close(): void {
    this.#close()
  }
}
