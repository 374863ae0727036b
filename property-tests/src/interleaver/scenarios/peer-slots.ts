import { u32 } from '@isthmus/sync'
import { PEERS_BYTE_OFFSET } from '../../../../packages/sync/src/attachment/header.js'
import { LEASE_WORD, PEER_SLOT_BYTES } from '../../../../packages/sync/src/peers/layout.js'
import { agent, type RegionWords, scenario } from '../scenario.js'

const layout = u32()
/** Slot 0 is the creator's; all agents claim slot 1. */
const SLOT = 1

function holdOf({ words }: RegionWords, slot: number): number {
  return words[(PEERS_BYTE_OFFSET + slot * PEER_SLOT_BYTES) / 4 + LEASE_WORD]
}

export const peerSlots = scenario({
  name: 'peer-slots',
  about:
    'A first agent attaches and may crash at any operation, a second one attaches, and the janitor declares the death and attaches itself. No two living agents have the same peer id, and no id is used twice.',
  layout,
  wordNames: [{ byteOffset: 0, name: 'value' }],
  mayCrash: ['first'],
  agents: {
    first: agent(layout, {
      prepare: () => undefined,
      run(_, tools) {
        const region = tools.attach()
        const { self } = region.peers
        region.close()
        return self
      },
    }),
    second: agent(layout, {
      prepare: () => undefined,
      run: (_, tools) => tools.attach().peers.self,
    }),
    janitor: agent(layout, {
      prepare: (tools) => tools.attach(),
      run(region, tools) {
        const dead = tools.awaitCrash()
        if (dead !== undefined) region.declareDead(dead)
        return { self: region.peers.self, dead, next: tools.attach().peers.self }
      },
    }),
  },
  check({ returned, region }) {
    const second = returned('second') as number
    const { self, dead, next } = returned('janitor') as { self: number; dead?: number; next: number }
    const ids = [second, self, next, ...(dead === undefined ? [returned('first') as number] : [dead])]
    if (new Set(ids).size !== ids.length) return `peer ids were given out twice: ${ids.join(', ')}`
    const sweeper = holdOf(region, SLOT)
    if (sweeper < 0) return `a sweep never ended: the lease is ${sweeper}`
    return undefined
  },
})
