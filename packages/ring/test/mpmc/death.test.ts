import { HeapRegion, type PeerId } from '@isthmus/sync'
import { planHeader } from '@isthmus/sync/internal'
import { describe, expect, it } from 'vitest'
import { expectCode } from '../../../sync/test/support/expect-code.js'
import { withoutSafetyNet } from '../../../sync/test/support/safety-net.js'
import { sleep, soon, stateOf } from '../../../sync/test/support/waiting.js'
import { type MpmcQueue, type MpmcQueueOptions, mpmcQueue, type Receiver } from '../../src/index.js'
import {
  awayFrom,
  COUNT_WORD,
  DATA,
  DELIVERY,
  DONE_WORD,
  HELD,
  HOLD_MASK,
  KIND_WORD,
  LENGTH_WORD,
  nextInstance,
  ORPHAN,
  OWNED,
  PACKED,
  POSITION_WORD,
  RETURNING,
  sameInstance,
} from '../../src/mpmc/layout.js'
import { createQueue, type QueueMemory, type QueueSetup, slotNumberOf } from '../support/queue-memory.js'
import { endHold, numbered, receiveAll } from '../support/ring-memory.js'

const DELIVERIES = ['at-most-once', 'at-least-once'] as const
const OPTIONS = { blocks: 2, blockBytes: 32 }
const [first, second, third] = numbered(1, 3)

/** The ways in which a death is noticed. Each returns a receiver of one that lives. */
const NOTICES = {
  'by a peer that asks': ({ queue }: QueueSetup) => {
    const receiver = queue.receiver()
    return receiver
  },
  'by the next holder of its slot': ({ attach }: QueueSetup) => attach().root.receiver(),
  'by a program that declares it': ({ region, queue }: QueueSetup, dead: PeerId) => {
    region.declareDead(dead)
    return queue.receiver()
  },
} as const

/** Everything that one who lives receives, with looks for the dead. */
function receiveAllOf(receiver: Receiver): Uint8Array[] {
  const messages: Uint8Array[] = []
  for (;;) {
    const message = receiver.receiveSync({ timeoutMs: 0 })
    if (message === undefined || message === null) break
    messages.push(message)
  }
  receiver.acknowledge()
  return messages
}

