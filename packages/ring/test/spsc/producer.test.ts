import { HeapRegion, IsthmusRangeError, PeerDiedError, struct } from '@isthmus/sync'
import { beforeEach, describe, expect, test } from 'vitest'
import { expectCode } from '../../../sync/test/support/expect-code.js'
import { type Codec, type Consumer, type Producer, spscRing, utf8 } from '../../src/index.js'
import { ABORT, FIRST, kindOf, LAST, MIDDLE, PADDING } from '../../src/record/layout.js'
import { CLOSED, HELD, stateOfRole } from '../../src/role/layout.js'
import { createRing, endHold, payload, type RingSetup, receiveAll } from '../support/ring-memory.js'
import { untilItThrows } from '../support/until-it-throws.js'

/** Fills the ring with messages of 0 bytes; the model of a full ring. */
function fill(producer: Producer): number {
  let sent = 0
  while (producer.trySend(new Uint8Array())) sent++
  return sent
}

let setup: RingSetup
let producer: Producer
let consumer: Consumer

/** A ring of 64 bytes, with producer and consumer in one attachment. */
beforeEach(() => {
  setup = createRing({ capacityBytes: 64 })
  producer = setup.ring.producer()
  consumer = setup.ring.consumer()
})

describe('Producer.tryClaim', () => {
  test('Producer.tryClaim returns a place in the ring that bytes, words, doubles and view all reach', () => {
    const byteOffset = producer.tryClaim(24)
    expect(byteOffset).toBe(setup.memory.recordsByteOffset + 8)
    producer.doubles[byteOffset / 8] = 42.5
    producer.words[byteOffset / 4 + 2] = -7
    producer.view.setUint16(byteOffset + 12, 513, true)
    producer.bytes[byteOffset + 23] = 9
    producer.commit()
    const message = consumer.tryReceive() ?? new Uint8Array()
    const view = new DataView(message.buffer, message.byteOffset)
    expect([view.getFloat64(0, true), view.getInt32(8, true), message[12], message[13], message[23]]).toEqual([
      42.5, -7, 1, 2, 9,
    ])
  })

  test('Producer.tryClaim returns -1 when the ring is full, and succeeds once there is space', () => {
    expect(fill(producer)).toBe(8)
    expect(producer.tryClaim(0)).toBe(-1)
    consumer.tryReceive()
    expect(producer.tryClaim(0)).toBe(-1)
    consumer.acknowledge()
    expect(producer.tryClaim(0)).toBeGreaterThan(0)
    producer.commit()
    expect(producer.tryClaim(0)).toBe(-1)
  })

  test('Producer.tryClaim puts padding if a record does not fit before the end', () => {
    const { ring, memory } = createRing({ capacityBytes: 64 }, 48)
    const wrapping = ring.producer()
    expect(wrapping.tryClaim(16)).toBe(memory.recordsByteOffset + 8)
    wrapping.commit()
    expect([memory.wordAt(48, 0), kindOf(memory.wordAt(48, 1))]).toEqual([8, PADDING])
    expect(memory.writePosition).toBe(64 + 24)
  })

  test('Producer.tryClaim puts no padding if a record just fits', () => {
    const { ring, memory } = createRing({ capacityBytes: 64 }, 48)
    const fitting = ring.producer()
    expect(fitting.tryClaim(8)).toBe(memory.recordsByteOffset + 48 + 8)
    fitting.commit()
    expect(memory.writePosition).toBe(64)
  })

  test.each([-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, -(2 ** 32)])(
    'Producer.tryClaim refuses %s bytes',
    (byteLength) => {
      expectCode('ERR_ISTHMUS_INVALID_ARGUMENT', () => producer.tryClaim(byteLength))
      expect(() => producer.tryClaim(byteLength)).toThrow(IsthmusRangeError)
    },
  )

  test('Producer.tryClaim refuses what is no number', () => {
    // @ts-expect-error a string is no number of bytes
    expectCode('ERR_ISTHMUS_INVALID_ARGUMENT', () => producer.tryClaim('8'))
    // @ts-expect-error nothing is no number of bytes
    expectCode('ERR_ISTHMUS_INVALID_ARGUMENT', () => producer.tryClaim())
  })

  test.each([25, 64, 2 ** 31, 2 ** 32, 2 ** 32 + 8])(
    'Producer.tryClaim refuses %s bytes, more than a record',
    (byteLength) => {
      expectCode('ERR_ISTHMUS_MESSAGE_TOO_LARGE', () => producer.tryClaim(byteLength))
    },
  )

  test('Producer.tryClaim refuses more than maxMessageBytes if that is less than a record', () => {
    const limited = createRing({ capacityBytes: 64, maxMessageBytes: 3 }).ring.producer()
    expect(limited.tryClaim(3)).toBeGreaterThan(0)
    limited.abort()
    expectCode('ERR_ISTHMUS_MESSAGE_TOO_LARGE', () => limited.tryClaim(4))
    expectCode('ERR_ISTHMUS_MESSAGE_TOO_LARGE', () => limited.sendSync(payload(4)))
  })

  test('Producer.tryClaim while a claim is open is refused, and so is every send; the claim stays open', () => {
    const byteOffset = producer.tryClaim(1)
    expectCode('ERR_ISTHMUS_CALL_ORDER', () => producer.tryClaim(1))
    expectCode('ERR_ISTHMUS_CALL_ORDER', () => producer.trySend(payload(1)))
    expectCode('ERR_ISTHMUS_CALL_ORDER', () => producer.trySendBatch([payload(1)]))
    expectCode('ERR_ISTHMUS_CALL_ORDER', () => producer.sendSync(payload(1)))
    expectCode('ERR_ISTHMUS_CALL_ORDER', () => producer.sendSync(payload(50)))
    producer.bytes[byteOffset] = 5
    producer.commit()
    expect(receiveAll(consumer)).toEqual([Uint8Array.of(5)])
  })
})

