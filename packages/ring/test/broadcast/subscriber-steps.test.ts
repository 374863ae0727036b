import { afterEach, describe, expect, it } from 'vitest'
import { expectCode, expectRejection } from '../../../sync/test/support/expect-code.js'
import { ACTIVE, INTENT_OFFSET, stateOfGate, WRITE_POSITION_OFFSET } from '../../src/broadcast/layout.js'
import { type BroadcastRingOptions, type IncompleteMessageError, OverrunError } from '../../src/index.js'
import { afterLoad } from '../support/atomics-hook.js'
import { createBroadcast } from '../support/broadcast-memory.js'

const { store } = Atomics
afterEach(() => Object.assign(Atomics, { store }))

function ringOf(options: Partial<BroadcastRingOptions> = {}, start = 0n) {
  const { memory, attach } = createBroadcast({ capacityBytes: 256, gates: 1, ...options }, start)
  return { memory, ring: attach().root, publisher: attach().root.publisher() }
}

/** A message with a record of 40 bytes, all of whose bytes are its number. */
function messageOf(number: number, byteLength = 24): Uint8Array {
  return new Uint8Array(byteLength).fill(number)
}

function publishTo(publisher: { tryPublish(message: Uint8Array): boolean }, from: number, to: number): number {
  let number = from
  while (number <= to && publisher.tryPublish(messageOf(number))) number++
  return number - from
}

describe('A subscriber that joins', () => {
  it('leaves a position in its cursor at every moment: a publisher goes on beside one that is stopped anywhere', () => {
    const { memory, ring, publisher } = ringOf({}, 2n ** 32n - 128n)
    const cursor = memory.wordOf(memory.cursorOffsetOf(0))
    let stores = 0
    Atomics.store = ((array: Int32Array, at: number, value: number) => {
      const stored = store(array, at, value)
      const byteOffset = array.byteOffset + at * 4 - memory.words.byteOffset
      if (array.buffer.byteLength === memory.words.buffer.byteLength && (byteOffset >>> 2) >>> 1 === cursor >>> 1) {
        stores++
        publishTo(publisher, stores, stores + 8)
      }
      return stored
    }) as typeof Atomics.store
    const subscriber = ring.subscriber({ gate: true })
    Object.assign(Atomics, { store })
    expect(stores).toBeGreaterThan(3)
    expect(subscriber.isGating).toBe(true)
    const left = publishTo(publisher, 100, 120)
    for (let number = 0; number < left; number++) expect(subscriber.tryReceive()).toBeInstanceOf(Uint8Array)
    expect(subscriber.lost).toBe(0)
  })

  it('begins anew if more than an era went by before it was active', () => {
    const { memory, ring, publisher } = ringOf({}, 2n ** 62n - 512n)
    const before = publisher.gates()
    afterLoad(memory.words, memory.wordOf(WRITE_POSITION_OFFSET), 1, () => {
      // As if 5 GiB had gone by.
      memory.startAt(2n ** 62n - 512n + 5n * 2n ** 30n - 2n ** 62n, 7n)
    })
    const subscriber = ring.subscriber({ gate: true })
    expect(before).toEqual([])
    expect(stateOfGate(memory.words[memory.gateWordOf(0)])).toBe(ACTIVE)
    expect(memory.positionAt(memory.cursorOffsetOf(0))).toBe(memory.writePosition)
    subscriber.close()
  })
})

describe('A subscriber that takes a gate before it has caught up', () => {
  it.each(['tryReceive', 'drain'] as const)('%s: returns its space, and no publisher waits for it', (way) => {
    const { ring, publisher } = ringOf({ capacityBytes: 128 })
    const subscriber = ring.subscriber()
    expect(publishTo(publisher, 1, 1)).toBe(1)
    expect(subscriber.tryTakeGate()).toBe(true)
    // 40 + 80 bytes: the next record, of 56, does not fit before the publisher comes round to the gate's position.
    const published = 1 + publishTo(publisher, 2, 3)
    expect(publisher.tryPublish(messageOf(4, 40))).toBe(false)
    const seen: number[] = []
    for (let number = 1; number <= published; number++) {
      if (way === 'drain') subscriber.drain((bytes, at) => seen.push(bytes[at]), { limit: 1 })
      else seen.push((subscriber.tryReceive() as Uint8Array)[0])
    }
    if (way === 'tryReceive') expect(subscriber.tryReceive()).toBeUndefined()
    else subscriber.acknowledge()
    expect(seen).toEqual(Array.from({ length: published }, (_, at) => at + 1))
    expect(publisher.tryPublish(messageOf(4, 40))).toBe(true)
  })
})

