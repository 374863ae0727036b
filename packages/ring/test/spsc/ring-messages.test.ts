import { HeapRegion, PeerDiedError, struct } from '@isthmus/sync'
import { beforeEach, describe, expect, test } from 'vitest'
import { expectCode } from '../../../sync/test/support/expect-code.js'
import { spscRing } from '../../src/index.js'
import { RECORDS_OFFSET } from '../../src/spsc/layout.js'
import { payload } from '../support/ring-memory.js'
import { untilItThrows } from '../support/until-it-throws.js'

const layout = struct({
  before: spscRing({ capacityBytes: 64 }),
  orders: struct({ ring: spscRing({ capacityBytes: 64 }) }),
})
const subject = 'the ring "orders.ring" of a heap region'

let own: HeapRegion<ReturnType<typeof layout.attach>>
let mortal: typeof own
const ringOf = (region: typeof own) => region.root.orders.ring
const attach = (threadId: number) => HeapRegion.attach(own.handle, layout, { threadId })

beforeEach(() => {
  own = HeapRegion.create(layout)
  mortal = attach(4711)
})

/** The mortal dies and is swept; then other peers take its slot. */
function die(isSlotReused: boolean): void {
  const peer = mortal.peers.self
  own.declareDead(peer)
  if (isSlotReused) for (const threadId of [1, 2]) attach(threadId)
}

describe('messages of a ring', () => {
  test.each([false, true])(
    'the death of a producer names it, also if its slot has another holder by now (%s)',
    (isReused) => {
      const consumer = ringOf(own).consumer()
      const producer = ringOf(mortal).producer()
      producer.trySend(payload(5))
      // Polling the empty ring once while it lives is enough to know its name.
      expect([consumer.tryReceive()?.byteLength, consumer.tryReceive()]).toEqual([5, undefined])
      producer.trySend(payload(6))
      die(isReused)
      expect(consumer.tryReceive()?.byteLength).toBe(6)
      const error = expectCode('ERR_ISTHMUS_PEER_DIED', () => consumer.tryReceive())
      expect(error.message).toContain(
        `Receiving from ${subject}: its producer, process ${process.pid}, thread 4711, died`,
      )
      expect(error).toMatchObject({ pid: process.pid, threadId: 4711 })
    },
  )

  test('the death of a producer that this handle never saw alive: the message says that it is not known', () => {
    const consumer = ringOf(own).consumer()
    ringOf(mortal).producer()
    die(true)
    const error = expectCode('ERR_ISTHMUS_PEER_DIED', () => consumer.tryReceive())
    expect(error).toBeInstanceOf(PeerDiedError)
    expect(error.message).toContain('its producer (which process that was is no longer known) died')
    expect(error).toMatchObject({ pid: undefined, threadId: undefined })
    expect(error.message).not.toMatch(/process \d/)
  })

  test('a producer that died before this consumer came is named if it was there when the handle was made', () => {
    ringOf(mortal).producer().trySend(payload(5))
    const consumer = ringOf(own).consumer()
    die(true)
    consumer.tryReceive()
    expectCode('ERR_ISTHMUS_PEER_DIED', () => consumer.tryReceive())
    expect(() => consumer.tryReceive()).not.toThrow()
  })

  test.each([false, true])(
    'the death of a consumer names it, also if its slot has another holder by now (%s)',
    (isReused) => {
      const producer = ringOf(own).producer()
      ringOf(mortal).consumer()
      while (producer.trySend(payload(24)));
      die(isReused)
      const error = untilItThrows(() => producer.trySend(payload(24))) as PeerDiedError
      expect(error.message).toContain(
        `Sending to ${subject}: it is full, and its consumer, process ${process.pid}, thread 4711, died`,
      )
      expect(error).toMatchObject({ code: 'ERR_ISTHMUS_PEER_DIED', pid: process.pid, threadId: 4711 })
    },
  )

  test('a role that is taken, a closed handle, a wait for oneself and a wrong order name the ring', () => {
    const ring = ringOf(own)
    const producer = ring.producer()
    const consumer = ring.consumer()
    const expectSubject = (code: string, action: () => unknown) => {
      expect(expectCode(code, action).message).toContain(subject)
    }
    expectSubject('ERR_ISTHMUS_ROLE_TAKEN', () => ring.producer())
    expectSubject('ERR_ISTHMUS_ROLE_TAKEN', () => ring.consumer())
    expectSubject('EDEADLK', () => consumer.receiveSync())
    expectSubject('ERR_ISTHMUS_MESSAGE_TOO_LARGE', () => producer.trySend(payload(100)))
    expectSubject('ERR_ISTHMUS_MESSAGE_TOO_LARGE', () => producer.sendSync(payload(2), {}) && producer.tryClaim(1_000))
    expectSubject('ERR_ISTHMUS_CALL_ORDER', () => consumer.drain(() => void consumer.tryReceive()))
    producer.tryClaim(0)
    expectSubject('ERR_ISTHMUS_CALL_ORDER', () => producer.tryClaim(0))
    producer.abort()
    while (producer.trySend(payload(24)));
    expectSubject('EDEADLK', () => producer.sendSync(payload(24)))
    producer.close()
    consumer.close()
    expectSubject('ERR_ISTHMUS_CLOSED', () => producer.trySend(payload(1)))
    expectSubject('ERR_ISTHMUS_CLOSED', () => producer.commit())
    expectSubject('ERR_ISTHMUS_CLOSED', () => consumer.tryReceive())
  })

  test('corrupt memory and a message that breaks off name the ring', () => {
    const producer = ringOf(mortal).producer()
    const consumer = ringOf(own).consumer()
    producer.sendSync(payload(100), { timeoutMs: 0 })
    const incomplete = expectCode('ERR_ISTHMUS_MESSAGE_INCOMPLETE', () => {
      for (;;) consumer.tryReceive()
    })
    expect(incomplete.message).toContain(`Receiving a large message from ${subject}`)
    const byteOffset = producer.tryClaim(8)
    producer.words[byteOffset / 4 - 2] = 1000
    producer.commit()
    expect(byteOffset).toBeGreaterThan(RECORDS_OFFSET)
    expect(expectCode('ERR_ISTHMUS_CORRUPT', () => consumer.tryReceive()).message).toContain(`Using ${subject}`)
  })

  test('a ring that is the root of its region has no path', () => {
    const { root } = HeapRegion.create(spscRing({ capacityBytes: 64 }))
    const consumer = root.consumer()
    consumer.close()
    const { message } = expectCode('ERR_ISTHMUS_CLOSED', () => consumer.tryReceive())
    expect(message).toContain('the consumer of the ring of a heap region')
  })
})
