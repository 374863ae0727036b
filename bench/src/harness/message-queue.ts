import { libc, systemError } from './libc.js'

const O_RDWR = 2
const O_CREAT = 0o100
const O_EXCL = 0o200

/** What Linux allows without privileges by default. */
export const QUEUE_MESSAGE_BYTES_MAX = 8192
const QUEUE_MESSAGES_MAX = 10

const queueNames = (prefix: string) => ({ forth: `${prefix}forth`, back: `${prefix}back` })

/** The POSIX message queues of a place, in their blocking form. */
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

  close(): void {
    libc.func('int mq_close(int queue)')(this.#descriptor)
  }
}
