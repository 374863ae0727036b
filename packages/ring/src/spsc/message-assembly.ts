import { IsthmusError } from '@isthmus/sync'
import { corruptError, IncompleteMessageError } from '../errors.js'
import { ABORT, DATA, FIRST, kindOf, LAST, MIDDLE, messageIdOf, PADDING, TOTAL_LENGTH_BYTES } from './layout.js'

/** The part of a message that one record brings. */
export interface Piece {
  /** Where it stands in its message, in bytes. */
  messageOffset: number
  messageByteLength: number
  /** Bytes of the record's payload in front of it. */
  prefixBytes: number
  byteLength: number
}

/** Nothing has been received yet: the first record may be the middle of a message. */
const JOINING = 0
/** Between two messages. */
const BETWEEN = 1
/** Inside a message of which everything so far was seen. */
const INSIDE = 2
/** Inside a message whose beginning was not seen. */
const SKIPPING = 3

/**
 * Follows the fragments of large messages, record by record, and refuses what no correct producer sends. It knows where
 * each piece belongs; the bytes themselves are the consumer's business.
 */
export class MessageAssembly {
  readonly #maxMessageBytes: number
  readonly #piece: Piece = { messageOffset: 0, messageByteLength: 0, prefixBytes: 0, byteLength: 0 }
  #state = JOINING
  #messageId = 0
  #messageByteLength = 0
  #receivedBytes = 0

  constructor(maxMessageBytes: number) {
    this.#maxMessageBytes = maxMessageBytes
  }

  /** Takes a whole message in one record: it needs none of this, except inside another message, where it is corrupt. */
  takeWhole(byteLength: number): boolean {
    if (byteLength > this.#maxMessageBytes) throw this.#tooLarge(byteLength)
    if (this.#state === JOINING) this.#state = BETWEEN
    return this.#state === BETWEEN
  }

  /** Whether a message has begun of which the rest is still to come. */
  get isInsideMessage(): boolean {
    return this.#state === INSIDE
  }

  /** Whether a message has begun that has not ended, its beginning seen or not. */
  get isMessageOpen(): boolean {
    return this.#state === INSIDE || this.#state === SKIPPING
  }

  /**
   * Takes one record. The piece is only good until the next call.
   * @param totalByteLength the total length of a FIRST record
   * @returns undefined for a record that brings nothing, an error for one that tells of a message that stays incomplete
   * @throws IsthmusError `ERR_ISTHMUS_CORRUPT`, with nothing changed
   */
  take(word: number, byteLength: number, totalByteLength: number): Piece | IncompleteMessageError | undefined {
    switch (kindOf(word)) {
      case PADDING:
        return undefined
      case DATA:
        if (!this.takeWhole(byteLength)) throw corruptError('a DATA record stands inside a message')
        return this.#give(0, byteLength, 0, byteLength)
      case FIRST:
        if (this.isMessageOpen) throw corruptError('a FIRST record stands inside a message')
        return this.#begin(messageIdOf(word), byteLength - TOTAL_LENGTH_BYTES, totalByteLength)
      case MIDDLE:
        return this.#continue(messageIdOf(word), byteLength, false)
      case LAST:
        return this.#continue(messageIdOf(word), byteLength, true)
      case ABORT:
        return this.#abandon()
      default:
        throw corruptError(`a record is of kind ${kindOf(word)}`)
    }
  }

  /** Takes one record, if a correct producer could have sent it. */
  accepts(word: number, byteLength: number, totalByteLength: number): boolean {
    try {
      this.take(word, byteLength, totalByteLength)
      return true
    } catch (error) {
      if (error instanceof IsthmusError && error.code === 'ERR_ISTHMUS_CORRUPT') return false
      throw error
    }
  }

  /** The producer's epoch is over: whatever was under way will not be completed. */
  endEpoch(): IncompleteMessageError | undefined {
    return this.#state === JOINING ? undefined : this.#abandon()
  }

  /** The message under way cannot be kept: its rest is passed over. */
  skipMessage(): void {
    if (this.#state === INSIDE) this.#state = SKIPPING
  }

  #begin(messageId: number, byteLength: number, total: number): Piece {
    const isPlausible = byteLength > 0 && byteLength < total && Number.isSafeInteger(total)
    if (!isPlausible) throw corruptError(`a message of ${total} bytes begins with ${byteLength}`)
    if (total > this.#maxMessageBytes) throw this.#tooLarge(total)
    this.#state = INSIDE
    this.#messageId = messageId
    this.#messageByteLength = total
    this.#receivedBytes = byteLength
    return this.#give(0, total, TOTAL_LENGTH_BYTES, byteLength)
  }

  #continue(messageId: number, byteLength: number, isLast: boolean): Piece | IncompleteMessageError | undefined {
    if (this.#state === JOINING) {
      this.#state = isLast ? BETWEEN : SKIPPING
      return new IncompleteMessageError('joined-midway', 0, undefined)
    }
    if (this.#state === SKIPPING) {
      if (isLast) this.#state = BETWEEN
      return undefined
    }
    const messageOffset = this.#receivedBytes
    const received = messageOffset + byteLength
    const fits = isLast ? received === this.#messageByteLength : byteLength > 0 && received < this.#messageByteLength
    if (this.#state !== INSIDE || messageId !== this.#messageId || !fits) {
      throw corruptError(`fragment ${messageOffset} + ${byteLength} of message ${messageId} does not belong here`)
    }
    this.#receivedBytes = received
    if (isLast) this.#state = BETWEEN
    return this.#give(messageOffset, this.#messageByteLength, 0, byteLength)
  }

  #abandon(): IncompleteMessageError | undefined {
    const isIncomplete = this.#state === INSIDE
    this.#state = BETWEEN
    if (!isIncomplete) return undefined
    return new IncompleteMessageError('abandoned', this.#receivedBytes, this.#messageByteLength)
  }

  #give(messageOffset: number, messageByteLength: number, prefixBytes: number, byteLength: number): Piece {
    const piece = this.#piece
    piece.messageOffset = messageOffset
    piece.messageByteLength = messageByteLength
    piece.prefixBytes = prefixBytes
    piece.byteLength = byteLength
    return piece
  }

  #tooLarge(byteLength: number): Error {
    return corruptError(`a message has ${byteLength} bytes, more than maxMessageBytes (${this.#maxMessageBytes})`)
  }
}
