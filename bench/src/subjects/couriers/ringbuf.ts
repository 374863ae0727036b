import { once } from 'node:events'
import { RingBuffer } from 'ringbuf.js'
import type { Courier } from '../messenger.js'
import { ringCapacityBytes } from '../ring-capacity.js'
import type { MessageSubject, Seat } from '../subject.js'

const LENGTH_BYTES = 4

/** Rings of bytes between threads; its only way to wait is to try again. Messages have their lengths in front. */
export const ringbuf: MessageSubject = { name: 'ringbuf.js', arrangement: 'threads', couriers: { spinning: open } }

async function open({ role, line: { port }, messageBytes }: Seat): Promise<Courier> {
  if (port === undefined) throw new Error('Opening rings of ringbuf.js: the sides are not threads')
  const makeStorage = () => RingBuffer.getStorageForCapacity(ringCapacityBytes(messageBytes), Uint8Array)
  const isFirst = role === 'first'
  const storages: SharedArrayBuffer[] = isFirst ? [makeStorage(), makeStorage()] : (await once(port, 'message'))[0]
  if (isFirst) port.postMessage(storages)
  const [forth, back] = storages.map((storage) => new RingBuffer(storage, Uint8Array))
  const [outward, inward] = isFirst ? [forth, back] : [back, forth]
  const frame = Buffer.alloc(LENGTH_BYTES + messageBytes)
  const length = Buffer.alloc(LENGTH_BYTES)
  const message = Buffer.alloc(messageBytes)
  const pushAll = (bytes: Buffer) => {
    for (let pushed = 0; pushed < bytes.length; ) {
      pushed += outward.push(pushed === 0 ? bytes : bytes.subarray(pushed))
    }
  }
  const popAll = (bytes: Buffer) => {
    for (let popped = 0; popped < bytes.length; ) {
      popped += inward.pop(popped === 0 ? bytes : bytes.subarray(popped))
    }
  }
  return {
    send(bytes) {
      frame.writeUInt32LE(bytes.byteLength)
      frame.set(bytes, LENGTH_BYTES)
      pushAll(frame)
    },
    receive() {
      popAll(length)
      if (length.readUInt32LE() !== messageBytes) throw new Error('Receiving: another length arrived')
      popAll(message)
      return message
    },
    close() {},
  }
}