describe('A subscriber without a gate', () => {
  function receiveAll(
    subscriber: { tryReceive(): Uint8Array | undefined | null; readonly lost: number },
    published: number,
  ) {
    const first = subscriber.tryReceive()
    expect(first).toEqual(messageOf(subscriber.lost))
    let received = 1
    while (subscriber.tryReceive()) received++
    expect(received + subscriber.lost).toBe(published)
  }

  it('gives out no copy that it could not validate, also later', () => {
    const { memory, ring, publisher } = ringOf({ capacityBytes: 512 })
    const subscriber = ring.subscriber()
    publisher.tryPublish(messageOf(0, 100))
    const { word } = memory.recordAt(0n)
    // As if the publisher had come round to its bytes, and at something that makes the validation fail.
    memory.words[word + 5] = -1
    memory.words[memory.wordOf(INTENT_OFFSET)] = 3
    expectCode('ERR_ISTHMUS_CORRUPT', () => subscriber.tryReceive())
    publishTo(publisher, 1, 40)
    receiveAll(subscriber, 41)
  })

  it.each(['message', 'chunks'] as const)(
    'gives out no fragment that was overwritten while it was copied: %s',
    (way) => {
      let lost = 0
      // Each fragment is validated before it is copied, and after that: the publisher comes round between any two of these steps.
      for (let step = 1; step <= 10; step++) {
        const { memory, ring, publisher } = ringOf({ capacityBytes: 4096 })
        const subscriber = ring.subscriber()
        publisher.publishSync(messageOf(1, 2040))
        afterLoad(memory.words, memory.wordOf(INTENT_OFFSET), step, () => {
          for (let number = 2; number < 12; number++) publisher.tryPublish(messageOf(number, 1000))
        })
        const seen: Uint8Array[] = []
        try {
          if (way === 'message') seen.push(subscriber.tryReceive() as Uint8Array)
          else
            for (let chunk = subscriber.tryReceiveChunk(); chunk; chunk = subscriber.tryReceiveChunk())
              seen.push(chunk.bytes)
        } catch (error) {
          expect(error).toBeInstanceOf(OverrunError)
        }
        for (const bytes of seen) expect(bytes).toEqual(messageOf(bytes[0], bytes.length))
        lost += subscriber.lost
      }
      expect(lost).toBeGreaterThan(5)
    },
  )

  it.each(['drain', 'forEachInPlace'] as const)(
    '%s: a message that was overwritten while its callback threw is lost, and told',
    async (way) => {
      const { ring, publisher } = ringOf()
      const subscriber = ring.subscriber()
      publishTo(publisher, 0, 2)
      const failing = () => {
        publishTo(publisher, 3, 40)
        throw new Error('of the callback')
      }
      if (way === 'drain') expect(() => subscriber.drain(failing)).toThrow('of the callback')
      else await expect(subscriber.forEachInPlace(failing)).rejects.toThrow('of the callback')
      expect(() => subscriber.tryReceive()).toThrow(OverrunError)
      receiveAll(subscriber, 41)
    },
  )

  it.each([1, 2, 3, 4])('is told the end of a publisher of which it has a message (published at load %d)', (nth) => {
    const { memory, ring, publisher } = ringOf()
    afterLoad(memory.words, memory.wordOf(WRITE_POSITION_OFFSET), nth, () => {
      publisher.tryPublish(messageOf(1))
      publisher.close()
    })
    const subscriber = ring.subscriber()
    const first = subscriber.tryReceive()
    if (first instanceof Uint8Array) expect(subscriber.tryReceive()).toBeNull()
    else expect(first).toBe(nth > 2 ? null : undefined)
  })

  it('does not count as lost what it drops for another reason, after a message that was lost and given up', async () => {
    const { ring, publisher } = ringOf({ capacityBytes: 512, maxMessageBytes: 4096 })
    const gating = ring.subscriber({ gate: true })
    const subscriber = ring.subscriber()
    const ending = new AbortController()
    const aborted = publisher.publish(messageOf(1, 4000), { signal: ending.signal })
    for (let chunks = 0; chunks < 20; chunks++) await gating.receiveChunk()
    expect(subscriber.tryReceive()).toBeUndefined()
    ending.abort()
    await expect(aborted).rejects.toThrow()
    const untilItEnds = async () => {
      for (;;) await gating.receiveChunk()
    }
    await expectRejection('ERR_ISTHMUS_MESSAGE_INCOMPLETE', untilItEnds())
    expect(subscriber.tryReceive()).toBeUndefined()
    const into = new Uint8Array(4096)
    const whole = publisher.publish(messageOf(2, 1000))
    await gating.receiveChunk()
    expect(subscriber.tryReceive({ into })).toBeUndefined()
    expect(into[0]).toBe(2)
    structuredClone(into.buffer, { transfer: [into.buffer] })
    let isWhole = false
    whole.then(() => {
      isWhole = true
    })
    const reasons: unknown[] = []
    while (!isWhole) {
      await gating.receiveChunk({ timeoutMs: 1 })
      try {
        expect(subscriber.tryReceive()).toBeUndefined()
      } catch (error) {
        reasons.push((error as IncompleteMessageError).reason)
      }
    }
    expect(subscriber.tryReceive()).toBeUndefined()
    expect(reasons).toEqual(['array-lost'])
    expect(publisher.tryPublish(messageOf(3))).toBe(true)
    expect(subscriber.tryReceive()).toEqual(messageOf(3))
    expect(subscriber.lost).toBe(0)
  })
})
