import { HeapRegion } from '@isthmus/sync'
import { describe, expect, it } from 'vitest'
import { expectCode, expectRejection } from '../../../sync/test/support/expect-code.js'
import { soon, stateOf, turns } from '../../../sync/test/support/waiting.js'
import { type Codec, json, type MpmcQueue, mpmcQueue, utf8 } from '../../src/index.js'
import { createQueue } from '../support/queue-memory.js'
import { expectSameMessages, numbered, payload, receiveAll } from '../support/ring-memory.js'

const DELIVERIES = ['at-most-once', 'at-least-once'] as const
const OPTIONS = { blocks: 4, blockBytes: 64 }

describe.each(DELIVERIES)('Messages, %s', (delivery) => {
  const options = { ...OPTIONS, delivery }

  it.each([0, 1, 7, 8, 63, 64])('of %i bytes arrive as private copies', (byteLength) => {
    const { queue, memory } = createQueue(options)
    const message = payload(byteLength)
    const receiver = queue.receiver()
    queue.sender().trySend(message)
    const copy = receiver.tryReceive() as Uint8Array
    expect(copy).toEqual(message)
    expect(receiver.tryReceive()).toBeUndefined()
    memory.words.fill(-1, memory.cellIndex(0) + 8, memory.cellIndex(1))
    expect(copy).toEqual(message)
    expect(memory.allFree).toBe(true)
  })

  it.each([100, 300, 4200])('of %i bytes arrive in larger blocks', (byteLength) => {
    const { queue } = createQueue({ ...options, blockBytes: 8192 })
    const [first, second] = [payload(byteLength), payload(byteLength, 2)]
    queue.sender().trySend(first)
    queue.sender().trySend(second)
    expectSameMessages(receiveAll(queue.receiver()), [first, second])
  })

  it('are shown in place, and acknowledged when the callback returns', () => {
    const { queue, memory } = createQueue(options)
    const sender = queue.sender()
    const receiver = queue.receiver()
    const messages = numbered(1, 5)
    expect(sender.trySendBatch(messages)).toBe(5)
    sender.trySend(payload(64))
    const seen: Uint8Array[] = []
    const see = (bytes: Uint8Array, from: number, length: number) => seen.push(bytes.slice(from, from + length))
    expect(receiver.drain(see, { limit: 2 })).toBe(2)
    expect(receiver.tryReceive()).toEqual(messages[2])
    expect(receiver.drain(see)).toBe(3)
    expect(seen).toEqual([messages[0], messages[1], messages[3], messages[4], payload(64)])
    expect(memory.allFree).toBe(true)
    expect(receiver.drain(see)).toBe(0)
  })

  it('go on after a callback that throws; other calls are refused within', () => {
    const { queue, memory } = createQueue(options)
    const receiver = queue.receiver()
    const messages = numbered(1, 4)
    queue.sender().trySendBatch(messages.slice(0, 3))
    queue.sender().trySend(messages[3])
    for (let round = 0; round < 2; round++) {
      expect(() =>
        receiver.drain(() => {
          throw new Error('mine')
        }),
      ).toThrow('mine')
    }
    receiver.drain(
      () => {
        for (const call of [
          () => receiver.tryReceive(),
          () => receiver.acknowledge(),
          () => receiver.drain(() => {}),
        ]) {
          expectCode('ERR_ISTHMUS_CALL_ORDER', call)
        }
      },
      { limit: 1 },
    )
    expect(receiver.tryReceive()).toEqual(messages[3])
    receiver.acknowledge()
    expect(memory.allFree).toBe(true)
  })

  it('end a drain that closes its receiver, and the rest goes to another one', () => {
    const { queue, memory } = createQueue(options)
    const receiver = queue.receiver()
    const messages = numbered(1, 3)
    queue.sender().trySendBatch(messages)
    expect(receiver.drain(() => receiver.close())).toBe(1)
    expectCode('ERR_ISTHMUS_CLOSED', () => receiver.drain(() => {}))
    const other = queue.receiver()
    expect(receiveAll(other)).toEqual(messages.slice(1))
    expect(memory.allFree).toBe(true)
  })

  it('come in batches of at most so many, across blocks', () => {
    const { queue, memory } = createQueue(options)
    const sender = queue.sender()
    const receiver = queue.receiver()
    const messages = numbered(1, 10)
    expect(sender.trySendBatch(messages)).toBe(10)
    expect(receiver.tryReceiveBatch(1)).toEqual(messages.slice(0, 1))
    expect(receiver.tryReceiveBatch(6)).toEqual(messages.slice(1, 7))
    expect(receiver.receiveBatchSync({ maxMessages: 3 })).toEqual(messages.slice(7))
    expect(receiver.tryReceiveBatch()).toBeUndefined()
    expect(receiver.receiveBatchSync({ timeoutMs: 0 })).toBeUndefined()
    expect(memory.allFree).toBe(true)
  })

  it('come one by one, in batches, and in callbacks on the event loop', async () => {
    const { queue, memory } = createQueue({ ...options, codec: utf8 })
    const sender = queue.sender()
    const send = () => sender.trySendBatch(['a', 'b', 'c'])
    const receiver = queue.receiver()
    const got: unknown[] = []
    send()
    queue.end()
    for await (const text of receiver) got.push(text)
    for (const way of [
      () => receiver.forEach((text) => void got.push(text)),
      () => receiver.forEach(async (text) => got.push(await text)),
      () =>
        receiver.forEachInPlace((bytes, from, length) =>
          got.push(String.fromCharCode(...bytes.slice(from, from + length))),
        ),
      () => receiver.forEachInPlace(async (bytes, from) => got.push(await String.fromCharCode(bytes[from]))),
    ]) {
      queue.reopen()
      send()
      queue.end()
      await soon(way())
    }
    queue.reopen()
    send()
    queue.end()
    for await (const batch of receiver.batches({ maxMessages: 2 })) got.push(...batch)
    queue.reopen()
    send()
    queue.end()
    for (const text of receiver) got.push(text)
    expect(got.join('')).toBe('abc'.repeat(7))
    expect(memory.allFree).toBe(true)
  })

  it('are not lost by a loop that is left, or by an iteration that is ended', async () => {
    const { queue } = createQueue(options)
    const sender = queue.sender()
    const receiver = queue.receiver()
    const messages = numbered(1, 4)
    sender.trySendBatch(messages.slice(0, 3))
    for (const message of receiver) {
      expect(message).toEqual(messages[0])
      break
    }
    for await (const message of receiver) {
      expect(message).toEqual(messages[1])
      break
    }
    const iterator = receiver.messages()
    expect((await iterator.next()).value).toEqual(messages[2])
    const pending = iterator.next()
    await turns()
    await iterator.return()
    expect(await soon(pending)).toEqual({ done: true, value: undefined })
    sender.trySend(messages[3])
    expect(receiver.tryReceive()).toEqual(messages[3])
  })

  it('of which the codec refuses one: the others of a batch come, and the call that begins with it throws', () => {
    const { queue } = createQueue({ ...options, codec: json<number>() })
    const receiver = queue.receiver()
    queue.sender().trySendBatch([1, 2])
    sendRaw(queue, Uint8Array.of(0x7b))
    queue.sender().trySend(3)
    expect(receiver.tryReceiveBatch()).toEqual([1, 2])
    expect(() => receiver.tryReceiveBatch()).toThrow(SyntaxError)
    expect(receiver.tryReceiveBatch()).toEqual([3])
  })

  it('above the size of a block are refused, and the others of a batch are sent', async () => {
    const { queue, memory } = createQueue(options)
    const sender = queue.sender()
    const large = payload(65)
    for (const call of [
      () => sender.trySend(large),
      () => sender.sendSync(large),
      () => sender.trySendBatch([large]),
    ]) {
      expectCode('ERR_ISTHMUS_MESSAGE_TOO_LARGE', call)
    }
    await expectRejection('ERR_ISTHMUS_MESSAGE_TOO_LARGE', sender.send(large))
    const [first, second] = numbered(1, 2)
    expect(sender.trySendBatch([first, large, second])).toBe(1)
    await expect(sender.sendBatch([second, large])).rejects.toMatchObject({
      code: 'ERR_ISTHMUS_MESSAGE_TOO_LARGE',
      sent: 1,
    })
    expect(receiveAll(queue.receiver())).toEqual([first, second])
    expect(memory.allFree).toBe(true)
  })

  it('of mixed lengths keep their order in a batch, whether they share a block or not', () => {
    const { queue } = createQueue({ ...options, blocks: 16 })
    const messages = [8, 60, 0, 64, 1, 2, 57, 56, 3].map((byteLength, at) => payload(byteLength, at))
    expect(queue.sender().trySendBatch(messages)).toBe(messages.length)
    expect(receiveAll(queue.receiver())).toEqual(messages)
  })
})

