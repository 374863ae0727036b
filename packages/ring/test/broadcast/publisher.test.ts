import { HeapRegion, type PeerId, waitAny } from '@isthmus/sync'
import { planHeader } from '@isthmus/sync/internal'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { expectCode } from '../../../sync/test/support/expect-code.js'
import { withoutSafetyNet } from '../../../sync/test/support/safety-net.js'
import { soon, until } from '../../../sync/test/support/waiting.js'
import { BroadcastSide } from '../../src/broadcast/broadcast-side.js'
import {
  ACTIVE,
  gateWord,
  INTENT_OFFSET,
  JOINING,
  stateOfGate,
  WRITE_POSITION_OFFSET,
} from '../../src/broadcast/layout.js'
import { broadcastRing, json, type Publisher, utf8 } from '../../src/index.js'
import { afterExchange } from '../support/atomics-hook.js'
import { type BroadcastSetup, createBroadcast, PlainReader } from '../support/broadcast-memory.js'
import { endHold, payload } from '../support/ring-memory.js'

withoutSafetyNet()

const STARTS = [0n, 2n ** 30n - 64n, 2n ** 31n - 64n, 2n ** 32n - 64n, 2n ** 53n - 8n, 2n ** 62n - 64n]
/** Positions have 62 bits. */
const after = (position: bigint, from: bigint) => BigInt.asIntN(62, position - from)
const numbered = (from: bigint, seeds: number[], byteLength: number) =>
  seeds.map((seed, at) => ({ number: from + BigInt(at), bytes: payload(byteLength, seed) }))

/** A gate of another attachment, and that attachment's side of the ring. */
function joined(setup: BroadcastSetup, gates = 1, capacityBytes = setup.memory.capacityBytes) {
  const region = setup.attach()
  const side = new BroadcastSide({
    region,
    byteOffset: planHeader(broadcastRing({ capacityBytes, gates })).rootByteOffset,
    subject: 'the broadcast ring',
    capacityBytes,
    gates,
    maxRecordBytes: 0,
    maxMessageBytes: 0,
  })
  const gate = side.gates.join(side.writePosition)
  if (gate === undefined) throw new Error('no gate is free')
  /** What a subscriber does that has read everything up to here. */
  const returnSpace = (position = setup.memory.writePosition) => {
    gate.moveCursor(Number(position & 0xffffffffn) | 0)
    side.space.notify()
  }
  return { region, side, gate, returnSpace }
}

function fill(publisher: Publisher, byteLength = 8, limit = 1_000): number {
  let count = 0
  while (count < limit && publisher.tryPublish(payload(byteLength, count))) count++
  return count
}

