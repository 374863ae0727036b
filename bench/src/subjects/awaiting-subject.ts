import type { Role } from '../harness/assignment.js'
import type { SideOpener } from './throughput-subject.js'

/**
 * A way to send messages from one process to another that is served by the event loop on both sides, written as a program
 * would write it. The first side sends, the second one receives. Both ends of every message hold its sequence number.
 */
export interface AwaitingSubject {
  readonly name: string
  /** Whether it takes part with messages of this length. */
  does(messageBytes: number): boolean
  readonly openers: Readonly<Record<Role, SideOpener>>
}

/** How many messages those subjects send at once that collect them. */
export const BATCH_MESSAGES = 64
