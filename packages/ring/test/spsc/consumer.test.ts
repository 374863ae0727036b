import { type HeapRegion, PeerDiedError } from '@isthmus/sync'
import { generationOf, slotOf } from '@isthmus/sync/internal'
import { beforeEach, describe, expect, test } from 'vitest'
import { expectCode } from '../../../sync/test/support/expect-code.js'
import {
  type Consumer,
  type DrainOptions,
  IncompleteMessageError,
  type Producer,
  type SpscRing,
} from '../../src/index.js'
import { ABORT, DATA, FIRST, kindOf, LAST, MIDDLE, PADDING } from '../../src/record/layout.js'
import { DIED, HELD, stateOfRole } from '../../src/role/layout.js'
import { createRing, endHold, payload, type RingSetup, receiveAll } from '../support/ring-memory.js'
import { untilItThrows } from '../support/until-it-throws.js'

let setup: RingSetup
let producer: Producer
let consumer: Consumer
let consumerRegion: HeapRegion<SpscRing>

/** A ring of 64 bytes, with producer and consumer in two attachments, as two threads have them. */
beforeEach(() => {
  setup = createRing({ capacityBytes: 64 })
  producer = setup.ring.producer()
  consumerRegion = setup.attach()
  consumer = consumerRegion.root.consumer()
})

function drained(from: Consumer, options?: DrainOptions): Uint8Array[] {
  const messages: Uint8Array[] = []
  from.drain((bytes, byteOffset, byteLength) => {
    messages.push(bytes.slice(byteOffset, byteOffset + byteLength))
  }, options)
  return messages
}

describe('Consumer.tryReceive', () => {
  test('Consumer.tryReceive returns undefined for nothing yet', () => {
    expect(consumer.tryReceive()).toBeUndefined()
  })

  test('Consumer.tryReceive before the first producer came waits', () => {
    const { ring } = createRing({ capacityBytes: 64 })
    const early = ring.consumer()
    expect([early.tryReceive(), early.tryReceiveChunk(), early.drain(() => {})]).toEqual([undefined, undefined, 0])
    ring.producer().trySend(payload(1))
    expect(early.tryReceive()).toEqual(payload(1))
  })

  test('Consumer.tryReceive returns a private copy', () => {
    producer.trySend(payload(4))
    const message = consumer.tryReceive()
    setup.region.bytes.fill(0xee, setup.memory.recordsByteOffset)
    expect(message).toEqual(payload(4))
    expect(message?.buffer).toBeInstanceOf(ArrayBuffer)
  })

  test('Consumer returns space in steps of a quarter ring, when it comes back for more, and when the ring is empty', () => {
    producer.trySendBatch([payload(0), payload(0), payload(0)])
    const readPositions = [1, 2, 3, 4].map(() => {
      consumer.tryReceive()
      return setup.memory.readPosition
    })
    expect(readPositions).toEqual([0, 0, 16, 24])
  })

  test('Consumer.tryReceive keeps the space of the message that it gave, however large, until it is called again', () => {
    producer.trySend(payload(24))
    expect(consumer.tryReceive()).toEqual(payload(24))
    setup.region.declareDead(consumerRegion.peers.self)
    expect(receiveAll(setup.ring.consumer())).toEqual([payload(24)])
  })
})

