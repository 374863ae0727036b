import { describe, expect, test } from 'vitest'
import type { PeerId } from '../../src/index.js'
import { MAX_PEERS } from '../../src/internal.js'
import { DeclaredLiveness } from '../../src/peers/declared-liveness.js'
import { DEAD, FREE, LEASE_WORD, LIVE, PEER_SLOT_BYTES, STATE_WORD, slotWord } from '../../src/peers/layout.js'
import { peerId } from '../../src/peers/peer-id.js'

const SLOT = 3

function setUp() {
  const words = new Int32Array(new SharedArrayBuffer(MAX_PEERS * PEER_SLOT_BYTES))
  const base = (SLOT * PEER_SLOT_BYTES) / 4
  words[(SELF_SLOT * PEER_SLOT_BYTES) / 4 + STATE_WORD] = slotWord(1, LIVE)
  const liveness = new DeclaredLiveness(words, 0)
  return {
    liveness,
    words,
    setHold: (hold: number) => {
      words[base + LEASE_WORD] = hold
    },
    setState: (word: number) => {
      words[base + STATE_WORD] = word
    },
    state: () => words[base + STATE_WORD],
    hold: () => words[base + LEASE_WORD],
    attach: (generation: number): PeerId => {
      words[base + STATE_WORD] = slotWord(generation - 1, FREE)
      if (!liveness.tryAcquire(SLOT)) throw new Error('the slot is held')
      words[base + STATE_WORD] = slotWord(generation, LIVE)
      return peerId(SLOT, generation)
    },
  }
}

/** The attachment that declares deaths. */
const SELF_SLOT = 99
const SELF = peerId(SELF_SLOT, 1)

const noSweep = () => {
  throw new Error('unexpected sweep')
}

describe('DeclaredLiveness: the lease', () => {
  test('DeclaredLiveness.tryAcquire gives a lease to one agent at a time', () => {
    const { liveness } = setUp()
    expect(liveness.isHeldByAnother(SLOT)).toBe(false)
    expect([liveness.tryAcquire(SLOT), liveness.tryAcquire(SLOT)]).toEqual([true, false])
    expect(liveness.isHeldByAnother(SLOT)).toBe(true)
    liveness.release(SLOT)
    expect(liveness.isHeldByAnother(SLOT)).toBe(false)
    expect(liveness.tryAcquire(SLOT)).toBe(true)
  })

  test('DeclaredLiveness.tryAcquire leases one slot and no other', () => {
    const { liveness } = setUp()
    liveness.tryAcquire(SLOT)
    expect([SLOT - 1, SLOT, SLOT + 1].map((slot) => liveness.isHeldByAnother(slot))).toEqual([false, true, false])
  })

  test('DeclaredLiveness.tryAcquire writes the generation that the claimer is going to have', () => {
    const { liveness, setState, hold } = setUp()
    setState(slotWord(41, FREE))
    liveness.tryAcquire(SLOT)
    expect(hold()).toBe(42)
  })
})

describe('DeclaredLiveness.declareDead', () => {
  test('DeclaredLiveness.declareDead sweeps a live peer while the slot is DEAD and leased, then ends its lease', () => {
    const { liveness, attach, state, hold } = setUp()
    const peer = attach(1)
    const seen: unknown[] = []
    liveness.declareDead(peer, SELF, (deadPeer) => seen.push([deadPeer, state(), hold()]))
    expect(seen).toEqual([[peer, slotWord(1, DEAD), -(SELF_SLOT + 1)]])
    expect([state(), hold()]).toEqual([slotWord(1, DEAD), 0])
  })

  test('DeclaredLiveness.declareDead a second time does nothing', () => {
    const { liveness, attach } = setUp()
    const peer = attach(1)
    liveness.declareDead(peer, SELF, () => {})
    liveness.declareDead(peer, SELF, noSweep)
  })

  test('DeclaredLiveness.declareDead while another declares the same does nothing', () => {
    const { liveness, attach, hold } = setUp()
    const peer = attach(1)
    liveness.declareDead(peer, SELF, () => {
      liveness.declareDead(peer, SELF, noSweep)
      expect(hold()).toBe(-(SELF_SLOT + 1))
    })
    expect(hold()).toBe(0)
  })

  test('DeclaredLiveness.declareDead completes what a declarer that died half-way has begun', () => {
    const { liveness, attach, setHold, words, state, hold } = setUp()
    const peer = attach(1)
    liveness.declareDead(peer, SELF, () => {})
    setHold(-(SELF_SLOT + 1))
    const swept: PeerId[] = []
    const other = peerId(SELF_SLOT + 1, 1)
    liveness.declareDead(peer, other, (deadPeer) => swept.push(deadPeer))
    expect([swept, hold()]).toEqual([[], -(SELF_SLOT + 1)])
    words[(SELF_SLOT * PEER_SLOT_BYTES) / 4 + STATE_WORD] = slotWord(1, DEAD)
    liveness.declareDead(peer, other, (deadPeer) => swept.push(deadPeer))
    expect([swept, state(), hold()]).toEqual([[peer], slotWord(1, DEAD), 0])
  })

  test('DeclaredLiveness.declareDead frees the lease of a peer that died while it gave its slot back', () => {
    const { liveness, attach, setState, hold } = setUp()
    const peer = attach(1)
    setState(slotWord(1, FREE))
    liveness.declareDead(peer, SELF, noSweep)
    expect(hold()).toBe(0)
  })

  test('DeclaredLiveness.declareDead of a peer that has detached does nothing', () => {
    const { liveness, attach, setState, state } = setUp()
    const peer = attach(1)
    setState(slotWord(1, FREE))
    liveness.release(SLOT)
    liveness.declareDead(peer, SELF, noSweep)
    expect(state()).toBe(slotWord(1, FREE))
  })

  test('DeclaredLiveness.declareDead of an earlier generation does not touch the present holder', () => {
    const { liveness, attach, state, hold } = setUp()
    const earlier = attach(1)
    liveness.release(SLOT)
    attach(2)
    liveness.declareDead(earlier, SELF, noSweep)
    expect([state(), hold()]).toEqual([slotWord(2, LIVE), 2])
  })

  test('DeclaredLiveness.declareDead that was cut short by a failing sweep leaves a slot that can be claimed again', () => {
    const { liveness, attach } = setUp()
    const peer = attach(1)
    const failingSweep = () => {
      throw new Error('sweep failed')
    }
    expect(() => liveness.declareDead(peer, SELF, failingSweep)).toThrow('sweep failed')
    liveness.declareDead(peer, SELF, () => {})
    expect(liveness.tryAcquire(SLOT)).toBe(true)
  })
})
