import { describe, expect, test, vi } from 'vitest'
import type { PeerId } from '../../src/index.js'
import { generationOf, MAX_PEERS, PeerTable, type Sweep, slotOf } from '../../src/internal.js'
import {
  DEAD,
  FREE,
  generationOfSlotWord,
  LIVE,
  PEER_SLOT_BYTES,
  slotWord,
  stateOfSlotWord,
} from '../../src/peers/layout.js'
import { peerId } from '../../src/peers/peer-id.js'
import { expectCode } from '../support/expect-code.js'
import { Holds } from '../support/test-liveness.js'

const BYTE_OFFSET = 64
const agent = { pid: 11, threadId: 22 }
const noSweep: Sweep = (peer) => {
  throw new Error(`unexpected sweep of ${peer}`)
}

function setUp() {
  const words = new Int32Array(new SharedArrayBuffer(BYTE_OFFSET + MAX_PEERS * PEER_SLOT_BYTES))
  const holds = new Holds()
  const stateIndex = (slot: number) => (BYTE_OFFSET + slot * PEER_SLOT_BYTES) / 4
  return {
    holds,
    words,
    stateIndex,
    table: () => new PeerTable(words, BYTE_OFFSET, holds.liveness()),
    state: (slot: number) => stateOfSlotWord(words[stateIndex(slot)]),
    generation: (slot: number) => generationOfSlotWord(words[stateIndex(slot)]),
  }
}

function swept(): { sweep: Sweep; peers: PeerId[] } {
  const peers: PeerId[] = []
  return { peers, sweep: (peer) => void peers.push(peer) }
}

describe('PeerTable.isDead', () => {
  test('PeerTable.isDead is not misled by the next holder of the slot, which comes between its checks', () => {
    const { words, holds, table } = setUp()
    const dead = table().claim(agent, noSweep)
    holds.kill(0)
    const liveness = holds.liveness()
    vi.spyOn(liveness, 'isHeldByAnother').mockImplementationOnce((slot) => {
      expect(table().claim(agent, swept().sweep)).toBe(peerId(slot, 2))
      return holds.isHeld(slot)
    })
    expect(new PeerTable(words, BYTE_OFFSET, liveness).isDead(dead)).toBe(true)
  })
})

