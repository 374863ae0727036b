import {
  ACKNOWLEDGED,
  BEGAN_SHORT,
  JOINED_MIDWAY,
  LAST,
  type Place,
  placeOf,
  placeWord,
  RECEIVED,
  type RingLedger,
} from './ring-ledger.js'
import { byteLengthOf, isShort, messageOf, placeIn, type Series } from './ring-message.js'

/**
 * Checks what one consumer receives: that each message is whole, and that they come in order, once, and without a gap.
 */
export class Inspector {
  readonly #ledger: RingLedger
  readonly #series: Series
  readonly #maxRecordBytes: number
  /** The last message that this consumer received. */
  #previous: Place | undefined

  constructor(ledger: RingLedger, series: Series, maxRecordBytes: number) {
    this.#ledger = ledger
    this.#series = series
    this.#maxRecordBytes = maxRecordBytes
  }

  inspect(message: Uint8Array): void {
    const place = placeIn(message) ?? this.#placeOfShort()
    if (place === undefined) {
      // The first message of this consumer is too short to contain its number; the next one will show it.
      this.#ledger.set(BEGAN_SHORT, 1)
      return
    }
    if (Buffer.compare(message, messageOf(this.#series, place)) !== 0) throw this.#error('torn', place)
    if (this.#previous === undefined) this.#assertMayBegin(place)
    else this.#assertFollows(this.#previous, place)
    this.#previous = place
    this.#note(place)
  }

  noteJoinedMidway(): void {
    this.#ledger.add(JOINED_MIDWAY, 1)
  }

  noteAcknowledged(): void {
    if (this.#previous !== undefined) this.#ledger.set(ACKNOWLEDGED, placeWord(this.#previous))
  }

  /** Called after all was received: every completed message must have come. */
  assertNothingIsMissing(lastIncarnation: number): void {
    const end = { incarnation: lastIncarnation + 1, number: 0 }
    if (this.#isFollowedBy(placeOf(this.#ledger.get(LAST)), end)) return
    throw this.#error('at the end of the round, before it there is a gap', end)
  }

  /**
   * A short message does not contain its number: it is the next one, or follows a large one that was reported as
   * incomplete.
   */
  #placeOfShort(): Place | undefined {
    if (this.#previous === undefined) return undefined
    const { incarnation, number } = this.#previous
    const next = { incarnation, number: number + 1 }
    const isReported = this.#ledger.get(JOINED_MIDWAY) > 0
    return isReported && !isShort(this.#series, next) ? { incarnation, number: number + 2 } : next
  }

  /** A new consumer may get again what its predecessor had not acknowledged; no message may be left out. */
  #assertMayBegin(place: Place): void {
    const last = this.#ledger.get(LAST)
    if (placeWord(place) <= this.#ledger.get(ACKNOWLEDGED))
      throw this.#error('received after it was acknowledged', place)
    if (placeWord(place) > last && !this.#isFollowedBy(placeOf(last), place)) {
      throw this.#error(`received after ${JSON.stringify(placeOf(last))} by a new consumer`, place)
    }
  }

  #assertFollows(previous: Place, place: Place): void {
    if (placeWord(place) > placeWord(previous) && this.#isFollowedBy(previous, place)) return
    throw this.#error(`received after ${JSON.stringify(previous)}`, place)
  }

  /** Whether no completed message lies between these two, except those that were reported as incomplete. */
  #isFollowedBy(previous: Place, place: Place): boolean {
    let reported = this.#ledger.get(JOINED_MIDWAY)
    let mayBeShort = this.#ledger.get(BEGAN_SHORT) === 1
    const isExcused = (missing: Place): boolean => {
      if (mayBeShort && isShort(this.#series, missing)) {
        mayBeShort = false
        return true
      }
      return byteLengthOf(this.#series, missing) > this.#maxRecordBytes && reported-- > 0
    }
    for (let { incarnation, number } = previous; ; incarnation++, number = -1) {
      const isLast = incarnation === place.incarnation
      const end = isLast ? place.number : this.#ledger.completed(incarnation)
      for (let missing = number + 1; missing < end; missing++) {
        if (!isExcused({ incarnation, number: missing })) return false
      }
      if (isLast) return true
    }
  }

  #note(place: Place): void {
    if (placeWord(place) > this.#ledger.get(LAST)) {
      this.#ledger.set(LAST, placeWord(place))
      this.#ledger.set(JOINED_MIDWAY, 0)
      this.#ledger.set(BEGAN_SHORT, 0)
    }
    this.#ledger.add(RECEIVED, 1)
  }

  #error(what: string, place: Place): Error {
    const { incarnation } = place
    const [begun, completed] = [this.#ledger.begun(incarnation), this.#ledger.completed(incarnation)]
    return new Error(
      `Ring ${this.#series.ring}: message ${place.number} of producer ${incarnation}, ${what}. ` +
        `That producer has begun ${begun} and completed ${completed}; ` +
        `${this.#ledger.get(JOINED_MIDWAY)} large ones were reported as begun by an earlier consumer`,
    )
  }
}