describe('Packing', () => {
  it('holds messages back between cork and uncork, and pushes blocks that are full', () => {
    const { queue } = createQueue({ ...OPTIONS, packLimit: 3 })
    const sender = queue.sender()
    const receiver = queue.receiver()
    const messages = numbered(1, 5)
    sender.cork()
    sender.cork()
    for (const message of messages) sender.trySend(message)
    sender.uncork()
    expect(receiveAll(receiver)).toEqual(messages.slice(0, 3))
    sender.uncork()
    expect(receiveAll(receiver)).toEqual(messages.slice(3))
    expectCode('ERR_ISTHMUS_CALL_ORDER', () => sender.uncork())
  })

  it('pushes what is held back when the sender or its region is closed, and before a wait', async () => {
    const { queue, attach } = createQueue({ ...OPTIONS, blocks: 2 })
    const region = attach()
    const [closed, left, waiting] = [region.root.sender(), region.root.sender(), queue.sender()]
    for (const [at, sender] of [closed, left].entries()) {
      sender.cork()
      sender.trySend(Uint8Array.of(at))
    }
    closed.close()
    region.close()
    expect(queue.describe().depth).toBe(2)
    queue.receiver().drain(() => {})
    waiting.cork()
    waiting.trySend(Uint8Array.of(2))
    queue.sender().trySend(Uint8Array.of(3))
    const sending = waiting.send(payload(64))
    expect(await stateOf(sending)).toBe('pending')
    expect(receiveAll(queue.receiver())).toEqual([Uint8Array.of(3), Uint8Array.of(2)])
    expect(await soon(sending)).toBe(true)
  })

  it('gives the messages of a block to one receiver', () => {
    const { queue, attach } = createQueue(OPTIONS)
    const receivers = [queue.receiver(), attach().root.receiver()]
    const messages = numbered(1, 6)
    queue.sender().trySendBatch(messages.slice(0, 3))
    queue.sender().trySendBatch(messages.slice(3))
    const got = [0, 1, 0, 1, 0, 1].map((at) => receivers[at].tryReceive())
    expect(got).toEqual([0, 3, 1, 4, 2, 5].map((at) => messages[at]))
  })

  it('puts what a codec sends within a batch in its place', () => {
    let sendMore = () => {}
    const codec: Codec<number> = {
      name: 'n',
      encode(number) {
        if (number === 2) sendMore()
        return Uint8Array.of(number)
      },
      decode: ([number]) => number,
    }
    const { queue } = createQueue({ ...OPTIONS, codec })
    const sender = queue.sender()
    sendMore = () => sender.trySend(9)
    expect(sender.trySendBatch([1, 2, 3])).toBe(3)
    expect(receiveAll(queue.receiver())).toEqual([1, 9, 2, 3])
  })
})

