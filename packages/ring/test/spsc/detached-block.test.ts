import { expect, test, vi } from 'vitest'
import { createRing, payload, receiveAll } from '../support/ring-memory.js'

// As in a browser, where no buffer can be kept from being transferred.
vi.mock('../../src/record/untransferable.js', () => ({ markAsUntransferable() {} }))

test('a block that the program transfers takes nothing with it that was not given yet', () => {
  const { ring } = createRing({ capacityBytes: 1 << 13 })
  const producer = ring.producer()
  const consumer = ring.consumer()
  producer.trySendBatch([payload(105, 1), payload(300, 2), payload(105, 3)])
  const { buffer } = consumer.tryReceive() as Uint8Array<ArrayBuffer>
  structuredClone(buffer, { transfer: [buffer] })
  expect(buffer.byteLength).toBe(0)
  expect(receiveAll(consumer)).toEqual([payload(300, 2), payload(105, 3)])
  producer.trySend(payload(105, 4))
  expect(consumer.tryReceive()).toEqual(payload(105, 4))
})
