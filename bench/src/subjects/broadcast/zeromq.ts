import { join } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import type { XPublisher } from 'zeromq'
import { zeromq } from '../messengers/zeromq.js'
import { Batches } from './batches.js'
import type { BroadcastSubject } from './broadcast-subject.js'
import { untilComplete } from './listener.js'

const BYTES_UNDER_WAY = 8 * 1024 * 1024
const MESSAGES_UNDER_WAY = 4096

/** ZeroMQ's PUB and SUB over ipc; XPUB, which is told of the subscriptions. It waits for the slowest subscriber (`noDrop`). */
export const zeromqBroadcast: BroadcastSubject = {
  name: zeromq.name,
  arrangement: 'processes',
  prepare: zeromq.prepare,
  does: () => true,
  async openPublisher(seat) {
    const { XPublisher } = await import('zeromq')
    const socket = new XPublisher({ sendHighWaterMark: highWaterMarkFor(seat.messageBytes), linger: 0 })
    socket.noDrop = true
    socket.verbosity = 'allSubs'
    await socket.bind(addressIn(seat.place.directory))
    const batches = new Batches(seat)
    return {
      async connected() {
        for (let subscribers = 0; subscribers < seat.crowd.second; subscribers++) await socket.receive()
      },
      async transfer(messages) {
        for (const batch of batches.of(messages)) {
          for (const message of batch) {
            // It throws at once if a subscriber has no room.
            while (!(await hasSent(socket, message))) await setImmediate()
          }
        }
      },
      close: () => socket.close(),
    }
  },
  async openSubscriber({ place, messageBytes }, listener) {
    const { Subscriber } = await import('zeromq')
    const socket = new Subscriber({ receiveHighWaterMark: highWaterMarkFor(messageBytes), linger: 0 })
    socket.connect(addressIn(place.directory))
    socket.subscribe()
    let onMessage = (_message: Uint8Array) => {}
    const deliver = async () => {
      for await (const [message] of socket) onMessage(message)
    }
    deliver()
    return {
      transfer: () =>
        untilComplete(listener, (take) => {
          onMessage = take
        }),
      close: () => socket.close(),
    }
  },
}

async function hasSent(socket: XPublisher, message: Uint8Array): Promise<boolean> {
  try {
    // The library may keep the bytes, so it gets a copy.
    await socket.send(Buffer.from(message))
    return true
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EAGAIN') return false
    throw error
  }
}

function addressIn(directory: string): string {
  return `ipc://${join(directory, 'zeromq')}`
}

function highWaterMarkFor(messageBytes: number): number {
  return Math.max(2, Math.min(MESSAGES_UNDER_WAY, Math.floor(BYTES_UNDER_WAY / messageBytes)))
}