describe('Producer.commit and abort', () => {
  test('Producer.commit shows a claim to the consumer, and nothing shows before', () => {
    producer.bytes.set(payload(5), producer.tryClaim(5))
    expect([consumer.tryReceive(), setup.memory.writePosition]).toEqual([undefined, 0])
    producer.commit()
    expect(consumer.tryReceive()).toEqual(payload(5))
  })

  test('Producer.commit and abort without a claim are refused', () => {
    const refused = () => {
      expectCode('ERR_ISTHMUS_CALL_ORDER', () => producer.commit())
      expectCode('ERR_ISTHMUS_CALL_ORDER', () => producer.abort())
    }
    refused()
    producer.tryClaim(0)
    producer.commit()
    refused()
    producer.tryClaim(0)
    producer.abort()
    refused()
    fill(producer)
    expect(producer.tryClaim(0)).toBe(-1)
    refused()
  })

  test('Producer.abort drops the claim, and the next one has its place', () => {
    const byteOffset = producer.tryClaim(20)
    producer.abort()
    expect(producer.tryClaim(3)).toBe(byteOffset)
    producer.bytes.set(payload(3), byteOffset)
    producer.commit()
    expect(receiveAll(consumer)).toEqual([payload(3)])
  })

  test('Producer.abort of a claim after padding leaves the next claim a place inside the ring', () => {
    const { ring, memory } = createRing({ capacityBytes: 64 }, 48)
    const wrapping = ring.producer()
    const reader = ring.consumer()
    const byteOffset = wrapping.tryClaim(24)
    wrapping.abort()
    expect(wrapping.tryClaim(24)).toBe(byteOffset)
    expect(byteOffset + 24).toBeLessThanOrEqual(memory.recordsByteOffset + 64)
    wrapping.bytes.set(payload(24), byteOffset)
    wrapping.commit()
    expect(reader.tryReceive()).toEqual(payload(24))
  })

  test('Producer.abort of a claim after padding never lets the next message write past the end of the ring', () => {
    const layout = struct({ a: spscRing({ capacityBytes: 64 }), b: spscRing({ capacityBytes: 64 }) })
    const { root } = HeapRegion.create(layout)
    const first = root.a.producer()
    const reader = root.a.consumer()
    first.trySend(payload(24))
    first.trySend(payload(8))
    expect(receiveAll(reader)).toHaveLength(2)
    first.tryClaim(24)
    first.abort()
    first.trySend(new Uint8Array(24).fill(0x7f))
    expect(receiveAll(reader)).toEqual([new Uint8Array(24).fill(0x7f)])
    root.b.producer().trySend(payload(4))
    expect(receiveAll(root.b.consumer())).toEqual([payload(4)])
  })
})

