import type { MessagePort } from 'node:worker_threads'
import type { Side } from '../../harness/timed-transfers.js'
import type { Messenger } from '../messenger.js'
import { messagePort, portMessenger } from '../messengers/message-port.js'
import { messengerCrowd, receiving, untilComplete } from './crowd-messenger.js'
import type { CrowdSeat, CrowdSubject } from './crowd-subject.js'
import type { Stamps } from './stamps.js'
import type { Tally } from './tally.js'

/** How many buffers a sender has for each receiver. */
const BUFFERS = 8

const copying = messengerCrowd({ name: messagePort.name, arrangement: 'threads', does: () => true }, openMessenger)

/**
 * A port from each sender to each receiver; a sender takes its receivers in turn. A loan is an ArrayBuffer that changes hands
 * (`transferList`), and comes back the same way.
 */
export const messagePortCrowd: CrowdSubject = {
  ...copying,
  openSender: (seat, stamps) => (seat.isLoan ? openLender(seat, stamps) : copying.openSender(seat, stamps)),
  openReceiver: (seat, tally) => (seat.isLoan ? openBorrower(seat, tally) : copying.openReceiver(seat, tally)),
}

function openMessenger(seat: CrowdSeat): Messenger {
  const ends = portsOf(seat).map((port) => portMessenger(port, seat.messageBytes))
  const close = () => {
    for (const end of ends) end.close()
  }
  let next = 0
  if (seat.role === 'first') {
    const nextEnd = () => ends[next++ % ends.length]
    return { onMessage() {}, send: (message) => nextEnd().send(message), close }
  }
  const messenger: Messenger = { ...receiving, close }
  for (const end of ends) end.onMessage = (message) => messenger.onMessage(message)
  return messenger
}

function openLender(seat: CrowdSeat, stamps: Stamps): Side {
  const ports = portsOf(seat)
  const free = ports.map(() => Array.from({ length: BUFFERS }, () => new Uint8Array(seat.messageBytes)))
  let resume: (() => void) | undefined
  for (const [receiver, port] of ports.entries()) {
    port.on('message', (buffer: Uint8Array<ArrayBuffer>) => {
      free[receiver].push(buffer)
      resume?.()
    })
  }
  return {
    async transfer(messages) {
      for (let message = 0; message < messages; message++) {
        const receiver = message % ports.length
        let buffer = free[receiver].pop()
        while (buffer === undefined) {
          await new Promise<void>((resolve) => {
            resume = resolve
          })
          buffer = free[receiver].pop()
        }
        stamps.stamp(buffer, 0, buffer.byteLength)
        ports[receiver].postMessage(buffer, [buffer.buffer])
      }
    },
    close: () => closeAll(ports),
  }
}

function openBorrower(seat: CrowdSeat, tally: Tally): Side {
  const ports = portsOf(seat)
  return {
    transfer: () =>
      untilComplete(tally, (look, reject) => {
        for (const port of ports) {
          port.removeAllListeners('message')
          port.on('message', (buffer: Uint8Array<ArrayBuffer>) => {
            try {
              tally.take(buffer, 0, buffer.byteLength)
            } catch (error) {
              reject(error)
            }
            port.postMessage(buffer, [buffer.buffer])
            look()
          })
        }
      }),
    close: () => closeAll(ports),
  }
}

function portsOf({ line: { ports } }: CrowdSeat): readonly MessagePort[] {
  if (ports === undefined) throw new Error('Opening message ports: the sides are not threads')
  return ports
}

function closeAll(ports: readonly MessagePort[]): void {
  for (const port of ports) port.close()
}
