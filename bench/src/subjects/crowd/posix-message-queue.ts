import { openSharedMessageQueue, QUEUE_MESSAGE_BYTES_MAX } from '../../harness/message-queue.js'
import { posixMessageQueue } from '../couriers/posix-message-queue.js'
import { sharedQueue } from './queue-end.js'

/** One queue for all: mq_send and mq_timedreceive, through koffi. It holds ten messages of up to 8 KiB. */
export const posixMessageQueueCrowd = sharedQueue(
  {
    name: posixMessageQueue.name,
    arrangement: 'processes',
    prepare: posixMessageQueue.prepare,
    does: ({ isLoan, messageBytes }) => !isLoan && messageBytes <= QUEUE_MESSAGE_BYTES_MAX,
  },
  ({ place, role, index }) => {
    const queue = openSharedMessageQueue(place.segmentPrefix, role === 'first' && index === 0)
    const buffer = new Uint8Array(QUEUE_MESSAGE_BYTES_MAX)
    const messageOf = (byteLength: number | undefined) =>
      byteLength === undefined ? undefined : buffer.subarray(0, byteLength)
    return {
      send: (message) => queue.send(message),
      tryReceive: () => messageOf(queue.tryReceive(buffer)),
      receiveWithin: (timeoutMs) => messageOf(queue.receiveWithin(buffer, timeoutMs)),
      close: () => queue.close(),
    }
  },
)