describe('Consumer.drain', () => {
  test('Consumer.drain shows every message in place, in order, and counts them', () => {
    producer.trySendBatch([payload(3, 1), payload(0), payload(8, 2)])
    const seen: [number, number][] = []
    const count = consumer.drain((bytes, byteOffset, byteLength) => {
      expect(bytes).toBe(consumer.bytes)
      seen.push([byteOffset - setup.memory.recordsByteOffset, byteLength])
    })
    expect(count).toBe(3)
    expect(seen).toEqual([
      [8, 3],
      [24, 0],
      [32, 8],
    ])
  })

  test('Consumer.drain stops at its limit, and the next call continues there', () => {
    const messages = [1, 2, 3, 4].map((seed) => payload(2, seed))
    producer.trySendBatch(messages)
    expect(drained(consumer, { limit: 0 })).toEqual([])
    expect(drained(consumer, { limit: 3 })).toEqual(messages.slice(0, 3))
    expect(drained(consumer, { limit: 3 })).toEqual(messages.slice(3))
    expect(drained(consumer)).toEqual([])
  })

  test('Consumer.drain whose options close the consumer shows nothing, and returns no space', () => {
    producer.trySendBatch([payload(8), payload(8, 2)])
    const options = {
      get limit() {
        consumer.close()
        return 1
      },
    }
    expectCode('ERR_ISTHMUS_CLOSED', () => drained(consumer, options))
    expect(setup.memory.readPosition).toBe(0)
  })

  test('Consumer.drain shows through doubles and words what was written through them', () => {
    const byteOffset = producer.tryClaim(16)
    producer.doubles[byteOffset / 8] = 12.5
    producer.words[byteOffset / 4 + 2] = -3
    producer.commit()
    const seen: number[] = []
    consumer.drain((_bytes, from) => {
      seen.push(consumer.doubles[from / 8], consumer.words[from / 4 + 2], consumer.view.getInt32(from + 8, true))
    })
    expect(seen).toEqual([12.5, -3, -3])
  })

  test('Consumer.drain whose callback throws has received that message, and the next call continues after it', () => {
    producer.trySendBatch([payload(1, 1), payload(1, 2), payload(1, 3)])
    let calls = 0
    const failAtTheSecond = () => {
      if (++calls === 2) throw new Error('callback failed')
    }
    expect(() => consumer.drain(failAtTheSecond)).toThrow('callback failed')
    expect(drained(consumer)).toEqual([payload(1, 3)])
  })

  test('Consumer.drain gives a message in fragments as one private array', () => {
    const { ring, attach } = createRing({ capacityBytes: 256 })
    const reader = attach().root.consumer()
    const sender = ring.producer()
    sender.sendSync(payload(150))
    const seen: unknown[] = []
    const count = reader.drain((bytes, byteOffset, byteLength) => {
      seen.push([bytes, byteOffset, byteLength])
    })
    expect(count).toBe(1)
    expect(seen).toEqual([[payload(150), 0, 150]])
  })

  test('Consumer.drain whose callback throws for a message in fragments has received it', () => {
    const { ring, attach } = createRing({ capacityBytes: 256 })
    const reader = attach().root.consumer()
    const sender = ring.producer()
    sender.sendSync(payload(130))
    sender.trySend(payload(2))
    expect(() =>
      reader.drain(() => {
        throw new Error('callback failed')
      }),
    ).toThrow('callback failed')
    expect(drained(reader)).toEqual([payload(2)])
  })

  test('Consumer.drain that throws for a broken-off message has called back for those before it', () => {
    producer.trySend(payload(0))
    producer.sendSync(payload(100), { timeoutMs: 0 })
    const lengths: number[] = []
    expectCode('ERR_ISTHMUS_MESSAGE_INCOMPLETE', () =>
      consumer.drain((_bytes, _from, length) => void lengths.push(length)),
    )
    expect(lengths).toEqual([0])
    producer.trySend(payload(1))
    expect(drained(consumer)).toEqual([payload(1)])
  })

  const nestedCalls: Record<string, (nested: Consumer) => unknown> = {
    drain: (nested) => nested.drain(() => {}),
    tryReceive: (nested) => nested.tryReceive(),
    receiveSync: (nested) => nested.receiveSync({ timeoutMs: 0 }),
    tryReceiveChunk: (nested) => nested.tryReceiveChunk(),
    receiveChunkSync: (nested) => nested.receiveChunkSync({ timeoutMs: 0 }),
    acknowledge: (nested) => nested.acknowledge(),
  }

  test.each(Object.keys(nestedCalls))(
    'Consumer.%s from within a drain callback is refused, and drain goes on',
    (name) => {
      producer.trySendBatch([payload(1, 1), payload(1, 2)])
      const count = consumer.drain(() => {
        expectCode('ERR_ISTHMUS_CALL_ORDER', () => nestedCalls[name](consumer))
      })
      expect(count).toBe(2)
      expect(consumer.tryReceive()).toBeUndefined()
    },
  )

  test('Consumer can be used again after a callback that threw', () => {
    producer.trySend(payload(1))
    expect(() =>
      consumer.drain(() => {
        throw new Error('callback failed')
      }),
    ).toThrow('callback failed')
    expect(() => consumer.acknowledge()).not.toThrow()
  })

  test('Consumer.close from within a drain callback ends the drain, and leaves the rest to the next consumer', () => {
    producer.trySendBatch([payload(1, 1), payload(1, 2), payload(1, 3)])
    let calls = 0
    const count = consumer.drain(() => {
      if (++calls === 2) consumer.close()
    })
    expect([count, calls]).toEqual([2, 2])
    expect(receiveAll(setup.ring.consumer())).toEqual([payload(1, 3)])
  })

  test('Producer can be used from within a drain callback; its message comes with the next drain', () => {
    producer.trySend(payload(1, 1))
    const count = consumer.drain(() => expect(producer.trySend(payload(1, 2))).toBe(true))
    expect(count).toBe(1)
    expect(drained(consumer)).toEqual([payload(1, 2)])
  })
})