describe('A publisher', () => {
  test.each(STARTS)('publishes messages in order, with their numbers, from position %s on', (start) => {
    const { ring, memory } = createBroadcast({ capacityBytes: 256 }, start, 2n ** 32n - 3n)
    const reader = new PlainReader(memory)
    const publisher = ring.publisher()
    for (let at = 0; at < 60; at++) {
      expect(publisher.tryPublish(payload(at, at))).toBe(true)
      expect(reader.messages()).toEqual(numbered(2n ** 32n - 3n + BigInt(at), [at], at))
      expect(memory.next).toEqual({ number: 2n ** 32n - 2n + BigInt(at), isInside: false })
    }
    expect(memory.writePosition).toBe(reader.cursor)
    expect(after(memory.writePosition, start)).toBeGreaterThan(2_000n)
  })

  test('a reader that has read everything can read the largest record, wherever it begins', () => {
    const { ring, memory } = createBroadcast({ capacityBytes: 128 })
    const reader = new PlainReader(memory)
    const publisher = ring.publisher()
    expect(publisher.maxRecordBytes).toBe(48)
    for (let step = 0; step < 64; step++) {
      publisher.tryPublish(payload(48, step))
      publisher.tryPublish(payload(step % 17, step))
      // The second record may have overwritten the first.
      reader.readAll()
      publisher.tryPublish(payload(48, step + 1))
      expect(reader.messages().map(({ bytes }) => bytes)).toEqual([payload(48, step + 1)])
    }
  })

  test('never waits without gates, and says with its intent what a reader has lost', () => {
    const { ring, memory } = createBroadcast({ capacityBytes: 256 })
    const publisher = ring.publisher()
    const reader = new PlainReader(memory)
    for (let at = 0; at < 1_000; at++) expect(publisher.tryPublish(payload(8, at))).toBe(true)
    expect(reader.readAll()).toEqual(['overrun'])
    publisher.tryPublish(payload(8, 1_000))
    expect(reader.messages()).toEqual(numbered(1_000n, [1_000], 8))
    const ahead = memory.intent - memory.writePosition
    expect(ahead >= 0n && ahead <= 32n).toBe(true)
  })

  test('its intent covers every byte before it is written', () => {
    const { ring, memory } = createBroadcast({ capacityBytes: 256 })
    const publisher = ring.publisher()
    for (let at = 0; at < 200; at++) {
      const byteLength = (at * 7) % 110
      const byteOffset = publisher.tryClaim(byteLength)
      const end = memory.writePosition + BigInt(16 + ((byteLength + 7) & -8))
      expect(byteOffset).toBeGreaterThan(0)
      expect(memory.intent).toBeGreaterThanOrEqual(end)
      expect(memory.intent).toBeLessThanOrEqual(memory.writePosition + 256n)
      publisher.commit()
      expect(memory.intent).toBeGreaterThanOrEqual(memory.writePosition)
    }
  })

  test('messages in place: commit sends, abort gives the number to the next one', () => {
    const { ring, memory } = createBroadcast({ capacityBytes: 256 })
    const reader = new PlainReader(memory)
    const publisher = ring.publisher()
    publisher.bytes.set(payload(5, 1), publisher.tryClaim(5))
    publisher.commit()
    publisher.tryClaim(100)
    publisher.abort()
    const byteOffset = publisher.tryClaim(8)
    expect(byteOffset % 8).toBe(0)
    publisher.bytes.set(payload(8, 2), byteOffset)
    publisher.commit()
    expect(reader.messages()).toEqual([
      { number: 0n, bytes: payload(5, 1) },
      { number: 1n, bytes: payload(8, 2) },
    ])
    expectCode('ERR_ISTHMUS_CALL_ORDER', () => publisher.commit())
    expectCode('ERR_ISTHMUS_MESSAGE_TOO_LARGE', () => publisher.tryClaim(publisher.maxRecordBytes + 1))
  })

  test('cork holds messages back; more than a ring of them becomes visible in parts', () => {
    const { ring, memory } = createBroadcast({ capacityBytes: 256 })
    const reader = new PlainReader(memory)
    const publisher = ring.publisher()
    publisher.cork()
    for (const seed of [1, 2, 3]) publisher.tryPublish(payload(8, seed))
    expect(reader.messages()).toEqual([])
    publisher.uncork()
    expect(reader.messages()).toEqual(numbered(0n, [1, 2, 3], 8))
    publisher.cork()
    const found: bigint[] = []
    for (let at = 0; at < 100; at++) {
      expect(publisher.tryPublish(payload(8, at))).toBe(true)
      found.push(...reader.messages().map(({ number }) => number))
    }
    publisher.uncork()
    found.push(...reader.messages().map(({ number }) => number))
    expect(found).toEqual(Array.from({ length: 100 }, (_, at) => BigInt(at + 3)))
  })

  test('batches become visible all at once', async () => {
    const { ring, memory } = createBroadcast({ capacityBytes: 1024, codec: json<number>() })
    const reader = new PlainReader(memory)
    const publisher = ring.publisher()
    expect(publisher.tryPublishBatch([1, 2])).toBe(2)
    expect(publisher.publishBatchSync([3])).toBe(1)
    expect(await publisher.publishBatch([4, 5])).toBe(2)
    expect(publisher.tryPublish(6)).toBe(true)
    expect(publisher.publishSync(7)).toBe(true)
    expect(await publisher.publish(8)).toBe(true)
    const texts = reader.messages().map(({ number, bytes }) => `${number}: ${new TextDecoder().decode(bytes)}`)
    expect(texts).toEqual([1, 2, 3, 4, 5, 6, 7, 8].map((value) => `${value - 1}: ${value}`))
  })

  test('a batch that fails midway counts the messages that were published', () => {
    const { ring, memory } = createBroadcast({ capacityBytes: 256 })
    const reader = new PlainReader(memory)
    const publisher = ring.publisher()
    const wrong = 7 as unknown as Uint8Array
    expect(publisher.tryPublishBatch([payload(1), wrong, payload(1)])).toBe(1)
    expectCode('ERR_ISTHMUS_INVALID_ARGUMENT', () => publisher.tryPublishBatch([wrong]))
    publisher.tryPublish(payload(1))
    expect(reader.messages().map(({ number }) => number)).toEqual([0n, 1n])
    expect(ring.describe().publishedMessages).toBe(2)
  })

  test('messages in fragments carry one number', () => {
    const { ring, memory } = createBroadcast({ capacityBytes: 1024 })
    const reader = new PlainReader(memory)
    const publisher = ring.publisher()
    publisher.tryPublish(payload(1))
    const large = payload(512, 3)
    expect(publisher.maxRecordBytes).toBeLessThan(large.length)
    expect(publisher.publishSync(large)).toBe(true)
    publisher.tryPublish(payload(1))
    expect(reader.messages()).toEqual([
      { number: 0n, bytes: payload(1) },
      { number: 1n, bytes: large },
      { number: 2n, bytes: payload(1) },
    ])
    expectCode('ERR_ISTHMUS_MESSAGE_TOO_LARGE', () => publisher.publishSync(new Uint8Array(513)))
    expectCode('ERR_ISTHMUS_MESSAGE_TOO_LARGE', () => publisher.tryPublish(large))
  })

  test.each([0n, 2n ** 32n - 256n])('any calls from %s on: readers find what was published', (start) => {
    const call = fc.record({ way: fc.integer({ min: 0, max: 5 }), byteLength: fc.integer({ min: 0, max: 300 }) })
    fc.assert(
      fc.property(fc.array(call, { maxLength: 60 }), (calls) => {
        const { ring, memory } = createBroadcast({ capacityBytes: 512 }, start, 5n)
        const reader = new PlainReader(memory)
        let publisher = ring.publisher()
        const sent: Uint8Array[] = []
        const found: { number: bigint; bytes: Uint8Array }[] = []
        for (const { way, byteLength } of calls) {
          const message = payload(byteLength, sent.length)
          if (way === 0 && byteLength <= 256) {
            publisher.publishSync(message)
            sent.push(message)
          } else if (way === 1 && byteLength <= publisher.maxRecordBytes) {
            publisher.tryClaim(byteLength)
            publisher.abort()
          } else if (way === 2) {
            publisher.close()
            publisher = ring.publisher()
          } else if (way === 3 && byteLength <= 80) {
            const next = payload(byteLength, sent.length + 1)
            expect(publisher.tryPublishBatch([message, next])).toBe(2)
            sent.push(message, next)
          } else if (byteLength <= publisher.maxRecordBytes) {
            publisher.tryPublish(message)
            sent.push(message)
          }
          found.push(...reader.messages())
          const { checkpoints } = memory
          const bounds = boundariesOf(memory)
          for (const checkpoint of checkpoints) {
            const behind = (Number(memory.writePosition & 0xffffffffn) - checkpoint) | 0
            if ((checkpoint & 7) !== 0 || behind < 0 || memory.intent - memory.writePosition + BigInt(behind) > 512n)
              continue
            expect(bounds).toContain(memory.writePosition - BigInt(behind))
          }
        }
        expect(found).toEqual(sent.map((bytes, at) => ({ number: BigInt(5 + at), bytes })))
      }),
      { numRuns: 60 },
    )

    /** All positions from which a walk ends exactly at the write position. */
    function boundariesOf(memory: BroadcastSetup['memory']): bigint[] {
      const { writePosition, intent, capacityBytes } = memory
      const from = intent - BigInt(capacityBytes) > start ? intent - BigInt(capacityBytes) : start
      const bounds: bigint[] = [writePosition]
      for (let position = writePosition - 8n; position >= from; position -= 8n) {
        const { recordBytes, kind } = memory.recordAt(position)
        if (kind >= 1 && kind <= 6 && bounds.includes(position + recordBytes)) bounds.push(position)
      }
      return bounds
    }
  })

  test('close publishes what is held back, and drops an open claim', () => {
    const { ring, memory } = createBroadcast({ capacityBytes: 256 })
    const reader = new PlainReader(memory)
    const publisher = ring.publisher()
    publisher.cork()
    publisher.tryPublish(payload(8))
    publisher.tryClaim(8)
    publisher.close()
    expect(reader.messages()).toHaveLength(1)
    expect(ring.describe().publisher.state).toBe('closed')
    expectCode('ERR_ISTHMUS_CLOSED', () => publisher.tryPublish(payload(8)))
    expectCode('ERR_ISTHMUS_CLOSED', () => publisher.gates())
  })
})

