import type { Arrangement, Line, Role } from '../harness/assignment.js'
import type { Prepare } from '../harness/contest.js'
import type { Place } from '../harness/place.js'
import type { Courier, Messenger } from './messenger.js'

/** What an end of a connection is opened with. */
export interface Seat {
  readonly role: Role
  readonly place: Place
  readonly line: Line
  /** No message is longer. */
  readonly messageBytes: number
}

/** How a courier waits: a spinning one burns its core and is quick, a blocked one leaves its core to others. */
export type CourierWaiting = 'spinning' | 'blocking'

/** A way to move messages that is driven by the harness. */
export interface MessageSubject {
  readonly name: string
  readonly arrangement: Arrangement
  /** The limit of one message; none if not given. */
  readonly messageBytesMax?: number
  readonly prepare?: Prepare | undefined
  readonly openMessenger?: (seat: Seat) => Messenger | Promise<Messenger>
  readonly couriers?: Partial<Record<CourierWaiting, (seat: Seat) => Courier | Promise<Courier>>>
}
