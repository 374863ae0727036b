import { IsthmusError } from '@isthmus/sync'

/**
 * Why the rest of a large message will not come. Other queues may add reasons, such as being overtaken by the producer, so
 * handle unknown ones like `'abandoned'`.
 */
export type IncompleteReason =
  /** Its sender gave up (timed out, failed, closed) or died. */
  | 'abandoned'
  /** An earlier consumer received its beginning. */
  | 'joined-midway'
  /** The array that it was received into was transferred to another thread, or cut off, before the message was whole. */
  | 'array-lost'
  | (string & Record<never, never>)

/** A large message broke off. The messages after it are not affected: go on receiving. */
export class IncompleteMessageError extends IsthmusError {
  override readonly name: string = 'IncompleteMessageError'
  readonly reason: IncompleteReason
  /** How many of its bytes arrived. */
  readonly receivedBytes: number
  /** How many bytes it has in all; undefined if its beginning was not seen. */
  readonly messageByteLength: number | undefined

  /** @param subject what the error message calls the ring */
  constructor(
    reason: IncompleteReason,
    receivedBytes: number,
    messageByteLength: number | undefined,
    subject = 'a ring',
  ) {
    const size = messageByteLength === undefined ? '' : `, ${receivedBytes} of ${messageByteLength} bytes had arrived`
    super(
      'ERR_ISTHMUS_MESSAGE_INCOMPLETE',
      `Receiving a large message from ${subject}: ${inWords(reason)}${size}. The messages after it are whole; go on receiving.`,
    )
    this.reason = reason
    this.receivedBytes = receivedBytes
    this.messageByteLength = messageByteLength
  }
}

/**
 * A subscriber was overtaken by its publisher, and has lost messages. It goes on with messages that are still there: call again.
 */
export class OverrunError extends IsthmusError {
  override readonly name: string = 'OverrunError'
  /** How many messages this overrun has cost: exact up to 2 ** 53. 0 if it has received chunks of a message that its publisher gave up. */
  readonly lost: number

  /** @param attempt begins the error message */
  constructor(attempt: string, lost: number) {
    super(
      'ERR_ISTHMUS_OVERRUN',
      `${attempt}: the publisher has overwritten ${lost} ${lost === 1 ? 'message' : 'messages'} before this subscriber has read them. Receive again to go on with the messages that are there; give the ring a larger capacityBytes, or the subscriber a gate.`,
    )
    this.lost = lost
  }
}

function inWords(reason: IncompleteReason): string {
  switch (reason) {
    case 'abandoned':
      return 'its sender gave up or died'
    case 'joined-midway':
      return 'an earlier consumer received its beginning'
    case 'array-lost':
      return 'the array that it was received into was transferred to another thread, or cut off'
    default:
      return `it is incomplete (${reason})`
  }
}

/** @param subject what the error message calls the ring */
export function corruptError(subject: string, what: string): IsthmusError {
  return new IsthmusError(
    'ERR_ISTHMUS_CORRUPT',
    `Using ${subject}: ${what}. No correct peer writes this. Stop its peers and create it again.`,
  )
}