describe.each(Object.entries(NOTICES))('A death that is noticed %s', (_, notice) => {
  describe.each(DELIVERIES)('%s', (delivery) => {
    const isAtLeastOnce = delivery === 'at-least-once'

    /** A peer does something and dies. Returns what the living receive then. */
    function afterDeath(act: (mortal: HeapRegion<MpmcQueue>, memory: QueueMemory) => void) {
      const setup = createQueue({ ...OPTIONS, delivery })
      const mortal = setup.attach()
      act(mortal, setup.memory)
      const dead = mortal.peers.self
      endHold(mortal, dead)
      const messages = receiveAllOf(notice(setup, dead))
      expect(setup.memory.check()).toBe(0)
      return { ...setup, messages }
    }

    it('frees a block that its sender had not sent, also if it had begun to', () => {
      for (const position of [undefined, 0]) {
        const { messages, memory } = afterDeath((mortal, memory) => {
          mortal.root.sender().tryLoan()
          const block = memory.holds().findIndex((hold) => hold !== 0)
          if (position === undefined) return
          memory.words[memory.cellIndex(block) + POSITION_WORD] = position
          memory.words[memory.cellIndex(block) + KIND_WORD] = DATA
        })
        expect(messages).toEqual([])
        expect(memory.allFree).toBe(true)
      }
    })

    it('leaves a message that was sent, whether its hints say so or not', () => {
      for (const hasHint of [true, false]) {
        const { messages, memory } = afterDeath((mortal, memory) => {
          mortal.root.sender().trySend(first)
          if (!hasHint) memory.startHintsAt(0)
        })
        expect(messages).toEqual([first])
        expect(memory.allFree).toBe(true)
        expect([memory.tail(), memory.head()]).toEqual([1, 1])
      }
    })

    it('of a receiver: its message is lost, or comes again at the end', () => {
      const { messages, memory, queue } = afterDeath((mortal) => {
        mortal.root.sender().trySend(first)
        mortal.root.sender().trySend(second)
        mortal.root.receiver().tryTake()
      })
      expect(messages).toEqual(isAtLeastOnce ? [second, first] : [second])
      expect(memory.allFree).toBe(true)
      expect(queue.describe()).toMatchObject({ lost: isAtLeastOnce ? 0 : 1, givenUp: 0 })
    })

    it('of a receiver that had changed the position, or not yet', () => {
      for (const hasChanged of [true, false]) {
        let block = 0
        const { messages, memory } = afterDeath((mortal, memory) => {
          mortal.root.sender().trySend(first)
          mortal.root.receiver().tryTake()
          block = memory.holds().findIndex((hold) => hold !== 0)
          const index = memory.cellIndex(block) + POSITION_WORD
          if (hasChanged) memory.words[index] = awayFrom(memory.words[index])
        })
        expect(messages).toEqual(isAtLeastOnce ? [first] : [])
        expect(memory.allFree).toBe(true)
        expect([0, 1]).not.toContain(memory.words[memory.cellIndex(block) + POSITION_WORD])
      }
    })

    it('of a receiver in the midst of a packed block: what it had not got comes to others', () => {
      const { messages, memory } = afterDeath((mortal) => {
        mortal.root.sender().trySendBatch([first, second])
        mortal.root.receiver().tryReceive()
      })
      expect(messages).toEqual(isAtLeastOnce ? [first, second] : [second])
      expect(memory.allFree).toBe(true)
    })

    it('of a receiver that had all of a packed block', () => {
      const { messages, memory } = afterDeath((mortal) => {
        mortal.root.sender().trySendBatch([first, second])
        const receiver = mortal.root.receiver()
        receiver.tryReceive()
        receiver.tryReceive()
      })
      // The second call acknowledged the first message.
      expect(messages).toEqual(isAtLeastOnce ? [second] : [])
      expect(memory.allFree).toBe(true)
    })

    it('of one that was bringing back a message, before and after it was pushed', () => {
      for (const isPushed of [false, true]) {
        const { messages, memory } = afterDeath((mortal, memory) => {
          const slot = slotNumberOf(mortal)
          mortal.root.sender().trySend(first)
          const block = memory.holds().findIndex((hold) => hold !== 0)
          const index = memory.cellIndex(block)
          if (!isPushed) {
            mortal.root.receiver().tryTake()
            memory.words[index + POSITION_WORD] = awayFrom(0)
          }
          memory.words[index] = nextInstance(memory.words[index], RETURNING | slot)
        })
        expect(messages).toEqual(isPushed || isAtLeastOnce ? [first] : [])
        expect(memory.allFree).toBe(true)
      }
    })

    it('of one that had taken an orphan', () => {
      const { messages, memory } = afterDeath((mortal, memory) => {
        const receiver = mortal.root.receiver()
        mortal.root.sender().trySend(first)
        receiver.tryTake()
        const block = memory.holds().findIndex((hold) => hold !== 0)
        const index = memory.cellIndex(block)
        memory.words[index] = nextInstance(memory.words[index], ORPHAN)
        memory.words[index] = nextInstance(memory.words[index], HELD | slotNumberOf(mortal))
      })
      expect(messages).toEqual(isAtLeastOnce ? [first] : [])
      expect(memory.allFree).toBe(true)
    })
  })
})

