import type { Pace } from './contest.js'
import type { Meeting, Transfer } from './meeting.js'

export type Role = 'producer' | 'consumer'

/** One side of a way to move messages; it lives in a process of its own. */
export interface Side {
  /** Sends, or receives and checks, this many messages, numbered from 0 on. */
  transfer(messages: number): void | Promise<void>
  close(): void
}

/** When the timed transfer of one side began and ended. */
export interface Span {
  readonly startNs: number
  readonly stopNs: number
  readonly messages: number
}

/**
 * Lets both sides transfer, between meetings, more and more messages until both are warm; the transfer after that is
 * timed. The producer decides how many.
 */
export async function timeTransfers(role: Role, side: Side, meeting: Meeting, pace: Pace): Promise<Span> {
  const warmUp = new WarmUp(pace)
  for (;;) {
    if (role === 'producer') meeting.announce(warmUp.next)
    meeting.meet()
    const { messages, isTimed } = meeting.announced
    const startNs = sharedNowNs()
    await side.transfer(messages)
    const stopNs = sharedNowNs()
    // Without this meeting the producer could announce the next transfer before the consumer has read of this one.
    meeting.meet()
    if (isTimed) return { startNs, stopNs, messages }
    warmUp.learn((sharedNowNs() - startNs) / 1e6)
  }
}

const FIRST_MESSAGES = 16
const GROWTH = 2
const LONG_TRANSFERS = 8
const MESSAGES_MAX = 2 ** 31 - 1

/** Transfers grow until they are long, and are timed after LONG_TRANSFERS of them, which together take `warmUpMs` at least. */
class WarmUp {
  next: Transfer = { messages: FIRST_MESSAGES, isTimed: false }
  readonly #pace: Pace
  #longTransfers = 0
  /** Of the long transfers: one that was interrupted must not make the timed one short. */
  #messagesPerMsMax = 0

  constructor(pace: Pace) {
    this.#pace = pace
  }

  /** To be told how long the announced transfer took, until both sides were through. */
  learn(elapsedMs: number): void {
    const { messages } = this.next
    const isLong = elapsedMs >= this.#pace.warmUpMs / LONG_TRANSFERS
    if (!isLong) {
      this.next = { messages: Math.min(messages * GROWTH, MESSAGES_MAX), isTimed: false }
      return
    }
    this.#longTransfers++
    this.#messagesPerMsMax = Math.max(this.#messagesPerMsMax, messages / elapsedMs)
    if (this.#longTransfers < LONG_TRANSFERS) return
    const fitting = Math.ceil(this.#messagesPerMsMax * this.#pace.targetMs)
    this.next = { messages: Math.min(fitting, MESSAGES_MAX), isTimed: true }
  }
}

/** CLOCK_MONOTONIC, which all processes of a machine share. As a number it is exact to 2 ns for half a year after the boot. */
function sharedNowNs(): number {
  return Number(process.hrtime.bigint())
}
