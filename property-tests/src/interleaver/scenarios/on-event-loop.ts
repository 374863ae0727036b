import type { HeapRegion } from '@isthmus/sync'
import { slotOf, type WaitFor } from '@isthmus/sync/internal'
import { PEERS_BYTE_OFFSET } from '../../../../packages/sync/src/attachment/header.js'
import { HINT_WORDS, HINTS_WORD, PEER_SLOT_BYTES, WAKE_WORD } from '../../../../packages/sync/src/peers/layout.js'
import type { AgentTools } from '../scenario.js'

/**
 * One wait on an agent's event loop, as event-loop.ts and HeapWaiter do it. Agents run to their end without a turn of a
 * real loop, so what production does in turns is done here in a row: hear, arm, prove, look; then, whenever the bell
 * rings, hear again, take the hints, and look if they are about this wait point; at the end disarm and pass on. Only that
 * order is written down a second time. Production
 * code are the first `hear`, `arm` and `disarm`, the condition, and those who ring; `Atomics.waitAsync` on the bell is
 * an ear that counts as a waiter for whoever notifies, as it does in JavaScript.
 */
export function waitOnEventLoop<T>(
  region: HeapRegion<T>,
  { point, condition }: WaitFor,
  tools: Pick<AgentTools<unknown>, 'awaitRing'>,
): void {
  const words = region.words as Int32Array<SharedArrayBuffer>
  const bell = (PEERS_BYTE_OFFSET + slotOf(region.peers.self) * PEER_SLOT_BYTES) / 4 + WAKE_WORD
  if (condition.poll()) return
  point.arm()
  condition.reapDead()
  while (!(condition.pollArmed?.() ?? condition.poll())) {
    do {
      tools.awaitRing(bell)
      while (!Atomics.waitAsync(words, bell, Atomics.load(words, bell)).async);
    } while (!isHinted(words, bell - WAKE_WORD + HINTS_WORD, point.hint % (HINT_WORDS * 32)))
  }
  point.disarm()
  condition.handOffWakeup?.(true)
}

/** Takes all hints, as HeapWaiter does; returns whether the one with this number is among them. */
function isHinted(words: Int32Array<SharedArrayBuffer>, firstWord: number, hint: number): boolean {
  let isAmongThem = false
  for (let group = 0; group < HINT_WORDS; group++) {
    const bits = Atomics.exchange(words, firstWord + group, 0)
    if (group === hint >> 5) isAmongThem = (bits & (1 << (hint & 31))) !== 0
  }
  return isAmongThem
}
