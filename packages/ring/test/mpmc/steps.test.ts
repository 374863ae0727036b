import { describe, expect, it } from 'vitest'
import { FREE, HOLD_MASK, nextInstance, OWNED, placesOf, RETURNING, stateOfCell } from '../../src/mpmc/layout.js'
import { BlockSweep, lanesOf, UNCHANGED } from '../../src/mpmc/sweep.js'
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

describe('A sweep that was stopped after the proof of death', () => {
  it('leaves a block alone that the next holder of the slot has taken meanwhile', () => {
    const { region, queue, memory } = createQueue(OPTIONS)
    const geometry = {
      ...placesOf(2, 16, 1, 64),
      region,
      byteOffset: memory.cellIndex(0) * 4 - placesOf(2, 16, 1, 64).blocksOffset,
      subject: 'a queue',
      blocks: 2,
      blockBytes: 16,
      slotCount: 64,
      lanes: 1,
      deadLane: undefined,
      reserved: 0,
      packLimit: 64,
      isAtLeastOnce: true,
      maxDeliveries: 5,
    }
    const seen = nextInstance(0, OWNED | slotNumberOf(region))
    memory.words[memory.cellIndex(0)] = nextInstance(seen, OWNED | slotNumberOf(region))
    const sweep = new BlockSweep(region.words, geometry, lanesOf(region.words, geometry))
    expect(sweep.sweep(0, seen)).toBe(UNCHANGED)
    expect(memory.holds()[0]).not.toBe(FREE)
    expect(queue.describe().free).toBe(1)
  })
})

describe('The end', () => {
  it('is not told while a message is put back during the look for it', () => {
    const { queue, attach, memory } = createQueue(OPTIONS)
    queue.sender().trySend(first)
    const block = memory.holds().findIndex((hold) => hold !== 0)
    const taken = attach().root.receiver().tryTake()
    queue.end()
    const receiver = queue.receiver()
    expect(receiver.tryReceive()).toBeUndefined()
    afterLoad(memory.words, memory.cellIndex(0), 1, () => taken?.requeue())
    const found = receiver.tryReceive()
    expect(found).toEqual(block === 0 ? undefined : first)
    expect(receiver.tryReceive()).toEqual(block === 0 ? first : null)
    expect(receiver.tryReceive()).toBeNull()
    expect(memory.allFree).toBe(true)
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
