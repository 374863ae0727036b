import { HeapRegion, IsthmusError, type PeerId } from '@isthmus/sync'
import { planHeader } from '@isthmus/sync/internal'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type Consumer, spscRing } from '../../src/index.js'
import { ABORT, DATA, FIRST, LAST, MIDDLE, PADDING } from '../../src/record/layout.js'
import { createRing, payload, type RingSetup, receiveAll } from '../support/ring-memory.js'

const CAPACITY = 256

/** A ring as a crash of the machine leaves it: no peer is attached, and `damage` makes what reached the disk. */
function recovered(damage: (setup: RingSetup) => void, startPosition = 0) {
  const layout = spscRing({ capacityBytes: CAPACITY })
  const setup = createRing({ capacityBytes: CAPACITY }, startPosition)
  damage(setup)
  layout.recover?.(setup.region, planHeader(layout).rootByteOffset)
  return setup
}

/** What the first consumer after the recovery sees: messages, and the codes of errors. */
function eventsOf(consumer: Consumer): unknown[] {
  const events: unknown[] = []
  for (let calls = 0; calls < 5; calls++) {
    try {
      const message = consumer.tryReceive()
      if (message === undefined || message === null) return events
      events.push(message)
    } catch (error) {
      events.push(error instanceof IsthmusError ? error.code : error)
    }
  }
  return events
}

const threeMessages = ({ memory }: RingSetup) => {
  for (const seed of [1, 2, 3]) memory.append({ kind: DATA, payload: payload(16, seed) })
}

describe('recover', () => {
  test.each([0, -24, 2 ** 31 - 24, CAPACITY - 24])(
    'recover of a ring that is whole, from position %s, changes nothing',
    (start) => {
      const { ring, memory } = recovered(threeMessages, start)
      expect(memory.usedBytes).toBe(72)
      expect(receiveAll(ring.consumer())).toEqual([1, 2, 3].map((seed) => payload(16, seed)))
    },
  )

  test('recover of an empty ring changes nothing', () => {
    const { memory } = recovered(() => {}, 40)
    expect([memory.writePosition, memory.readPosition]).toEqual([40, 40])
  })

  test('recover of a full ring changes nothing', () => {
    const { memory } = recovered(({ memory: full }) => {
      for (let count = 0; count < CAPACITY / 8; count++) full.append({ kind: DATA })
    }, 8)
    expect(memory.usedBytes).toBe(CAPACITY)
  })

  test('recover keeps padding, and the records that follow it at the beginning of the ring', () => {
    const { ring } = recovered(({ memory }) => {
      memory.append({ kind: PADDING, payload: payload(8) })
      memory.append({ kind: DATA, payload: payload(5) })
    }, CAPACITY - 16)
    expect(receiveAll(ring.consumer())).toEqual([payload(5)])
  })

  test.each([
    ['a length beyond what was published', 0, 48],
    ['a negative length', 0, -1],
    ['a length beyond the ring', 0, CAPACITY],
    ['a length whose record would wrap around 32 bits', 0, 2 ** 31 - 1],
    ['no kind: a page of zeros', 1, 0],
    ['an unknown kind', 1, 7],
  ])('recover keeps what stands before a record with %s, and drops the rest', (_what, word, value) => {
    const { ring, memory } = recovered((setup) => {
      threeMessages(setup)
      setup.memory.setWordAt(24, word, value)
    })
    expect([memory.readPosition, memory.writePosition]).toEqual([0, 24])
    const consumer = ring.consumer()
    expect(receiveAll(consumer)).toEqual([payload(16, 1)])
    ring.producer().trySend(payload(7))
    expect(consumer.tryReceive()).toEqual(payload(7))
  })

  test('recover drops a record that crosses the end of the ring', () => {
    const { memory } = recovered(({ memory: damaged }) => {
      for (const seed of [1, 2]) damaged.append({ kind: DATA, payload: payload(8, seed) })
      damaged.setWordAt(CAPACITY - 16, 0, 16)
    }, CAPACITY - 16)
    expect(memory.usedBytes).toBe(0)
  })

  test.each([
    [CAPACITY + 8, 0],
    [-8, 0],
    [4, 0],
    [8, 4],
  ])('recover of positions %s and %s that cannot be starts anew', (writePosition, readPosition) => {
    const { ring, memory } = recovered(({ memory: damaged }) => {
      damaged.writePosition = writePosition
      damaged.readPosition = readPosition
    })
    expect([memory.writePosition, memory.readPosition]).toEqual([0, 0])
    const consumer = ring.consumer()
    ring.producer().trySend(payload(7))
    expect(consumer.tryReceive()).toEqual(payload(7))
  })

  test('recover twice is recover once', () => {
    const layout = spscRing({ capacityBytes: CAPACITY })
    const { region, memory } = recovered((setup) => {
      threeMessages(setup)
      setup.memory.setWordAt(24, 1, 0)
    })
    layout.recover?.(region, planHeader(layout).rootByteOffset)
    expect([memory.readPosition, memory.writePosition]).toEqual([0, 24])
  })
})

