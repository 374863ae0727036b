import { IsthmusError } from '@isthmus/sync'

/** What became of a large message of which the receiver has got a part and will not get the rest. */
export type IncompleteReason =
  /** Its sender gave up (timed out, failed, closed) or died. */
  | 'abandoned'
  /** Its beginning went to a consumer that was here before. */
  | 'joined-midway'

/** A large message broke off. What follows it is not affected: go on receiving. */
export class IncompleteMessageError extends IsthmusError {
  override readonly name: string = 'IncompleteMessageError'
  readonly reason: IncompleteReason
  /** How many of its bytes arrived. */
  readonly receivedBytes: number
  /** How many it should have had; undefined where its beginning was not seen. */
  readonly messageByteLength: number | undefined

  /** @param subject what the message calls the ring */
  constructor(
    reason: IncompleteReason,
    receivedBytes: number,
    messageByteLength: number | undefined,
    subject = 'a ring',
  ) {
    const cause = reason === 'abandoned' ? 'its sender gave up or died' : 'an earlier consumer has taken its beginning'
    const size = messageByteLength === undefined ? '' : `, ${receivedBytes} of ${messageByteLength} bytes had arrived`
    super(
      'ERR_ISTHMUS_MESSAGE_INCOMPLETE',
      `Receiving a large message from ${subject}: ${cause}${size}. The messages after it are whole; go on receiving.`,
    )
    this.reason = reason
    this.receivedBytes = receivedBytes
    this.messageByteLength = messageByteLength
  }
}

/** @param subject what the message calls the ring */
export function corruptError(subject: string, what: string): IsthmusError {
  return new IsthmusError(
    'ERR_ISTHMUS_CORRUPT',
    `Using ${subject}: ${what}. No correct peer writes this. Stop its peers and make it anew.`,
  )
}
