import type { Side } from '../../harness/timed-transfers.js'
import type { Messenger } from '../messenger.js'
import type { CrowdSeat, CrowdSubject } from './crowd-subject.js'
import type { Stamps } from './stamps.js'
import type { Tally } from './tally.js'

/** How often a receiver looks whether the others have received the last messages. */
const LOOK_EVERY_MS = 2

/** Drives messengers: a sender's sends to the receivers in turn, a receiver's hears all senders. */
export function messengerCrowd(
  { name, arrangement, prepare, does }: Pick<CrowdSubject, 'name' | 'arrangement' | 'prepare' | 'does'>,
  open: (seat: CrowdSeat) => Messenger | Promise<Messenger>,
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

/** The parts of a messenger that only receives. */
export const receiving: Pick<Messenger, 'send' | 'onMessage'> = {
  send() {
    throw new Error('Sending: this end receives')
  },
  onMessage() {},
}

function senderOf(messenger: Messenger, messageBytes: number, stamps: Stamps): Side {
  const message = new Uint8Array(messageBytes)
  return {
    connected: async () => messenger.connected?.(),
    async transfer(messages) {
      for (let left = messages; left > 0; left--) {
        stamps.stamp(message, 0, messageBytes)
        const isFull = messenger.send(message)
        if (isFull !== undefined) await isFull
      }
      await messenger.flush?.()
    },
    close: () => messenger.close(),
  }
}

function receiverOf(messenger: Messenger, tally: Tally): Side {
  return {
    connected: async () => messenger.connected?.(),
    async transfer() {
      await untilComplete(tally, (look, reject) => {
        messenger.onMessage = (message) => {
          try {
            tally.take(message, 0, message.byteLength)
          } catch (error) {
            reject(error)
          }
          look()
        }
      })
    },
    close: () => messenger.close(),
  }
}

/**
 * Resolves when the tally is complete. `listen` is given what it calls after each message: it looks once in a turn of the
 * event loop, after the messages of that turn.
 */
export function untilComplete(
  tally: Tally,
  listen: (look: () => void, reject: (error: unknown) => void) => void,
): Promise<void> {
  let interval: NodeJS.Timeout | undefined
  return new Promise<void>((resolve, reject) => {
    let isLookDue = false
    const resolveIfComplete = () => {
      isLookDue = false
      if (tally.isComplete) resolve()
    }
    const look = () => {
      if (isLookDue) return
      isLookDue = true
      setImmediate(resolveIfComplete)
    }
    interval = setInterval(resolveIfComplete, LOOK_EVERY_MS)
    listen(look, reject)
  }).finally(() => clearInterval(interval))
}
