import type { Region } from '../../src/index.js'
import { PEERS_BYTE_OFFSET, slotOf } from '../../src/internal.js'
import { LOOP_ID_WORD, PEER_SLOT_BYTES } from '../../src/peers/layout.js'

/**
 * Makes an attachment of this thread look to the others like one of another thread: a test can play both, and neither of
 * them seems to wait for itself. What it says about others rests on its own id, which stays the thread's.
 */
export function asOfAnotherThread<R extends Region>(region: R): R {
  const slot = (PEERS_BYTE_OFFSET + slotOf(region.peers.self) * PEER_SLOT_BYTES) / 4
  region.words[slot + LOOP_ID_WORD] ^= 1 + slotOf(region.peers.self)
  return region
}
