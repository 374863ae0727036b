import { join } from 'node:path'
import type { Pair } from 'zeromq'
import type { Messenger } from '../messenger.js'
import type { MessageSubject, Seat } from '../subject.js'

const BYTES_UNDER_WAY = 8 * 1024 * 1024
const MESSAGES_UNDER_WAY = 4096

/** ZeroMQ's PAIR sockets over ipc. */
export const zeromq: MessageSubject = {
  name: 'zeromq',
  arrangement: 'processes',
  async prepare() {
    try {
      await import('zeromq')
      return undefined
    } catch (error) {
      return `it cannot be loaded: ${error instanceof Error ? error.message.split('\n')[0] : error}`
    }
  },
  openMessenger,
}

async function openMessenger({ role, place, messageBytes }: Seat): Promise<Messenger> {
  const { Pair } = await import('zeromq')
  const highWaterMark = Math.max(2, Math.min(MESSAGES_UNDER_WAY, Math.floor(BYTES_UNDER_WAY / messageBytes)))
  const socket = new Pair({ sendHighWaterMark: highWaterMark, receiveHighWaterMark: highWaterMark, linger: 0 })
  const address = `ipc://${join(place.directory, 'zeromq')}`
  if (role === 'first') await socket.bind(address)
  else socket.connect(address)
  const messenger: Messenger = {
    onMessage() {},
    // The library may keep the bytes, so it gets a copy.
    send: (message) => socket.send(Buffer.from(message)),
    close: () => socket.close(),
  }
  deliver(socket, messenger)
  return messenger
}

async function deliver(socket: Pair, messenger: Messenger): Promise<void> {
  for await (const [message] of socket) messenger.onMessage(message)
}