describe('Producer.cork and uncork', () => {
  test('Producer.cork holds messages back until uncork shows them all at once', () => {
    producer.cork()
    producer.trySend(payload(1, 1))
    producer.trySend(payload(1, 2))
    expect([consumer.tryReceive(), setup.memory.writePosition]).toEqual([undefined, 0])
    producer.uncork()
    expect(receiveAll(consumer)).toEqual([payload(1, 1), payload(1, 2)])
  })

  test('Producer.cork nests: the outermost uncork publishes', () => {
    producer.cork()
    producer.cork()
    producer.trySend(payload(1))
    producer.uncork()
    expect(consumer.tryReceive()).toBeUndefined()
    producer.uncork()
    expect(consumer.tryReceive()).toEqual(payload(1))
  })

  test('Producer.uncork publishes, and leaves an open claim open, also one after padding', () => {
    const layout = struct({ a: spscRing({ capacityBytes: 64 }), b: spscRing({ capacityBytes: 64 }) })
    const { root } = HeapRegion.create(layout)
    const first = root.a.producer()
    const reader = root.a.consumer()
    expect(first.trySendBatch([payload(8), payload(8)])).toBe(2)
    expect(receiveAll(reader)).toHaveLength(2)
    first.cork()
    first.trySend(payload(8))
    const byteOffset = first.tryClaim(24)
    first.uncork()
    expect(receiveAll(reader)).toEqual([payload(8)])
    first.bytes.set(payload(24), byteOffset)
    first.commit()
    expect(receiveAll(reader)).toEqual([payload(24)])
    root.b.producer().trySend(payload(4))
    expect(receiveAll(root.b.consumer())).toEqual([payload(4)])
  })

  test('Producer.uncork without cork is refused', () => {
    expectCode('ERR_ISTHMUS_CALL_ORDER', () => producer.uncork())
    producer.cork()
    producer.uncork()
    expectCode('ERR_ISTHMUS_CALL_ORDER', () => producer.uncork())
  })

  test('Producer corked publishes when the ring is full, and goes on holding back', () => {
    producer.cork()
    expect(fill(producer)).toBe(8)
    expect(receiveAll(consumer)).toHaveLength(8)
    producer.trySend(payload(2))
    expect(consumer.tryReceive()).toBeUndefined()
    producer.uncork()
    expect(consumer.tryReceive()).toEqual(payload(2))
  })

  test('Producer corked publishes before it waits', () => {
    const other = setup.attach()
    producer.close()
    const sender = other.root.producer()
    sender.cork()
    for (let seed = 0; seed < 4; seed++) sender.trySend(payload(8, seed))
    expect(setup.memory.usedBytes).toBe(0)
    expect(sender.sendSync(payload(8), { timeoutMs: 1 })).toBe(false)
    expect(receiveAll(consumer)).toHaveLength(4)
  })

  test('Producer corked publishes when it closes', () => {
    producer.cork()
    producer.trySend(payload(2))
    producer.close()
    expect([consumer.tryReceive(), consumer.tryReceive()]).toEqual([payload(2), null])
  })
})

