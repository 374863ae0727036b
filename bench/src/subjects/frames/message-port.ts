import type { MessagePort } from 'node:worker_threads'
import { FRAME_BYTES, lookAt, Seen, takePicture } from './frame.js'
import type { FrameSubject } from './frame-subject.js'

/** Structured clones. A viewer answers each frame; the camera shows the next one when all have. */
export const messagePortFrames: FrameSubject = {
  name: 'message-port',
  arrangement: 'threads',
  async openCamera({ line: { ports = [] } }) {
    const frame = new Uint8Array(FRAME_BYTES)
    return {
      async show(sequence) {
        takePicture(frame, sequence)
        await Promise.all(ports.map((port) => shownTo(port, frame)))
      },
      close() {},
    }
  },
  async openViewer({ line: { port } }) {
    if (port === undefined) throw new Error('Seeing frames: the sides are not threads')
    return {
      watch(first, last) {
        const seen = new Seen(first, last)
        return new Promise((resolve, reject) => {
          const onFrame = (frame: Uint8Array) => {
            try {
              const isLast = seen.take(lookAt(frame, 0, frame.byteLength))
              port.postMessage('seen')
              if (!isLast) return
              port.off('message', onFrame)
              resolve(seen.count)
            } catch (error) {
              reject(error)
            }
          }
          port.on('message', onFrame)
        })
      },
      close() {},
    }
  },
}

function shownTo(port: MessagePort, frame: Uint8Array): Promise<void> {
  return new Promise((resolve) => {
    port.once('message', () => resolve())
    port.postMessage(frame)
  })
}
