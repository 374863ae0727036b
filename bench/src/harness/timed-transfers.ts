import { type Assignment, type CrowdReports, type Reports, sidesOf } from './assignment.js'
import type { Pace } from './contest.js'
import { Meeting, type Transfer } from './meeting.js'
import { sharedNowNs } from './shared-clock.js'

/** One side of a transfer that two sides do together, many times. */
export interface Side {
  /** Does this side's part of a number of messages, numbered from 0, or of other units of work. */
  transfer(messages: number): void | Promise<void>
  /** Called before the first transfer, for a side that cannot open before the other one has. */
  connected?(): Promise<void>
  close(): void
}

/** When the timed transfer of one side began and ended. */
export interface Span {
  readonly startNs: number
  readonly stopNs: number
  readonly messages: number
}

export interface Measurement {
  readonly seconds: number
  readonly messages: number
}

/** The time is the last stop minus the first start. */
export function measurementOf({ first, second }: Reports<Span>): Measurement {
  const startNs = Math.min(first.startNs, second.startNs)
  const stopNs = Math.max(first.stopNs, second.stopNs)
  return { seconds: (stopNs - startNs) / 1e9, messages: first.messages }
}

/**
 * Each side that sends has sent as many messages. The time is that from the first start until a receiver sees that
 * all messages have been received, by all receivers together; others may see it later.
 */
export function crowdMeasurementOf({ first, second }: CrowdReports<Span>): Measurement {
  const startNs = Math.min(...first.map((span) => span.startNs))
  const stopNs = Math.min(...second.map((span) => span.stopNs))
  const messages = first.reduce((sum, span) => sum + span.messages, 0)
  return { seconds: (stopNs - startNs) / 1e9, messages }
}

/** In one of the sides: opens it, takes part in all transfers, and reports the timed one. */
export async function takePartInTransfers(
  { role, index, crowd, place, pace }: Assignment,
  openSide: () => Side | Promise<Side>,
  firstMessages = FIRST_MESSAGES_DEFAULT,
): Promise<Span> {
  const meeting = new Meeting(place, sidesOf(crowd))
  const leads = role === 'first' && index === 0
  const side = await meeting.openInTurn(leads ? 'first' : 'second', openSide)
  await side.connected?.()
  const span = await timeTransfers(leads, side, meeting, new WarmUp(pace, firstMessages))
  side.close()
  meeting.close()
  return span
}

/**
 * Lets all sides transfer, between meetings, more and more messages until they are warm; the transfer after that is
 * timed. One side leads: it decides how many.
 */
async function timeTransfers(leads: boolean, side: Side, meeting: Meeting, warmUp: WarmUp): Promise<Span> {
  for (;;) {
    if (leads) meeting.announce(warmUp.next)
    meeting.meet()
    const { messages, isTimed } = meeting.announced
    const startNs = sharedNowNs()
    await side.transfer(messages)
    const stopNs = sharedNowNs()
    // Without this meeting the leading side could announce the next transfer before another one has read of this one.
    meeting.meet()
    if (isTimed) return { startNs, stopNs, messages }
    warmUp.learn((sharedNowNs() - startNs) / 1e6)
  }
}

const FIRST_MESSAGES_DEFAULT = 16
const GROWTH = 2
const LONG_TRANSFERS = 8
const MESSAGES_MAX = 2 ** 31 - 1

/** Transfers grow until they are long, and are timed after LONG_TRANSFERS of them, which together take `warmUpMs` at least. */
class WarmUp {
  next: Transfer
  readonly #pace: Pace
  #longTransfers = 0
  /** The times of the long transfers: a single interrupted one must not make the timed one short. */
  #messagesPerMsMax = 0

  constructor(pace: Pace, firstMessages: number) {
    this.#pace = pace
    this.next = { messages: firstMessages, isTimed: false }
  }

  /** Notes how long the announced transfer took until both sides were done. */
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
