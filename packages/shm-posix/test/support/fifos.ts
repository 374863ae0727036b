import { existsSync } from 'node:fs'
import { type PeerId, type PeerTable, slotOf } from '@isthmus/sync'
import type { Segment } from '../../src/index.js'
import { threadNameOf } from '../../src/waiting/fifo.js'
import { type FifoKind, MEMORY, pathAt } from '../../src/waiting/fifo-place.js'
import { PeerEndpoint } from '../../src/waiting/peer-endpoint.js'

const IN_MEMORY = { directory: '', isFile: false }
const address = { place: MEMORY, uid: process.geteuid?.() ?? 0 }

/** By what the FIFOs of a peer's thread are named. */
export function threadOf(segment: Segment<unknown>, peer: PeerId = segment.peers.self): string {
  const name = threadNameOf((segment.peers as PeerTable).loopIdAt(slotOf(peer)))
  if (name === undefined) throw new Error(`Peer ${peer} has no loop id`)
  return name
}

/** Of a thread of this user, for its segments in memory. */
export function fifoPath(thread: string, kind: FifoKind): string {
  const path = pathAt(address, IN_MEMORY, thread, kind)
  if (path === undefined) throw new Error('This place has no path')
  return path
}

export function endpointOf(thread: string): PeerEndpoint {
  return new PeerEndpoint(thread, process.pid, address, IN_MEMORY)
}

/** Which FIFOs of a thread there are. */
export function fifosOf(thread: string): string[] {
  return (['life', 'bell'] as const).filter((kind) => existsSync(fifoPath(thread, kind)))
}
