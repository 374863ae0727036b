import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { FrameReader, LENGTH_BYTES } from '../framed-stream.js'
import { stampBytes } from '../stamp.js'
import { type BroadcastSubject, batchMessagesFor } from './broadcast-subject.js'
import { untilComplete } from './listener.js'

/** A socket for each subscriber. A batch is written once, and given to all of them. The slowest one holds the publisher back. */
export const unixSocketBroadcast: BroadcastSubject = {
  name: 'unix-socket',
  arrangement: 'processes',
  does: () => true,
  async openPublisher({ place, messageBytes, crowd }) {
    const sockets: Socket[] = []
    const server = createServer((socket) => sockets.push(socket))
    server.listen(join(place.directory, 'broadcast'))
    await once(server, 'listening')
    const frameBytes = LENGTH_BYTES + messageBytes
    const batchMessages = batchMessagesFor(messageBytes)
    let sequence = 0
    return {
      async connected() {
        while (sockets.length < crowd.second) await once(server, 'connection')
      },
      async transfer(messages) {
        for (const end = sequence + messages; sequence < end; ) {
          const count = Math.min(batchMessages, end - sequence)
          // Sockets may keep it for a while.
          const batch = Buffer.allocUnsafe(count * frameBytes)
          for (let start = 0; start < batch.length; start += frameBytes) {
            batch.writeUInt32LE(messageBytes, start)
            stampBytes(batch, start + LENGTH_BYTES, messageBytes, sequence++)
          }
          for (const socket of sockets) socket.write(batch)
          for (const socket of sockets) if (socket.writableNeedDrain) await once(socket, 'drain')
        }
        await Promise.all(sockets.map((socket) => new Promise((resolve) => socket.write('', resolve))))
      },
      close() {
        for (const socket of sockets) socket.destroy()
        server.close()
      },
    }
  },
  async openSubscriber({ place, messageBytes }, listener) {
    let onMessage = (_message: Uint8Array) => {}
    const reader = new FrameReader(messageBytes, (message) => onMessage(message))
    const socket = connect({ path: join(place.directory, 'broadcast'), onread: reader.onread })
    await once(socket, 'connect')
    return {
      transfer: () =>
        untilComplete(listener, (take) => {
          onMessage = take
        }),
      close: () => void socket.destroy(),
    }
  },
}
