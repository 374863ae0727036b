import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import type { Place } from '../harness/place.js'
import type { Side } from '../harness/timed-transfers.js'
import { checkStamp, stamp, viewOf, wrongMessageError } from './stamp.js'
import type { SidedSubject } from './throughput-subject.js'

const LENGTH_BYTES = 4
const READ_BUFFER_BYTES = 64 * 1024
/** Larger ones fill the socket by themselves. */
const CORKED_MESSAGE_BYTES_MAX = 1024

/** A Unix domain socket of node:net; every message has its length in front of it and is written by itself. */
export const unixSocketThroughput = unixSocket({ name: 'unix-socket', isCorked: false })

/** The same, but small messages collect until the socket is full: fewer system calls, and each message waits for others. */
export const corkedUnixSocketThroughput = unixSocket({ name: 'unix-socket corked', isCorked: true })

interface Variant {
  readonly name: string
  readonly isCorked: boolean
}

function unixSocket({ name, isCorked }: Variant): SidedSubject {
  return {
    name,
    openersFor({ kind, messageBytes }) {
      const gainsNothing = isCorked && messageBytes > CORKED_MESSAGE_BYTES_MAX
      if (kind !== 'copying' || gainsNothing) return undefined
      return {
        openProducer: (place) => openProducer(place, messageBytes, isCorked),
        openConsumer: (place) => openConsumer(place, messageBytes),
      }
    },
  }
}

async function openProducer(place: Place, messageBytes: number, isCorked: boolean): Promise<Side> {
  const server = createServer()
  const connected: Promise<[Socket]> = once(server, 'connection') as Promise<[Socket]>
  server.listen(socketPath(place))
  await once(server, 'listening')
  let sender: Sender | undefined
  return {
    async transfer(messages) {
      sender ??= new Sender((await connected)[0], messageBytes, isCorked)
      await sender.send(messages)
    },
    close() {
      sender?.close()
      server.close()
    },
  }
}

async function openConsumer(place: Place, messageBytes: number): Promise<Side> {
  const receiver = new Receiver(messageBytes)
  const buffer = Buffer.allocUnsafe(READ_BUFFER_BYTES)
  const socket = connect({
    path: socketPath(place),
    // One buffer for all reads is faster than a new one for each.
    onread: { buffer, callback: (byteLength) => receiver.take(buffer, byteLength) },
  })
  await once(socket, 'connect')
  socket.on('error', (error) => receiver.fail(error))
  socket.on('close', () => receiver.fail(new Error('Receiving: the producer has hung up')))
  return { transfer: (messages) => receiver.receive(messages), close: () => socket.destroy() }
}

function socketPath(place: Place): string {
  return join(place.directory, 'socket')
}

class Sender {
  readonly #socket: Socket
  readonly #isCorked: boolean
  readonly #frames: Frame[]
  #frameIndex = 0

  constructor(socket: Socket, messageBytes: number, isCorked: boolean) {
    this.#socket = socket
    this.#isCorked = isCorked
    // The socket holds on to at most as many before it asks us to wait; one more, and none is changed while it is held.
    const heldFramesMax = Math.ceil(socket.writableHighWaterMark / (LENGTH_BYTES + messageBytes))
    this.#frames = Array.from({ length: heldFramesMax + 1 }, () => new Frame(messageBytes))
  }

  async send(messages: number): Promise<void> {
    const socket = this.#socket
    for (let sequence = 0; sequence < messages; ) {
      let isFull = false
      if (this.#isCorked) socket.cork()
      while (!isFull && sequence < messages) {
        const frame = this.#nextFrame()
        stamp(frame.message, sequence++)
        isFull = !socket.write(frame.bytes)
      }
      if (this.#isCorked) socket.uncork()
      if (isFull) await once(socket, 'drain')
    }
    if (socket.writableLength > 0) await new Promise((resolve) => socket.write('', resolve))
  }

  close(): void {
    this.#socket.destroy()
  }

  #nextFrame(): Frame {
    this.#frameIndex = (this.#frameIndex + 1) % this.#frames.length
    return this.#frames[this.#frameIndex]
  }
}

class Frame {
  readonly bytes: Buffer
  readonly message: DataView

  constructor(messageBytes: number) {
    this.bytes = Buffer.alloc(LENGTH_BYTES + messageBytes)
    this.bytes.writeUInt32LE(messageBytes)
    this.message = viewOf(this.bytes.subarray(LENGTH_BYTES))
  }
}

/** Puts messages together from the stretches of bytes in which they arrive, and checks them. */
class Receiver {
  readonly #message: Uint8Array
  readonly #messageView: DataView
  #lengthBytes = 0
  #length = 0
  #messageBytes = 0
  #sequence = 0
  #messages = 0
  #resolve: () => void = () => {}
  #reject: (error: Error) => void = () => {}

  constructor(messageBytes: number) {
    this.#message = new Uint8Array(messageBytes)
    this.#messageView = viewOf(this.#message)
  }

  receive(messages: number): Promise<void> {
    this.#sequence = 0
    this.#messages = messages
    return new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
  }

  fail(error: Error): void {
    this.#reject(error)
  }

  /** Returns true: go on reading. */
  take(buffer: Buffer, byteLength: number): true {
    let offset = 0
    while (offset < byteLength) {
      if (this.#lengthBytes < LENGTH_BYTES) {
        this.#length |= buffer[offset++] << (8 * this.#lengthBytes++)
        continue
      }
      if (this.#length !== this.#message.byteLength) throw wrongMessageError(this.#sequence)
      const takenBytes = Math.min(this.#length - this.#messageBytes, byteLength - offset)
      buffer.copy(this.#message, this.#messageBytes, offset, offset + takenBytes)
      offset += takenBytes
      this.#messageBytes += takenBytes
      if (this.#messageBytes === this.#length) this.#complete()
    }
    return true
  }

  #complete(): void {
    checkStamp(this.#messageView, this.#sequence)
    this.#lengthBytes = 0
    this.#length = 0
    this.#messageBytes = 0
    if (++this.#sequence === this.#messages) this.#resolve()
  }
}