describe('The role of the publisher', () => {
  test('is had by one at a time', () => {
    const { ring, attach } = createBroadcast({ capacityBytes: 256 })
    const publisher = ring.publisher()
    expect(attach().root.tryPublisher()).toBeUndefined()
    expectCode('ERR_ISTHMUS_ROLE_TAKEN', () => attach().root.publisher())
    publisher.close()
    expect(ring.publisher().tryPublish(payload(1))).toBe(true)
    expect(ring.describe()).toMatchObject({
      capacityBytes: 256,
      publishedMessages: 1,
      publisher: { state: 'held', epoch: 2, isWaiting: false },
      gates: [],
      freeGates: 0,
      waitingSubscribers: [],
    })
  })

  /** A publisher that dies, after it has published three messages and done this. */
  async function successorOf(
    act: (publisher: Publisher, setup: BroadcastSetup, reader: PlainReader) => unknown,
    start = 0n,
  ) {
    const setup = createBroadcast({ capacityBytes: 256, gates: 1, maxMessageBytes: 2_000 }, start)
    const mortal = setup.attach()
    const reader = new PlainReader(setup.memory)
    const publisher = mortal.root.publisher()
    for (const seed of [1, 2, 3]) publisher.tryPublish(payload(8, seed))
    await act(publisher, setup, reader)
    setup.region.declareDead(mortal.peers.self)
    return { ...setup, reader, successor: setup.ring.publisher() }
  }

  test.each(STARTS)('passes to a successor, which goes on at position and number (from %s)', async (start) => {
    const { successor, reader, memory } = await successorOf((publisher) => {
      publisher.cork()
      publisher.tryPublish(payload(8, 9))
      publisher.tryClaim(100)
    }, start)
    const { intent } = memory
    successor.tryPublish(payload(8, 4))
    expect(reader.messages()).toEqual(numbered(0n, [1, 2, 3, 4], 8))
    expect(memory.intent).toBeGreaterThanOrEqual(intent)
  })

  test.each(STARTS.slice(1))(
    'passes on from a publisher that was killed between the two words of a position (%s)',
    (start) => {
      // The era of the next position is stored, the low word is not.
      const setup = createBroadcast({ capacityBytes: 256 }, start + 40n)
      const reader = new PlainReader(setup.memory)
      const eras = [WRITE_POSITION_OFFSET, INTENT_OFFSET].map((offset) => setup.memory.wordOf(offset) + 1)
      const before = eras.map((word) => setup.memory.words[word])
      for (const word of eras) setup.memory.words[word] = (setup.memory.words[word] + 1) | 0
      expect(setup.memory.writePosition).toBe(start + 40n)
      const publisher = setup.ring.publisher()
      expect(eras.map((word) => setup.memory.words[word])).toEqual(before)
      for (const seed of [1, 2, 3]) publisher.tryPublish(payload(8, seed))
      expect(reader.messages()).toEqual(numbered(0n, [1, 2, 3], 8))
    },
  )

  test('passes on from a publisher that was killed while it wrote a number, or an intent', async () => {
    const { successor, reader, memory } = await successorOf((_publisher, { memory: found }) => {
      const other = [0, 1].find((place) => found.placeOf(place)[0] !== Number(found.writePosition)) as number
      found.placeOf(other).set([Number(found.writePosition) + 24, 77, 5, 1])
      found.setPositionAt(INTENT_OFFSET, found.writePosition + 104n)
    })
    expect(successor.tryPublish(payload(8, 4))).toBe(true)
    expect(reader.messages()).toEqual(numbered(0n, [1, 2, 3, 4], 8))
    expect(memory.intent).toBe(72n + 104n)
  })

  test('a successor says that a message stays incomplete, and gives its number to the next one', async () => {
    const { successor, reader } = await successorOf(async (publisher, setup, before) => {
      before.readAll()
      const { returnSpace } = joined(setup)
      void publisher.publish(payload(1_000))
      await until(() => setup.memory.next?.isInside === true)
      expect(before.readAll()).toEqual([])
      expect(setup.memory.next).toEqual({ number: 3n, isInside: true })
      returnSpace(before.cursor)
    })
    expect(reader.readAll()).toEqual([{ aborted: 3n }])
    successor.tryPublish(payload(8, 4))
    expect(reader.messages()).toEqual(numbered(3n, [4], 8))
  })

  test('an ABORT of a successor comes if a message is under way, and only then', async () => {
    for (const isInside of [true, false]) {
      const { successor, reader, memory } = await successorOf((_publisher, { memory: found }) => {
        for (const place of [0, 1]) found.placeOf(place)[3] = isInside ? 1 : 0
        found.setPositionAt(INTENT_OFFSET, found.writePosition + 8n)
      })
      expect(reader.readAll().slice(3)).toEqual(isInside ? [{ aborted: undefined }] : [])
      expect(memory.next).toEqual({ number: 3n, isInside: false })
      successor.tryPublish(payload(8, 4))
      expect(reader.messages()).toEqual(numbered(3n, [4], 8))
    }
  })

  test('a successor replaces checkpoints that are more than a ring behind', async () => {
    const { memory } = await successorOf((_publisher, { memory: found }) => {
      found.words[found.wordOf(384)] = 8 * 1_000
      found.words[found.wordOf(384) + 1] = 3
    })
    expect(memory.checkpoints.slice(0, 2)).toEqual([72, 72])
  })

  test('a ring with impossible words is corrupt, and its role stays free', () => {
    const damages: ((setup: BroadcastSetup) => void)[] = [
      ({ memory }) =>
        memory.words.fill(3, memory.wordOf(WRITE_POSITION_OFFSET), memory.wordOf(WRITE_POSITION_OFFSET) + 1),
      ({ memory }) =>
        memory.words.fill(2, memory.wordOf(WRITE_POSITION_OFFSET) + 1, memory.wordOf(WRITE_POSITION_OFFSET) + 2),
      ({ memory }) => memory.setPositionAt(INTENT_OFFSET, 264n),
      ({ memory }) => memory.setPositionAt(INTENT_OFFSET, 2n ** 40n),
      ({ memory }) => [0, 1].map((place) => memory.placeOf(place).fill(8)),
    ]
    for (const damage of damages) {
      const setup = createBroadcast({ capacityBytes: 256 })
      damage(setup)
      expectCode('ERR_ISTHMUS_CORRUPT', () => setup.ring.publisher())
      setup.memory.startAt(0n)
      expect(setup.ring.describe().publisher.state).not.toBe('held')
      expect(setup.ring.publisher().tryPublish(payload(8))).toBe(true)
    }
  })
})