describe('A message that was put back, at most once', () => {
  it.each(['tryReceive', 'tryTake'] as const)('is lost with the next one that takes it by %s', (way) => {
    const setup = createQueue(OPTIONS)
    const { queue, attach, memory } = setup
    queue.sender().trySend(first)
    expect(queue.receiver().tryTake()?.requeue()).toBe(true)
    const mortal = attach()
    const receiver = mortal.root.receiver()
    if (way === 'tryTake') {
      receiver.tryTake()
    } else {
      // Killed before it frees the block.
      const block = memory.holds().findIndex((hold) => hold !== 0)
      const before = Atomics.compareExchange
      Atomics.compareExchange = ((words: Int32Array, at: number, expected: number, value: number) => {
        if ((value & HOLD_MASK) === 0 && (expected & HOLD_MASK) !== 0) throw new Error('killed')
        return before(words, at, expected, value)
      }) as typeof Atomics.compareExchange
      try {
        receiver.tryReceive()
      } catch {
        // Its process is gone.
      }
      Atomics.compareExchange = before
      expect(memory.holds()[block]).not.toBe(0)
    }
    endHold(mortal, mortal.peers.self)
    expect(receiveAllOf(queue.receiver())).toEqual([])
    expect(memory.allFree).toBe(true)
    expect(queue.describe().lost).toBe(1)
  })
})

describe('A sweep', () => {
  function sweepTwice(options: MpmcQueueOptions, act: (mortal: HeapRegion<MpmcQueue>, memory: QueueMemory) => void) {
    const setup = createQueue(options)
    const mortal = setup.attach()
    act(mortal, setup.memory)
    const layout = mpmcQueue(options)
    const start = planHeader(layout).rootByteOffset
    const snapshots = [1, 2].map(() => {
      layout.sweep(setup.region, start, mortal.peers.self)
      return Array.from({ length: options.blocks }, (_, block) => setup.memory.words[setup.memory.cellIndex(block)])
    })
    return { ...setup, mortal, layout, start, snapshots }
  }

  it('that runs twice does what it does once', () => {
    const { snapshots, memory } = sweepTwice({ ...OPTIONS, blocks: 4 }, (mortal) => {
      const sender = mortal.root.sender()
      for (const message of [first, second]) sender.trySend(message)
      mortal.root.receiver().tryTake()
      sender.tryLoan()
    })
    expect(snapshots[0]).toEqual(snapshots[1])
    expect(memory.holds().filter((hold) => hold === ORPHAN)).toHaveLength(1)
    expect(memory.holds().filter((hold) => hold === 0)).toHaveLength(2)
  })

  it('says so until a peer has looked: prune sees that something is undelivered', () => {
    const { region, layout, start, queue } = sweepTwice({ ...OPTIONS, delivery: 'at-least-once' }, (mortal) => {
      mortal.root.sender().trySend(first)
      const receiver = mortal.root.receiver()
      receiver.tryReceive()
    })
    const differ = () =>
      (layout.backlog ?? []).some(([a, b]) => region.words[(start + a) / 4] !== region.words[(start + b) / 4])
    expect(differ()).toBe(true)
    const receiver = queue.receiver()
    expect(receiver.tryReceive()).toEqual(first)
    receiver.acknowledge()
    expect(receiver.tryReceive()).toBeUndefined()
    expect(differ()).toBe(false)
  })

  it('that is killed before it says so is made up for by the next one', () => {
    const { memory, queue, layout, region, start } = sweepTwice({ ...OPTIONS, delivery: 'at-least-once' }, () => {})
    queue.sender().trySend(first)
    queue.receiver().tryTake()
    const block = memory.holds().findIndex((hold) => hold !== 0)
    memory.words[memory.cellIndex(block)] = nextInstance(memory.words[memory.cellIndex(block)], ORPHAN)
    layout.sweep(region, start, (region.peers.self + 1) as PeerId)
    expect(receiveAll(queue.receiver())).toEqual([first])
  })

  it('frees strays of the attachment itself, and none that it keeps', () => {
    const { queue, memory, region } = createQueue({ ...OPTIONS, blocks: 3 })
    const loan = queue.sender().tryLoan()
    const stray = memory.holds().indexOf(0)
    memory.words[memory.cellIndex(stray)] = sameInstance(
      memory.words[memory.cellIndex(stray)],
      OWNED | slotNumberOf(region),
    )
    expect(queue.describe()).toMatchObject({ free: 1 })
    expect(queue.sender().trySend(first)).toBe(true)
    expect(queue.sender().trySend(second)).toBe(true)
    expect(queue.describe()).toMatchObject({ free: 0, strays: 1 })
    expect(loan?.isHeld).toBe(true)
    loan?.send(1)
    expect(queue.describe().depth).toBe(3)
  })
})