describe('Consumer.receiveSync and receiveChunkSync', () => {
  test('Consumer.receiveSync returns what is there, at once', () => {
    producer.trySend(payload(1))
    expect(consumer.receiveSync()).toEqual(payload(1))
    producer.trySend(payload(2))
    expect(consumer.receiveChunkSync()?.bytes).toEqual(payload(2))
  })

  test.each([0, 1])('Consumer.receiveSync returns undefined after a timeout of %s ms', (timeoutMs) => {
    expect(consumer.receiveSync({ timeoutMs })).toBeUndefined()
    expect(consumer.receiveChunkSync({ timeoutMs })).toBeUndefined()
  })

  test.each([-1, Number.NaN])('Consumer.receiveSync refuses a timeout of %s ms, and receives nothing', (timeoutMs) => {
    producer.trySend(payload(1))
    expectCode('ERR_ISTHMUS_INVALID_ARGUMENT', () => consumer.receiveSync({ timeoutMs }))
    expectCode('ERR_ISTHMUS_INVALID_ARGUMENT', () => consumer.receiveChunkSync({ timeoutMs }))
    expect(consumer.tryReceive()).toEqual(payload(1))
  })

  test('Consumer.receiveSync throws EDEADLK if the producer belongs to the same attachment', () => {
    consumer.close()
    const own = setup.ring.consumer()
    expectCode('EDEADLK', () => own.receiveSync())
    expectCode('EDEADLK', () => own.receiveChunkSync({ timeoutMs: 60_000 }))
    producer.trySend(payload(1))
    expect(own.receiveSync()).toEqual(payload(1))
  })

  test('Consumer.receiveSync that times out in the midst of a large message goes on with the next call', () => {
    producer.close()
    setup.memory.appendFirst(payload(16), 24)
    const successor = setup.ring.producer()
    expect(consumer.receiveSync({ timeoutMs: 1 })).toBeUndefined()
    setup.memory.append({ kind: LAST, messageId: 1, payload: payload(24).subarray(16) })
    expect(consumer.receiveSync({ timeoutMs: 1 })).toEqual(payload(24))
    successor.close()
  })

  test('Consumer.receiveSync finds the death of the producer by itself, without a timeout', () => {
    const gone = setup.region
    endHold(gone, gone.peers.self)
    expect(() => consumer.receiveSync()).toThrow(PeerDiedError)
    expect(stateOfRole(setup.memory.producerRole)).toBe(DIED)
  })

  test('Consumer.receiveSync returns null if the producer closed', () => {
    producer.trySend(payload(1))
    producer.close()
    expect([consumer.receiveSync(), consumer.receiveSync(), consumer.receiveChunkSync()]).toEqual([
      payload(1),
      null,
      null,
    ])
  })
})

describe('Consumer as an iterable', () => {
  test('Consumer gives one message after the other, until the producer closes', () => {
    producer.trySendBatch([payload(1), payload(0), payload(2)])
    producer.close()
    expect([...consumer]).toEqual([payload(1), payload(0), payload(2)])
    expect([...consumer]).toEqual([])
  })

  test('Consumer that is left early keeps the rest for the next loop', () => {
    producer.trySendBatch([payload(1), payload(2)])
    producer.close()
    for (const message of consumer) {
      expect(message).toEqual(payload(1))
      break
    }
    expect([...consumer]).toEqual([payload(2)])
  })

  test('Consumer throws from the loop if the producer died, after every committed message', () => {
    producer.trySend(payload(1))
    endHold(setup.region, setup.region.peers.self)
    const seen: Uint8Array[] = []
    expectCode('ERR_ISTHMUS_PEER_DIED', () => {
      for (const message of consumer) seen.push(message)
    })
    expect(seen).toEqual([payload(1)])
  })
})

