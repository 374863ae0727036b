import { describe, expect, it } from 'vitest'
import { createQueue } from '../support/queue-memory.js'
import { numbered, receiveAll } from '../support/ring-memory.js'

describe('The slots of an MPMC queue', () => {
  it.each([63, 64, 65, 128])(
    'are more than its %i blocks: each block may be in the queue, and the end behind them',
    (blocks) => {
      const { queue, memory } = createQueue({ blocks, blockBytes: 16 })
      const sender = queue.sender()
      const receiver = queue.receiver()
      for (let lap = 0; lap < 3; lap++) {
        const messages = numbered(1, blocks)
        for (const message of messages) expect(sender.trySend(message)).toBe(true)
        expect(sender.trySend(messages[0])).toBe(false)
        if (lap === 2) queue.end()
        expect(receiveAll(receiver)).toEqual(messages)
        expect(memory.allFree).toBe(true)
      }
      expect(receiver.tryReceive()).toBeNull()
    },
  )
})