describe('Producer.trySend and trySendBatch', () => {
  test('Producer.trySend of bytes whose buffer is detached throws, and leaves no claim open', () => {
    const detached = new Uint8Array(8)
    structuredClone(detached.buffer, { transfer: [detached.buffer] })
    expect(() => producer.trySend(detached)).toThrow(TypeError)
    expect(producer.trySendBatch([payload(4), detached])).toBe(1)
    expect(producer.trySend(payload(5))).toBe(true)
    expect(receiveAll(consumer)).toEqual([payload(4), payload(5)])
  })

  test('Producer.trySendBatch whose codec closes the producer says how many were sent', () => {
    const encode = (text: string) => {
      if (text === 'close') closing.close()
      return utf8.encode(text)
    }
    const { ring } = createRing({ capacityBytes: 64, codec: { ...utf8, encode } })
    const closing = ring.producer()
    expect(closing.trySendBatch(['a', 'b', 'close'])).toBe(2)
    expectCode('ERR_ISTHMUS_CLOSED', () => closing.trySend('c'))
    expect(receiveAll(ring.consumer())).toEqual(['a', 'b'])
  })

  test('Producer.trySend returns false when the ring is full', () => {
    fill(producer)
    expect(producer.trySend(new Uint8Array())).toBe(false)
    expect(receiveAll(consumer)).toHaveLength(8)
  })

  test('Producer.trySend copies: what happens to the array later does not matter', () => {
    const message = payload(4)
    producer.trySend(message)
    message.fill(0)
    expect(consumer.tryReceive()).toEqual(payload(4))
  })

  test('Producer.trySend of more than a record names the limit and sendSync', () => {
    expectCode('ERR_ISTHMUS_MESSAGE_TOO_LARGE', () => producer.trySend(payload(25)))
    expect(() => producer.trySend(payload(25))).toThrow(/24.*sendSync/)
    expect(() => producer.trySend(payload(25))).toThrow(IsthmusRangeError)
  })

  test.each(['text', 5, null, undefined, [1], new ArrayBuffer(4), new Uint16Array(2)])(
    'Producer refuses to send %j without a codec',
    (value) => {
      // @ts-expect-error none of these is a Uint8Array
      expectCode('ERR_ISTHMUS_INVALID_ARGUMENT', () => producer.trySend(value))
      // @ts-expect-error none of these is a Uint8Array
      expectCode('ERR_ISTHMUS_INVALID_ARGUMENT', () => producer.sendSync(value))
      // @ts-expect-error none of these is a Uint8Array
      expectCode('ERR_ISTHMUS_INVALID_ARGUMENT', () => producer.trySendBatch([value]))
      expect(consumer.tryReceive()).toBeUndefined()
    },
  )

  test('Producer refuses what a codec returns that is no Uint8Array', () => {
    // @ts-expect-error the codec's encode returns a string
    const codec: Codec<string> = { ...utf8, encode: (text: string) => text }
    const broken = createRing({ capacityBytes: 64, codec }).ring.producer()
    expectCode('ERR_ISTHMUS_INVALID_ARGUMENT', () => broken.trySend('text'))
  })

  test('Producer.trySendBatch sends as many as fit, in order, and says how many', () => {
    const messages = Array.from({ length: 6 }, (_, seed) => payload(8, seed))
    expect(producer.trySendBatch(messages)).toBe(4)
    expect(receiveAll(consumer)).toEqual(messages.slice(0, 4))
    expect(producer.trySendBatch(messages.slice(4))).toBe(2)
    expect(receiveAll(consumer)).toEqual(messages.slice(4))
    expect(producer.trySendBatch([])).toBe(0)
  })

  test('Producer.trySendBatch inside a cork leaves it corked', () => {
    producer.cork()
    producer.trySendBatch([payload(1)])
    expect(consumer.tryReceive()).toBeUndefined()
    producer.uncork()
    expect(consumer.tryReceive()).toEqual(payload(1))
  })

  test('Producer.trySendBatch that meets a message too large has sent those before it', () => {
    expect(producer.trySendBatch([payload(1), payload(25), payload(2)])).toBe(1)
    expectCode('ERR_ISTHMUS_MESSAGE_TOO_LARGE', () => producer.trySendBatch([payload(25), payload(2)]))
    expect(receiveAll(consumer)).toEqual([payload(1)])
    expectCode('ERR_ISTHMUS_CALL_ORDER', () => producer.uncork())
  })
})