describe('PeerTable.claim', () => {
  test('PeerTable.claim takes the first free slot, in generation 1', () => {
    const { table, state, generation, words } = setUp()
    const first = table()
    const second = table()
    expect(first.claim(agent, noSweep)).toBe(peerId(0, 1))
    expect(second.claim(agent, noSweep)).toBe(peerId(1, 1))
    expect([first.self, second.self]).toEqual([peerId(0, 1), peerId(1, 1)])
    expect([state(0), generation(0), state(1), state(2)]).toEqual([LIVE, 1, LIVE, FREE])
    expect([...words.subarray(0, BYTE_OFFSET / 4)]).toEqual(new Array(BYTE_OFFSET / 4).fill(0))
  })

  test('PeerTable.claim gives a released slot to the next one with a raised generation, without a sweep', () => {
    const { table } = setUp()
    const first = table()
    first.claim(agent, noSweep)
    first.release()
    expect(table().claim(agent, noSweep)).toBe(peerId(0, 2))
  })

  test('PeerTable.claim passes over 0 when the generations are used up', () => {
    const { table, words, stateIndex } = setUp()
    const lastGeneration = 2 ** 22 - 1
    words[stateIndex(0)] = slotWord(lastGeneration, FREE)
    const peer = table().claim(agent, noSweep)
    expect([slotOf(peer), generationOf(peer)]).toEqual([0, 1])
  })

  test('PeerTable.claim gives out all 128 slots, then throws', () => {
    const { table } = setUp()
    const tables = Array.from({ length: MAX_PEERS }, table)
    const peers = tables.map((each) => each.claim(agent, noSweep))
    expect(MAX_PEERS).toBe(128)
    expect(peers.map(slotOf)).toEqual(Array.from({ length: 128 }, (_, slot) => slot))
    expectCode('ERR_ISTHMUS_TOO_MANY_PEERS', () => table().claim(agent, noSweep))
    tables[77].release()
    expect(table().claim(agent, noSweep)).toBe(peerId(77, 2))
  })

  test.each(['claim', 'sweepDead'] as const)(
    'PeerTable.%s leaves a slot alone if its holder dies meanwhile',
    (call) => {
      const { words, holds, table, state } = setUp()
      const dying = table().claim(agent, noSweep)
      const liveness = holds.liveness()
      vi.spyOn(liveness, 'isHeldByAnother').mockImplementationOnce(() => {
        holds.kill(0)
        return true
      })
      const looking = new PeerTable(words, BYTE_OFFSET, liveness)
      if (call === 'claim') expect(looking.claim(agent, noSweep)).toBe(peerId(1, 1))
      else looking.sweepDead(noSweep)
      // If its lease were taken, the dead peer would look alive to all others.
      expect([state(0), holds.isHeld(0), table().isDead(dying)]).toEqual([LIVE, false, true])
    },
  )

  test('PeerTable.claim sweeps the dead holder of a slot before it takes its place', () => {
    const { table, holds, state, generation } = setUp()
    const dead = table().claim(agent, noSweep)
    holds.kill(0)
    const peers: PeerId[] = []
    const successor = table().claim(agent, (peer) => {
      peers.push(peer)
      expect([state(0), generation(0), holds.isHeld(0)]).toEqual([DEAD, 1, true])
    })
    expect(peers).toEqual([dead])
    expect(successor).toBe(peerId(0, 2))
  })

  test('PeerTable.claim sweeps again what a dead sweeper left half swept', () => {
    const { table, words, stateIndex } = setUp()
    words[stateIndex(0)] = slotWord(5, DEAD)
    const { sweep, peers } = swept()
    expect(table().claim(agent, sweep)).toBe(peerId(0, 6))
    expect(peers).toEqual([peerId(0, 5)])
  })

  test('PeerTable.claim releases the slot if the sweep throws, and the next claim sweeps again', () => {
    const { table, holds, state } = setUp()
    const dead = table().claim(agent, noSweep)
    holds.kill(0)
    const failed = table()
    expect(() =>
      failed.claim(agent, () => {
        throw new Error('sweep failed')
      }),
    ).toThrow('sweep failed')
    expect([holds.isHeld(0), state(0)]).toEqual([false, DEAD])
    expectCode('ERR_ISTHMUS_CLOSED', () => failed.self)
    const { sweep, peers } = swept()
    expect(table().claim(agent, sweep)).toBe(peerId(0, 2))
    expect(peers).toEqual([dead])
  })
})

describe('PeerTable.sweepDead', () => {
  test('PeerTable.sweepDead sweeps exactly the dead, and frees their slots', () => {
    const { table, holds, state } = setUp()
    const tables = Array.from({ length: 5 }, table)
    const peers = tables.map((each) => each.claim(agent, noSweep))
    tables[2].release()
    holds.kill(1)
    holds.kill(4)
    const swept1 = swept()
    tables[0].sweepDead(swept1.sweep)
    expect(swept1.peers).toEqual([peers[1], peers[4]])
    expect([0, 1, 2, 3, 4].map(state)).toEqual([LIVE, FREE, FREE, LIVE, FREE])
    expect([0, 1, 2, 3, 4].map(holds.isHeld, holds)).toEqual([true, false, false, true, false])
    tables[0].sweepDead(noSweep)
  })

  test('PeerTable.sweepDead never touches its own slot, even if its own lease reads as free', () => {
    const { table, holds, state } = setUp()
    const own = table()
    own.claim(agent, noSweep)
    holds.kill(0)
    own.sweepDead(noSweep)
    expect(state(0)).toBe(LIVE)
  })

  test('PeerTable.sweepDead releases the slot if the sweep throws', () => {
    const { table, holds } = setUp()
    const own = table()
    own.claim(agent, noSweep)
    const dead = table().claim(agent, noSweep)
    holds.kill(1)
    expect(() =>
      own.sweepDead(() => {
        throw new Error('sweep failed')
      }),
    ).toThrow('sweep failed')
    expect(holds.isHeld(1)).toBe(false)
    const { sweep, peers } = swept()
    own.sweepDead(sweep)
    expect(peers).toEqual([dead])
  })

  test('PeerTable.sweepDead leaves the generation to the next claim', () => {
    const { table, holds, generation } = setUp()
    table().claim(agent, noSweep)
    holds.kill(0)
    const { sweep } = swept()
    table().sweepDead(sweep)
    expect(generation(0)).toBe(1)
    expect(table().claim(agent, noSweep)).toBe(peerId(0, 2))
  })
})

