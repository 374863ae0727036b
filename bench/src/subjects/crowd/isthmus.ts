import { type MpmcQueue, mpmcQueue } from '@isthmus/ring'
import { yieldCore } from '../../harness/libc.js'
import type { Side } from '../../harness/timed-transfers.js'
import { BATCH_MESSAGES } from '../awaiting-subject.js'
import { openSharedRegion } from '../shared-region.js'
import { untilComplete } from './crowd-messenger.js'
import type { CrowdSeat, CrowdSubject } from './crowd-subject.js'
import { blocksFor } from './queue-blocks.js'
import { LOOK_AFTER_MS, sharedQueue } from './queue-end.js'
import type { Stamps } from './stamps.js'
import type { Tally } from './tally.js'

const KIB = 1024
/** In front of each message of a pack. */
const PACK_HEADER_BYTES = 8
const PACKED_MESSAGES = 32
const PACKED_BLOCKS = 256

type Receiver = ReturnType<MpmcQueue['receiver']>
type Sender = ReturnType<MpmcQueue['sender']>

/** The MPMC queue in a named segment, message by message: `trySend` and `tryReceive`, and a blocked thread if that fails. */
const oneByOne = sharedQueue({ name: 'isthmus', arrangement: 'processes', does: () => true }, async (seat) => {
  const { send, receive, close } = await openEnds(seat)
  return {
    send: (message) => void (send.trySend(message) || send.sendSync(message)),
    tryReceive: () => notEnded(receive.tryReceive()),
    receiveWithin: (timeoutMs) => notEnded(receive.receiveSync({ timeoutMs })),
    close,
  }
})

/** The same without sleep: a side that finds nothing yields its core and tries again, as native sides do. */
export const isthmusPollingCrowd: CrowdSubject = sharedQueue(
  { name: 'isthmus polling', arrangement: 'processes', does: ({ isLoan }) => !isLoan },
  async (seat) => {
    const { send, receive, close } = await openEnds(seat)
    return {
      send(message) {
        while (!send.trySend(message)) yieldCore()
      },
      tryReceive: () => notEnded(receive.tryReceive()),
      receiveWithin() {
        yieldCore()
        return undefined
      },
      close,
    }
  },
)

/** As above; loans are written and read in place, with `tryLoan` and `tryTake`. */
export const isthmusCrowd: CrowdSubject = {
  ...oneByOne,
  openSender: (seat, stamps) => (seat.isLoan ? openLender(seat, stamps) : oneByOne.openSender(seat, stamps)),
  openReceiver: (seat, tally) => (seat.isLoan ? openBorrower(seat, tally) : oneByOne.openReceiver(seat, tally)),
}

/** Loans of another length, beside those of the work: their cost should not depend on it. */
export const isthmusShorterLoans: CrowdSubject = {
  ...isthmusCrowd,
  name: 'isthmus 64 KiB',
  messageBytes: 64 * KIB,
  does: ({ isLoan }) => isLoan,
}

/** Batches of 64, 32 in a block: `sendBatchSync` and `drain`. */
export const isthmusPackedCrowd: CrowdSubject = {
  name: 'isthmus packed',
  arrangement: 'processes',
  does: ({ isLoan }) => !isLoan,
  openSender: (seat, stamps) =>
    openPacking(seat, (sender, messages) => {
      for (const batch of batchesOf(seat, stamps, messages)) sender.sendBatchSync(batch)
    }),
  openReceiver: (seat, tally) => openUnpacking(seat, (receiver) => drainAll(receiver, tally)),
}

/** `await send` and `for await`. */
export const isthmusAwaitingCrowd: CrowdSubject = {
  name: 'isthmus awaiting',
  arrangement: 'processes',
  does: ({ isLoan }) => !isLoan,
  async openSender(seat, stamps) {
    const { queue, close } = await openQueue(seat, blocksFor(seat.messageBytes), seat.messageBytes)
    const sender = queue.sender()
    const message = new Uint8Array(seat.messageBytes)
    return {
      async transfer(messages) {
        for (let left = messages; left > 0; left--) {
          stamps.stamp(message, 0, message.byteLength)
          await sender.send(message)
        }
      },
      close,
    }
  },
  async openReceiver(seat, tally) {
    const { queue, close } = await openQueue(seat, blocksFor(seat.messageBytes), seat.messageBytes)
    const receiver = queue.receiver()
    return {
      transfer: () =>
        untilCompleteOrFailed(tally, async (signal, look) => {
          for await (const message of receiver.messages({ signal })) {
            tally.take(message, 0, message.byteLength)
            look()
          }
        }),
      close,
    }
  },
}

