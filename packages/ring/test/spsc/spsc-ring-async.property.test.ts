import fc from 'fast-check'
import { describe, test } from 'vitest'
import { soon } from '../../../sync/test/support/waiting.js'
import { createRing, expectSameMessages, payload } from '../support/ring-memory.js'

const PROPERTY = { timeout: 120_000 }

describe('SPSC ring with promises against a plain array', PROPERTY, () => {
  const step = fc.oneof(
    { weight: 3, arbitrary: fc.record({ call: fc.constantFrom('send', 'trySend'), byteLength: fc.nat(200) }) },
    { weight: 1, arbitrary: fc.record({ call: fc.constant('sendSync'), byteLength: fc.nat(16) }) },
    { weight: 2, arbitrary: fc.record({ call: fc.constant('sendBatch'), byteLength: fc.nat(100) }) },
    { weight: 1, arbitrary: fc.record({ call: fc.constant('sendBatchSync'), byteLength: fc.nat(16) }) },
    { weight: 1, arbitrary: fc.record({ call: fc.constant('trySendBatch'), byteLength: fc.nat(16) }) },
    { weight: 1, arbitrary: fc.record({ call: fc.constant('turn'), byteLength: fc.constant(0) }) },
  )

  /** Messages of several lengths around this one. */
  const batchOf = (byteLength: number, seed: number) =>
    [byteLength, byteLength >> 1, byteLength >> 2].map((each, at) => payload(each, seed * 3 + at))

  test('whatever mixture of sends, what was accepted is received, in the order of the calls', async () => {
    const capacity = fc.integer({ min: 6, max: 9 }).map((exponent) => 2 ** exponent)
    await fc.assert(
      fc.asyncProperty(
        capacity,
        fc.array(step, { maxLength: 30 }),
        fc.boolean(),
        fc.constantFrom('for await', 'batches', 'forEach', 'forEachInPlace'),
        async (capacityBytes, steps, inTurns, way) => {
          const { ring, attach } = createRing({ capacityBytes })
          const producer = ring.producer()
          const consumer = attach().root.consumer()
          const accepted: Uint8Array[] = []
          const sending: Promise<unknown>[] = []
          const received: Uint8Array[] = []
          const turn = () => new Promise<void>((resolve) => setImmediate(resolve))
          const note = (message: Uint8Array) => {
            received.push(message)
            return inTurns ? turn() : undefined
          }
          const receiving = (async () => {
            if (way === 'forEach') {
              await consumer.forEach(note)
            } else if (way === 'forEachInPlace') {
              await consumer.forEachInPlace((bytes, start, length) => note(bytes.slice(start, start + length)))
            } else if (way === 'batches') {
              for await (const batch of consumer.batches({ maxMessages: 3 })) for (const each of batch) await note(each)
            } else {
              for await (const message of consumer) await note(message)
            }
          })()
          for (const [seed, { call, byteLength }] of steps.entries()) {
            const message = payload(byteLength, seed)
            if (call === 'turn') {
              await turn()
            } else if (call === 'send') {
              accepted.push(message)
              sending.push(producer.send(message))
            } else if (call === 'sendBatch') {
              const batch = batchOf(byteLength, seed)
              accepted.push(...batch)
              sending.push(producer.sendBatch(batch))
            } else if (call === 'trySendBatch') {
              const batch = batchOf(byteLength, seed)
              accepted.push(...batch.slice(0, producer.trySendBatch(batch)))
            } else if (call === 'trySend') {
              if (byteLength <= producer.maxRecordBytes && producer.trySend(message)) accepted.push(message)
            } else {
              try {
                if (call === 'sendBatchSync') {
                  const batch = batchOf(byteLength, seed)
                  accepted.push(...batch.slice(0, producer.sendBatchSync(batch, { timeoutMs: 0 })))
                } else if (producer.sendSync(message, { timeoutMs: 0 })) {
                  accepted.push(message)
                }
              } catch (error) {
                // A send is pending.
                if ((error as { code?: string }).code !== 'EDEADLK') throw error
              }
            }
          }
          await soon(Promise.all(sending), 'a send')
          producer.close()
          await soon(receiving, 'the end')
          expectSameMessages(received, accepted)
        },
      ),
      { numRuns: 200 },
    )
  })
})
