import { describe, expect, it } from 'vitest'
import type { SendLoan } from '../../src/index.js'
import {
  awayFrom,
  DATA,
  HOLD_MASK,
  KIND_WORD,
  OWNED,
  POSITION_WORD,
  RETURNING,
  setLaneIn,
  stateOfCell,
} from '../../src/mpmc/layout.js'
import { afterExchange, afterLoad } from '../support/atomics-hook.js'
import { createQueue, slotNumberOf } from '../support/queue-memory.js'
import { endHold, numbered, receiveAll } from '../support/ring-memory.js'

/** What another agent does between two steps of a call. The interleaver tries all of them; these are those that once went wrong. */

const [first, second] = numbered(1, 2)
const OPTIONS = { blocks: 2, blockBytes: 16, delivery: 'at-least-once' } as const
const isReturning = (cell: number) => stateOfCell(cell & HOLD_MASK) === RETURNING

describe.each(['requeue', 'close'] as const)('A message that its holder puts back (%s)', (way) => {
  function setUp() {
    const setup = createQueue(OPTIONS)
    const lagging = setup.attach().root.receiver()
    setup.queue.sender().trySend(first)
    const mortal = setup.attach()
    const receiver = mortal.root.receiver()
    const taken = way === 'requeue' ? receiver.tryTake() : undefined
    if (way === 'close') receiver.tryReceive()
    const putBack = () => (taken === undefined || taken === null ? receiver.close() : taken.requeue())
    return { ...setup, lagging, mortal, putBack }
  }

  it('is not taken at its old place by a receiver that lags behind', () => {
    const { lagging, putBack, memory } = setUp()
    let early: unknown = 'not asked'
    afterExchange(isReturning, () => {
      early = lagging.tryReceive()
    })
    putBack()
    expect(early).toBeUndefined()
    expect(lagging.tryReceive()).toEqual(first)
    lagging.acknowledge()
    expect(lagging.tryReceive()).toBeUndefined()
    expect(memory.allFree).toBe(true)
  })

  it('is not lost if the holder is killed before it stands at its new place', () => {
    const { queue, mortal, putBack, memory } = setUp()
    queue.sender().trySend(second)
    const receiver = queue.receiver()
    expect(receiver.tryReceive()).toEqual(second)
    afterExchange(isReturning, () => {
      throw new Error('killed')
    })
    expect(putBack).toThrow('killed')
    endHold(mortal, mortal.peers.self)
    expect(receiver.receiveSync({ timeoutMs: 0 })).toEqual(first)
    receiver.acknowledge()
    expect(memory.allFree).toBe(true)
  })
})

describe('A look that was stopped after it was told that a peer is gone', () => {
  it('leaves a block alone that the next holder of its slot has taken meanwhile', () => {
    const { queue, attach, memory, region } = createQueue({ ...OPTIONS, blocks: 1, delivery: 'at-most-once' })
    const left = attach()
    left.root.sender().trySend(first)
    const slot = slotNumberOf(left)
    left.close()
    const sender = queue.sender()
    const { at } = region.peers
    let loan: SendLoan | undefined
    region.peers.at = (asked) => {
      region.peers.at = at
      const found = region.peers.at(asked)
      const next = attach()
      expect([asked, slotNumberOf(next)]).toEqual([slot, slot])
      expect(next.root.receiver().tryReceive()).toEqual(first)
      loan = next.root.sender().tryLoan()
      return found
    }
    expect(sender.trySend(second)).toBe(false)
    expect(loan?.isHeld).toBe(true)
    expect(stateOfCell(memory.holds()[0])).toBe(OWNED)
    loan?.send(1)
    expect(queue.describe().depth).toBe(1)
  })
})

describe('The end', () => {
  it('is not told while a message is put back during the look for it', () => {
    for (let nth = 1; nth <= 6; nth++) {
      const { queue, attach, memory } = createQueue(OPTIONS)
      const other = attach().root.receiver()
      for (const message of [first, second]) queue.sender().trySend(message)
      const loans = [other.tryTake(), other.tryTake()]
      // The one in the first block goes, so that the look passes that block before it comes to the other one.
      const [, later] = loans.sort((a, b) => (a?.byteOffset ?? 0) - (b?.byteOffset ?? 0))
      loans[0]?.release()
      const message = later?.bytes.slice()
      queue.end()
      const receiver = queue.receiver()
      afterLoad(memory.words, memory.cellIndex(0), nth, () => later?.requeue())
      let found: unknown
      for (let calls = 0; calls < 10 && found === undefined; calls++) found = receiver.tryReceive()
      expect(found).toEqual(message)
      expect(receiver.tryReceive()).toBeNull()
      expect(memory.allFree).toBe(true)
    }
  })
})

describe('A receiver that reads the lane and the position of a block while its owner changes them', () => {
  it.each([
    // Its owner has just taken it back from lane 0, and gives it lane 1 after the position was read.
    { lane: 0, word: POSITION_WORD, newLane: 1, newPosition: awayFrom(0) },
    // Its owner gives it lane 0, and there the position 0, after the lane was read.
    { lane: 1, word: KIND_WORD, newLane: 0, newPosition: 0 },
  ])('does not take it: %o', ({ lane, word, newLane, newPosition }) => {
    const { queue, attach, memory } = createQueue({ blocks: 1, blockBytes: 16, lanes: 2 })
    const late = attach().root.receiver()
    // From now on the first slot of lane 1 names the block.
    queue.sender().trySend(first, { priority: 1 })
    expect(queue.receiver().tryReceive()).toEqual(first)
    const loan = queue.sender().tryLoan()
    const at = memory.cellIndex(0)
    const set = (lane: number, position: number) => {
      memory.words[at + POSITION_WORD] = position
      memory.words[at + KIND_WORD] = setLaneIn(DATA, lane)
    }
    set(lane, 0)
    afterLoad(memory.words, at + word, 1, () => set(newLane, newPosition))
    expect(late.tryReceive()).toBeUndefined()
    expect(stateOfCell(memory.holds()[0])).toBe(OWNED)
    expect(loan?.isHeld).toBe(true)
  })
})

describe('A sender that finds no block', () => {
  it('does not take a message that is received meanwhile for a block of its own', () => {
    const { queue, attach, memory } = createQueue({ ...OPTIONS, blocks: 1, delivery: 'at-most-once' })
    const sender = queue.sender()
    sender.trySend(first)
    const receiver = attach().root.receiver()
    for (let nth = 1; nth <= 8; nth++) {
      afterLoad(memory.words, memory.cellIndex(0), nth, () => receiver.tryReceive())
      expect(sender.sendSync(second, { timeoutMs: 5_000 })).toBe(true)
    }
    expect(receiveAll(receiver)).toEqual([second])
  })
})