describe('A message whose receivers die', () => {
  const options = { ...OPTIONS, delivery: 'at-least-once', maxDeliveries: 3 } as const

  function killReceivers({ attach }: QueueSetup, count: number): void {
    for (let kill = 0; kill < count; kill++) {
      const mortal = attach()
      expect(mortal.root.receiver().receiveSync({ timeoutMs: 0 })).toEqual(first)
      endHold(mortal, mortal.peers.self)
    }
  }

  it('is given up after maxDeliveries, and counted', () => {
    const setup = createQueue(options)
    setup.queue.sender().trySend(first)
    killReceivers(setup, 3)
    expect(receiveAllOf(setup.queue.receiver())).toEqual([])
    expect(setup.queue.describe()).toMatchObject({ givenUp: 1, free: 2 })
  })

  it('becomes a dead letter, if the queue keeps them', async () => {
    const setup = createQueue({ ...options, deadLetters: true })
    const { queue, attach } = setup
    const receiving = attach().root.deadLetters().receive()
    queue.sender().trySend(first)
    killReceivers(setup, 3)
    expect(receiveAllOf(queue.receiver())).toEqual([])
    expect(await soon(receiving)).toEqual(first)
    expect(queue.describe()).toMatchObject({ givenUp: 1, free: 1, depth: 0 })
  })

  it('and the dead letter outlives its own receivers', () => {
    const setup = createQueue({ ...options, maxDeliveries: 1, deadLetters: true })
    const { queue, attach } = setup
    queue.sender().trySend(first)
    killReceivers(setup, 1)
    for (let kill = 0; kill < 3; kill++) {
      const mortal = attach()
      const dead = mortal.root.deadLetters()
      expect(dead.receiveSync({ timeoutMs: 0 })).toEqual(first)
      endHold(mortal, mortal.peers.self)
    }
    expect(receiveAllOf(queue.deadLetters())).toEqual([first])
    expect(queue.describe().free).toBe(2)
  })

  it('tells how often it came', () => {
    const setup = createQueue(options)
    setup.queue.sender().trySend(first)
    killReceivers(setup, 2)
    const receiver = setup.queue.receiver()
    receiver.receiveSync({ timeoutMs: 0 })
    expect(setup.queue.describe().taken).toMatchObject([{ deliveries: 3, state: 'held' }])
  })
})

describe('The end, at least once', () => {
  const options = { ...OPTIONS, delivery: 'at-least-once' } as const

  it('waits for messages that others have, and for those of a dead one', async () => {
    const { queue, attach } = createQueue(options)
    const sender = queue.sender()
    for (const message of [first, second]) sender.trySend(message)
    const mortal = attach()
    mortal.root.receiver().tryReceive()
    const worker = attach().root.receiver()
    expect(worker.tryReceive()).toEqual(second)
    queue.end()
    const last = queue.receiver()
    expect(last.tryReceive()).toBeUndefined()
    const receiving = last.receive()
    expect(await stateOf(receiving, 30)).toBe('pending')
    endHold(mortal, mortal.peers.self)
    expect(await soon(receiving)).toEqual(first)
    const ending = last.receive()
    expect(await stateOf(ending, 30)).toBe('pending')
    worker.acknowledge()
    expect(await soon(ending)).toBeNull()
    expect(worker.tryReceive()).toBeNull()
    expect(queue.describe()).toMatchObject({ free: 2, hasEnded: true })
  })

  it.each(['at-most-once', 'at-least-once'] as const)('stays where it is when messages come back: %s', (delivery) => {
    const { queue, memory, attach } = createQueue({ ...OPTIONS, delivery, slots: 4 })
    queue.sender().trySend(first)
    queue.sender().trySend(second)
    const receiver = queue.receiver()
    const loans = [receiver.tryTake(), receiver.tryTake()]
    queue.end()
    for (const loan of loans) expect(loan?.requeue()).toBe(true)
    expectCode('ERR_ISTHMUS_CLOSED', () => queue.sender().trySend(third))
    // No position was pushed: the receivers that come to the end take them from there.
    expect(memory.check()).toBe(0)
    const other = attach().root.receiver()
    const received = [other.tryReceive(), receiver.tryReceive()] as Uint8Array[]
    expect(received.map(([byte]) => byte).sort()).toEqual([first[0], second[0]].sort())
    other.acknowledge()
    expect([receiver.tryReceive(), other.tryReceive()]).toEqual([null, null])
    expect(memory.allFree).toBe(true)
  })

  it('that is taken back lets them go through the queue again', () => {
    const { queue, memory } = createQueue({ ...options, slots: 4 })
    queue.sender().trySend(first)
    const receiver = queue.receiver()
    const loan = receiver.tryTake()
    queue.end()
    loan?.requeue()
    expect(queue.reopen()).toBe(true)
    expect(queue.describe().hasEnded).toBe(false)
    expect(queue.sender().trySend(third)).toBe(true)
    expect(
      receiveAll(receiver)
        .map(([byte]) => byte)
        .sort(),
    ).toEqual([first[0], third[0]].sort())
    expect(memory.allFree).toBe(true)
  })
})