describe('Producer.sendSync', () => {
  /** Producer and consumer in two attachments, as two threads have them: then nothing is a deadlock. */
  function apart(capacityBytes: number, maxMessageBytes?: number) {
    const ringSetup = createRing(maxMessageBytes === undefined ? { capacityBytes } : { capacityBytes, maxMessageBytes })
    return { ...ringSetup, sender: ringSetup.ring.producer(), receiver: ringSetup.attach().root.consumer() }
  }

  test('Producer.sendSync sends at once if there is space', () => {
    expect(producer.sendSync(payload(24))).toBe(true)
    expect(consumer.tryReceive()).toEqual(payload(24))
  })

  test.each([0, 1])('Producer.sendSync returns false after a timeout of %s ms', (timeoutMs) => {
    const { sender, receiver } = apart(64)
    fill(sender)
    expect(sender.sendSync(payload(1), { timeoutMs })).toBe(false)
    expect(receiveAll(receiver)).toHaveLength(8)
    expect(sender.sendSync(payload(1), { timeoutMs })).toBe(true)
  })

  test.each([-1, Number.NaN])('Producer.sendSync refuses a timeout of %s ms, and sends nothing', (timeoutMs) => {
    expectCode('ERR_ISTHMUS_INVALID_ARGUMENT', () => producer.sendSync(payload(1), { timeoutMs }))
    expectCode('ERR_ISTHMUS_INVALID_ARGUMENT', () => producer.sendSync(payload(50), { timeoutMs }))
    expect(consumer.tryReceive()).toBeUndefined()
  })

  test('Producer.sendSync throws EDEADLK if the consumer belongs to the same attachment', () => {
    fill(producer)
    expectCode('EDEADLK', () => producer.sendSync(payload(1)))
    expectCode('EDEADLK', () => producer.sendSync(payload(1), { timeoutMs: 60_000 }))
    receiveAll(consumer)
    expect(producer.sendSync(payload(1))).toBe(true)
  })

  test('Producer.sendSync of a large message that throws EDEADLK half-way is followed by ABORT', () => {
    expectCode('EDEADLK', () => producer.sendSync(payload(100)))
    expectCode('ERR_ISTHMUS_MESSAGE_INCOMPLETE', () => consumer.tryReceive())
    expect(producer.sendSync(payload(1))).toBe(true)
    expect(consumer.tryReceive()).toEqual(payload(1))
  })

  test('Producer.sendSync sends a message of more than a record in fragments', () => {
    const { memory, sender, receiver } = apart(256)
    expect(sender.sendSync(payload(150), { timeoutMs: 0 })).toBe(true)
    const kinds = [0, 64, 128].map((position) => kindOf(memory.wordAt(position, 1)))
    expect(kinds).toEqual([FIRST, MIDDLE, LAST])
    expect(memory.wordAt(0, 0)).toBe(56)
    expect([memory.wordAt(0, 2), memory.wordAt(0, 3)]).toEqual([150, 0])
    expect(receiveAll(receiver)).toEqual([payload(150)])
  })

  test('Producer.sendSync that times out half-way returns false, and the consumer is told', () => {
    const { memory, sender, receiver } = apart(64)
    expect(sender.sendSync(payload(100), { timeoutMs: 0 })).toBe(false)
    expect(kindOf(memory.wordAt(memory.writePosition - 8, 1))).toBe(ABORT)
    expect(() => receiver.tryReceive()).toThrow(
      expect.objectContaining({ reason: 'abandoned', receivedBytes: 16, messageByteLength: 100 }),
    )
    expect(receiver.tryReceive()).toBeUndefined()
    expect(sender.sendSync(payload(5), { timeoutMs: 0 })).toBe(true)
    expect(receiver.tryReceive()).toEqual(payload(5))
  })

  test('Producer.sendSync of a large message into a full ring returns false, and sends no part of it', () => {
    const { memory, sender, receiver } = apart(64)
    fill(sender)
    expect(sender.sendSync(payload(100), { timeoutMs: 0 })).toBe(false)
    expect(memory.writePosition).toBe(64)
    expect(receiveAll(receiver)).toHaveLength(8)
  })

  test('Producer.sendSync takes maxMessageBytes and refuses more', () => {
    const { sender, receiver } = apart(256, 100)
    expect(sender.sendSync(payload(100), { timeoutMs: 0 })).toBe(true)
    expectCode('ERR_ISTHMUS_MESSAGE_TOO_LARGE', () => sender.sendSync(payload(101)))
    expect(() => sender.sendSync(payload(200))).toThrow('maxMessageBytes')
    expect(receiveAll(receiver)).toEqual([payload(100)])
  })

  test('Producer.sendSync of a large message shows corked messages before it', () => {
    const { sender, receiver } = apart(256)
    sender.cork()
    sender.trySend(payload(3))
    expect(sender.sendSync(payload(130), { timeoutMs: 0 })).toBe(true)
    expect(receiveAll(receiver)).toEqual([payload(3), payload(130)])
    sender.uncork()
  })
})