describe('Gates', () => {
  test('hold the publisher back until their subscribers have read', () => {
    const setup = createBroadcast({ capacityBytes: 256, gates: 2 })
    const publisher = setup.ring.publisher()
    const first = joined(setup, 2)
    const second = joined(setup, 2)
    expect(() => joined(setup, 2)).toThrow('no gate is free')
    expect(fill(publisher)).toBe(10)
    first.returnSpace()
    expect(publisher.tryPublish(payload(8))).toBe(false)
    second.returnSpace(48n)
    expect(fill(publisher)).toBe(2)
    expect(setup.memory.intent).toBeLessThanOrEqual(48n + 256n)
    expect(publisher.gates()).toMatchObject([
      { gate: 0, state: 'active', peer: first.region.peers.self, behindBytes: 64 },
      { gate: 1, state: 'active', peer: second.region.peers.self, behindBytes: 256 },
    ])
    expect(setup.ring.describe()).toMatchObject({ freeGates: 0, gates: publisher.gates() })
    second.gate.leave()
    expect(fill(publisher)).toBe(8)
    expect(publisher.gates()).toHaveLength(1)
  })

  test.each(STARTS)(
    'keep what is published after a subscriber has joined, although the limit is older (%s)',
    (start) => {
      const setup = createBroadcast({ capacityBytes: 256, gates: 1 }, start)
      const publisher = setup.ring.publisher()
      for (let round = 0; round < 12; round++) {
        for (let count = 0; count < round; count++) publisher.tryPublish(payload(8, count))
        const { gate, side } = joined(setup)
        const begin = setup.memory.writePosition
        expect([side.writePosition.low, setup.memory.positionAt(setup.memory.cursorOffsetOf(0))]).toEqual([
          Number(begin & 0xffffffffn) | 0,
          begin,
        ])
        fill(publisher)
        expect(after(setup.memory.intent, begin)).toBeLessThanOrEqual(256n)
        expect(after(setup.memory.writePosition, begin)).toBeGreaterThan(220n)
        gate.leave()
      }
    },
  )

  test('let a subscriber begin where the publisher is once it is held back', () => {
    const setup = createBroadcast({ capacityBytes: 256, gates: 1 })
    const publisher = setup.ring.publisher()
    publisher.tryPublish(payload(8))
    afterExchange(
      (word) => stateOfGate(word) === JOINING,
      () => {
        expect(fill(publisher, 8, 30)).toBe(30)
      },
    )
    const { side } = joined(setup)
    expect(setup.memory.writePosition).toBeGreaterThan(700n)
    expect(BigInt(side.writePosition.low)).toBe(setup.memory.writePosition)
    expect(setup.memory.positionAt(setup.memory.cursorOffsetOf(0))).toBe(setup.memory.writePosition)
  })

  test('demote frees the publisher, and tells the owner', async () => {
    const setup = createBroadcast({ capacityBytes: 256, gates: 1 })
    const publisher = setup.ring.publisher()
    const { gate, region } = joined(setup)
    fill(publisher)
    const publishing = publisher.publish(payload(8))
    await until(() => setup.ring.describe().publisher.isWaiting)
    const [description] = publisher.gates()
    expect(publisher.demote({ ...description, peer: (description.peer + 128) as PeerId })).toBe(false)
    expect(publisher.demote({ ...description, gate: 7 })).toBe(false)
    expect(gate.isActive).toBe(true)
    expect(publisher.demote(description)).toBe(true)
    expect(await soon(publishing, 'space after the demotion')).toBe(true)
    expect(gate.isActive).toBe(false)
    expect(publisher.gates()).toMatchObject([{ state: 'demoted', behindBytes: 0 }])
    expect(setup.ring.demote(description)).toBe(false)
    gate.leave()
    expect(publisher.gates()).toEqual([])
    expect(region.root.describe().freeGates).toBe(1)
  })

  test('a tool demotes through the ring', async () => {
    const setup = createBroadcast({ capacityBytes: 256, gates: 1 })
    const publisher = setup.ring.publisher()
    joined(setup)
    fill(publisher)
    const publishing = publisher.publish(payload(8))
    await until(() => setup.ring.describe().publisher.isWaiting)
    const tool = setup.attach().root
    expect(tool.demote(tool.describe().gates[0])).toBe(true)
    expect(await soon(publishing, 'space after the demotion')).toBe(true)
  })

  test('of the dead are free: proven by a publisher that polls, or that waits, and by a sweep', async () => {
    const setup = createBroadcast({ capacityBytes: 256, gates: 3 })
    const publisher = setup.ring.publisher()
    const polled = joined(setup, 3)
    fill(publisher)
    endHold(setup.region, polled.region.peers.self)
    await until(() => publisher.tryPublish(payload(8)))
    expect(publisher.gates()).toEqual([])
    const awaited = joined(setup, 3)
    fill(publisher)
    endHold(setup.region, awaited.region.peers.self)
    expect(publisher.publishSync(payload(8), { timeoutMs: 10_000 })).toBe(true)
    const swept = joined(setup, 3)
    fill(publisher)
    const publishing = publisher.publish(payload(8))
    await until(() => setup.ring.describe().publisher.isWaiting)
    setup.region.declareDead(swept.region.peers.self)
    expect(await soon(publishing, 'space after a sweep')).toBe(true)
  })

  test('that are being taken hold back nobody, and are freed with their dead owner', () => {
    const setup = createBroadcast({ capacityBytes: 256, gates: 1 })
    const publisher = setup.ring.publisher()
    const mortal = setup.attach()
    setup.memory.words[setup.memory.gateWordOf(0)] = gateWord(JOINING, mortal.peers.self)
    for (let count = 0; count < 100; count++) expect(publisher.tryPublish(payload(8))).toBe(true)
    expect(publisher.gates()).toMatchObject([{ state: 'joining', behindBytes: 0 }])
    setup.region.declareDead(mortal.peers.self)
    expect(publisher.gates()).toEqual([])
  })

  test('with a cursor that cannot be: full, or corrupt, and demotion helps', () => {
    const setup = createBroadcast({ capacityBytes: 256, gates: 1 }, 2n ** 40n)
    const publisher = setup.ring.publisher()
    joined(setup)
    fill(publisher)
    const { memory } = setup
    const cursor = memory.cursorOffsetOf(0)
    // More than a ring behind: a subscriber that joins, and was stopped.
    memory.setPositionAt(cursor, 2n ** 40n - 4_096n)
    expect(publisher.tryPublish(payload(8))).toBe(false)
    memory.setPositionAt(cursor, 0n)
    expect(publisher.tryPublish(payload(8))).toBe(false)
    for (const position of [memory.writePosition + 8n, memory.writePosition + 1n, 2n ** 50n]) {
      memory.setPositionAt(cursor, position)
      expectCode('ERR_ISTHMUS_CORRUPT', () => publisher.tryPublish(payload(8)))
      expect(() => publisher.tryPublish(payload(8))).toThrow('the cursor of gate 0, of process')
    }
    memory.words[memory.wordOf(cursor) + 1] += 2
    expectCode('ERR_ISTHMUS_CORRUPT', () => publisher.tryPublish(payload(8)))
    expect(publisher.demote(publisher.gates()[0])).toBe(true)
    expect(publisher.tryPublish(payload(8))).toBe(true)
  })
})