describe('Consumer.tryReceiveChunk', () => {
  test('Consumer.tryReceiveChunk gives a message in one record as one chunk', () => {
    producer.trySend(payload(5))
    expect(consumer.tryReceiveChunk()).toEqual({
      bytes: payload(5),
      messageOffset: 0,
      messageByteLength: 5,
      isLast: true,
    })
    expect(consumer.tryReceiveChunk()).toBeUndefined()
  })

  test('Consumer.tryReceiveChunk gives a large message part by part, with its progress', () => {
    const { ring, attach } = createRing({ capacityBytes: 256 })
    const reader = attach().root.consumer()
    ring.producer().sendSync(payload(150))
    const chunks = [reader.tryReceiveChunk(), reader.tryReceiveChunk(), reader.tryReceiveChunk()]
    expect(chunks).toEqual([
      { bytes: payload(150).slice(0, 48), messageOffset: 0, messageByteLength: 150, isLast: false },
      { bytes: payload(150).slice(48, 104), messageOffset: 48, messageByteLength: 150, isLast: false },
      { bytes: payload(150).slice(104), messageOffset: 104, messageByteLength: 150, isLast: true },
    ])
    expect(reader.tryReceiveChunk()).toBeUndefined()
  })

  test('Consumer.tryReceiveChunk copies into the array it is given, and shows the part that it wrote', () => {
    producer.trySendBatch([payload(5, 1), payload(3, 2)])
    const into = new Uint8Array(consumer.maxRecordBytes).fill(0xee)
    expect(consumer.maxRecordBytes).toBe(24)
    const chunk = consumer.tryReceiveChunk({ into })
    expect(chunk).toEqual({ bytes: payload(5, 1), messageOffset: 0, messageByteLength: 5, isLast: true })
    expect([chunk?.bytes.buffer === into.buffer, into[5]]).toEqual([true, 0xee])
    expect(consumer.receiveChunkSync({ into, timeoutMs: 1 })?.bytes).toEqual(payload(3, 2))
    expect(into.slice(0, 5)).toEqual(Uint8Array.of(...payload(3, 2), ...payload(5, 1).slice(3)))
  })

  test('Consumer.tryReceiveChunk into an array of maxRecordBytes takes every fragment of a large message', () => {
    const { ring, attach } = createRing({ capacityBytes: 256 })
    const reader = attach().root.consumer()
    ring.producer().sendSync(payload(150))
    const into = new Uint8Array(reader.maxRecordBytes)
    const bytes: number[] = []
    for (let chunk = reader.tryReceiveChunk({ into }); chunk; chunk = reader.tryReceiveChunk({ into })) {
      bytes.push(...chunk.bytes)
    }
    expect(Uint8Array.from(bytes)).toEqual(payload(150))
  })

  test('Consumer.tryReceiveChunk into an array that is too small is refused, and has received nothing', () => {
    producer.trySend(payload(5))
    expectCode('ERR_ISTHMUS_INVALID_ARGUMENT', () => consumer.tryReceiveChunk({ into: new Uint8Array(4) }))
    expect(() => consumer.tryReceiveChunk({ into: new Uint8Array(4) })).toThrow(RangeError)
    expect(consumer.tryReceiveChunk({ into: new Uint8Array(5) })?.bytes).toEqual(payload(5))
  })

  test('Consumer.tryReceiveChunk passes over padding, which the array that it is given need not hold', () => {
    const { ring, memory } = createRing({ capacityBytes: 64 }, 48)
    memory.append({ kind: PADDING, payload: payload(8) })
    memory.append({ kind: DATA, payload: payload(1) })
    expect(ring.consumer().tryReceiveChunk({ into: new Uint8Array(1) })?.bytes).toEqual(payload(1))
  })

  test('Consumer refuses to change between whole and in chunks in the midst of a message', () => {
    const { ring, memory } = createRing({ capacityBytes: 64 })
    const inChunks = ring.consumer()
    memory.appendFirst(payload(16), 20)
    expect(inChunks.tryReceiveChunk()?.isLast).toBe(false)
    expectCode('ERR_ISTHMUS_CALL_ORDER', () => inChunks.tryReceive())
    expectCode('ERR_ISTHMUS_CALL_ORDER', () => inChunks.drain(() => {}))
    memory.append({ kind: LAST, messageId: 1, payload: payload(4, 2) })
    expect(inChunks.tryReceiveChunk()).toMatchObject({ bytes: payload(4, 2), isLast: true })
    memory.append({ kind: DATA, payload: payload(1) })
    expect(inChunks.tryReceive()).toEqual(payload(1))
    memory.appendFirst(payload(1), 2)
    expect(inChunks.tryReceive()).toBeUndefined()
    expectCode('ERR_ISTHMUS_CALL_ORDER', () => inChunks.tryReceiveChunk())
  })
})