describe('Loans', () => {
  it('are written in place, sent or discarded, and then over', () => {
    const { queue, memory } = createQueue(OPTIONS)
    const sender = queue.sender()
    const loan = sender.tryLoan()
    if (loan === undefined) throw new Error('no loan')
    expect(loan.bytes.byteLength).toBe(64)
    expect(loan.byteOffset % 32).toBe(0)
    sender.words[loan.byteOffset / 4] = 42
    for (const length of [65, -1, 0.5, '1' as never])
      expectCode('ERR_ISTHMUS_INVALID_ARGUMENT', () => loan.send(length))
    loan.send(4)
    for (const call of [() => loan.send(4), () => loan.bytes, () => loan.byteOffset]) {
      expectCode('ERR_ISTHMUS_NOT_HELD', call)
    }
    loan.discard()
    expect(loan.isHeld).toBe(false)
    sender.tryLoan()?.discard()
    {
      using other = sender.tryLoan()
      expect(other?.isHeld).toBe(true)
    }
    const taken = queue.receiver().tryTake()
    if (!taken) throw new Error('nothing taken')
    expect([...taken.bytes]).toEqual([42, 0, 0, 0])
    expect([taken.byteLength, taken.deliveries, taken.isHeld]).toEqual([4, 1, true])
    expect(queue.describe().taken).toMatchObject([{ state: 'held', messages: 1, holder: { isDead: false } }])
    taken.release()
    for (const call of [() => taken.release(), () => taken.requeue(), () => taken.bytes]) {
      expectCode('ERR_ISTHMUS_NOT_HELD', call)
    }
    expect(memory.allFree).toBe(true)
  })

  it('are none when no block is free, or no message is there', () => {
    const { queue } = createQueue({ ...OPTIONS, blocks: 1 })
    const sender = queue.sender()
    expect(queue.receiver().tryTake()).toBeUndefined()
    using loan = sender.tryLoan()
    expect(loan).toBeDefined()
    expect(sender.tryLoan()).toBeUndefined()
    expect(sender.trySend(Uint8Array.of(1))).toBe(false)
  })

  it.each(DELIVERIES)('go back to the end of the queue with requeue, %s', (delivery) => {
    const { queue } = createQueue({ ...OPTIONS, delivery })
    const messages = numbered(1, 2)
    const receiver = queue.receiver()
    for (const message of messages) queue.sender().trySend(message)
    expect(receiver.tryTake()?.requeue()).toBe(true)
    expect(receiver.tryTake()?.bytes).toEqual(messages[1])
    const again = receiver.tryTake()
    expect([again?.bytes, again?.deliveries]).toEqual([messages[0], 2])
  })

  it.each(DELIVERIES)('at the end of a block of code: %s', (delivery) => {
    const { queue, memory } = createQueue({ ...OPTIONS, delivery })
    queue.sender().trySend(Uint8Array.of(1))
    {
      using _ = queue.receiver().tryTake() ?? undefined
    }
    const isThere = delivery === 'at-least-once'
    expect(memory.allFree).toBe(!isThere)
    expect(queue.describe().depth).toBe(isThere ? 1 : 0)
  })

  it('of one of several messages in a block are private copies, released and requeued apart', () => {
    const { queue, memory } = createQueue({ ...OPTIONS, delivery: 'at-least-once' })
    const receiver = queue.receiver()
    const messages = numbered(1, 3)
    queue.sender().trySendBatch(messages)
    const [first, second, third] = [receiver.tryTake(), receiver.tryTake(), receiver.tryTake()]
    third?.release()
    expect(second?.requeue()).toBe(true)
    expect(memory.allFree).toBe(false)
    first?.release()
    expect(receiver.tryTake()).toMatchObject({ deliveries: 2, byteLength: 4 })
    expect(queue.describe().free).toBe(3)
  })

  it('of a region that is closed are over, and come back to the others', () => {
    const { queue, attach, memory } = createQueue({ ...OPTIONS, delivery: 'at-least-once' })
    queue.sender().trySend(Uint8Array.of(1))
    const region = attach()
    const loan = region.root.sender().tryLoan()
    const taken = region.root.receiver().tryTake()
    region.close()
    expectCode('ERR_ISTHMUS_NOT_HELD', () => loan?.send(1))
    expectCode('ERR_ISTHMUS_NOT_HELD', () => taken?.release())
    loan?.discard()
    taken?.[Symbol.dispose]()
    const receiver = queue.receiver()
    expect(receiver.tryReceive()).toEqual(Uint8Array.of(1))
    receiver.acknowledge()
    expect(memory.allFree).toBe(true)
  })

  it('that the program drops are given back', async () => {
    if (globalThis.gc === undefined) (await import('node:v8')).setFlagsFromString('--expose-gc')
    const gc = globalThis.gc ?? ((await import('node:vm')).runInNewContext('gc') as () => void)
    const { queue, memory } = createQueue({ ...OPTIONS, delivery: 'at-least-once' })
    const sender = queue.sender()
    const receiver = queue.receiver()
    ;(() => {
      sender.trySend(Uint8Array.of(1))
      receiver.tryTake()
      sender.tryLoan()
    })()
    for (let round = 0; round < 100 && queue.describe().free < 3; round++) {
      gc()
      await turns()
    }
    expect(queue.describe()).toMatchObject({ free: 3, depth: 1 })
    expect(receiver.tryReceive()).toEqual(Uint8Array.of(1))
    receiver.acknowledge()
    expect(memory.allFree).toBe(true)
  })
})

