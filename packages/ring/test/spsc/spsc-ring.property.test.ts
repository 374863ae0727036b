import { bytes, HeapRegion, struct } from '@isthmus/sync'
import { planHeader } from '@isthmus/sync/internal'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { spscRing } from '../../src/index.js'
import { CONSUMER_ROLE_OFFSET, PRODUCER_ROLE_OFFSET, REPORTED_EPOCH_OFFSET } from '../../src/spsc/layout.js'
import {
  expectNext,
  largeConsumerCommand,
  largeProducerCommand,
  setUpLargeCase,
} from '../support/large-message-commands.js'
import { capacityBytes, consumerCommand, producerCommand, setUpCase, startPosition } from '../support/ring-commands.js'
import { createRing, expectSameMessages, payload, RingMemory, receiveAll } from '../support/ring-memory.js'

/** A property that fails takes its time to shrink; vitest's own limit would hide what it found. */
const PROPERTY = { timeout: 120_000 }

describe('SPSC ring against a plain array', PROPERTY, () => {
  test('what is received is what was sent, in order, and the positions stay valid', () => {
    const commands = fc.commands([producerCommand, consumerCommand], { maxCommands: 60, size: '+1' })
    fc.assert(
      fc.property(capacityBytes, startPosition, commands, (capacity, start, sequence) => {
        const { model, real } = setUpCase(capacity, start)
        fc.modelRun(() => ({ model, real }), sequence)
        real.producer.close()
        expectSameMessages(receiveAll(real.consumer), model.sent.slice(model.receivedCount))
        expect(real.consumer.tryReceive()).toBeNull()
      }),
      { numRuns: 1_000 },
    )
  })

  test('large messages arrive whole, or are told to be abandoned, in order', () => {
    const commands = fc.commands([largeProducerCommand, largeConsumerCommand], { maxCommands: 40, size: '+1' })
    const capacity = fc.integer({ min: 6, max: 10 }).map((exponent) => 2 ** exponent)
    fc.assert(
      fc.property(capacity, startPosition, commands, (size, start, sequence) => {
        const { model, real } = setUpLargeCase(size, start)
        fc.modelRun(() => ({ model, real }), sequence)
        real.producer.close()
        while (model.pending.length > 0) expectNext(model, () => real.consumer.tryReceive())
        expect(real.consumer.tryReceive()).toBeNull()
      }),
      { numRuns: 500 },
    )
  })
})

describe('SPSC ring whose roles are broken', PROPERTY, () => {
  /** Which of two handles is used next. The second one exists only if the role word is forged. */
  const turns = fc.array(fc.boolean(), { minLength: 2, maxLength: 20 })

  function check(isForged: boolean, run: (isForged: boolean, turns: boolean[]) => void) {
    return fc.check(
      fc.property(turns, (sequence) => run(isForged, sequence)),
      { numRuns: 100 },
    )
  }

  function sendByTurns(isForged: boolean, sequence: boolean[]) {
    const { ring, memory } = createRing({ capacityBytes: 1024 })
    const first = ring.producer()
    if (isForged) memory.producerRole = 0
    const second = isForged ? ring.producer() : first
    const messages = sequence.map((_, seed) => payload(9, seed))
    for (const [at, isSecond] of sequence.entries()) (isSecond ? second : first).trySend(messages[at])
    expect(receiveAll(ring.consumer())).toEqual(messages)
  }

  function receiveByTurns(isForged: boolean, sequence: boolean[]) {
    const { ring, memory } = createRing({ capacityBytes: 1024 })
    const first = ring.consumer()
    if (isForged) memory.consumerRole = 0
    const second = isForged ? ring.consumer() : first
    const messages = sequence.map((_, seed) => payload(9, seed))
    ring.producer().trySendBatch(messages)
    expect(sequence.map((isSecond) => (isSecond ? second : first).tryReceive())).toEqual(messages)
  }

  test.each([
    ['producers', sendByTurns],
    ['consumers', receiveByTurns],
  ])('two %s at a time are caught by the model, and one is not', (_role, run) => {
    expect(check(true, run).failed).toBe(true)
    expect(check(false, run).failed).toBe(false)
  })
})

