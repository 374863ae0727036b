import { getEventListeners } from 'node:events'
import { Readable, Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { ReadableStream } from 'node:stream/web'
import { beforeEach, describe, expect, test } from 'vitest'
import { expectCode, expectRejection } from '../../../sync/test/support/expect-code.js'
import { withoutSafetyNet } from '../../../sync/test/support/safety-net.js'
import { sleep, soon, stateOf, turns, until } from '../../../sync/test/support/waiting.js'
import { type Consumer, type Producer, utf8 } from '../../src/index.js'
import { createRing, endHold, type RingSetup } from '../support/ring-memory.js'

withoutSafetyNet()

let setup: RingSetup<string>
let producer: Producer<string>
let consumer: Consumer<string>

beforeEach(() => {
  setup = createRing({ capacityBytes: 1024, codec: utf8 })
  producer = setup.ring.producer()
  consumer = setup.attach().root.consumer()
})

const isWaiting = () => setup.ring.describe().consumer.isWaiting
const done = { done: true, value: undefined }

/** The consumer receives the next messages: no earlier wait takes them. */
async function expectNothingTaken(): Promise<void> {
  expect(isWaiting()).toBe(false)
  producer.trySend('for the next')
  await turns()
  expect(consumer.tryReceive()).toBe('for the next')
  producer.trySend('and the next')
  expect(await soon(consumer.receive())).toBe('and the next')
}

describe.each([
  ['consumer[Symbol.asyncIterator]', () => consumer[Symbol.asyncIterator]()],
  ['consumer.messages', () => consumer.messages()],
] as const)('%s', (_name, iterate) => {
  test('MessageIterator.return ends a pending next at once, and takes nothing', async () => {
    for (const pauseMs of [0, 20]) {
      const messages = iterate()
      const pending = messages.next()
      await sleep(pauseMs)
      expect(await soon(messages.return())).toEqual(done)
      expect(await soon(pending)).toEqual(done)
      await expectNothingTaken()
      expect(await messages.next()).toEqual(done)
    }
  })

  test('MessageIterator.return resolves what is pending before it resolves itself, and the handle is free then', async () => {
    const messages = iterate()
    const order: string[] = []
    const settled = [1, 2, 3].map((at) => messages.next().then(() => order.push(`next ${at}`)))
    await until(isWaiting)
    await soon(messages.return().then(() => order.push('return')))
    await Promise.all(settled)
    expect(order).toEqual(['next 1', 'next 2', 'next 3', 'return'])
    producer.trySend('one')
    expect(consumer.receiveSync()).toBe('one')
  })

  test('MessageIterator.throw ends a pending next in the same way, and rejects with what it was given', async () => {
    const messages = iterate()
    const pending = messages.next()
    await until(isWaiting)
    const reason = new Error('no more')
    await expect(soon(messages.throw(reason))).rejects.toBe(reason)
    expect(await soon(pending)).toEqual(done)
    expect(await messages.next()).toEqual(done)
    await expectNothingTaken()
  })

  test('MessageIterator.return and throw before the first next, after the end, and again', async () => {
    const early = iterate()
    producer.trySend('one')
    expect(await early.return()).toEqual(done)
    expect(await early.next()).toEqual(done)
    const messages = iterate()
    expect(await messages.next()).toEqual({ done: false, value: 'one' })
    producer.close()
    expect(await messages.next()).toEqual(done)
    expect(await messages.next()).toEqual(done)
    expect(await messages.return()).toEqual(done)
    await expect(messages.throw(new Error('late'))).rejects.toThrow('late')
  })

  test('MessageIterator.return in the turn in which the message comes: either next or the next receive gets it', async () => {
    for (let ticks = 0; ticks < 12; ticks++) {
      const messages = iterate()
      const pending = messages.next()
      await until(isWaiting)
      producer.trySend('either')
      // The wake-up arrives in one of the next turns; the ticks step through what happens then.
      if (ticks >= 6) await turns(1)
      for (let tick = 0; tick < ticks % 6; tick++) await Promise.resolve()
      await soon(messages.return())
      const { value } = await soon(pending)
      const left = consumer.tryReceive()
      expect([value, left].filter((message) => message !== undefined)).toEqual(['either'])
    }
  })

  test('MessageIterator.next at the same time gives the messages in the order of the calls, then the end to all', async () => {
    const messages = iterate()
    const results = Promise.all([1, 2, 3, 4, 5].map(() => messages.next()))
    await until(isWaiting)
    for (const text of ['a', 'b', 'c']) producer.trySend(text)
    producer.close()
    const given = ['a', 'b', 'c'].map((value) => ({ done: false, value }))
    expect(await soon(results)).toEqual([...given, done, done])
    // A successor's messages belong to the next iteration.
    setup.attach().root.producer().trySend('of the successor')
    expect(await messages.next()).toEqual(done)
    expect(await soon(consumer.receive())).toBe('of the successor')
  })

  test('MessageIterator ends with an error: it goes to the first call, the others are done', async () => {
    const messages = iterate()
    const pending = [messages.next(), messages.next()]
    await until(isWaiting)
    const peer = setup.region.peers.self
    setup.attach().declareDead(peer)
    await expectRejection('ERR_ISTHMUS_PEER_DIED', soon(pending[0]))
    expect(await soon(pending[1])).toEqual(done)
    expect(await messages.next()).toEqual(done)
  })

  test('MessageIterator ends with the error of a codec, after the message that caused it', async () => {
    const codec = {
      ...utf8,
      decode(bytes: Uint8Array) {
        if (bytes[0] === 98) throw new Error('no b')
        return utf8.decode(bytes)
      },
    }
    setup = createRing({ capacityBytes: 1024, codec })
    producer = setup.ring.producer()
    consumer = setup.attach().root.consumer()
    for (const text of ['a', 'b', 'c']) producer.trySend(text)
    const seen: string[] = []
    const loop = async () => {
      for await (const message of consumer) seen.push(message)
    }
    await expect(soon(loop())).rejects.toThrow('no b')
    expect([seen, consumer.tryReceive()]).toEqual([['a'], 'c'])
  })

  test('MessageIterator rejects if the consumer, or its region, is closed while it waits', async () => {
    const messages = iterate()
    const pending = messages.next()
    await until(isWaiting)
    consumer.close()
    await expectRejection('ERR_ISTHMUS_CLOSED', soon(pending))
    expect(await messages.next()).toEqual(done)
    const region = setup.attach()
    const other = region.root.consumer()
    const next = other[Symbol.asyncIterator]().next()
    await until(isWaiting)
    region.close()
    await expectRejection('ERR_ISTHMUS_CLOSED', soon(next))
  })

  test('MessageIterator takes its turn among receives', async () => {
    const messages = iterate()
    const results = [consumer.receive(), messages.next(), consumer.receive()]
    await until(isWaiting)
    for (const text of ['a', 'b', 'c']) producer.trySend(text)
    expect(await soon(Promise.all(results))).toEqual(['a', { done: false, value: 'b' }, 'c'])
    const queued = [consumer.receive(), messages.next(), consumer.receive()] as const
    await until(isWaiting)
    await soon(messages.return())
    expect(await soon(queued[1])).toEqual(done)
    for (const text of ['d', 'e']) producer.trySend(text)
    expect(await soon(Promise.all([queued[0], queued[2]]))).toEqual(['d', 'e'])
  })
})

describe('for await', () => {
  test('break out of for await leaves the handle, and the messages, to the next loop', async () => {
    for (const text of ['a', 'b', 'c']) producer.trySend(text)
    for await (const message of consumer) {
      expect(message).toBe('a')
      break
    }
    const rest: string[] = []
    producer.close()
    for await (const message of consumer.messages()) rest.push(message)
    expect(rest).toEqual(['b', 'c'])
  })

  test('for (const … of consumer), the blocking loop, left and begun again, loses nothing', () => {
    for (const text of ['a', 'b', 'c']) producer.trySend(text)
    for (const message of consumer) {
      expect(message).toBe('a')
      break
    }
    const early = consumer[Symbol.iterator]()
    expect(early.return()).toEqual(done)
    producer.close()
    expect([...consumer]).toEqual(['b', 'c'])
  })
})

describe('consumer.messages with a signal', () => {
  test('messages rejects the pending next with an AbortError when the signal aborts, and takes nothing', async () => {
    const controller = new AbortController()
    const messages = consumer.messages({ signal: controller.signal })
    const pending = [messages.next(), messages.next()]
    await until(isWaiting)
    controller.abort('enough')
    await expect(soon(pending[0])).rejects.toMatchObject({ name: 'AbortError', code: 'ABORT_ERR', cause: 'enough' })
    expect(await soon(pending[1])).toEqual(done)
    expect(await messages.next()).toEqual(done)
    await expectNothingTaken()
  })

  test('messages takes nothing once the signal has aborted, though a message is there', async () => {
    const controller = new AbortController()
    producer.trySend('one')
    const messages = consumer.messages({ signal: controller.signal })
    controller.abort()
    await expectRejection('ABORT_ERR', messages.next())
    expect(await messages.next()).toEqual(done)
    await expectRejection('ABORT_ERR', consumer.messages({ signal: AbortSignal.abort() }).next())
    expect(consumer.tryReceive()).toBe('one')
  })

  test('messages leaves no listener at a signal that outlives it, however it ends', async () => {
    const { signal } = new AbortController()
    const listeners = () => getEventListeners(signal, 'abort').length
    const messages = consumer.messages({ signal })
    const pending = messages.next()
    await until(isWaiting)
    expect(listeners()).toBe(1)
    producer.trySend('one')
    await soon(pending)
    expect(listeners()).toBe(0)
    const endings = [() => messages.return(), () => producer.close(), () => consumer.close()]
    for (const end of endings) {
      const next = consumer.messages({ signal }).next()
      const ended = end === endings[0] ? messages.next() : next
      await until(isWaiting)
      end()
      await soon(ended.catch(() => {}))
      if (end === endings[0]) {
        expect(listeners()).toBe(1)
        producer.trySend('two')
        await soon(next)
      }
      expect(listeners()).toBe(0)
      if (end === endings[1]) producer = setup.attach().root.producer()
    }
  })

  test('messages with a signal that throws ends with what it throws, and takes nothing', async () => {
    const broken = {
      aborted: false,
      addEventListener() {
        throw new Error('no listeners here')
      },
      removeEventListener() {},
    }
    const messages = consumer.messages({ signal: broken })
    await expect(soon(messages.next())).rejects.toThrow('no listeners here')
    expect(await messages.next()).toEqual(done)
    await turns()
    await expectNothingTaken()
  })

  test.each([5, null, 'signal', { aborted: false }])('messages refuses %j as a signal, or as options', (stranger) => {
    expectCode('ERR_ISTHMUS_INVALID_ARGUMENT', () => consumer.messages({ signal: stranger as unknown as AbortSignal }))
    if (typeof stranger === 'object' && stranger !== null) return
    expectCode('ERR_ISTHMUS_INVALID_ARGUMENT', () => consumer.messages(stranger as never))
  })
})

describe('streams over a consumer', () => {
  /** Collects its chunks. */
  function sinkOf(chunks: string[]): Writable {
    return new Writable({
      objectMode: true,
      write(chunk, _encoding, callback) {
        chunks.push(chunk)
        callback()
      },
    })
  }

  test.each([undefined, new Error('broken')])(
    'Readable.from(consumer).destroy(%s) takes no further message',
    async (error) => {
      const chunks: string[] = []
      const stream = Readable.from(consumer).on('data', (chunk) => chunks.push(chunk))
      stream.on('error', () => {})
      producer.trySend('one')
      await until(() => chunks.length === 1 && isWaiting())
      const closed = new Promise((resolve) => stream.once('close', resolve))
      stream.destroy(error)
      await soon(closed)
      await expectNothingTaken()
      expect(chunks).toEqual(['one'])
    },
  )

  test('pipeline(Readable.from(consumer), sink, { signal }) ends when the signal aborts, and takes no further message', async () => {
    const chunks: string[] = []
    const controller = new AbortController()
    const piped = pipeline(Readable.from(consumer), sinkOf(chunks), { signal: controller.signal })
    producer.trySend('one')
    await until(() => chunks.length === 1 && isWaiting())
    controller.abort()
    await expectRejection('ABORT_ERR', soon(piped))
    await expectNothingTaken()
  })

  test('pipeline(consumer.messages({ signal }), sink, { signal }) ends when the signal aborts, and takes no further message', async () => {
    const chunks: string[] = []
    const { signal, abort } = (() => {
      const controller = new AbortController()
      return { signal: controller.signal, abort: () => controller.abort() }
    })()
    const piped = pipeline(consumer.messages({ signal }), sinkOf(chunks), { signal })
    producer.trySend('one')
    await until(() => chunks.length === 1 && isWaiting())
    abort()
    await expectRejection('ABORT_ERR', soon(piped))
    await expectNothingTaken()
  })

  test.each(['aborts', 'has a sink that breaks'])(
    'pipeline(({ signal }) => consumer.messages({ signal }), sink) that %s ends, and takes no further message',
    async (what) => {
      const chunks: string[] = []
      const sink = sinkOf(chunks)
      const controller = new AbortController()
      // The types of Node.js 20 do not know that it gives such a function its signal.
      const source = (({ signal }: { signal: AbortSignal }) => consumer.messages({ signal })) as () => never
      const piped = pipeline(source, sink, { signal: controller.signal })
      producer.trySend('one')
      await until(() => chunks.length === 1 && isWaiting())
      if (what === 'aborts') controller.abort()
      else sink.destroy(new Error('no space'))
      await expect(soon(piped)).rejects.toThrow(what === 'aborts' ? /abort/ : 'no space')
      await expectNothingTaken()
    },
  )

  test('pipeline over a consumer whose producer closes gives everything, and ends', async () => {
    const chunks: string[] = []
    const sent = Array.from({ length: 200 }, (_, at) => `message ${at}`)
    const piped = pipeline(Readable.from(consumer), sinkOf(chunks))
    for (const text of sent) await soon(producer.send(text))
    producer.close()
    await soon(piped)
    expect(chunks).toEqual(sent)
  })

  test('ReadableStream.from(consumer).cancel() ends a pending read, and takes no further message', async () => {
    const reader = ReadableStream.from(consumer).getReader()
    producer.trySend('one')
    expect(await soon(reader.read())).toEqual({ done: false, value: 'one' })
    const pending = reader.read()
    await until(isWaiting)
    await soon(reader.cancel())
    expect(await soon(pending)).toEqual(done)
    await expectNothingTaken()
  })

  test('a dead producer ends a stream with its error', async () => {
    const stream = Readable.from(consumer)
    const failed = new Promise((resolve) => stream.once('error', resolve))
    stream.resume()
    await until(isWaiting)
    endHold(setup.region, setup.region.peers.self)
    setup.attach()
    expect(await soon(failed)).toMatchObject({ code: 'ERR_ISTHMUS_PEER_DIED' })
    expect(await stateOf(consumer.receive({ timeoutMs: 1 }))).toBe('resolved')
  })
})