describe('Producer and a consumer that dies', () => {
  function withDeadConsumer() {
    const ringSetup = createRing({ capacityBytes: 64 })
    const gone = ringSetup.attach()
    gone.root.consumer()
    return { ...ringSetup, gone, sender: ringSetup.ring.producer() }
  }

  test('Producer sends while there is space, then throws PeerDiedError once, then finds the ring full', () => {
    const { region, gone, sender } = withDeadConsumer()
    region.declareDead(gone.peers.self)
    let sent = 0
    const error = untilItThrows(() => {
      sender.trySend(payload(0))
      sent++
    })
    expect(sent).toBe(8)
    expect(error).toBeInstanceOf(PeerDiedError)
    expect(error).toMatchObject({ code: 'ERR_ISTHMUS_PEER_DIED' })
    expect(sender.sendSync(payload(1), { timeoutMs: 1 })).toBe(false)
  })

  test('Producer.trySendBatch that finds a death after it has sent leaves the report to the next call', () => {
    const { region, gone, sender } = withDeadConsumer()
    region.declareDead(gone.peers.self)
    expect(sender.trySendBatch(Array.from({ length: 10 }, () => payload(0)))).toBe(8)
    expectCode('ERR_ISTHMUS_PEER_DIED', () => sender.trySendBatch([payload(0)]))
    expect(sender.trySend(payload(0))).toBe(false)
  })

  test('Producer.sendSync finds the death by itself, without a timeout', () => {
    const { region, gone, sender } = withDeadConsumer()
    fill(sender)
    endHold(region, gone.peers.self)
    expectCode('ERR_ISTHMUS_PEER_DIED', () => sender.sendSync(payload(1)))
  })

  test('Producer.sendSync of a large message that meets the death half-way is followed by ABORT for the successor', () => {
    const { region, attach, gone, sender } = withDeadConsumer()
    region.declareDead(gone.peers.self)
    expectCode('ERR_ISTHMUS_PEER_DIED', () => sender.sendSync(payload(100)))
    const successor = attach().root.consumer()
    expectCode('ERR_ISTHMUS_MESSAGE_INCOMPLETE', () => successor.tryReceive())
    expect(sender.trySend(payload(2))).toBe(true)
    expect(successor.tryReceive()).toEqual(payload(2))
  })

  test('Producer throws for each consumer that dies', () => {
    const { region, attach, gone, sender } = withDeadConsumer()
    fill(sender)
    region.declareDead(gone.peers.self)
    expectCode('ERR_ISTHMUS_PEER_DIED', () => sender.sendSync(payload(1)))
    const second = attach()
    second.root.consumer()
    region.declareDead(second.peers.self)
    expectCode('ERR_ISTHMUS_PEER_DIED', () => sender.sendSync(payload(1)))
  })

  test('Producer keeps the messages for the next consumer, and sends on', () => {
    const { region, attach, gone, sender } = withDeadConsumer()
    sender.trySend(payload(1))
    region.declareDead(gone.peers.self)
    const successor = attach().root.consumer()
    sender.trySend(payload(2))
    expect(receiveAll(successor)).toEqual([payload(1), payload(2)])
  })
})

