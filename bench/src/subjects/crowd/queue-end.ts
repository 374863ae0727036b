import type { Side } from '../../harness/timed-transfers.js'
import type { CrowdSeat, CrowdSubject } from './crowd-subject.js'
import type { Stamps } from './stamps.js'
import type { Tally } from './tally.js'

/** One end of a queue that all sides share, for sides that block their threads while they wait. */
export interface QueueEnd {
  /** Waits for space. The bytes are the caller's again when this returns. */
  send(message: Uint8Array): void
  /** Undefined if there is nothing. The result is valid until the next call. */
  tryReceive(): Uint8Array | undefined
  /** Waits; undefined if nothing has come for about so long. */
  receiveWithin(timeoutMs: number): Uint8Array | undefined
  close(): void
}

/** After so long without messages a receiver looks whether the others have received the last ones. */
export const LOOK_AFTER_MS = 5

/** Drives the ends of a shared queue: messages are copied in, sent each by itself, and received each by itself. */
export function sharedQueue(
  { name, arrangement, prepare, does }: Pick<CrowdSubject, 'name' | 'arrangement' | 'prepare' | 'does'>,
  open: (seat: CrowdSeat) => QueueEnd | Promise<QueueEnd>,
): CrowdSubject {
  return {
    name,
    arrangement,
    prepare,
    does,
    openSender: async (seat, stamps) => senderOf(await open(seat), seat.messageBytes, stamps),
    openReceiver: async (seat, tally) => receiverOf(await open(seat), tally),
  }
}

function senderOf(end: QueueEnd, messageBytes: number, stamps: Stamps): Side {
  const message = new Uint8Array(messageBytes)
  return {
    transfer(messages) {
      for (let left = messages; left > 0; left--) {
        stamps.stamp(message, 0, messageBytes)
        end.send(message)
      }
    },
    close: () => end.close(),
  }
}

function receiverOf(end: QueueEnd, tally: Tally): Side {
  return {
    transfer() {
      for (;;) {
        let message = end.tryReceive()
        if (message === undefined) {
          if (tally.isComplete) return
          message = end.receiveWithin(LOOK_AFTER_MS)
        }
        if (message !== undefined) tally.take(message, 0, message.byteLength)
      }
    },
    close: () => end.close(),
  }
}
