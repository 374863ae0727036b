import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { FrameReader, LENGTH_BYTES } from '../framed-stream.js'
import { FRAME_BYTES, lookAt, Seen, takePicture } from './frame.js'
import type { FrameSubject } from './frame-subject.js'

/** A frame is written once, and given to each socket. A viewer that has not taken the last one yet misses this one. */
export const unixSocketFrames: FrameSubject = {
  name: 'unix-socket',
  arrangement: 'processes',
  async openCamera({ place, viewers }) {
    const sockets: Socket[] = []
    const server = createServer((socket) => sockets.push(socket))
    server.listen(join(place.directory, 'frames'))
    await once(server, 'listening')
    const frame = Buffer.alloc(LENGTH_BYTES + FRAME_BYTES)
    frame.writeUInt32LE(FRAME_BYTES)
    return {
      async connected() {
        while (sockets.length < viewers) await once(server, 'connection')
      },
      async show(sequence) {
        takePicture(frame.subarray(LENGTH_BYTES), sequence)
        await Promise.all(sockets.map((socket) => new Promise((resolve) => socket.write(frame, resolve))))
      },
      close() {
        for (const socket of sockets) socket.destroy()
        server.close()
      },
    }
  },
  async openViewer({ place }) {
    let onFrame = (_frame: Uint8Array) => {}
    const reader = new FrameReader(FRAME_BYTES, (frame) => onFrame(frame))
    const socket = connect({ path: join(place.directory, 'frames'), onread: reader.onread })
    await once(socket, 'connect')
    return {
      watch(first, last) {
        const seen = new Seen(first, last)
        return new Promise((resolve, reject) => {
          onFrame = (frame) => {
            try {
              if (seen.take(lookAt(frame, 0, frame.byteLength))) resolve(seen.count)
            } catch (error) {
              reject(error)
            }
          }
        })
      },
      close: () => void socket.destroy(),
    }
  },
}