describe('Consumer and the end', () => {
  test('Consumer gets null after the last message, and again and again', () => {
    producer.trySendBatch([payload(1), payload(2)])
    producer.close()
    expect(receiveAll(consumer)).toEqual([payload(1), payload(2)])
    expect([
      consumer.tryReceive(),
      consumer.drain(() => {}),
      consumer.tryReceiveChunk(),
      consumer.tryReceive(),
    ]).toEqual([null, null, null, null])
  })

  test('Consumer goes on after the end when a new producer comes', () => {
    producer.close()
    expect(consumer.tryReceive()).toBeNull()
    const next = setup.ring.producer()
    expect(consumer.tryReceive()).toBeUndefined()
    next.trySend(payload(1))
    next.close()
    expect([consumer.tryReceive(), consumer.tryReceive()]).toEqual([payload(1), null])
  })

  test('Consumer that comes after a told end waits', () => {
    producer.close()
    expect(consumer.tryReceive()).toBeNull()
    consumer.close()
    const next = setup.ring.consumer()
    expect([next.tryReceive(), next.drain(() => {}), next.receiveSync({ timeoutMs: 1 })]).toEqual([
      undefined,
      0,
      undefined,
    ])
  })

  test('Consumer that comes before the end was told is told', () => {
    producer.trySend(payload(1))
    producer.close()
    expect(consumer.tryReceive()).toEqual(payload(1))
    consumer.close()
    expect(setup.ring.consumer().tryReceive()).toBeNull()
  })
})

