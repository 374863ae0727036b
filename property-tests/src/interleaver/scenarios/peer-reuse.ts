import { type HeapRegion, Int32Field, type Layout } from '@isthmus/sync'
import { slotOf } from '@isthmus/sync/internal'
import { PEERS_BYTE_OFFSET } from '../../../../packages/sync/src/attachment/header.js'
import { LEASE_WORD, PEER_SLOT_BYTES } from '../../../../packages/sync/src/peers/layout.js'
import { agent, scenario } from '../scenario.js'

/** A cell that names its owner by the slot alone, as words of isthmus's structures do; 0 if it has none. */
const layout: Layout<Int32Field> = {
  byteLength: 4,
  byteAlignment: 4,
  signature: 'interleaver-cell@1',
  initialize() {},
  attach: (region, byteOffset) => new Int32Field(region, byteOffset),
  sweep(region, byteOffset, deadPeer) {
    Atomics.compareExchange(region.words, byteOffset >>> 2, slotOf(deadPeer) + 1, 0)
  },
}

/** Slot 0 is the creator's; slot 1 is that of the first agent. */
const FIRST_SLOT = 1

function take(region: HeapRegion<Int32Field>): boolean {
  return region.root.compareExchange(0, slotOf(region.peers.self) + 1) === 0
}

const janitor = agent(layout, {
  prepare: (tools) => tools.attach(),
  run(region, tools) {
    const dead = tools.awaitCrash()
    if (dead !== undefined) region.declareDead(dead)
  },
})

export const peerReuse = scenario({
  name: 'peer-reuse',
  about:
    'A first agent takes a cell and may crash; two janitors declare its death at once, while a second agent attaches and takes the cell. The slot gets its next holder only after all sweeping is over: no sweep takes the cell from the second agent.',
  layout,
  wordNames: [{ byteOffset: 0, name: 'cell' }],
  mayCrash: ['first'],
  agents: {
    first: agent(layout, {
      prepare: (tools) => tools.attach(),
      run(region) {
        take(region)
      },
    }),
    second: agent(layout, {
      prepare: () => undefined,
      run(_, tools) {
        const region = tools.attach()
        return { slot: slotOf(region.peers.self), hasTaken: take(region) }
      },
    }),
    janitor,
    other: janitor,
  },
  check({ returned, region, crashed }) {
    const { slot, hasTaken } = returned('second') as { slot: number; hasTaken: boolean }
    const cell = region.words[region.rootByteOffset >>> 2]
    if (hasTaken && cell !== slot + 1) return `the second agent has taken the cell in slot ${slot}, and it is ${cell}`
    const hold = region.words[(PEERS_BYTE_OFFSET + FIRST_SLOT * PEER_SLOT_BYTES) / 4 + LEASE_WORD]
    if (crashed !== undefined && slot !== FIRST_SLOT && hold !== 0) return `the dead agent's slot is lost: ${hold}`
    if (!hasTaken && cell !== 0 && crashed !== undefined) return `a dead agent still has the cell: ${cell}`
    return undefined
  },
})