describe('recover of a message in fragments that breaks off', () => {
  const brokenOff = ({ memory }: RingSetup) => {
    memory.appendFirst(payload(16), 48)
    memory.append({ kind: MIDDLE, messageId: 1, payload: payload(16) })
    memory.append({ kind: LAST, messageId: 1, payload: payload(16) })
    memory.setWordAt(32, 1, 0)
  }

  test('the successor of a producer that died publishes an ABORT', () => {
    const { ring } = recovered((setup) => {
      const gone = setup.attach()
      gone.root.producer()
      brokenOff(setup)
      setup.region.declareDead(gone.peers.self)
    })
    ring.producer().trySend(payload(7))
    expect(eventsOf(ring.consumer())).toEqual(['ERR_ISTHMUS_MESSAGE_INCOMPLETE', payload(7)])
  })

  test('the successor of a producer that closed publishes an ABORT', () => {
    const { ring } = recovered((setup) => {
      setup.ring.producer().close()
      brokenOff(setup)
    })
    ring.producer().trySend(payload(7))
    expect(eventsOf(ring.consumer())).toEqual(['ERR_ISTHMUS_MESSAGE_INCOMPLETE', payload(7)])
  })

  test('a consumer that comes before the next producer is told that the message broke off', () => {
    const { ring } = recovered((setup) => {
      setup.ring.producer().close()
      brokenOff(setup)
    })
    expect(eventsOf(ring.consumer())).toEqual(['ERR_ISTHMUS_MESSAGE_INCOMPLETE'])
  })

  test('an old record after it, from another lap, is not taken for its rest', () => {
    const { ring } = recovered((setup) => {
      const gone = setup.attach()
      gone.root.producer()
      setup.memory.append({ kind: DATA, payload: payload(3) })
      setup.memory.appendFirst(payload(16), 48)
      setup.memory.append({ kind: DATA, payload: payload(8, 9) })
      setup.region.declareDead(gone.peers.self)
    })
    ring.producer().trySend(payload(7))
    expect(eventsOf(ring.consumer())).not.toContain('ERR_ISTHMUS_CORRUPT')
  })
})

describe('recover: properties', () => {
  const record = fc.record({
    kind: fc.constantFrom(DATA, PADDING, FIRST, MIDDLE, LAST, ABORT),
    byteLength: fc.nat(24),
  })
  const damage = fc.record({ word: fc.nat(CAPACITY / 4 - 1), value: fc.integer() })

  test('recover keeps positions valid and records whole, whatever the memory holds', () => {
    fc.assert(
      fc.property(
        fc.array(record, { maxLength: 7 }),
        fc.array(damage, { maxLength: 6 }),
        fc.constantFrom(0, -64, 2 ** 31 - 64),
        (records, damages, start) => {
          const { memory } = recovered(({ memory: damaged }) => {
            for (const { kind, byteLength } of records) damaged.append({ kind, payload: payload(byteLength) })
            for (const { word, value } of damages) damaged.setWordAt(0, word, value)
          }, start)
          expect(memory.usedBytes).toBeGreaterThanOrEqual(0)
          expect(memory.usedBytes).toBeLessThanOrEqual(CAPACITY)
          let position = memory.readPosition
          while (position !== memory.writePosition) {
            const byteLength = memory.wordAt(position, 0)
            expect(byteLength).toBeGreaterThanOrEqual(0)
            expect((position & (CAPACITY - 1)) + 8 + byteLength).toBeLessThanOrEqual(CAPACITY)
            position = (position + 8 + Math.ceil(byteLength / 8) * 8) | 0
            expect((memory.writePosition - position) | 0).toBeGreaterThanOrEqual(0)
          }
        },
      ),
      { numRuns: 300 },
    )
  })
})

test('sweep turns the roles of a dead peer into DIED, and is idempotent', () => {
  const layout = spscRing({ capacityBytes: CAPACITY })
  const region = HeapRegion.create(layout)
  const gone = HeapRegion.attach(region.handle, layout)
  gone.root.producer()
  gone.root.consumer()
  const { rootByteOffset } = planHeader(layout)
  const peer: PeerId = gone.peers.self
  layout.sweep(region, rootByteOffset, peer)
  layout.sweep(region, rootByteOffset, peer)
  region.root.producer().trySend(payload(1))
  expect(region.root.consumer().tryReceive()).toEqual(payload(1))
})
