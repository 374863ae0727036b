import { closeSync, openSync, readSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { makeFifo } from '../../harness/libc.js'
import { READ_BUFFER_BYTES } from '../framed-stream.js'
import type { Courier } from '../messenger.js'
import type { MessageSubject, Seat } from '../subject.js'

const LENGTH_BYTES = 4

/** Two named pipes, read and written by the thread itself: fs.readSync and fs.writeSync, messages with their lengths in front. */
export const fifo: MessageSubject = { name: 'fifo', arrangement: 'processes', couriers: { blocking: open } }

function open({ role, place, messageBytes }: Seat): Courier {
  const paths = [join(place.directory, 'forth'), join(place.directory, 'back')]
  if (role === 'first') for (const path of paths) makeFifo(path)
  // Open for reading and writing, so that opening does not wait for the other side.
  const fds = paths.map((path) => openSync(path, 'r+'))
  const [outward, inward] = role === 'first' ? fds : [...fds].reverse()
  const source = new FrameSource(inward, messageBytes)
  const frame = Buffer.alloc(LENGTH_BYTES + messageBytes)
  return {
    send(message) {
      frame.writeUInt32LE(message.byteLength)
      frame.set(message, LENGTH_BYTES)
      const frameBytes = LENGTH_BYTES + message.byteLength
      for (let written = 0; written < frameBytes; ) {
        written += writeSync(outward, frame, written, frameBytes - written)
      }
    },
    receive: () => source.next(),
    close() {
      for (const fd of fds) closeSync(fd)
    },
  }
}

/** Reads as much as there is, and hands out one message after the other. */
class FrameSource {
  readonly #fd: number
  readonly #buffer: Buffer
  #start = 0
  #end = 0

  constructor(fd: number, messageBytes: number) {
    this.#fd = fd
    this.#buffer = Buffer.allocUnsafe(LENGTH_BYTES + messageBytes + READ_BUFFER_BYTES)
  }

  next(): Uint8Array {
    this.#need(LENGTH_BYTES)
    const length = this.#buffer.readUInt32LE(this.#start)
    this.#need(LENGTH_BYTES + length)
    const messageStart = this.#start + LENGTH_BYTES
    this.#start = messageStart + length
    return this.#buffer.subarray(messageStart, this.#start)
  }

  #need(byteLength: number): void {
    if (this.#end - this.#start >= byteLength) return
    this.#buffer.copyWithin(0, this.#start, this.#end)
    this.#end -= this.#start
    this.#start = 0
    while (this.#end < byteLength) {
      this.#end += readSync(this.#fd, this.#buffer, this.#end, this.#buffer.length - this.#end, null)
    }
  }
}