describe('SpscRing.producer', () => {
  test('SpscRing.producer is refused while a live agent has the role', () => {
    expectCode('ERR_ISTHMUS_ROLE_TAKEN', () => setup.ring.producer())
    expectCode('ERR_ISTHMUS_ROLE_TAKEN', () => setup.attach().root.producer())
    producer.trySend(payload(1))
    expect(consumer.tryReceive()).toEqual(payload(1))
  })

  test('SpscRing.producer continues where a closed one stopped', () => {
    producer.trySend(payload(1))
    producer.close()
    const next = setup.attach().root.producer()
    next.trySend(payload(2))
    expect(receiveAll(consumer)).toEqual([payload(1), payload(2)])
  })

  test.each([
    ['apart by more than the capacity', 72],
    ['in the wrong order', -8],
    ['misaligned', 4],
  ])('SpscRing.producer refuses positions that are %s, and gives the role back', (_what, writePosition) => {
    const { ring, memory } = createRing({ capacityBytes: 64 })
    memory.writePosition = writePosition
    expectCode('ERR_ISTHMUS_CORRUPT', () => ring.producer())
    expect(stateOfRole(memory.producerRole)).not.toBe(HELD)
    memory.writePosition = 0
    expect(ring.producer().trySend(payload(1))).toBe(true)
  })

  test.each([8, -(2 ** 31), 2 ** 31 - 8, 4])(
    'Producer meets the hostile read position %s with ERR_ISTHMUS_CORRUPT',
    (readPosition) => {
      fill(producer)
      setup.memory.readPosition = 64 + readPosition
      expectCode('ERR_ISTHMUS_CORRUPT', () => producer.trySend(payload(1)))
      expectCode('ERR_ISTHMUS_CORRUPT', () => producer.sendSync(payload(1)))
      expectCode('ERR_ISTHMUS_CORRUPT', () => producer.sendSync(payload(50)))
      expect(setup.memory.writePosition).toBe(64)
    },
  )
})

describe('Producer.close', () => {
  const everyCall: Record<string, (closed: Producer) => unknown> = {
    tryClaim: (closed) => closed.tryClaim(1),
    'tryClaim of 0 bytes': (closed) => closed.tryClaim(0),
    commit: (closed) => closed.commit(),
    abort: (closed) => closed.abort(),
    cork: (closed) => closed.cork(),
    uncork: (closed) => closed.uncork(),
    trySend: (closed) => closed.trySend(payload(1)),
    trySendBatch: (closed) => closed.trySendBatch([]),
    sendSync: (closed) => closed.sendSync(payload(1)),
    'sendSync in fragments': (closed) => closed.sendSync(payload(50)),
  }

  test.each(Object.keys(everyCall))('Producer.%s is refused after close, whatever was open', (name) => {
    producer.cork()
    producer.tryClaim(1)
    producer.close()
    const { writePosition } = setup.memory
    expectCode('ERR_ISTHMUS_CLOSED', () => everyCall[name](producer))
    expect(setup.memory.writePosition).toBe(writePosition)
  })

  test.each(Object.keys(everyCall))('Producer.%s is refused after the region was closed', (name) => {
    setup.region.close()
    expectCode('ERR_ISTHMUS_CLOSED', () => everyCall[name](producer))
  })

  test('Producer.close drops an open claim and keeps what was committed', () => {
    producer.trySend(payload(1))
    producer.bytes.set(payload(2), producer.tryClaim(2))
    producer.close()
    expect([consumer.tryReceive(), consumer.tryReceive()]).toEqual([payload(1), null])
  })

  test('Producer.close twice closes once: a successor keeps the role', () => {
    producer.close()
    expect(stateOfRole(setup.memory.producerRole)).toBe(CLOSED)
    const successor = setup.ring.producer()
    producer.close()
    producer[Symbol.dispose]()
    expect(stateOfRole(setup.memory.producerRole)).toBe(HELD)
    expect(successor.trySend(payload(1))).toBe(true)
  })

  test('Producer[Symbol.dispose] closes', () => {
    producer[Symbol.dispose]()
    expectCode('ERR_ISTHMUS_CLOSED', () => producer.trySend(payload(1)))
  })

  test('HeapRegion.close closes its producers: they publish what they hold back', () => {
    const observer = setup.attach()
    consumer.close()
    const reader = observer.root.consumer()
    producer.cork()
    producer.trySend(payload(1))
    setup.region.close()
    expect([reader.tryReceive(), reader.tryReceive()]).toEqual([payload(1), null])
  })

  test('SpscRing gives no handle after the region was closed', () => {
    const { region, ring, attach } = createRing({ capacityBytes: 64 })
    const other = attach()
    region.close()
    const everyWay = [() => ring.producer(), () => ring.tryProducer(), () => ring.consumer(), () => ring.tryConsumer()]
    for (const take of everyWay) expectCode('ERR_ISTHMUS_CLOSED', take)
    other.root.producer()
    other.root.consumer()
    for (const take of everyWay) expectCode('ERR_ISTHMUS_CLOSED', take)
  })
})
