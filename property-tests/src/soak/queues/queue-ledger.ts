import { OWN_WORDS, ROLES_MAX } from '../field.js'

/** The next number for a message. */
const NEXT = OWN_WORDS
const RECEIVED = OWN_WORDS + 1
/** Messages that were sent, and have not come as they must, among the numbers that were used again. */
const LOST = OWN_WORDS + 2
/** How often a message came again that a receiver had been given before. */
const DOUBLED = OWN_WORDS + 3
/** How many messages killed receivers had, or may have had, and receivers that closed: so many may be lost, or doubled. */
const EXCUSED = OWN_WORDS + 4
/** For each role, how many messages its present child has, or may have in a moment. */
const PENDING = OWN_WORDS + 5
export const LEDGER_WORDS = PENDING + ROLES_MAX

/** One word for each message that may be under way; then numbers are used again. Far more than blocks and stopped receivers hold. */
export const MARKS = 1 << 20

/** What is known of a message: the low bits of its mark. The rest is how often the mark was used before. */
const UNUSED = 0
/** Its sender has begun to send it. If that was killed, it may come or not. */
const BEGUN = 1
/** It was sent: it must come. */
const SENT = 2
/** A receiver was given it, once at least. At least once, it must come again if that receiver is killed. */
const GIVEN = 3
/** It must not come again. */
const SETTLED = 4
/** A call is under way that acknowledges it. If the receiver is killed meanwhile, it may come again or not. */
const ACKNOWLEDGING = 5
/**
 * Beside the state: at least once, a receiver is putting it back. If the message shares its block with others, a copy of it is sent; if the
 * receiver is killed right after that, there are two.
 */
const PUTTING_BACK = 8
const STATE_BITS = 4

export type Delivery = 'at-most-once' | 'at-least-once'

/** Which messages were sent and received, as the children of a round note it. Their kills may fall between a step and its note. */
export class QueueLedger {
  readonly #words: Int32Array
  readonly #marks: Int32Array
  readonly #delivery: Delivery

  constructor(words: Int32Array, marks: Int32Array, delivery: Delivery) {
    this.#words = words
    this.#marks = marks
    this.#delivery = delivery
  }

  /** A number for a message that is sent next. */
  begin(): number {
    const number = Atomics.add(this.#words, NEXT, 1)
    const at = number % MARKS
    this.#retire(Atomics.load(this.#marks, at))
    Atomics.store(this.#marks, at, markOf(number, BEGUN))
    return number
  }

  /** The send has returned true, if it may have come already. */
  noteSent(number: number): void {
    Atomics.compareExchange(this.#marks, number % MARKS, markOf(number, BEGUN), markOf(number, SENT))
  }

  /** The send has returned false: it must not come. */
  noteUnsent(number: number): void {
    const begun = markOf(number, BEGUN)
    const found = Atomics.compareExchange(this.#marks, number % MARKS, begun, markOf(number, UNUSED))
    if (found !== begun)
      throw new Error(`Message ${number} was not sent, says its sender, and came: its mark is ${found}`)
  }

  noteReceived(number: number): void {
    const at = number % MARKS
    for (;;) {
      const mark = Atomics.load(this.#marks, at)
      const putting = mark & PUTTING_BACK
      const state = mark - putting - markOf(number, UNUSED)
      const isNew = state === BEGUN || state === SENT
      const mayComeAgain =
        this.#delivery === 'at-least-once' && (state === GIVEN || state === ACKNOWLEDGING || putting !== 0)
      if (!isNew && !mayComeAgain) {
        throw new Error(`Message ${number} came, and its mark is ${mark}: it was not sent, or it came before`)
      }
      if (Atomics.compareExchange(this.#marks, at, mark, markOf(number, GIVEN) | putting) !== mark) continue
      Atomics.add(this.#words, RECEIVED, 1)
      if (!isNew) Atomics.add(this.#words, DOUBLED, 1)
      return
    }
  }

  /** A call begins that acknowledges it. */
  noteAcknowledging(number: number): void {
    this.#change(number, GIVEN, ACKNOWLEDGING)
  }

  /** That call has returned. */
  noteSettled(number: number): void {
    this.#change(number, ACKNOWLEDGING, SETTLED)
  }

  #change(number: number, from: number, to: number): void {
    const at = number % MARKS
    for (;;) {
      const mark = Atomics.load(this.#marks, at)
      const putting = mark & PUTTING_BACK
      // If there are two of it, another receiver may be ahead with the other.
      if (mark - putting !== markOf(number, from) && putting === 0) {
        throw new Error(`Message ${number} is to become ${to} after ${from}, and its mark is ${mark}`)
      }
      if (Atomics.compareExchange(this.#marks, at, mark, markOf(number, to) | putting) === mark) return
    }
  }

  /** Right before it is put back, and after. */
  notePuttingBack(number: number, isPuttingBack: boolean): void {
    if (isPuttingBack) Atomics.or(this.#marks, number % MARKS, PUTTING_BACK)
    else Atomics.and(this.#marks, number % MARKS, ~PUTTING_BACK)
  }

  /** How many messages this role has, or may have before it notes again. */
  set pending({ role, count }: { role: number; count: number }) {
    Atomics.store(this.#words, PENDING + role, count)
  }

  /** What a killed child of this role had may be lost or doubled. */
  excusePredecessor(role: number): void {
    this.excuse(Atomics.load(this.#words, PENDING + role))
    this.pending = { role, count: 0 }
  }

  excuse(count: number): void {
    Atomics.add(this.#words, EXCUSED, count)
  }

  /** After everything was received. Throws what is missing. */
  audit(): void {
    const next = Atomics.load(this.#words, NEXT)
    for (let at = 0; at < Math.min(next, MARKS); at++) this.#retire(Atomics.load(this.#marks, at))
    const [lost, doubled, excused] = [LOST, DOUBLED, EXCUSED].map((word) => Atomics.load(this.#words, word))
    const counts = `${lost} lost, ${doubled} doubled, ${excused} excused, of ${next}`
    if (this.#delivery === 'at-least-once' && lost > 0) throw new Error(`Messages are lost: ${counts}`)
    if (lost + doubled > excused)
      throw new Error(`More messages are lost or doubled than killed receivers had: ${counts}`)
  }

  #retire(mark: number): void {
    const state = mark & (PUTTING_BACK - 1)
    const isLost = state === SENT || (state === GIVEN && this.#delivery === 'at-least-once')
    if (isLost) Atomics.add(this.#words, LOST, 1)
  }
}

/** How many messages were received. */
export function receivedIn(word: (index: number) => number): number {
  return word(RECEIVED)
}

function markOf(number: number, state: number): number {
  return (Math.floor(number / MARKS) << STATE_BITS) | state
}
