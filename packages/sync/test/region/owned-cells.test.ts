import { describe, expect, test, vi } from 'vitest'
import type { HeapRegion, PeerId } from '../../src/index.js'
import { words } from '../../src/index.js'
import { planHeader } from '../../src/internal.js'
import { NO_CELL, OwnedCells } from '../../src/region/owned-cells.js'
import { expectCode } from '../support/expect-code.js'
import { attach } from '../support/regions.js'

const COUNT = 3
const layout = words(3 * COUNT + 1)
const { rootByteOffset } = planHeader(layout)

/** The cells of two attachments, after one word that is none of them. */
function setUp(strideBytes = 4) {
  const regions = attach(layout)
  const [own, other] = regions.map((region) => cellsOf(region, strideBytes))
  const [self, otherSelf] = regions.map(({ peers }) => peers.self)
  return { regions, memory: regions[0].root, own, other, self, otherSelf }
}

function cellsOf(region: HeapRegion<unknown>, strideBytes = 4): OwnedCells {
  return new OwnedCells(region, rootByteOffset + 4, { count: COUNT, strideBytes })
}

/** Answers for each peer whether it is dead. */
function withDeaths(region: HeapRegion<unknown>, ...dead: PeerId[]) {
  return vi.spyOn(region.peers, 'isDead').mockImplementation((peer) => dead.includes(peer))
}

describe('OwnedCells', () => {
  test.each([4, 12])(
    'OwnedCells.tryTake takes each cell once, at a stride of %s bytes, and no other word',
    (strideBytes) => {
      const { memory, own, other, self, otherSelf } = setUp(strideBytes)
      const taken = [own.tryTake(), other.tryTake(), own.tryTake()]
      expect([...taken].sort()).toEqual([0, 1, 2])
      expect([own.tryTake(), other.tryTake(), own.isAnyFree]).toEqual([NO_CELL, NO_CELL, false])
      const owners = taken.map((cell) => own.ownerOf(cell))
      expect(owners).toEqual([self, otherSelf, self])
      expect([...memory.keys()].filter((index) => memory[index] !== 0)).toEqual(
        [0, 1, 2].map((cell) => 1 + (cell * strideBytes) / 4),
      )
    },
  )

  test('OwnedCells.release frees a cell of this attachment, which is then the first that it takes', () => {
    const { own, other } = setUp()
    const [first] = [own.tryTake(), own.tryTake()]
    expect(other.release(first)).toBe(false)
    expect(own.release(first)).toBe(true)
    expect([own.isAnyFree, own.ownerOf(first), own.release(first)]).toEqual([true, 0, false])
    expect(own.tryTake()).toBe(first)
  })

  test('OwnedCells.owners has the owner of each cell, and 0 for a free one', () => {
    const { own, other, self, otherSelf } = setUp()
    const [first, second] = [own.tryTake(), other.tryTake()]
    const expected = [0, 0, 0]
    expected[first] = self
    expected[second] = otherSelf
    expect(own.owners()).toEqual(expected)
  })

  test('OwnedCells.reapDead frees the cells of dead owners alone, with one proof for each owner', () => {
    const { regions, own, other, self, otherSelf } = setUp()
    const mine = own.tryTake()
    other.tryTake()
    other.tryTake()
    const isDead = withDeaths(regions[0], otherSelf)
    own.reapDead()
    expect(own.owners().filter((owner) => owner !== 0)).toEqual([self])
    expect(own.ownerOf(mine)).toBe(self)
    expect(isDead.mock.calls.map(([peer]) => peer).sort()).toEqual([self, otherSelf].sort())
  })

  test('OwnedCells.reapDead leaves a cell alone that has its next owner by then', () => {
    const { regions, memory, own, other, self, otherSelf } = setUp()
    const cell = other.tryTake()
    vi.spyOn(regions[0].peers, 'isDead').mockImplementation((peer) => {
      // Another prover is quicker, and the next owner as well.
      if (peer === otherSelf) memory[1 + cell] = self
      return peer === otherSelf
    })
    own.reapDead()
    expect(own.ownerOf(cell)).toBe(self)
  })

  test('OwnedCells.sweep frees all cells of one peer, and wakes a waiter for each; again it finds none', () => {
    const { own, other, self, otherSelf } = setUp()
    other.tryTake()
    own.tryTake()
    other.tryTake()
    const availableAtWakeUp: number[] = []
    const wakeWaiter = () => void availableAtWakeUp.push(own.owners().filter((owner) => owner === 0).length)
    const before = own.owners().filter((owner) => owner === 0).length
    own.sweep(otherSelf, wakeWaiter)
    own.sweep(otherSelf, wakeWaiter)
    expect(availableAtWakeUp).toEqual([before + 1, before + 2])
    expect(own.owners().filter((owner) => owner !== 0)).toEqual([self])
  })

  test('OwnedCells.free frees a cell for its owner, and for no other peer', () => {
    const { own, self, otherSelf } = setUp()
    const cell = own.tryTake()
    expect([own.free(cell, otherSelf), own.ownerOf(cell)]).toEqual([false, self])
    expect([own.free(cell, self), own.ownerOf(cell)]).toEqual([true, 0])
  })

  test('OwnedCells of a closed region are refused', () => {
    const { regions, own } = setUp()
    regions[0].close()
    for (const use of [() => own.tryTake(), () => own.release(0), () => own.isAnyFree]) {
      expectCode('ERR_ISTHMUS_CLOSED', use)
    }
  })
})