describe('Consumer and a producer that dies', () => {
  function withDeadProducer(before: (producer: Producer, setup: RingSetup) => void) {
    const ringSetup = createRing({ capacityBytes: 64 })
    const gone = ringSetup.attach()
    before(gone.root.producer(), ringSetup)
    return { ...ringSetup, gone: gone.peers.self, reader: ringSetup.ring.consumer() }
  }

  const everyWay: Record<string, (reader: Consumer) => unknown> = {
    tryReceive: (reader) => reader.tryReceive(),
    drain: (reader) => drained(reader)[0],
    tryReceiveChunk: (reader) => reader.tryReceiveChunk()?.bytes,
    receiveSync: (reader) => reader.receiveSync({ timeoutMs: 1 }),
    receiveChunkSync: (reader) => reader.receiveChunkSync({ timeoutMs: 1 })?.bytes,
  }

  test.each(Object.keys(everyWay))(
    'Consumer.%s gives every committed message, then PeerDiedError once, then undefined',
    (name) => {
      const { region, gone, reader } = withDeadProducer((dying) => {
        dying.trySend(payload(1))
        dying.tryClaim(8)
      })
      region.declareDead(gone)
      const receive = () => everyWay[name](reader)
      expect(receive()).toEqual(payload(1))
      expect(receive).toThrow(PeerDiedError)
      expect([receive(), receive()]).toEqual([undefined, undefined])
    },
  )

  test('Consumer.tryReceive finds the death by itself, in the end', () => {
    const { region, gone, reader } = withDeadProducer((dying) => dying.trySend(payload(1)))
    endHold(region, gone)
    expect(reader.tryReceive()).toEqual(payload(1))
    expect(untilItThrows(() => reader.tryReceive())).toMatchObject({ code: 'ERR_ISTHMUS_PEER_DIED' })
    expect(reader.tryReceive()).toBeUndefined()
  })

  test('Consumer gets the messages of the successor after the error', () => {
    const { region, ring, gone, reader } = withDeadProducer((dying) => dying.trySend(payload(1)))
    region.declareDead(gone)
    expect(reader.tryReceive()).toEqual(payload(1))
    expectCode('ERR_ISTHMUS_PEER_DIED', () => reader.tryReceive())
    ring.producer().trySend(payload(2))
    expect(reader.tryReceive()).toEqual(payload(2))
  })

  test('Consumer is not told of a death if there is a successor already', () => {
    const { region, ring, gone, reader } = withDeadProducer((dying) => dying.trySend(payload(1)))
    region.declareDead(gone)
    const successor = ring.producer()
    successor.trySend(payload(2))
    expect([reader.tryReceive(), reader.tryReceive(), reader.tryReceive()]).toEqual([payload(1), payload(2), undefined])
  })

  test('Consumer is told of each death', () => {
    const { region, attach, gone, reader } = withDeadProducer(() => {})
    region.declareDead(gone)
    expectCode('ERR_ISTHMUS_PEER_DIED', () => reader.tryReceive())
    const second = attach()
    second.root.producer().trySend(payload(2))
    region.declareDead(second.peers.self)
    expect(reader.tryReceive()).toEqual(payload(2))
    expectCode('ERR_ISTHMUS_PEER_DIED', () => reader.tryReceive())
    expect(reader.tryReceive()).toBeUndefined()
  })

  test('Consumer that comes after a told death waits', () => {
    const { region, ring, gone, reader } = withDeadProducer(() => {})
    region.declareDead(gone)
    expectCode('ERR_ISTHMUS_PEER_DIED', () => reader.tryReceive())
    reader.close()
    expect(ring.consumer().tryReceive()).toBeUndefined()
  })

  test('Consumer does not take the next holder of the dead producer’s slot for the producer', () => {
    const { region, attach, gone, reader } = withDeadProducer(() => {})
    region.declareDead(gone)
    const { self } = attach().peers
    expect([slotOf(self), generationOf(self)]).toEqual([slotOf(gone), generationOf(gone) + 1])
    expectCode('ERR_ISTHMUS_PEER_DIED', () => reader.tryReceive())
  })

  const leaveHalfSent = (_dying: Producer, { memory }: RingSetup) => memory.appendFirst(payload(8), 100)

  test('Consumer of a large message whose producer dies gets PeerDiedError that tells how much had come', () => {
    const { region, gone, reader } = withDeadProducer(leaveHalfSent)
    expect(reader.tryReceive()).toBeUndefined()
    region.declareDead(gone)
    expect(() => reader.tryReceive()).toThrow('8 of 100 bytes')
    expect(reader.tryReceive()).toBeUndefined()
  })

  test('SpscRing.producer after a death marks the unfinished message with ABORT, and the consumer is told', () => {
    const { region, ring, memory, gone, reader } = withDeadProducer(leaveHalfSent)
    region.declareDead(gone)
    const successor = ring.producer()
    expect(kindOf(memory.wordAt(24, 1))).toBe(ABORT)
    successor.trySend(payload(3))
    expect(() => reader.tryReceive()).toThrow(
      expect.objectContaining({ reason: 'abandoned', receivedBytes: 8, messageByteLength: 100 }),
    )
    expect(reader.tryReceive()).toEqual(payload(3))
  })

  test('SpscRing.producer after a death publishes an ABORT, also if only the lease shows the death, and if 8 bytes are free', () => {
    const { region, ring, memory, gone, reader } = withDeadProducer((dying, { memory }) => {
      dying.trySend(payload(16))
      memory.appendFirst(payload(16), 100)
    })
    endHold(region, gone)
    expect(memory.usedBytes).toBe(56)
    ring.producer()
    expect([kindOf(memory.wordAt(56, 1)), memory.usedBytes]).toEqual([ABORT, 64])
    expect(reader.tryReceive()).toEqual(payload(16))
    expectCode('ERR_ISTHMUS_MESSAGE_INCOMPLETE', () => reader.tryReceive())
  })

  test('SpscRing.producer after a death between whole messages changes nothing for the consumer', () => {
    const { region, ring, gone, reader } = withDeadProducer((dying) => dying.trySendBatch([payload(1), payload(2)]))
    region.declareDead(gone)
    ring.producer().trySend(payload(3))
    expect(receiveAll(reader)).toEqual([payload(1), payload(2), payload(3)])
  })

  test('SpscRing.producer after a death in a full ring leaves it as it is', () => {
    const { region, ring, memory, gone, reader } = withDeadProducer((dying) => {
      while (dying.trySend(payload(8)));
    })
    region.declareDead(gone)
    expect(ring.producer().trySend(payload(1))).toBe(false)
    expect(memory.usedBytes).toBe(64)
    expect(receiveAll(reader)).toHaveLength(4)
  })

  test('SpscRing.producer after a clean close leaves no ABORT', () => {
    producer.close()
    setup.ring.producer()
    expect(setup.memory.usedBytes).toBe(0)
  })
})