describe('SPSC ring under hostile words', PROPERTY, () => {
  const CAPACITY = 128
  const CANARY = 0xee
  const layout = struct({
    before: bytes(128),
    ring: spscRing({ capacityBytes: CAPACITY, maxMessageBytes: 1_000 }),
    after: bytes(4096),
  })

  const value = fc.oneof(
    fc.integer(),
    fc.integer({ min: -16, max: 160 }),
    fc.integer({ min: -2, max: 20 }).map((steps) => steps * 8),
    fc.constantFrom(1, 2, 3, 4, 5, 6, 0x103, 0x104, 0x105, 2 ** 31 - 1, -(2 ** 31)),
  )
  const place = fc.oneof(
    fc.constantFrom('writePosition', 'readPosition', 'producerRole', 'consumerRole', 'reportedEpoch'),
    fc.nat(CAPACITY / 4 - 1),
  )
  const step = fc.oneof(
    { weight: 3, arbitrary: fc.record({ call: fc.constant('hostile' as const), place, value }) },
    { weight: 3, arbitrary: fc.record({ call: fc.constantFrom('trySend', 'sendSync'), byteLength: fc.nat(200) }) },
    { weight: 4, arbitrary: fc.record({ call: fc.constantFrom('tryReceive', 'tryReceiveChunk', 'drain') }) },
  )
  const allowed = /^ERR_ISTHMUS_(CORRUPT|MESSAGE_INCOMPLETE|MESSAGE_TOO_LARGE|PEER_DIED|CALL_ORDER)$/

  test('whatever a peer writes, the answer is a value or a code, and nothing outside the records is read or written', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40, size: '+1' }), startPosition, (steps, start) => {
        const region = HeapRegion.create(layout)
        const { ring, before, after } = region.root
        const ringByteOffset = planHeader(layout).rootByteOffset + 128
        const memory = new RingMemory(region, ringByteOffset, CAPACITY)
        memory.writePosition = memory.readPosition = start
        before.fill(CANARY)
        after.fill(CANARY)
        const producer = ring.producer()
        const consumer = HeapRegion.attach(region.handle, layout).root.ring.consumer()

        const expectNoCanary = (message: Uint8Array) => {
          // Words that were made hostile may hold any byte; four canaries in a row come from outside.
          expect(Array.from(message).join()).not.toContain([CANARY, CANARY, CANARY, CANARY].join())
        }
        const calls: Record<string, (byteLength: number) => void> = {
          trySend: (byteLength) => void producer.trySend(payload(byteLength)),
          sendSync: (byteLength) => void producer.sendSync(payload(byteLength), { timeoutMs: 0 }),
          tryReceive: () => expectNoCanary(consumer.tryReceive() ?? new Uint8Array()),
          tryReceiveChunk: () => expectNoCanary(consumer.tryReceiveChunk()?.bytes ?? new Uint8Array()),
          drain: () =>
            void consumer.drain((shown, byteOffset, byteLength) => {
              expect(byteOffset + byteLength).toBeLessThanOrEqual(shown.byteLength)
              expectNoCanary(shown.slice(byteOffset, byteOffset + byteLength))
              if (shown !== consumer.bytes) return
              expect(byteOffset).toBeGreaterThanOrEqual(memory.recordsByteOffset)
              expect(byteOffset + byteLength).toBeLessThanOrEqual(memory.recordsByteOffset + CAPACITY)
            }),
        }
        const words: Record<string, number> = {
          producerRole: PRODUCER_ROLE_OFFSET,
          consumerRole: CONSUMER_ROLE_OFFSET,
          reportedEpoch: REPORTED_EPOCH_OFFSET,
        }

        for (const each of steps) {
          if (each.call === 'hostile' && 'place' in each) {
            if (typeof each.place === 'number') memory.setWordAt(0, each.place, each.value)
            else if (each.place === 'writePosition') memory.writePosition = each.value
            else if (each.place === 'readPosition') memory.readPosition = each.value
            else region.words[(ringByteOffset + words[each.place]) / 4] = each.value
            continue
          }
          try {
            calls[each.call]('byteLength' in each ? each.byteLength : 0)
          } catch (error) {
            expect(error).toMatchObject({ code: expect.stringMatching(allowed) })
          }
          expect(before.every((byte) => byte === CANARY)).toBe(true)
          expect(after.every((byte) => byte === CANARY)).toBe(true)
        }
      }),
      { numRuns: 1_000 },
    )
  })
})
