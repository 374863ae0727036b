import { openMessageQueues, QUEUE_MESSAGE_BYTES_MAX, unlinkMessageQueues } from '../../harness/message-queue.js'
import type { Courier } from '../messenger.js'
import type { MessageSubject, Seat } from '../subject.js'

/** mq_send and mq_receive, through koffi. */
export const posixMessageQueue: MessageSubject = {
  name: 'posix-message-queue',
  arrangement: 'processes',
  messageBytesMax: QUEUE_MESSAGE_BYTES_MAX,
  async prepare() {
    try {
      const prefix = `/isthmus-bench-${process.pid}-trial-`
      for (const queue of Object.values(openMessageQueues(prefix, true))) queue.close()
      unlinkMessageQueues(prefix)
      return undefined
    } catch (error) {
      return String(error)
    }
  },
  couriers: { blocking: open },
}

function open({ role, place }: Seat): Courier {
  const isFirst = role === 'first'
  const { forth, back } = openMessageQueues(place.segmentPrefix, isFirst)
  const [outward, inward] = isFirst ? [forth, back] : [back, forth]
  const buffer = new Uint8Array(QUEUE_MESSAGE_BYTES_MAX)
  return {
    send: (message) => outward.send(message),
    receive: () => buffer.subarray(0, inward.receive(buffer)),
    close() {
      forth.close()
      back.close()
    },
  }
}
