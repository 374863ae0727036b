import type { MessagePort } from 'node:worker_threads'
import type { Messenger } from '../messenger.js'
import type { MessageSubject, Seat } from '../subject.js'

/** Its messages are structured clones: copies. */
export const messagePort: MessageSubject = { name: 'message-port', arrangement: 'threads', openMessenger }

/** How many bytes, or messages, are under way before the sender waits for the receiver: a port has no back-pressure of its own. */
const BYTES_UNDER_WAY = 8 * 1024 * 1024
const MESSAGES_UNDER_WAY = 4096

function openMessenger({ line: { port }, messageBytes }: Seat): Messenger {
  if (port === undefined) throw new Error('Opening a message port: the sides are not threads')
  return portMessenger(port, messageBytes)
}

export function portMessenger(port: MessagePort, messageBytes: number): Messenger {
  const underWayMax = Math.max(2, Math.min(MESSAGES_UNDER_WAY, Math.floor(BYTES_UNDER_WAY / messageBytes)))
  const creditStep = underWayMax / 2
  let underWay = 0
  let received = 0
  let resume: (() => void) | undefined
  const messenger: Messenger = {
    onMessage() {},
    send(message) {
      port.postMessage(message)
      if (++underWay < underWayMax) return
      return new Promise((resolve) => {
        resume = resolve
      })
    },
    close: () => port.close(),
  }
  port.on('message', (message: Uint8Array | number) => {
    if (typeof message === 'number') {
      underWay -= message
      resume?.()
      return
    }
    messenger.onMessage(message)
    if (++received < creditStep) return
    port.postMessage(received)
    received = 0
  })
  return messenger
}
