import { describe, expect, it } from 'vitest'
import { utf8 } from '../../src/index.js'
import { createQueue } from '../support/queue-memory.js'
import { numbered, receiveAll } from '../support/ring-memory.js'

describe('mpmcQueue', () => {
  it('delivers in the order in which messages were sent, through any senders and receivers', () => {
    const { queue, memory, attach } = createQueue({ blocks: 8, blockBytes: 16, codec: utf8 })
    const senders = [queue.sender(), attach().root.sender(), queue.sender()]
    const receivers = [queue.receiver(), attach().root.receiver()]
    for (const [at, text] of ['a', 'b', 'c', 'd', 'e'].entries()) expect(senders[at % 3].trySend(text)).toBe(true)
    expect(memory.check()).toBe(5)
    expect(queue.describe()).toMatchObject({ depth: 5, free: 3 })
    expect([0, 1, 0, 1, 0].map((at) => receivers[at].tryReceive())).toEqual(['a', 'b', 'c', 'd', 'e'])
    expect(receivers[0].tryReceive()).toBeUndefined()
    expect(memory.allFree).toBe(true)
  })

  it('takes as many messages as it has blocks', () => {
    const { queue, memory } = createQueue({ blocks: 3, blockBytes: 8 })
    const sender = queue.sender()
    const messages = numbered(1, 4)
    expect(messages.map((message) => sender.trySend(message))).toEqual([true, true, true, false])
    const receiver = queue.receiver()
    expect(receiver.tryReceive()).toEqual(messages[0])
    expect(sender.trySend(messages[3])).toBe(true)
    expect(receiveAll(receiver)).toEqual(messages.slice(1))
    expect(memory.allFree).toBe(true)
  })

  it.each([
    [0, 0],
    [-3, 0],
    [2 ** 31 - 3, 0],
    [5, 2 ** 23 - 2],
    [-3, 2 ** 23 - 1],
  ])('goes on when positions wrap around at %i, and seq at %i', (position, seq) => {
    const { queue, memory, attach } = createQueue({ blocks: 1, blockBytes: 8, slots: 2 }, position, seq)
    const sender = queue.sender()
    const receivers = [queue.receiver(), attach().root.receiver()]
    for (const [at, message] of numbered(1, 20).entries()) {
      expect(sender.trySend(message)).toBe(true)
      expect(sender.trySend(message)).toBe(false)
      expect(memory.check()).toBe(1)
      expect(receivers[at % 3 === 0 ? 1 : 0].tryReceive()).toEqual(message)
      expect(receivers[1].tryReceive()).toBeUndefined()
    }
    expect(memory.tail()).toBe((position + 20) | 0)
    expect(memory.head()).toBe((position + 20) | 0)
  })
})