describe('Priorities', () => {
  const options = { ...OPTIONS, lanes: 3, codec: json<string>() }

  it('are received from the highest to the lowest, each in its order', () => {
    const { queue } = createQueue({ ...options, blocks: 8 })
    const sender = queue.sender()
    for (const text of ['0a', '2a', '1a', '2b', '0b']) sender.trySend(text, { priority: Number(text[0]) })
    sender.trySendBatch(['1b', '1c'], { priority: 1 })
    expect(receiveAll(queue.receiver())).toEqual(['2a', '2b', '1a', '1b', '1c', '0a', '0b'])
  })

  it('with fairness let a lower one through after so many', () => {
    const { queue } = createQueue({ ...options, blocks: 8 })
    const sender = queue.sender()
    for (let count = 0; count < 5; count++) sender.trySend('high', { priority: 2 })
    for (let count = 0; count < 2; count++) sender.trySend('low')
    expect(receiveAll(queue.receiver({ fairness: 2 }))).toEqual(['high', 'high', 'low', 'high', 'high', 'low', 'high'])
  })

  it('keep reserved blocks for those above the lowest', async () => {
    const { queue, attach } = createQueue({ ...options, reserved: 2 })
    const sender = attach().root.sender()
    expect([1, 2, 3].map(() => sender.trySend('low'))).toEqual([true, true, false])
    expect([1, 2, 3].map(() => sender.trySend('high', { priority: 1 }))).toEqual([true, true, false])
    const sending = sender.send('low')
    const receiver = queue.receiver()
    expect(receiver.tryReceive()).toBe('high')
    expect(await stateOf(sending, 50)).toBe('pending')
    expect([1, 2].map(() => receiver.tryReceive())).toEqual(['high', 'low'])
    expect(await soon(sending)).toBe(true)
  })

  it('end together', () => {
    const { queue } = createQueue(options)
    queue.sender().trySend('last')
    queue.end()
    for (const priority of [0, 1, 2]) {
      expectCode('ERR_ISTHMUS_CLOSED', () => queue.sender().trySend('late', { priority }))
    }
    const receiver = queue.receiver()
    expect([receiver.tryReceive(), receiver.tryReceive()]).toEqual(['last', null])
  })

  it('that the queue does not have are refused', () => {
    const { queue } = createQueue(options)
    for (const priority of [-1, 3, 0.5, Number.NaN, '1' as never]) {
      expectCode('ERR_ISTHMUS_INVALID_ARGUMENT', () => queue.sender().trySend('x', { priority }))
    }
  })
})

