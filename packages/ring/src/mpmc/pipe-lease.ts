import type { PeerId, Region } from '@isthmus/sync'
import { slotOf } from '@isthmus/sync/internal'
import { LEASE_WORD, RECEIVER_DONE, RECEIVER_LEFT, SENDER_ABORTED, SENDER_GONE, SENDER_WORD } from './layout.js'

/**
 * Whether the sender of a pipe may still write into its block: then no other peer may take it, as long as it is an orphan. To be
 * asked after the cell was loaded, and before the CAS from that word: so the answer is that of the same instance.
 * @param proves whether to ask the system; otherwise only the peers table
 */
export function isSenderAtWork(words: Int32Array, cellWord: number, region: Region, proves: boolean): boolean {
  // SYNC side of a pipe is done: what it stored before
  if ((Atomics.load(words, cellWord + LEASE_WORD) & SENDER_GONE) !== 0) return false
  const sender = words[cellWord + SENDER_WORD] as PeerId
  if (sender === region.peers.self) return true
  if (region.peers.at(slotOf(sender)) !== sender) return false
  return !(proves && region.peers.isDead(sender))
}

/** Whether the message of a pipe that no peer uses any more was sent, and its receiver died before it was done with it. */
export function wasLost(words: Int32Array, cellWord: number): boolean {
  return (words[cellWord + LEASE_WORD] & (SENDER_GONE | SENDER_ABORTED | RECEIVER_DONE | RECEIVER_LEFT)) === SENDER_GONE
}
