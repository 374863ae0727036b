import { corruptError, IncompleteMessageError, type IncompleteReason } from '../errors.js'
import { ABORT, DATA, FIRST, kindOf, LAST, MIDDLE, messageIdOf, PADDING, TOTAL_LENGTH_BYTES } from './layout.js'

/** The part of a message that one record carries. */
export interface Fragment {
  /** Where it begins in its message, in bytes. */
  messageOffset: number
  messageByteLength: number
  /** Bytes of the record's payload before it. */
  prefixBytes: number
  byteLength: number
}

/** Whether a message ends with this fragment. */
export function isLastOf({ messageOffset, byteLength, messageByteLength }: Fragment): boolean {
  return messageOffset + byteLength === messageByteLength
}

/** Nothing has been received yet: the first record may continue a message that an earlier consumer began. */
const JOINING = 0
/** Between two messages. */
const BETWEEN = 1
/** Inside a message that was seen from its beginning. */
const INSIDE = 2
/** Inside a message whose beginning was not seen: its fragments are dropped. */
const SKIPPING = 3

/** The message that is being assembled. */
interface Progress {
  state: number
  messageId: number
  messageByteLength: number
  receivedBytes: number
}

/**
 * Follows the fragments of large messages, record by record, and refuses what no correct producer sends. It says where
 * each fragment belongs; the consumer copies the bytes. A record is read first (`look`), and taken (`step`) when its bytes
 * are copied: a consumer that has no memory for the copy has lost nothing.
 *
 * ```
 *              DATA, LAST, ABORT               FIRST
 *   JOINING ─────────────────────> BETWEEN ─────────────> INSIDE (MIDDLE: stays)
 *      |                             ^  ^                   |
 *      | MIDDLE                      |  +───────────────────+
 *      v                 LAST, ABORT |       LAST, ABORT
 *   SKIPPING (MIDDLE: stays) ────────+
 * ```
 *
 * A FIRST also leads from JOINING to INSIDE, DATA leads from BETWEEN to BETWEEN, and PADDING changes no state. Any other
 * record is corrupt. The end of the producer's epoch has the effect of an ABORT, except in JOINING.
 */
export class MessageAssembly {
  readonly #maxMessageBytes: number
  readonly #subject: string
  readonly #fragment: Fragment = { messageOffset: 0, messageByteLength: 0, prefixBytes: 0, byteLength: 0 }
  #now: Progress = { state: JOINING, messageId: 0, messageByteLength: 0, receivedBytes: 0 }
  /** After the record that was read. */
  #next: Progress = { state: JOINING, messageId: 0, messageByteLength: 0, receivedBytes: 0 }

  /** @param subject what error messages call the ring */
  constructor(maxMessageBytes: number, subject = 'a ring') {
    this.#maxMessageBytes = maxMessageBytes
    this.#subject = subject
  }

  /** Takes a whole message in one record, without `look`. Returns false inside another message, where it is corrupt. */
  takeWhole(byteLength: number): boolean {
    if (byteLength > this.#maxMessageBytes) throw this.#tooLarge(byteLength)
    const now = this.#now
    if (now.state === JOINING) now.state = BETWEEN
    return now.state === BETWEEN
  }

  /** Whether a message has begun, its beginning was seen, and its end has not come. */
  get isInsideMessage(): boolean {
    return this.#now.state === INSIDE
  }

  /** Whether the fragments of a message whose beginning was not seen, or that was given up, are being dropped. */
  get isSkipping(): boolean {
    return this.#now.state === SKIPPING
  }

  /**
   * The reader begins at another place: between two messages, or inside one, which is dropped silently. A message that it has
   * received a part of is forgotten.
   */
  restart(isInside: boolean): void {
    this.#now.state = isInside ? SKIPPING : BETWEEN
  }

  /** Whether a message has begun and not ended, whether its beginning was seen or not. */
  get isMessageOpen(): boolean {
    return this.#now.state === INSIDE || this.#now.state === SKIPPING
  }

  /** What to tell of the message under way if it stays incomplete; undefined between messages. */
  get incomplete(): IncompleteMessageError | undefined {
    const { state, receivedBytes, messageByteLength } = this.#now
    if (state !== INSIDE) return undefined
    return new IncompleteMessageError('abandoned', receivedBytes, messageByteLength, this.#subject)
  }

  /**
   * Reads one record, which `step` then takes. The returned fragment is valid until the next `look`.
   * @param totalByteLength the total length that a FIRST record gives
   * @returns undefined for a record without bytes of a message, an error if it tells that a message stays incomplete
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

  /** Takes the record that was read. */
  step(): void {
    const before = this.#now
    this.#now = this.#next
    this.#next = before
  }

  /** Reads one record and takes it. */
  take(word: number, byteLength: number, totalByteLength: number): Fragment | IncompleteMessageError | undefined {
    const found = this.look(word, byteLength, totalByteLength)
    this.step()
    return found
  }

  /** Takes one record, and returns true, if a correct producer could have sent it. */
  accepts(word: number, byteLength: number, totalByteLength: number): boolean {
    try {
      this.take(word, byteLength, totalByteLength)
      return true
    } catch (error) {
      if ((error as { code?: unknown } | null)?.code === 'ERR_ISTHMUS_CORRUPT') return false
      throw error
    }
  }

  /** The consumer cannot complete the message under way: its remaining fragments will be dropped. */
  giveUp(reason: IncompleteReason): IncompleteMessageError {
    const { receivedBytes, messageByteLength } = this.#now
    const error = new IncompleteMessageError(reason, receivedBytes, messageByteLength, this.#subject)
    this.#now.state = SKIPPING
    return error
  }

  /** The producer's epoch is over: a message under way stays incomplete. */
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
    const fragment = this.#fragment
    fragment.messageOffset = messageOffset
    fragment.messageByteLength = messageByteLength
    fragment.prefixBytes = prefixBytes
    fragment.byteLength = byteLength
    return fragment
  }

  #corrupt(what: string): Error {
    return corruptError(this.#subject, what)
  }

  #tooLarge(byteLength: number): Error {
    return this.#corrupt(`a message has ${byteLength} bytes, more than maxMessageBytes (${this.#maxMessageBytes})`)
  }
}