describe('A publisher that waits for gates', () => {
  test('sends messages larger than the ring through it', async () => {
    const setup = createBroadcast({ capacityBytes: 256, gates: 1, maxMessageBytes: 10_000 })
    const publisher = setup.ring.publisher()
    const { returnSpace } = joined(setup)
    const reader = new PlainReader(setup.memory)
    const publishing = publisher.publish(payload(10_000, 3))
    const after = publisher.publish(payload(8, 4))
    expect(publisher.tryPublish(payload(8))).toBe(false)
    expect(publisher.tryClaim(8)).toBe(-1)
    const found: unknown[] = []
    await until(() => {
      found.push(...reader.messages())
      returnSpace(reader.cursor)
      return found.length === 2
    })
    expect(await publishing).toBe(true)
    expect(await after).toBe(true)
    expect(found).toEqual([
      { number: 0n, bytes: payload(10_000, 3) },
      { number: 1n, bytes: payload(8, 4) },
    ])
  })

  test('gives up after its time, or when its signal aborts, and says so after fragments', async () => {
    const setup = createBroadcast({ capacityBytes: 256, gates: 1, maxMessageBytes: 10_000 })
    const publisher = setup.ring.publisher()
    const { returnSpace } = joined(setup)
    const reader = new PlainReader(setup.memory)
    expect(await publisher.publish(payload(1_000), { timeoutMs: 5 })).toBe(false)
    expect(reader.readAll()).toEqual([{ aborted: 0n }])
    returnSpace(reader.cursor)
    const abort = new AbortController()
    const publishing = publisher.publish(payload(1_000), { signal: abort.signal })
    await until(() => setup.ring.describe().publisher.isWaiting)
    abort.abort()
    await expect(publishing).rejects.toThrow('abort')
    expect(reader.readAll()).toEqual([{ aborted: 0n }])
    returnSpace(reader.cursor)
    expect(publisher.tryPublish(payload(8, 2))).toBe(true)
    expect(reader.messages()).toEqual(numbered(0n, [2], 8))
    fill(publisher)
    expect(publisher.publishSync(payload(8), { timeoutMs: 5 })).toBe(false)
    expect(publisher.publishBatchSync([payload(8)], { timeoutMs: 5 })).toBe(0)
  })

  test('waits for space alone, or among others', async () => {
    const setup = createBroadcast({ capacityBytes: 256, gates: 1 })
    const publisher = setup.ring.publisher()
    const { returnSpace } = joined(setup)
    fill(publisher)
    const space = publisher.spaceFor(8)
    expect(space.waitSync({ timeoutMs: 5 })).toBe(false)
    const waiting = [space.wait(), waitAny([publisher])] as const
    await until(() => setup.ring.describe().publisher.isWaiting)
    returnSpace()
    expect(await soon(waiting[0], 'space')).toBe(true)
    expect(await soon(waiting[1], 'space for half')).toEqual([publisher])
  })

  test('does not wait for itself', () => {
    const { ring, memory, region } = createBroadcast({ capacityBytes: 256, gates: 1 })
    const publisher = ring.publisher()
    const own = HeapRegion.attach(region.handle, broadcastRing({ capacityBytes: 256, gates: 1 }))
    memory.words[memory.gateWordOf(0)] = gateWord(ACTIVE, own.peers.self)
    memory.setPositionAt(memory.cursorOffsetOf(0), 0n)
    fill(publisher)
    const isOwn = region.peers.isOwnThread(own.peers.self)
    if (isOwn) expectCode('EDEADLK', () => publisher.publishSync(payload(8)))
    expect(isOwn).toBe(true)
  })
})

