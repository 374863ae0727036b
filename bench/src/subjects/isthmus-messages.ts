import { type Consumer, type Producer, spscRing } from '@isthmus/ring'
import { struct } from '@isthmus/sync'
import type { Courier, Messenger } from './messenger.js'
import { ringCapacityBytes } from './ring-capacity.js'
import { openSharedRegion } from './shared-region.js'
import type { MessageSubject, Seat } from './subject.js'

/** One ring for each direction, in a named segment. */
export const isthmusMessages: MessageSubject = {
  name: 'isthmus',
  arrangement: 'processes',
  openMessenger: (seat) => openMessenger(seat),
  couriers: { spinning: openSpinningCourier, blocking: openBlockingCourier },
}

/** The same in a SharedArrayBuffer, between the threads of a process. */
export const isthmusThreadMessages: MessageSubject = {
  ...isthmusMessages,
  name: 'isthmus threads',
  arrangement: 'threads',
}

/** The same for event loops that never poll before they sleep: each message needs a wake-up. */
export const isthmusBellMessages: MessageSubject = {
  name: 'isthmus wake-up',
  arrangement: 'processes',
  openMessenger: (seat) => openMessenger(seat, false),
}

/** The same with `forEach` in place of `receive`, and `trySend` as long as there is space. */
export const isthmusForEachMessages: MessageSubject = {
  name: 'isthmus forEach',
  arrangement: 'processes',
  openMessenger: openForEachMessenger,
}

interface Rings {
  readonly producer: Producer
  readonly consumer: Consumer
  close(): void
}

export async function openRings(seat: Seat, looksAgain = true): Promise<Rings> {
  const capacityBytes = ringCapacityBytes(seat.messageBytes)
  const layout = struct({ forth: spscRing({ capacityBytes }), back: spscRing({ capacityBytes }) })
  const region = await openSharedRegion(seat, layout)
  // How long an event loop polls depends on how long a wake-up takes: not at all if that is 0.
  if (!looksAgain) Object.assign(region.waiter, { wakeLatencyMs: 0 })
  const { forth, back } = region.root
  const isFirst = seat.role === 'first'
  return {
    producer: (isFirst ? forth : back).producer(),
    consumer: (isFirst ? back : forth).consumer(),
    close: () => region.close(),
  }
}

async function openMessenger(seat: Seat, looksAgain = true): Promise<Messenger> {
  const { producer, consumer, close } = await openRings(seat, looksAgain)
  const messenger: Messenger = {
    onMessage() {},
    async send(message) {
      await producer.send(message)
    },
    close,
  }
  const deliver = async () => {
    for (;;) {
      const message = await consumer.receive()
      if (message === null) return
      messenger.onMessage(message)
    }
  }
  deliver().catch(assertOver)
  return messenger
}

async function openForEachMessenger(seat: Seat): Promise<Messenger> {
  const { producer, consumer, close } = await openRings(seat)
  const messenger: Messenger = {
    onMessage() {},
    send(message) {
      return producer.trySend(message) ? undefined : producer.send(message).then(() => {})
    },
    close,
  }
  const deliver = (message: Uint8Array) => messenger.onMessage(message)
  consumer.forEach(deliver).catch(assertOver)
  return messenger
}

/** Our own close, or the other side's, ends the delivery; a lost message shows in the counts. */
function assertOver(error: Error & { readonly code?: string }): void {
  if (error.code !== 'ERR_ISTHMUS_CLOSED' && error.code !== 'ERR_ISTHMUS_PEER_DIED') throw error
}

async function openBlockingCourier(seat: Seat): Promise<Courier> {
  const { producer, consumer, close } = await openRings(seat)
  return {
    send(message) {
      producer.sendSync(message)
    },
    receive() {
      const message = consumer.receiveSync()
      if (message === null) throw new Error('Receiving: the other side has closed')
      return message
    },
    close,
  }
}

async function openSpinningCourier(seat: Seat): Promise<Courier> {
  const { producer, consumer, close } = await openRings(seat)
  return {
    send(message) {
      while (!producer.trySend(message));
    },
    receive() {
      for (;;) {
        const message = consumer.tryReceive()
        if (message === null) throw new Error('Receiving: the other side has closed')
        if (message !== undefined) return message
      }
    },
    close,
  }
}
