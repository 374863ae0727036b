import { corruptError, IncompleteMessageError } from '../errors.js'
import { ABORT, DATA, FIRST, kindOf, LAST, MIDDLE, messageIdOf, PADDING, TOTAL_LENGTH_BYTES } from './layout.js'

/** The part of a message that one record brings. */
export interface Fragment {
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

/** How far the messages have come. */
interface Progress {
  state: number
  messageId: number
  messageByteLength: number
  receivedBytes: number
}

/**
 * Follows the fragments of large messages, record by record, and refuses what no correct producer sends. It knows where
 * each piece belongs; the bytes themselves are the consumer's business. A record is looked at first, and taken when its
 * bytes are safe: a consumer that has no memory for them has lost nothing.
 */
export class MessageAssembly {
  readonly #maxMessageBytes: number
  readonly #subject: string
  readonly #piece: Fragment = { messageOffset: 0, messageByteLength: 0, prefixBytes: 0, byteLength: 0 }
  #now: Progress = { state: JOINING, messageId: 0, messageByteLength: 0, receivedBytes: 0 }
  /** Behind the record that was looked at. */
  #next: Progress = { state: JOINING, messageId: 0, messageByteLength: 0, receivedBytes: 0 }

  /** @param subject what messages call the ring */
  constructor(maxMessageBytes: number, subject = 'a ring') {
    this.#maxMessageBytes = maxMessageBytes
    this.#subject = subject
  }

  /** Takes a whole message in one record: it needs none of this, except inside another message, where it is corrupt. */
  takeWhole(byteLength: number): boolean {
    if (byteLength > this.#maxMessageBytes) throw this.#tooLarge(byteLength)
    const now = this.#now
    if (now.state === JOINING) now.state = BETWEEN
    return now.state === BETWEEN
  }

  /** Whether a message has begun of which the rest is still to come. */
  get isInsideMessage(): boolean {
    return this.#now.state === INSIDE
  }

  /** Whether a message has begun that has not ended, its beginning seen or not. */
  get isMessageOpen(): boolean {
    return this.#now.state === INSIDE || this.#now.state === SKIPPING
  }

  /** The message under way, as one that stays incomplete. */
  get incomplete(): IncompleteMessageError | undefined {
    const { state, receivedBytes, messageByteLength } = this.#now
    if (state !== INSIDE) return undefined
    return new IncompleteMessageError('abandoned', receivedBytes, messageByteLength, this.#subject)
  }

  /**
   * Looks at one record, which `step` then takes. The piece is only good until the next look.
   * @param totalByteLength the total length of a FIRST record
   * @returns undefined for a record that brings nothing, an error for one that tells of a message that stays incomplete
   * @throws IsthmusError `ERR_ISTHMUS_CORRUPT`
   */
  look(word: number, byteLength: number, totalByteLength: number): Fragment | IncompleteMessageError | undefined {
    switch (kindOf(word)) {
      case PADDING:
        this.#plan(this.#now.state)
        return undefined
      case DATA:
        if (!this.takeWhole(byteLength)) throw this.#corrupt('a DATA record stands inside a message')
        this.#plan(BETWEEN)
        return this.#give(0, byteLength, 0, byteLength)
      case FIRST:
        if (this.isMessageOpen) throw this.#corrupt('a FIRST record stands inside a message')
        return this.#begin(messageIdOf(word), byteLength - TOTAL_LENGTH_BYTES, totalByteLength)
      case MIDDLE:
        return this.#continue(messageIdOf(word), byteLength, false)
      case LAST:
        return this.#continue(messageIdOf(word), byteLength, true)
      case ABORT:
        this.#plan(BETWEEN)
        return this.incomplete
      default:
        throw this.#corrupt(`a record is of kind ${kindOf(word)}`)
    }
  }

  /** Takes the record that was looked at. */
  step(): void {
    const before = this.#now
    this.#now = this.#next
    this.#next = before
  }

  /** Looks at one record and takes it. */
  take(word: number, byteLength: number, totalByteLength: number): Fragment | IncompleteMessageError | undefined {
    const piece = this.look(word, byteLength, totalByteLength)
    this.step()
    return piece
  }

  /** Takes one record, if a correct producer could have sent it. */
  accepts(word: number, byteLength: number, totalByteLength: number): boolean {
    try {
      this.take(word, byteLength, totalByteLength)
      return true
    } catch (error) {
      if ((error as { code?: unknown } | null)?.code === 'ERR_ISTHMUS_CORRUPT') return false
      throw error
    }
  }

  /** The producer's epoch is over: whatever was under way will not be completed. */
  endEpoch(): IncompleteMessageError | undefined {
    const { incomplete } = this
    if (this.#now.state !== JOINING) this.#now.state = BETWEEN
    return incomplete
  }

  #begin(messageId: number, byteLength: number, total: number): Fragment {
    const isPlausible = byteLength > 0 && byteLength < total && Number.isSafeInteger(total)
    if (!isPlausible) throw this.#corrupt(`a message of ${total} bytes begins with ${byteLength}`)
    if (total > this.#maxMessageBytes) throw this.#tooLarge(total)
    this.#plan(INSIDE, messageId, total, byteLength)
    return this.#give(0, total, TOTAL_LENGTH_BYTES, byteLength)
  }

  #continue(messageId: number, byteLength: number, isLast: boolean): Fragment | IncompleteMessageError | undefined {
    const now = this.#now
    if (now.state === JOINING) {
      this.#plan(isLast ? BETWEEN : SKIPPING)
      return new IncompleteMessageError('joined-midway', 0, undefined, this.#subject)
    }
    if (now.state === SKIPPING) {
      this.#plan(isLast ? BETWEEN : SKIPPING)
      return undefined
    }
    const total = now.messageByteLength
    const messageOffset = now.receivedBytes
    const received = messageOffset + byteLength
    const fits = isLast ? received === total : byteLength > 0 && received < total
    if (now.state !== INSIDE || messageId !== now.messageId || !fits) {
      throw this.#corrupt(`fragment ${messageOffset} + ${byteLength} of message ${messageId} does not belong here`)
    }
    this.#plan(isLast ? BETWEEN : INSIDE, messageId, total, received)
    return this.#give(messageOffset, total, 0, byteLength)
  }

  #plan(
    state: number,
    messageId = this.#now.messageId,
    messageByteLength = this.#now.messageByteLength,
    receivedBytes = this.#now.receivedBytes,
  ): void {
    const next = this.#next
    next.state = state
    next.messageId = messageId
    next.messageByteLength = messageByteLength
    next.receivedBytes = receivedBytes
  }

  #give(messageOffset: number, messageByteLength: number, prefixBytes: number, byteLength: number): Fragment {
    const piece = this.#piece
    piece.messageOffset = messageOffset
    piece.messageByteLength = messageByteLength
    piece.prefixBytes = prefixBytes
    piece.byteLength = byteLength
    return piece
  }

  #corrupt(what: string): Error {
    return corruptError(this.#subject, what)
  }

  #tooLarge(byteLength: number): Error {
    return this.#corrupt(`a message has ${byteLength} bytes, more than maxMessageBytes (${this.#maxMessageBytes})`)
  }
}
