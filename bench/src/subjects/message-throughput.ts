import type { Side } from '../harness/timed-transfers.js'
import type { Courier, Messenger } from './messenger.js'
import { checkStamp, stamp, viewOf, wrongMessageError } from './stamp.js'
import type { CourierWaiting, MessageSubject } from './subject.js'
import type { SidedSubject } from './throughput-subject.js'

/** Drives a messenger if the subject has one, otherwise a courier. For works that copy. */
export function throughputOf(subject: MessageSubject): SidedSubject {
  const { openMessenger, couriers } = subject
  if (openMessenger !== undefined && couriers?.spinning === undefined) return messengerThroughput(subject)
  return courierThroughput(subject, couriers?.spinning === undefined ? 'blocking' : 'spinning')
}

export function messengerThroughput(subject: MessageSubject): SidedSubject {
  const { name, arrangement, prepare, openMessenger } = subject
  return {
    name,
    arrangement,
    prepare,
    openersFor(work) {
      if (openMessenger === undefined || work.kind !== 'copying' || isTooLong(subject, work.messageBytes))
        return undefined
      return {
        first: async (seat) => messengerSender(await openMessenger(seat), seat.messageBytes),
        second: async (seat) => messengerReceiver(await openMessenger(seat), seat.messageBytes),
      }
    },
  }
}

export function courierThroughput(subject: MessageSubject, waiting: CourierWaiting): SidedSubject {
  const { name, arrangement, prepare, couriers } = subject
  const openCourier = couriers?.[waiting]
  return {
    name,
    arrangement,
    prepare,
    openersFor(work) {
      if (openCourier === undefined || work.kind !== 'copying' || isTooLong(subject, work.messageBytes))
        return undefined
      return {
        first: async (seat) => courierSender(await openCourier(seat), seat.messageBytes),
        second: async (seat) => courierReceiver(await openCourier(seat), seat.messageBytes),
      }
    },
  }
}

function isTooLong({ messageBytesMax = Number.POSITIVE_INFINITY }: MessageSubject, messageBytes: number): boolean {
  return messageBytes > messageBytesMax
}

function courierSender(courier: Courier, messageBytes: number): Side {
  const message = new Uint8Array(messageBytes)
  const messageView = viewOf(message)
  return {
    transfer(messages) {
      for (let sequence = 0; sequence < messages; sequence++) {
        stamp(messageView, sequence)
        courier.send(message)
      }
    },
    close: () => courier.close(),
  }
}

function courierReceiver(courier: Courier, messageBytes: number): Side {
  const copy = new Uint8Array(messageBytes)
  const copyView = viewOf(copy)
  return {
    transfer(messages) {
      for (let sequence = 0; sequence < messages; sequence++) {
        takeCopy(copy, copyView, courier.receive(), sequence)
      }
    },
    close: () => courier.close(),
  }
}

function messengerSender(messenger: Messenger, messageBytes: number): Side {
  const message = new Uint8Array(messageBytes)
  const messageView = viewOf(message)
  return {
    ...connectedOf(messenger),
    async transfer(messages) {
      for (let sequence = 0; sequence < messages; sequence++) {
        stamp(messageView, sequence)
        const isFull = messenger.send(message)
        if (isFull !== undefined) await isFull
      }
      await messenger.flush?.()
    },
    close: () => messenger.close(),
  }
}

function messengerReceiver(messenger: Messenger, messageBytes: number): Side {
  const copy = new Uint8Array(messageBytes)
  const copyView = viewOf(copy)
  return {
    ...connectedOf(messenger),
    transfer(messages) {
      let sequence = 0
      return new Promise((resolve, reject) => {
        messenger.onMessage = (message) => {
          try {
            takeCopy(copy, copyView, message, sequence)
          } catch (error) {
            reject(error)
          }
          if (++sequence === messages) resolve()
        }
      })
    },
    close: () => messenger.close(),
  }
}

function connectedOf(messenger: Messenger): Pick<Side, 'connected'> {
  return { connected: async () => messenger.connected?.() }
}

/** Every receiver ends with the message in memory of its own. */
function takeCopy(copy: Uint8Array, copyView: DataView, message: Uint8Array, sequence: number): void {
  if (message.byteLength !== copy.byteLength) throw wrongMessageError(sequence)
  copy.set(message)
  checkStamp(copyView, sequence)
}