describe('Waiting for one that dies', () => {
  withoutSafetyNet()

  it('wakes a receiver by the sweep of its slot', async () => {
    const { queue, attach } = createQueue({ ...OPTIONS, delivery: 'at-least-once' })
    const mortal = attach()
    queue.sender().trySend(first)
    mortal.root.receiver().tryReceive()
    const receiving = queue.receiver().receive()
    await sleep(5)
    endHold(mortal, mortal.peers.self)
    attach()
    expect(await soon(receiving)).toEqual(first)
  })

  it('wakes a sender by the sweep of its slot', async () => {
    const { queue, attach } = createQueue(OPTIONS)
    const mortal = attach()
    for (let loan = 0; loan < 2; loan++) mortal.root.sender().tryLoan()
    const sending = queue.sender().send(first)
    await sleep(5)
    endHold(mortal, mortal.peers.self)
    attach()
    expect(await soon(sending)).toBe(true)
  })
})

describe('Recovery after a crash of the machine', () => {
  it('keeps the messages that follow each other, and frees the rest', () => {
    const options = { ...OPTIONS, blocks: 4, slots: 8 }
    const layout = mpmcQueue(options)
    for (const startPosition of [0, -2, 2 ** 31 - 1]) {
      const { region, queue, memory } = createQueue(options, startPosition)
      const sender = queue.sender()
      const receiver = queue.receiver()
      for (const message of [third, first, second]) sender.trySend(message)
      receiver.tryReceive()
      sender.tryLoan()
      queue.end()
      layout.recover?.(region, planHeader(layout).rootByteOffset)
      expect(memory.check()).toBe(2)
      const other = HeapRegion.attach(region.handle, layout).root
      expect(other.describe()).toMatchObject({ depth: 2, free: 2, hasEnded: false })
      expect(other.sender().trySend(third)).toBe(true)
      expect(receiveAll(other.receiver())).toEqual([first, second, third])
      for (let round = 0; round < 20; round++) {
        expect(other.sender().trySend(first)).toBe(true)
        expect(receiveAll(other.receiver())).toEqual([first])
      }
    }
  })
})

