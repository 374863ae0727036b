import { join } from 'node:path'
import type { Messenger } from '../messenger.js'
import { zeromq } from '../messengers/zeromq.js'
import { messengerCrowd, receiving } from './crowd-messenger.js'
import type { CrowdSeat } from './crowd-subject.js'

const BYTES_UNDER_WAY = 8 * 1024 * 1024
const MESSAGES_UNDER_WAY = 4096

/** ZeroMQ's PUSH and PULL over ipc: each receiver binds, and each sender connects to all of them. */
export const zeromqCrowd = messengerCrowd(
  { name: zeromq.name, arrangement: 'processes', prepare: zeromq.prepare, does: ({ isLoan }) => !isLoan },
  (seat) => (seat.role === 'first' ? openPush(seat) : openPull(seat)),
)

async function openPush({ place, messageBytes, crowd }: CrowdSeat): Promise<Messenger> {
  const { Push } = await import('zeromq')
  const socket = new Push({ sendHighWaterMark: highWaterMarkFor(messageBytes), linger: 0 })
  // An address may be connected to before it is bound.
  for (let receiver = 0; receiver < crowd.second; receiver++) socket.connect(addressOf(place.directory, receiver))
  return {
    onMessage() {},
    // The library may keep the bytes, so it gets a copy.
    send: (message) => socket.send(Buffer.from(message)),
    close: () => socket.close(),
  }
}

async function openPull({ place, index, messageBytes }: CrowdSeat): Promise<Messenger> {
  const { Pull } = await import('zeromq')
  const socket = new Pull({ receiveHighWaterMark: highWaterMarkFor(messageBytes), linger: 0 })
  await socket.bind(addressOf(place.directory, index))
  const messenger: Messenger = { ...receiving, close: () => socket.close() }
  const deliver = async () => {
    for await (const [message] of socket) messenger.onMessage(message)
  }
  deliver()
  return messenger
}

function addressOf(directory: string, receiver: number): string {
  return `ipc://${join(directory, `zeromq-${receiver}`)}`
}

function highWaterMarkFor(messageBytes: number): number {
  return Math.max(2, Math.min(MESSAGES_UNDER_WAY, Math.floor(BYTES_UNDER_WAY / messageBytes)))
}
