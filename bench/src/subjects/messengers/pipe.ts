import { Socket } from 'node:net'
import { FramedMessenger } from '../framed-stream.js'
import type { Messenger } from '../messenger.js'
import type { MessageSubject, Seat } from '../subject.js'

/** Two pipes between a process and its child, served by the event loop; messages with their lengths in front. */
export const pipe: MessageSubject = { name: 'pipe', arrangement: 'pipes', openMessenger }

function openMessenger({ line: { pipes }, messageBytes }: Seat): Messenger {
  if (pipes === undefined) throw new Error('Opening pipes: the sides are not parent and child')
  const messenger = new FramedMessenger(messageBytes)
  const inward = new Socket({ fd: pipes.readFd, readable: true, writable: false })
  inward.on('data', (bytes: Buffer) => messenger.reader.take(bytes, bytes.length))
  const outward = new Socket({ fd: pipes.writeFd, readable: false, writable: true })
  for (const socket of [inward, outward]) socket.on('error', () => socket.destroy())
  messenger.connect(outward, () => {
    inward.destroy()
    outward.destroy()
  })
  return messenger
}