describe('SpscRing.consumer', () => {
  test('SpscRing.consumer is refused while a live agent has the role', () => {
    expectCode('ERR_ISTHMUS_ROLE_TAKEN', () => setup.ring.consumer())
    expectCode('ERR_ISTHMUS_ROLE_TAKEN', () => setup.attach().root.consumer())
  })

  test('SpscRing.consumer after a death gets again what its predecessor had not returned', () => {
    const { region, ring, attach } = createRing({ capacityBytes: 256 })
    const gone = attach()
    const dying = gone.root.consumer()
    ring.producer().trySendBatch([payload(1), payload(2), payload(3)])
    dying.tryReceive()
    dying.acknowledge()
    expect(dying.tryReceive()).toEqual(payload(2))
    region.declareDead(gone.peers.self)
    expect(receiveAll(ring.consumer())).toEqual([payload(2), payload(3)])
  })

  test('SpscRing.consumer that joins in the midst of a message reports it once and continues after it', () => {
    const { ring, attach } = createRing({ capacityBytes: 256 })
    const first = attach().root.consumer()
    const sender = ring.producer()
    sender.sendSync(payload(150))
    first.tryReceiveChunk()
    first.close()
    const second = attach().root.consumer()
    sender.trySend(payload(7))
    expect(() => second.tryReceive()).toThrow(
      expect.objectContaining({ reason: 'joined-midway', messageByteLength: undefined }),
    )
    expect(() => second.tryReceive()).not.toThrow(IncompleteMessageError)
    sender.trySend(payload(8))
    expect(second.tryReceive()).toEqual(payload(8))
  })

  test('SpscRing.consumer that joins in the midst of a message and then sees it aborted continues after the ABORT', () => {
    const { ring, memory } = createRing({ capacityBytes: 128 })
    memory.append({ kind: MIDDLE, payload: payload(8) })
    memory.append({ kind: MIDDLE, payload: payload(8) })
    memory.append({ kind: ABORT })
    memory.append({ kind: DATA, payload: payload(1) })
    const joining = ring.consumer()
    expectCode('ERR_ISTHMUS_MESSAGE_INCOMPLETE', () => joining.tryReceive())
    expect(receiveAll(joining)).toEqual([payload(1)])
  })

  test.each([
    ['a write position too far ahead', 72, 0],
    ['a write position behind', 0, 8],
    ['a misaligned write position', 4, 0],
    ['a misaligned read position', 8, 4],
    ['positions half the number range apart', -(2 ** 31), 0],
  ])('SpscRing.consumer refuses %s, and gives the role back', (_what, writePosition, readPosition) => {
    const { ring, memory } = createRing({ capacityBytes: 64 })
    memory.writePosition = writePosition
    memory.readPosition = readPosition
    expectCode('ERR_ISTHMUS_CORRUPT', () => ring.consumer())
    expect(stateOfRole(memory.consumerRole)).not.toBe(HELD)
    memory.writePosition = memory.readPosition = 0
    expect(ring.consumer().tryReceive()).toBeUndefined()
  })
})

describe('Consumer.acknowledge and close', () => {
  test('Consumer.acknowledge returns the space now', () => {
    producer.trySend(payload(0))
    consumer.tryReceive()
    expect(setup.memory.readPosition).toBe(0)
    consumer.acknowledge()
    expect(setup.memory.readPosition).toBe(8)
  })

  const everyCall: Record<string, (closed: Consumer) => unknown> = {
    drain: (closed) => closed.drain(() => {}),
    tryReceive: (closed) => closed.tryReceive(),
    receiveSync: (closed) => closed.receiveSync(),
    tryReceiveChunk: (closed) => closed.tryReceiveChunk(),
    receiveChunkSync: (closed) => closed.receiveChunkSync(),
    acknowledge: (closed) => closed.acknowledge(),
  }

  test.each(Object.keys(everyCall))('Consumer.%s is refused after close, though messages are there', (name) => {
    producer.trySend(payload(1))
    consumer.close()
    expectCode('ERR_ISTHMUS_CLOSED', () => everyCall[name](consumer))
    expect(setup.memory.readPosition).toBe(0)
  })

  test.each(Object.keys(everyCall))('Consumer.%s is refused after the region was closed', (name) => {
    const other = setup.attach()
    consumer.close()
    const closed = other.root.consumer()
    other.close()
    expectCode('ERR_ISTHMUS_CLOSED', () => everyCall[name](closed))
    expectCode('ERR_ISTHMUS_CLOSED', () => other.root.consumer())
  })

  test('Consumer.close returns the space of what was received, and leaves the rest', () => {
    producer.trySendBatch([payload(0), payload(1)])
    consumer.tryReceive()
    consumer.close()
    expect(setup.memory.readPosition).toBe(8)
    expect(receiveAll(setup.ring.consumer())).toEqual([payload(1)])
  })

  test('Consumer.close twice closes once: a successor keeps the role', () => {
    consumer.close()
    setup.ring.consumer()
    consumer.close()
    consumer[Symbol.dispose]()
    expect(stateOfRole(setup.memory.consumerRole)).toBe(HELD)
  })
})

