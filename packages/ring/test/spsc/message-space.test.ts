import { getEventListeners } from 'node:events'
import { type HeapRegion, PeerDiedError } from '@isthmus/sync'
import { pendingWaits } from '@isthmus/sync/internal'
import { beforeEach, describe, expect, test } from 'vitest'
import { expectCode, expectRejection } from '../../../sync/test/support/expect-code.js'
import { withoutSafetyNet } from '../../../sync/test/support/safety-net.js'
import { soon, stateOf, until } from '../../../sync/test/support/waiting.js'
import type { Consumer, MessageSpace, Producer, SpscRing } from '../../src/index.js'
import { createRing, endHold, payload, type RingSetup, receiveAll } from '../support/ring-memory.js'
import { untilItThrows } from '../support/until-it-throws.js'

withoutSafetyNet()

let setup: RingSetup
let producer: Producer
let consumer: Consumer
let consumerRegion: HeapRegion<SpscRing>
let space: MessageSpace

/** A full ring of 64 bytes. */
beforeEach(() => {
  setup = createRing({ capacityBytes: 64 })
  producer = setup.ring.producer()
  consumerRegion = setup.attach()
  consumer = consumerRegion.root.consumer()
  space = producer.spaceFor(8)
  expect(producer.trySendBatch([1, 2, 3, 4].map((seed) => payload(8, seed)))).toBe(4)
})

const isWaiting = () => setup.ring.describe().producer.isWaiting

describe('MessageSpace.wait', () => {
  test('MessageSpace.wait resolves at once if there is space, again and again', async () => {
    receiveAll(consumer)
    expect([await space.wait(), await space.wait({ timeoutMs: 0 }), await space.wait({})]).toEqual([true, true, true])
    expect(producer.trySend(payload(8))).toBe(true)
  })

  test('MessageSpace.wait resolves when the consumer returns enough', async () => {
    const large = producer.spaceFor(24)
    const waiting = [space.wait(), large.wait()]
    await until(isWaiting)
    consumer.tryReceive()
    consumer.acknowledge()
    expect([await soon(waiting[0]), await stateOf(waiting[1])]).toEqual([true, 'pending'])
    receiveAll(consumer)
    expect(await soon(waiting[1])).toBe(true)
    expect(isWaiting()).toBe(false)
    expect(producer.trySend(payload(24))).toBe(true)
  })

  test.each([0, 5])('MessageSpace.wait resolves to false after %s ms', async (timeoutMs) => {
    expect(await soon(space.wait({ timeoutMs }))).toBe(false)
    expect(isWaiting()).toBe(false)
  })

  test('MessageSpace.wait rejects when its signal aborts, and leaves nothing behind', async () => {
    const controller = new AbortController()
    const waiting = space.wait({ signal: controller.signal })
    waiting.catch(() => {})
    await until(isWaiting)
    controller.abort()
    await expectRejection('ABORT_ERR', waiting)
    await expectRejection('ABORT_ERR', space.wait({ signal: controller.signal }))
    expect([isWaiting(), getEventListeners(controller.signal, 'abort')]).toEqual([false, []])
  })

  test('MessageSpace.wait refuses options that are none', async () => {
    await expectRejection('ERR_ISTHMUS_INVALID_ARGUMENT', space.wait({ timeoutMs: -1 }))
    // @ts-expect-error a string is no signal
    await expectRejection('ERR_ISTHMUS_INVALID_ARGUMENT', space.wait({ signal: 'stop' }))
  })

  test.each(['producer', 'region'])('MessageSpace.wait rejects when the %s is closed, and afterwards', async (what) => {
    const waiting = space.wait()
    waiting.catch(() => {})
    await until(isWaiting)
    if (what === 'producer') producer.close()
    else setup.region.close()
    await expectRejection('ERR_ISTHMUS_CLOSED', soon(waiting))
    await expectRejection('ERR_ISTHMUS_CLOSED', space.wait())
    expectCode('ERR_ISTHMUS_CLOSED', () => space.waitSync())
  })

  test('MessageSpace.wait is told of the death of the consumer, once; then it waits for a successor', async () => {
    const waiting = space.wait()
    waiting.catch(() => {})
    await until(isWaiting)
    setup.region.declareDead(consumerRegion.peers.self)
    await expect(soon(waiting)).rejects.toBeInstanceOf(PeerDiedError)
    const again = space.wait()
    expect(await stateOf(again)).toBe('pending')
    receiveAll(setup.attach().root.consumer())
    expect(await soon(again)).toBe(true)
  })

  test('MessageSpace.wait finds a death that was not declared, when it reaps the dead', async () => {
    const waiting = space.wait()
    waiting.catch(() => {})
    await until(isWaiting)
    endHold(consumerRegion, consumerRegion.peers.self)
    pendingWaits.reapDead()
    await expect(soon(waiting)).rejects.toBeInstanceOf(PeerDiedError)
  })

  test('MessageSpace.wait: the death of the consumer is told to the send that has its turn', async () => {
    const sending = producer.send(payload(8, 5))
    const waiting = space.wait()
    sending.catch(() => {})
    await until(isWaiting)
    setup.region.declareDead(consumerRegion.peers.self)
    await expect(soon(sending)).rejects.toBeInstanceOf(PeerDiedError)
    expect(await stateOf(waiting)).toBe('pending')
    receiveAll(setup.attach().root.consumer())
    expect(await soon(waiting)).toBe(true)
  })

  test('MessageSpace.wait waits while a send has its turn, though there is space', async () => {
    const sending = producer.send(payload(24))
    const waiting = space.wait()
    await until(isWaiting)
    consumer.tryReceive()
    consumer.acknowledge()
    expect([await stateOf(waiting), await stateOf(sending)]).toEqual(['pending', 'pending'])
    receiveAll(consumer)
    expect(await soon(sending)).toBe(true)
    expect(await soon(waiting)).toBe(true)
  })

  test('MessageSpace.wait publishes what is corked, and leaves an open claim open', async () => {
    receiveAll(consumer)
    producer.cork()
    producer.trySend(payload(8, 1))
    const byteOffset = producer.tryClaim(8)
    const waiting = space.wait()
    expect(receiveAll(consumer)).toEqual([payload(8, 1)])
    expect(await soon(waiting)).toBe(true)
    producer.bytes.set(payload(8, 2), byteOffset)
    producer.commit()
    producer.uncork()
    expect(receiveAll(consumer)).toEqual([payload(8, 2)])
  })

  test('MessageSpace.wait in a corrupt ring rejects', async () => {
    setup.memory.readPosition = 3
    await expectRejection('ERR_ISTHMUS_CORRUPT', space.wait())
  })
})

