import { existsSync } from 'node:fs'
import { type PeerId, type PeerTable, slotOf } from '@isthmus/sync'
import type { Segment } from '../../src/index.js'
import { fifoPath, threadNameOf } from '../../src/waiting/fifo.js'

/** By what the FIFOs of a peer's thread are named. */
export function threadOf(segment: Segment<unknown>, peer: PeerId = segment.peers.self): string {
  const name = threadNameOf((segment.peers as PeerTable).loopIdAt(slotOf(peer)))
  if (name === undefined) throw new Error(`Peer ${peer} has no loop id`)
  return name
}

/** Which FIFOs of a thread there are. */
export function fifosOf(thread: string): string[] {
  return (['life', 'bell'] as const).filter((kind) => existsSync(fifoPath(thread, kind)))
}