describe('The arguments of mpmcQueue', () => {
  it.each([
    { blocks: 0 },
    { blocks: 2 ** 20 },
    { blocks: 1.5 },
    { blockBytes: 0 },
    { blockBytes: 2 ** 30 + 1 },
    { packLimit: 0 },
    { maxDeliveries: 0 },
    { lanes: 9 },
    { reserved: 4 },
    { delivery: 'exactly-once' as never },
    { deadLetters: 1 as never },
    { slots: 4 },
    { slots: 12 },
    { codec: {} as never },
  ])('%o is refused', (wrong) => {
    expectCode('ERR_ISTHMUS_INVALID_ARGUMENT', () => mpmcQueue({ ...OPTIONS, ...wrong }))
  })

  it('decide the signature', () => {
    expect(mpmcQueue({ ...OPTIONS, codec: utf8, lanes: 2 }).signature).toBe(
      'mpmc-queue@1(blocks=4,blockBytes=64,delivery=at-most-once,lanes=2,codec=utf8)',
    )
    const region = HeapRegion.create(mpmcQueue(OPTIONS))
    expectCode('ERR_ISTHMUS_LAYOUT_MISMATCH', () =>
      HeapRegion.attach(region.handle, mpmcQueue({ ...OPTIONS, blocks: 5 })),
    )
  })

  it('are refused elsewhere, too', () => {
    const { queue } = createQueue(OPTIONS)
    const receiver = queue.receiver()
    for (const call of [
      () => queue.receiver({ fairness: 0 }),
      () => receiver.tryReceiveBatch(0),
      () => receiver.batches({ maxMessages: 0.5 }),
      () => receiver.drain(1 as never),
      () => receiver.drain(() => {}, { limit: -1 }),
      () => receiver.receiveSync({ timeoutMs: -1 }),
      () => queue.sender().trySend('text' as never),
      () => queue.sender().sendSync(Uint8Array.of(1), { timeoutMs: -1 }),
      () => queue.sender().trySendBatch(undefined as never),
    ]) {
      expectCode('ERR_ISTHMUS_INVALID_ARGUMENT', call)
    }
    expectCode('ERR_ISTHMUS_CALL_ORDER', () => queue.deadLetters())
  })
})

/** Sends bytes that the codec of the queue has not made. */
function sendRaw<T>(queue: MpmcQueue<T>, bytes: Uint8Array): void {
  const loan = queue.sender().tryLoan()
  loan?.bytes.set(bytes)
  loan?.send(bytes.byteLength)
}
