import koffi from 'koffi'
import { libc, systemError } from './libc.js'

const O_RDWR = 2
const O_CREAT = 0o100
const O_EXCL = 0o200
const ETIMEDOUT = 110
const MS_PER_S = 1000
const NS_PER_MS = 1_000_000

/** What Linux allows without privileges by default. */
export const QUEUE_MESSAGE_BYTES_MAX = 8192
const QUEUE_MESSAGES_MAX = 10

const queueNames = (prefix: string) => ({ forth: `${prefix}forth`, back: `${prefix}back` })

/** One POSIX message queue of a place, in its blocking form. */
export function openSharedMessageQueue(prefix: string, isNew: boolean): MessageQueue {
  return new MessageQueue(queueNames(prefix).forth, isNew)
}

/** Two POSIX message queues of a place, in their blocking form. */
export function openMessageQueues(prefix: string, isNew: boolean): { forth: MessageQueue; back: MessageQueue } {
  const { forth, back } = queueNames(prefix)
  return { forth: new MessageQueue(forth, isNew), back: new MessageQueue(back, isNew) }
}

/** Removes those that exist. Processes that have them open keep them. */
export function unlinkMessageQueues(prefix: string): void {
  const unlink = libc.func('int mq_unlink(str name)')
  for (const name of Object.values(queueNames(prefix))) unlink(name)
}

export class MessageQueue {
  readonly #descriptor: number
  readonly #send = libc.func('int mq_send(int queue, void *message, size_t byteLength, uint priority)')
  readonly #receive = libc.func('long mq_receive(int queue, void *message, size_t byteLength, void *priority)')
  readonly #timedReceive = libc.func(
    'long mq_timedreceive(int queue, void *message, size_t byteLength, void *priority, void *deadline)',
  )
  /** Seconds and nanoseconds, of the clock that shows the time of day: the call has no other one. */
  readonly #deadline = new BigInt64Array(2)
  /** It has passed long ago. */
  readonly #past = new BigInt64Array(2)

  constructor(name: string, isNew: boolean) {
    // Flags, number of messages, bytes of one message, and five unused words.
    const attributes = new BigInt64Array(8)
    attributes[1] = BigInt(QUEUE_MESSAGES_MAX)
    attributes[2] = BigInt(QUEUE_MESSAGE_BYTES_MAX)
    const open = libc.func('int mq_open(str name, int flags, uint mode, void *attributes)')
    this.#descriptor = open(name, isNew ? O_RDWR | O_CREAT | O_EXCL : O_RDWR, 0o600, attributes)
    if (this.#descriptor < 0) throw systemError('mq_open')
  }

  send(message: Uint8Array): void {
    if (this.#send(this.#descriptor, message, message.byteLength, 0) < 0) throw systemError('mq_send')
  }

  /** `target` must have QUEUE_MESSAGE_BYTES_MAX bytes. Returns how many of them were written. */
  receive(target: Uint8Array): number {
    const byteLength = this.#receive(this.#descriptor, target, target.byteLength, null)
    if (byteLength < 0) throw systemError('mq_receive')
    return Number(byteLength)
  }

  /** As `receive`; undefined if the queue is empty. */
  tryReceive(target: Uint8Array): number | undefined {
    return this.#receiveUntil(this.#past, target)
  }

  /** As `receive`; undefined if the queue is empty for so long. */
  receiveWithin(target: Uint8Array, timeoutMs: number): number | undefined {
    const deadlineMs = Date.now() + timeoutMs
    this.#deadline[0] = BigInt(Math.floor(deadlineMs / MS_PER_S))
    this.#deadline[1] = BigInt((deadlineMs % MS_PER_S) * NS_PER_MS)
    return this.#receiveUntil(this.#deadline, target)
  }

  #receiveUntil(deadline: BigInt64Array, target: Uint8Array): number | undefined {
    const byteLength = this.#timedReceive(this.#descriptor, target, target.byteLength, null, deadline)
    if (byteLength >= 0) return Number(byteLength)
    if (koffi.errno() === ETIMEDOUT) return undefined
    throw systemError('mq_timedreceive')
  }

  close(): void {
    libc.func('int mq_close(int queue)')(this.#descriptor)
  }
}
