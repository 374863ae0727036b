import { BroadcastChannel } from 'node:worker_threads'
import { stampBytes } from '../stamp.js'
import type { BroadcastSeat, BroadcastSubject } from './broadcast-subject.js'
import { untilComplete } from './listener.js'

const BYTES_UNDER_WAY = 8 * 1024 * 1024
const MESSAGES_UNDER_WAY = 1024
const MESSAGES_UNDER_WAY_MIN = 8

/**
 * Structured clones, between threads. A channel has no back-pressure: each subscriber says through a port of its own when it has
 * received half of what may be under way.
 */
export const broadcastChannel: BroadcastSubject = {
  name: 'broadcast-channel',
  arrangement: 'threads',
  does: () => true,
  openPublisher(seat) {
    const { messageBytes } = seat
    const channel = new BroadcastChannel(nameFor(seat))
    const ports = portsOf(seat)
    const underWayMax = underWayMaxFor(messageBytes)
    const confirmed = ports.map(() => 0)
    let resume: (() => void) | undefined
    for (const [subscriber, port] of ports.entries()) {
      port.on('message', (count: number) => {
        confirmed[subscriber] = count
        resume?.()
      })
    }
    const message = new Uint8Array(messageBytes)
    let sequence = 0
    return {
      async transfer(messages) {
        for (const end = sequence + messages; sequence < end; ) {
          while (sequence - Math.min(...confirmed) >= underWayMax) {
            await new Promise<void>((resolve) => {
              resume = resolve
            })
          }
          const room = Math.min(...confirmed) + underWayMax
          for (; sequence < Math.min(room, end); sequence++) {
            stampBytes(message, 0, messageBytes, sequence)
            channel.postMessage(message)
          }
        }
      },
      close() {
        channel.close()
        for (const port of ports) port.close()
      },
    }
  },
  openSubscriber(seat, listener) {
    const channel = new BroadcastChannel(nameFor(seat))
    const [port] = portsOf(seat)
    const confirmEvery = underWayMaxFor(seat.messageBytes) / 2
    return {
      transfer: () =>
        untilComplete(listener, (take) => {
          channel.onmessage = (event) => {
            take((event as { readonly data: Uint8Array }).data)
            if (listener.received % confirmEvery === 0 || listener.isComplete) port.postMessage(listener.received)
          }
        }),
      close() {
        channel.close()
        port.close()
      },
    }
  },
}

function nameFor({ place }: BroadcastSeat): string {
  return place.segmentPrefix
}

function portsOf({ line: { ports } }: BroadcastSeat) {
  if (ports === undefined) throw new Error('Opening a broadcast channel: the sides are not threads')
  return ports
}

/** A power of two. */
function underWayMaxFor(messageBytes: number): number {
  const fitting = 2 ** Math.floor(Math.log2(BYTES_UNDER_WAY / messageBytes))
  return Math.max(MESSAGES_UNDER_WAY_MIN, Math.min(MESSAGES_UNDER_WAY, fitting))
}
