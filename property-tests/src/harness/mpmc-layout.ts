import { type MpmcQueueOptions, mpmcQueue } from '@isthmus/ring'
import { array, struct, u32, words } from '@isthmus/sync'

/** A queue, which stands at the start of the root, and a word: agents begin together when it becomes their number. */
export function historyLayout(options: MpmcQueueOptions) {
  return struct({ queue: mpmcQueue(options), start: u32() })
}

export const NOTES_MAX = 400_000

/** A queue, and what its users say about themselves before they are killed. */
export function mortalQueueLayout(options: MpmcQueueOptions, senders: number, receivers: number) {
  return struct({
    queue: mpmcQueue(options),
    /** Written by each sender: how many messages it has sent. */
    sent: array(u32(), senders),
    /** Written by each receiver: the messages that it has received, in order, and how many they are. */
    notes: array(words(NOTES_MAX), receivers),
    noted: array(u32(), receivers),
  })
}
