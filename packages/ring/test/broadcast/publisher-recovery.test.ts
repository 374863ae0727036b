import { planHeader } from '@isthmus/sync/internal'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { INTENT_OFFSET, WRITE_POSITION_OFFSET } from '../../src/broadcast/layout.js'
import { broadcastRing } from '../../src/index.js'
import { type BroadcastSetup, createBroadcast, PlainReader } from '../support/broadcast-memory.js'
import { payload } from '../support/ring-memory.js'

const OPTIONS = { capacityBytes: 512, gates: 2 }

/** A ring as a crash of the machine leaves it: no peer is attached, and `damage` makes what reached the disk. */
function recovered(damage: (setup: BroadcastSetup) => void, start = 0n) {
  const setup = createBroadcast(OPTIONS, start, 40n)
  const publisher = setup.ring.publisher()
  for (let seed = 0; seed < 8; seed++) publisher.tryPublish(payload(8, seed))
  publisher.publishSync(payload(250, 8))
  publisher.close()
  const before = setup.memory.writePosition
  damage(setup)
  broadcastRing(OPTIONS).recover?.(setup.region, planHeader(broadcastRing(OPTIONS)).rootByteOffset)
  return { ...setup, before }
}

/** From the oldest checkpoint on, as a subscriber reads it. */
function history({ memory }: BroadcastSetup) {
  const behind = memory.checkpoints
    .map((checkpoint) => (Number(memory.writePosition & 0xffffffffn) - checkpoint) | 0)
    .filter((bytes, at) => (memory.checkpoints[at] & 7) === 0 && bytes >= 0 && bytes <= memory.capacityBytes)
  return new PlainReader(memory, memory.writePosition - BigInt(Math.max(0, ...behind))).readAll()
}

const whole = [...Array(9).keys()].map((seed) => ({
  number: 40n + BigInt(seed),
  bytes: payload(seed < 8 ? 8 : 250, seed),
}))

describe('recover', () => {
  test.each([0n, 2n ** 30n - 64n, 2n ** 32n - 64n, 2n ** 61n - 200n])(
    'keeps what can be read, the position and the number, from %s on',
    (start) => {
      const setup = recovered(() => {}, start)
      expect(setup.memory.writePosition).toBe(setup.before)
      const found = history(setup)
      expect(found.length).toBeGreaterThan(1)
      expect(found).toEqual(whole.slice(-found.length))
      expect(setup.memory.next).toEqual({ number: 49n, isInside: false })
      const reader = new PlainReader(setup.memory)
      setup.ring.publisher().tryPublish(payload(8, 9))
      expect(reader.messages()).toEqual([{ number: 49n, bytes: payload(8, 9) }])
    },
  )

  test('drops what comes after a record that no publisher wrote, and goes on with the next number', () => {
    const setup = recovered(({ memory }) => {
      memory.words[memory.recordAt(4n * 24n).word] = 5_000
    })
    expect(history(setup)).toEqual(whole.slice(0, 4))
    expect(setup.memory.next).toEqual({ number: 44n, isInside: false })
    expect(setup.ring.publisher().tryPublish(payload(8))).toBe(true)
  })

  test('drops a record with another number', () => {
    const setup = recovered(({ memory }) => {
      memory.words[memory.recordAt(3n * 24n).word + 2] = 7
    })
    expect(history(setup)).toEqual(whole.slice(0, 3))
  })

  test('ends a message that breaks off', () => {
    const setup = recovered(({ memory }) => {
      // The second fragment of the large message did not reach the disk.
      const first = 8n * 24n
      memory.words[memory.recordAt(first + memory.recordAt(first).recordBytes).word + 1] = 0
    })
    expect(history(setup)).toEqual([...whole.slice(0, 8), { aborted: 48n }])
    expect(setup.memory.next).toEqual({ number: 48n, isInside: false })
  })

  test('frees the gates, and begins anew if there is no position', () => {
    const setup = recovered(({ memory }) => {
      memory.words[memory.gateWordOf(1)] = 0x40000081
      memory.words[memory.wordOf(WRITE_POSITION_OFFSET)] = 3
      memory.words[memory.wordOf(INTENT_OFFSET)] = 77
    })
    expect(setup.memory.writePosition).toBe(0n)
    expect(setup.ring.describe()).toMatchObject({ publishedMessages: 0, freeGates: 2 })
    expect(setup.ring.publisher().tryPublish(payload(8))).toBe(true)
  })

  test('of any words is a ring that works', () => {
    const damage = fc.array(fc.tuple(fc.nat({ max: 380 }), fc.integer()), { maxLength: 12 })
    fc.assert(
      fc.property(damage, fc.bigInt({ min: 0n, max: 2n ** 40n }), (words, start) => {
        const setup = recovered(({ memory }) => {
          for (const [word, value] of words) memory.words[memory.wordOf(128) + word] = value
        }, start & ~7n)
        const found = history(setup)
        expect(found).not.toContain('overrun')
        const { memory } = setup
        const reader = new PlainReader(memory)
        const publisher = setup.ring.publisher()
        const number = memory.next?.number
        expect(reader.readAll()).toEqual([])
        for (const byteLength of [8, 200, 256]) publisher.publishSync(payload(byteLength))
        expect(memory.next?.number).toBe(BigInt.asUintN(64, (number as bigint) + 3n))
      }),
      { numRuns: 150 },
    )
  })
})