describe('MessageSpace.waitSync', () => {
  test('MessageSpace.waitSync returns true if there is space, and false after its time', () => {
    expect([space.waitSync({ timeoutMs: 0 }), space.waitSync({ timeoutMs: 2 })]).toEqual([false, false])
    receiveAll(consumer)
    expect([space.waitSync(), space.waitSync({ timeoutMs: 0 })]).toEqual([true, true])
    expectCode('ERR_ISTHMUS_INVALID_ARGUMENT', () => space.waitSync({ timeoutMs: Number.NaN }))
  })

  test('MessageSpace.waitSync refuses to wait for a consumer, or a send, of this very thread', async () => {
    const sending = producer.send(payload(8))
    expectCode('EDEADLK', () => space.waitSync({ timeoutMs: 1_000 }))
    receiveAll(consumer)
    await soon(sending)
    const own = createRing({ capacityBytes: 64 })
    const sender = own.ring.producer()
    own.ring.consumer()
    while (sender.trySend(payload(8)));
    expectCode('EDEADLK', () => sender.spaceFor(8).waitSync({ timeoutMs: 1_000 }))
  })

  test('MessageSpace.waitSync is told of a declared death at once, though no check is due', () => {
    // For a caller that polls so often, not each call checks.
    for (let poll = 0; poll < 20; poll++) expect(space.waitSync({ timeoutMs: 0 })).toBe(false)
    setup.region.declareDead(consumerRegion.peers.self)
    expectCode('ERR_ISTHMUS_PEER_DIED', () => space.waitSync({ timeoutMs: 0 }))
  })

  test.each([{ timeoutMs: 0 }, { timeoutMs: 1_000 }])(
    'MessageSpace.waitSync is told of a death, with %j',
    (options) => {
      endHold(consumerRegion, consumerRegion.peers.self)
      expect(untilItThrows(() => space.waitSync(options))).toBeInstanceOf(PeerDiedError)
      expect(space.waitSync({ timeoutMs: 1 })).toBe(false)
    },
  )
})