describe('PeerTable: the attached peers', () => {
  test('PeerTable.isDead is false for this attachment and for each peer that has its lease', () => {
    const { table, holds } = setUp()
    const own = table()
    const other = table()
    own.claim(agent, noSweep)
    other.claim(agent, noSweep)
    holds.kill(slotOf(own.self))
    expect([own.isDead(own.self), own.isDead(other.self)]).toEqual([false, false])
  })

  test('PeerTable.isDead is true once the lease has ended, the slot was given back, or its generation has moved on', () => {
    const { table, holds } = setUp()
    const own = table()
    own.claim(agent, noSweep)
    const killed = table().claim(agent, noSweep)
    const released = table()
    const left = released.claim(agent, noSweep)
    holds.kill(slotOf(killed))
    released.release()
    expect([own.isDead(killed), own.isDead(left)]).toEqual([true, true])
    const { sweep } = swept()
    const successor = table().claim(agent, sweep)
    expect(slotOf(successor)).toBe(slotOf(killed))
    expect([own.isDead(killed), own.isDead(successor)]).toEqual([true, false])
  })

  test('PeerTable.isDead is true for a peer that is being swept, though its slot is held again', () => {
    const { table, holds } = setUp()
    const own = table()
    own.claim(agent, noSweep)
    const killed = table().claim(agent, noSweep)
    holds.kill(slotOf(killed))
    const answers: boolean[] = []
    table().claim(agent, (peer) => void answers.push(own.isDead(peer)))
    expect(answers).toEqual([true])
  })

  test('PeerTable.list and describe give process, thread and liveness of each attached peer', () => {
    const { table, holds } = setUp()
    const own = table()
    own.claim({ pid: 1, threadId: 2 }, noSweep)
    const gone = table()
    const left = gone.claim({ pid: 3, threadId: 4 }, noSweep)
    const killed = table().claim({ pid: 5, threadId: 6 }, noSweep)
    gone.release()
    holds.kill(slotOf(killed))
    expect(own.list()).toMatchObject([
      { peer: own.self, pid: 1, threadId: 2, isDead: false },
      { peer: killed, pid: 5, threadId: 6, isDead: true },
    ])
    expect(own.describe(left)).toMatchObject({ peer: left, pid: 3, threadId: 4, isDead: true })
  })

  test('PeerTable.at gives the peer in a slot, and undefined if there is none', () => {
    const { table } = setUp()
    const own = table()
    own.claim(agent, noSweep)
    expect([own.at(0), own.at(1), own.at(127)]).toEqual([own.self, undefined, undefined])
  })

  test('PeerTable.release ends the attachment', () => {
    const { table, holds, state } = setUp()
    const own = table()
    own.claim(agent, noSweep)
    own.release()
    expect([holds.isHeld(0), state(0)]).toEqual([false, FREE])
    expectCode('ERR_ISTHMUS_CLOSED', () => own.self)
    expectCode('ERR_ISTHMUS_CLOSED', () => own.release())
  })
})

test.each([
  [0, 1],
  [127, 1],
  [0, 2 ** 22 - 1],
  [127, 2 ** 22 - 1],
])('PeerId of slot %s and generation %s gives both back, and leaves three bits free', (slot, generation) => {
  const peer = peerId(slot, generation)
  expect([slotOf(peer), generationOf(peer)]).toEqual([slot, generation])
  expect(peer >>> 29).toBe(0)
  expect(peer).toBeGreaterThan(0)
})