/** `sendBatch` and `forEachInPlace`. */
export const isthmusPackedAwaitingCrowd: CrowdSubject = {
  name: 'isthmus packed awaiting',
  arrangement: 'processes',
  does: ({ isLoan }) => !isLoan,
  openSender: (seat, stamps) =>
    openPacking(seat, async (sender, messages) => {
      for (const batch of batchesOf(seat, stamps, messages)) await sender.sendBatch(batch)
    }),
  openReceiver: (seat, tally) =>
    openUnpacking(seat, (receiver) =>
      untilCompleteOrFailed(tally, (signal, look) =>
        receiver.forEachInPlace(
          (bytes, byteOffset, byteLength) => {
            tally.take(bytes, byteOffset, byteLength)
            look()
          },
          { signal },
        ),
      ),
    ),
}

async function openLender(seat: CrowdSeat, stamps: Stamps): Promise<Side> {
  const { messageBytes } = seat
  const { queue, close } = await openQueue(seat, blocksFor(messageBytes), messageBytes)
  const sender = queue.sender()
  return {
    transfer(messages) {
      for (let left = messages; left > 0; left--) {
        let loan = sender.tryLoan()
        while (loan === undefined) {
          yieldCore()
          loan = sender.tryLoan()
        }
        stamps.stamp(sender.bytes, loan.byteOffset, messageBytes)
        loan.send(messageBytes)
      }
    },
    close,
  }
}

async function openBorrower(seat: CrowdSeat, tally: Tally): Promise<Side> {
  const { queue, close } = await openQueue(seat, blocksFor(seat.messageBytes), seat.messageBytes)
  const receiver = queue.receiver()
  return {
    transfer() {
      for (;;) {
        const loan = notEnded(receiver.tryTake())
        if (loan !== undefined) {
          tally.take(receiver.bytes, loan.byteOffset, loan.byteLength)
          loan.release()
        } else if (tally.isComplete) return
        else yieldCore()
      }
    },
    close,
  }
}

async function openPacking(
  seat: CrowdSeat,
  send: (sender: Sender, messages: number) => void | Promise<void>,
): Promise<Side> {
  const { queue, close } = await openPackedQueue(seat)
  const sender = queue.sender()
  return { transfer: (messages) => send(sender, messages), close }
}

async function openUnpacking(seat: CrowdSeat, receive: (receiver: Receiver) => void | Promise<void>): Promise<Side> {
  const { queue, close } = await openPackedQueue(seat)
  const receiver = queue.receiver()
  return { transfer: () => receive(receiver), close }
}

/** The same messages again and again, with new stamps. */
function* batchesOf({ messageBytes }: CrowdSeat, stamps: Stamps, messages: number): Generator<Uint8Array[]> {
  const batch = Array.from({ length: BATCH_MESSAGES }, () => new Uint8Array(messageBytes))
  for (let left = messages; left > 0; left -= BATCH_MESSAGES) {
    const count = Math.min(BATCH_MESSAGES, left)
    for (let index = 0; index < count; index++) stamps.stamp(batch[index], 0, messageBytes)
    yield count === BATCH_MESSAGES ? batch : batch.slice(0, count)
  }
}

function drainAll(receiver: Receiver, tally: Tally): void {
  const take = (bytes: Uint8Array, byteOffset: number, byteLength: number) => tally.take(bytes, byteOffset, byteLength)
  for (;;) {
    if (notEnded(receiver.drain(take)) !== 0) continue
    if (tally.isComplete) return
    const message = notEnded(receiver.receiveSync({ timeoutMs: LOOK_AFTER_MS }))
    if (message !== undefined) tally.take(message, 0, message.byteLength)
  }
}

/** `receive` goes on until its signal aborts: when the tally is complete. */
function untilCompleteOrFailed(
  tally: Tally,
  receive: (signal: AbortSignal, look: () => void) => Promise<void>,
): Promise<void> {
  const ending = new AbortController()
  let received: Promise<void> | undefined
  const complete = untilComplete(tally, (look, reject) => {
    received = receive(ending.signal, look).catch((error) => {
      if (!ending.signal.aborted) reject(error)
    })
  })
  return complete.then(() => {
    ending.abort()
    return received
  })
}

/** Both ends, of which a side uses one. */
async function openEnds(seat: CrowdSeat) {
  const { queue, close } = await openQueue(seat, blocksFor(seat.messageBytes), seat.messageBytes)
  return { send: queue.sender(), receive: queue.receiver(), close }
}

async function openQueue(seat: CrowdSeat, blocks: number, blockBytes: number) {
  const isFirst = seat.role === 'first' && seat.index === 0
  const layout = mpmcQueue({ blocks, blockBytes })
  const region = await openSharedRegion({ ...seat, role: isFirst ? 'first' : 'second' }, layout)
  return { queue: region.root, close: () => region.close() }
}

function openPackedQueue(seat: CrowdSeat) {
  return openQueue(seat, PACKED_BLOCKS, PACKED_MESSAGES * (PACK_HEADER_BYTES + seat.messageBytes))
}

function notEnded<T>(received: T | null): T {
  if (received === null) throw new Error('Receiving: the queue has ended')
  return received
}
