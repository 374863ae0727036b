import koffi from 'koffi'

/** Constants of fcntl.h and errno.h on Linux. */
const O_RDWR = 0o2
const O_CREAT = 0o100
const O_EXCL = 0o200
const O_NONBLOCK = 0o4000
const EAGAIN = 11
/** EPERM, EACCES, EINVAL, EMFILE, ENOSPC, ENOSYS: there may be no queues, none for this user, or none of this size. */
const REFUSALS = [1, 13, 22, 24, 28, 38]
const MODE = 0o600
/** struct mq_attr: flags, the most messages, bytes of a message, messages now, and four longs that are reserved. */
const ATTRIBUTE_LONGS = 8

function load() {
  // Before glibc 2.34, the message queues were in a library of their own.
  let c = koffi.load(null)
  try {
    c.func('int mq_unlink(const char *name)')
  } catch {
    c = koffi.load('librt.so.1')
  }
  return {
    open: c.func('int mq_open(const char *name, int flags, unsigned int mode, void *attributes)'),
    send: c.func('int mq_send(int queue, void *bytes, size_t byteLength, unsigned int priority)'),
    receive: c.func('long mq_receive(int queue, void *bytes, size_t byteLength, void *priority)'),
    unlink: c.func('int mq_unlink(const char *name)'),
    close: c.func('int mq_close(int queue)'),
  }
}

export class NotPermittedError extends Error {}

let library: ReturnType<typeof load> | undefined

/** A message queue of the operating system, whose name is gone as soon as it is open. No call waits. */
export class PosixQueue {
  readonly #queue: number
  readonly #buffer: Buffer

  /** @throws NotPermittedError */
  constructor(name: string, messagesMax: number, messageBytes: number) {
    library ??= load()
    const attributes = new BigInt64Array(ATTRIBUTE_LONGS)
    attributes[1] = BigInt(messagesMax)
    attributes[2] = BigInt(messageBytes)
    this.#queue = library.open(name, O_RDWR | O_CREAT | O_EXCL | O_NONBLOCK, MODE, attributes)
    if (this.#queue === -1) {
      const failed = failure('mq_open')
      throw REFUSALS.includes(koffi.errno()) ? new NotPermittedError(failed.message) : failed
    }
    this.#buffer = Buffer.alloc(messageBytes)
    if (library.unlink(name) === -1) throw failure('mq_unlink')
  }

  /** Returns false if the queue is full. */
  trySend(message: Uint8Array, priority: number): boolean {
    if (library?.send(this.#queue, message, message.length, priority) === 0) return true
    if (koffi.errno() === EAGAIN) return false
    throw failure('mq_send')
  }

  /** Returns undefined if the queue is empty. */
  tryReceive(): Uint8Array | undefined {
    const byteLength = library?.receive(this.#queue, this.#buffer, this.#buffer.length, null)
    if (byteLength !== -1) return Uint8Array.from(this.#buffer.subarray(0, byteLength))
    if (koffi.errno() === EAGAIN) return undefined
    throw failure('mq_receive')
  }

  close(): void {
    library?.close(this.#queue)
  }
}

function failure(call: string): Error {
  return new Error(`${call} failed with error number ${koffi.errno()}`)
}