describe('broadcastRing', () => {
  const wrong: [string, Record<string, unknown>][] = [
    ['a capacity that is no power of two', { capacityBytes: 100 }],
    ['a small capacity', { capacityBytes: 32 }],
    ['a large capacity', { capacityBytes: 2 ** 31 }],
    ['half a gate', { capacityBytes: 64, gates: 0.5 }],
    ['too many gates', { capacityBytes: 64, gates: 129 }],
    ['a negative maxMessageBytes', { capacityBytes: 64, maxMessageBytes: -1 }],
    ['messages that nothing would hold', { capacityBytes: 512, maxMessageBytes: 257 }],
    ['a codec without methods', { capacityBytes: 64, codec: {} }],
    ['no capacity', {}],
  ]
  test.each(wrong)('refuses %s', (_what, options) => {
    expectCode('ERR_ISTHMUS_INVALID_ARGUMENT', () => broadcastRing(options as never))
  })

  test('has a signature with everything that decides the bytes', () => {
    expect(broadcastRing({ capacityBytes: 64 }).signature).toBe(
      'broadcast-ring@1(capacityBytes=64,gates=0,maxMessageBytes=16)',
    )
    const { signature, byteLength } = broadcastRing({ capacityBytes: 64, gates: 2, maxMessageBytes: 100, codec: utf8 })
    expect(signature).toBe('broadcast-ring@1(capacityBytes=64,gates=2,maxMessageBytes=100,codec=utf8)')
    expect(byteLength).toBe(768 + 2 * 128 + 64)
  })

  test('works in the smallest ring', () => {
    const { ring, memory } = createBroadcast({ capacityBytes: 64 })
    const reader = new PlainReader(memory)
    const publisher = ring.publisher()
    expect([ring.maxRecordBytes, ring.maxMessageBytes, ring.capacityBytes]).toEqual([16, 16, 64])
    for (let at = 0; at < 50; at++) {
      publisher.publishSync(payload(at % 17, at))
      expect(reader.messages()).toEqual(numbered(BigInt(at), [at], at % 17))
    }
  })
})