describe('Hostile words', () => {
  const options = { ...OPTIONS, packLimit: 4 }

  it.each([
    ['a block that there is not', (memory: QueueMemory) => (memory.words[memory.slotIndex(0)] |= 62)],
    ['a slot that is laps ahead', (memory: QueueMemory) => (memory.words[memory.slotIndex(1)] = -64)],
    ['a length beyond the block', (memory: QueueMemory, at: number) => (memory.words[at + LENGTH_WORD] = 33)],
    ['a negative length', (memory: QueueMemory, at: number) => (memory.words[at + LENGTH_WORD] = -1)],
    ['an unknown kind', (memory: QueueMemory, at: number) => (memory.words[at + KIND_WORD] = 77)],
    ['a pack without messages', (memory: QueueMemory, at: number) => setPack(memory, at, 0, 0)],
    ['a pack with too many', (memory: QueueMemory, at: number) => setPack(memory, at, 1000, 0)],
    ['a pack with more done than there are', (memory: QueueMemory, at: number) => setPack(memory, at, 1, 2)],
    ['a pack with garbage', (memory: QueueMemory, at: number) => setPack(memory, at, 1, 0)],
  ])('%s: a call answers, or says that the queue is corrupt', (_, damage) => {
    const { queue, memory } = createQueue(options)
    queue.sender().trySend(new Uint8Array(32).fill(200))
    damage(memory, memory.cellIndex(memory.holds().findIndex((hold) => hold !== 0)))
    const receiver = queue.receiver()
    for (const call of [
      () => receiver.tryReceive(),
      () => receiver.tryReceive(),
      () => receiver.drain(() => {}),
      () => queue.sender().trySend(first),
      () => queue.describe(),
    ]) {
      try {
        call()
      } catch (error) {
        expect(error).toMatchObject({ code: 'ERR_ISTHMUS_CORRUPT' })
      }
    }
  })

  function setPack(memory: QueueMemory, at: number, count: number, done: number): void {
    memory.words[at + KIND_WORD] = PACKED + DELIVERY
    memory.words[at + COUNT_WORD] = count
    memory.words[at + DONE_WORD] = done
  }
})

describe('Damaged memory', () => {
  it('of a packed block is reported once, and the messages after it come', () => {
    for (const way of ['tryReceive', 'tryTake', 'drain'] as const) {
      const { queue, memory } = createQueue({ ...OPTIONS, blockBytes: 64, delivery: 'at-least-once' })
      queue.sender().trySendBatch([first, second, third])
      queue.sender().trySend(third)
      const block = [0, 1].find((block) => memory.words[memory.cellIndex(block) + COUNT_WORD] === 3) ?? -1
      expect(block).toBeGreaterThanOrEqual(0)
      const receiver = queue.receiver()
      receiver.drain(() => {}, { limit: 1 })
      // The length of the second record.
      memory.words[memory.cellIndex(block) + 8 + 4] = -7
      const calls = {
        tryReceive: () => receiver.tryReceive(),
        tryTake: () => receiver.tryTake(),
        drain: () => receiver.drain(() => {}),
      }
      expectCode('ERR_ISTHMUS_CORRUPT', calls[way])
      expect(receiver.tryReceive()).toEqual(third)
      receiver.acknowledge()
      expect(memory.allFree).toBe(true)
    }
  })

  it('packed blocks without messages are passed over, however many there are', () => {
    const blocks = 60_000
    const { queue, memory } = createQueue({ blocks, blockBytes: 32 })
    const sender = queue.sender()
    for (let block = 0; block < blocks - 1; block++) sender.trySend(first)
    for (let block = 0; block < blocks; block++) {
      memory.words[memory.cellIndex(block) + KIND_WORD] = PACKED
      memory.words[memory.cellIndex(block) + COUNT_WORD] = 0
    }
    sender.trySend(second)
    expect(queue.receiver().tryReceive()).toEqual(second)
  })

  it('that a wait meets when it is over does not end the process', async () => {
    const { queue, attach, memory } = createQueue(OPTIONS)
    const receiver = attach().root.receiver()
    const receiving = receiver.receive({ timeoutMs: 20 })
    await sleep(2)
    memory.words[memory.slotIndex(0)] |= 62
    memory.words[memory.slotIndex(0)] += 64
    await expect(soon(receiving)).rejects.toMatchObject({ code: 'ERR_ISTHMUS_CORRUPT' })
    expectCode('ERR_ISTHMUS_CORRUPT', () => queue.receiver().tryReceive())
  })
})
