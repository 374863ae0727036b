import type { Writable } from 'node:stream'
import type { Messenger } from './messenger.js'

const LENGTH_BYTES = 4
export const READ_BUFFER_BYTES = 64 * 1024

/** Puts messages, each with its length in front of it, into a stream of bytes. */
export class FrameWriter {
  readonly #stream: Writable
  readonly #frames: Buffer[]
  readonly #isCorked: boolean
  #frameIndex = 0

  /** Every message has `messageBytes`. */
  constructor(stream: Writable, messageBytes: number, isCorked: boolean) {
    this.#stream = stream
    this.#isCorked = isCorked
    // The stream keeps at most this many before it asks us to wait. With one more, none is changed while it is kept.
    const heldFramesMax = Math.ceil(stream.writableHighWaterMark / (LENGTH_BYTES + messageBytes))
    this.#frames = Array.from({ length: heldFramesMax + 1 }, () => Buffer.alloc(LENGTH_BYTES + messageBytes))
  }

  /** Returns false if the caller must wait for `drained`. */
  write(message: Uint8Array): boolean {
    this.#frameIndex = (this.#frameIndex + 1) % this.#frames.length
    const frame = this.#frames[this.#frameIndex]
    frame.writeUInt32LE(message.byteLength)
    frame.set(message, LENGTH_BYTES)
    if (this.#isCorked && this.#stream.writableCorked === 0) {
      this.#stream.cork()
      process.nextTick(() => this.#stream.uncork())
    }
    return this.#stream.write(frame)
  }

  /** Resolves when the stream may be written to again. */
  drained(): Promise<void> {
    return new Promise((resolve) => this.#stream.once('drain', resolve))
  }

  async flush(): Promise<void> {
    if (this.#stream.writableLength > 0) await new Promise((resolve) => this.#stream.write('', resolve))
  }
}

/** Puts messages together again from the stretches of bytes in which they arrive. */
export class FrameReader {
  readonly #message: Uint8Array
  readonly #onMessage: (message: Uint8Array) => void
  #lengthBytes = 0
  #length = 0
  #messageBytes = 0

  constructor(messageBytes: number, onMessage: (message: Uint8Array) => void) {
    this.#message = new Uint8Array(messageBytes)
    this.#onMessage = onMessage
  }

  /** Returns true, which tells the stream to go on reading. */
  take(buffer: Uint8Array, byteLength: number): true {
    let offset = 0
    while (offset < byteLength) {
      if (this.#lengthBytes < LENGTH_BYTES) {
        this.#length |= buffer[offset++] << (8 * this.#lengthBytes++)
        continue
      }
      if (this.#length !== this.#message.byteLength) throw new Error(`A message of ${this.#length} bytes arrived`)
      const takenBytes = Math.min(this.#length - this.#messageBytes, byteLength - offset)
      this.#message.set(buffer.subarray(offset, offset + takenBytes), this.#messageBytes)
      offset += takenBytes
      this.#messageBytes += takenBytes
      if (this.#messageBytes === this.#length) this.#complete()
    }
    return true
  }

  #complete(): void {
    this.#lengthBytes = 0
    this.#length = 0
    this.#messageBytes = 0
    this.#onMessage(this.#message)
  }
}

/** A messenger over streams: it writes to one, and receives what `readerOf` reads. */
export class FramedMessenger implements Messenger {
  onMessage: (message: Uint8Array) => void = () => {}
  onEnd: () => void = () => {}
  readonly reader: FrameReader
  readonly #messageBytes: number
  readonly #isCorked: boolean
  #writer: FrameWriter | undefined
  #close: () => void = () => {}

  constructor(messageBytes: number, isCorked = false) {
    this.#messageBytes = messageBytes
    this.#isCorked = isCorked
    this.reader = new FrameReader(messageBytes, (message) => this.onMessage(message))
  }

  connect(stream: Writable, close: () => void): void {
    this.#writer = new FrameWriter(stream, this.#messageBytes, this.#isCorked)
    this.#close = close
  }

  send(message: Uint8Array): void | Promise<void> {
    if (this.#writer === undefined) throw new Error('Sending: the other side is not connected')
    if (!this.#writer.write(message)) return this.#writer.drained()
  }

  async flush(): Promise<void> {
    await this.#writer?.flush()
  }

  close(): void {
    this.#close()
  }
}