describe('Consumer and hostile words', () => {
  const everyWay: Record<string, (reader: Consumer) => unknown> = {
    tryReceive: (reader) => reader.tryReceive(),
    drain: (reader) => reader.drain(() => {}),
    tryReceiveChunk: (reader) => reader.tryReceiveChunk(),
  }

  /** One message was received, one of 8 bytes waits at 16; `change` makes it hostile. Every receive refuses it. */
  function check(change: (memory: RingSetup['memory']) => void) {
    for (const receive of Object.values(everyWay)) {
      const { ring, memory } = createRing({ capacityBytes: 64 })
      const sender = ring.producer()
      const reader = ring.consumer()
      sender.trySend(payload(8, 1))
      expect(reader.tryReceive()).toEqual(payload(8, 1))
      sender.trySend(payload(8, 2))
      change(memory)
      expectCode('ERR_ISTHMUS_CORRUPT', () => receive(reader))
      expectCode('ERR_ISTHMUS_CORRUPT', () => receive(reader))
      expect([0, 16]).toContain(memory.readPosition)
    }
  }

  test.each([8, 0, -8, 88, 28, 2 ** 31 - 8, -(2 ** 31), 16 + 2 ** 30])(
    'Consumer refuses the write position %s',
    (writePosition) => {
      check((memory) => {
        memory.writePosition = writePosition
      })
    },
  )

  test.each([9, 16, 48, 56, 57, 2 ** 31 - 1, -1, -8, -(2 ** 31)])(
    'Consumer refuses a record of %s bytes if 8 were published',
    (byteLength) => {
      check((memory) => memory.setWordAt(16, 0, byteLength))
    },
  )

  test.each([0, 7, 8, 255, 256, -1, 0x7fffff00])('Consumer refuses a record of kind %s', (kind) => {
    check((memory) => memory.setWordAt(16, 1, kind))
  })

  test('Consumer refuses a record that crosses the end of the ring', () => {
    const { ring, memory } = createRing({ capacityBytes: 64 }, 48)
    const reader = ring.consumer()
    memory.append({ kind: DATA, payload: payload(8) })
    memory.append({ kind: DATA, payload: payload(8) })
    memory.setWordAt(48, 0, 16)
    expectCode('ERR_ISTHMUS_CORRUPT', () => reader.tryReceive())
    expectCode('ERR_ISTHMUS_CORRUPT', () => reader.drain(() => {}))
  })

  test.each([
    [0, 0],
    [8, 0],
    [-1, -1],
    [0, 2 ** 21],
    [1_001, 0],
    [0, 1],
  ])(
    'Consumer refuses a total of %s, %s for a message that begins with 8 bytes, and allocates nothing',
    (low, high) => {
      const { ring, memory } = createRing({ capacityBytes: 64, maxMessageBytes: 1_000 })
      const reader = ring.consumer()
      memory.appendFirst(payload(8), 100)
      memory.setWordAt(0, 2, low)
      memory.setWordAt(0, 3, high)
      expectCode('ERR_ISTHMUS_CORRUPT', () => reader.tryReceive())
      expectCode('ERR_ISTHMUS_CORRUPT', () => reader.tryReceiveChunk())
      expectCode('ERR_ISTHMUS_CORRUPT', () => reader.drain(() => {}))
    },
  )

  test.each([0, 4, 7, 8])('Consumer refuses a FIRST of %s bytes, which has no room for a fragment', (byteLength) => {
    const { ring, memory } = createRing({ capacityBytes: 64 }, 48)
    const reader = ring.consumer()
    memory.append({ kind: FIRST, payload: payload(byteLength) })
    expectCode('ERR_ISTHMUS_CORRUPT', () => reader.tryReceive())
    expectCode('ERR_ISTHMUS_CORRUPT', () => reader.tryReceiveChunk())
  })

  test.each([9, 48, 2 ** 31 - 1, -1])(
    'Consumer refuses a record of %s bytes if 8 were published, for chunks into an array too',
    (byteLength) => {
      const { ring, memory } = createRing({ capacityBytes: 64 })
      const reader = ring.consumer()
      memory.append({ kind: DATA, payload: payload(8) })
      memory.setWordAt(0, 0, byteLength)
      const into = new Uint8Array(reader.maxRecordBytes)
      expectCode('ERR_ISTHMUS_CORRUPT', () => reader.tryReceiveChunk({ into }))
    },
  )

  test('Consumer refuses a message in one record that is larger than maxMessageBytes, however it receives', () => {
    const { ring, memory } = createRing({ capacityBytes: 64, maxMessageBytes: 4 })
    const reader = ring.consumer()
    memory.append({ kind: DATA, payload: payload(4) })
    expect(reader.tryReceive()).toEqual(payload(4))
    memory.append({ kind: DATA, payload: payload(5) })
    expectCode('ERR_ISTHMUS_CORRUPT', () => reader.tryReceive())
    expectCode('ERR_ISTHMUS_CORRUPT', () => reader.drain(() => {}))
  })
})
