import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { beforeEach, describe, expect, expectTypeOf, test } from 'vitest'
import { expectCode, expectRejection } from '../../../sync/test/support/expect-code.js'
import { withoutSafetyNet } from '../../../sync/test/support/safety-net.js'
import { soon, until } from '../../../sync/test/support/waiting.js'
import { type Consumer, json, type Producer } from '../../src/index.js'
import { createRing, payload, type RingSetup } from '../support/ring-memory.js'

withoutSafetyNet()

let setup: RingSetup
let producer: Producer
let consumer: Consumer

beforeEach(() => {
  setup = createRing({ capacityBytes: 1024 })
  producer = setup.ring.producer()
  consumer = setup.attach().root.consumer()
})

const isWaiting = () => setup.ring.describe().consumer.isWaiting

type Outcome = Uint8Array | undefined | null
const ways: Record<string, (options: { into: Uint8Array }) => Outcome | Promise<Outcome>> = {
  tryReceive: (options) => consumer.tryReceive(options),
  receiveSync: (options) => consumer.receiveSync(options),
  receive: (options) => consumer.receive(options),
}

describe.each(Object.keys(ways))('Consumer.%s with into', (name) => {
  const receive = async (into: Uint8Array) => ways[name]({ into })

  test('copies into the array, and gives the part that was written', async () => {
    const into = new Uint8Array(700)
    producer.trySend(payload(5, 1))
    const message = await receive(into)
    expect(message).toEqual(payload(5, 1))
    expect([message?.buffer === into.buffer, message?.byteOffset]).toEqual([true, 0])
    expect(into.subarray(5).every((byte) => byte === 0)).toBe(true)
    producer.trySend(new Uint8Array())
    expect(await receive(into)).toEqual(new Uint8Array())
    producer.sendSync(payload(700, 2))
    expect(await receive(into)).toEqual(payload(700, 2))
    expect(into).toEqual(payload(700, 2))
    producer.close()
    expect(await receive(into)).toBeNull()
  })

  test.each([300, 700])(
    'a message of %i bytes that does not fit stays, and the error names both lengths',
    async (length) => {
      producer.sendSync(payload(length))
      for (const into of [new Uint8Array(length - 1), new Uint8Array()]) {
        const refused = receive(into)
        await expectRejection('ERR_ISTHMUS_MESSAGE_TOO_LARGE', refused)
        await expect(refused).rejects.toThrow(`${length} bytes`)
        await expect(refused).rejects.toThrow(`has ${into.byteLength}`)
      }
      expect(await receive(new Uint8Array(length))).toEqual(payload(length))
    },
  )

  test.each([5, 'x', [], new Uint16Array(4), new ArrayBuffer(8)])(
    'refuses %j as into, and takes nothing',
    async (stranger) => {
      producer.trySend(payload(1))
      await expectRejection('ERR_ISTHMUS_INVALID_ARGUMENT', receive(stranger as unknown as Uint8Array))
      expect(consumer.tryReceive()).toEqual(payload(1))
    },
  )

  test('gives the bytes of a ring with a codec', async () => {
    const coded = createRing({ capacityBytes: 1024, codec: json<number>() }).ring
    coded.producer().trySend(42)
    const reader = coded.consumer()
    const into = new Uint8Array(8)
    const options = { into }
    const coding: typeof ways = {
      tryReceive: () => reader.tryReceive(options),
      receiveSync: () => reader.receiveSync(options),
      receive: () => reader.receive(options),
    }
    const message = await coding[name](options)
    expect(message).toEqual(Uint8Array.of(52, 50))
    expectTypeOf((from: typeof reader) => from.tryReceive(options)).returns.toEqualTypeOf<
      Uint8Array | undefined | null
    >()
    expectTypeOf((from: typeof reader) => from.receive(options)).returns.toEqualTypeOf<Promise<Uint8Array | null>>()
    expectTypeOf((from: typeof reader) => from.tryReceive()).returns.toEqualTypeOf<number | undefined | null>()
  })
})

describe('Consumer: into, and a message that comes in parts', () => {
  /** A message of 3000 bytes is under way through a ring of 1024, and its beginning was received into this array. */
  async function begin(into: Uint8Array) {
    const sending = producer.send(payload(3000))
    await until(() => {
      expect(consumer.tryReceive({ into })).toBeUndefined()
      return into[0] === payload(3000)[0]
    })
    return { sending }
  }

  test('a call that times out midway: the next one goes on in the same array', async () => {
    const into = new Uint8Array(3000)
    const { sending } = await begin(into)
    expect(await soon(consumer.receive({ into }))).toEqual(payload(3000))
    expect(into).toEqual(payload(3000))
    expect(await sending).toBe(true)
  })

  test('a call with another array, or none, copies what has come', async () => {
    let { sending } = await begin(new Uint8Array(3000))
    const another = new Uint8Array(4000)
    const message = await soon(consumer.receive({ into: another }))
    expect([message, message?.buffer === another.buffer]).toEqual([payload(3000), true])
    await sending
    const into = new Uint8Array(3000)
    sending = (await begin(into)).sending
    const own = await soon(consumer.receive())
    expect([own, own?.buffer === into.buffer]).toEqual([payload(3000), false])
    await sending
    sending = producer.send(payload(3000, 2))
    const position = setup.memory.readPosition
    await until(() => {
      expect(consumer.tryReceive()).toBeUndefined()
      return setup.memory.readPosition !== position
    })
    expect(await soon(consumer.receive({ into }))).toEqual(payload(3000, 2))
    await sending
  })

  test('a call with an array that is too short is refused, and the message under way can go on', async () => {
    const into = new Uint8Array(3000)
    const { sending } = await begin(into)
    await expectRejection('ERR_ISTHMUS_MESSAGE_TOO_LARGE', soon(consumer.receive({ into: new Uint8Array(2999) })))
    expect(await soon(consumer.receive({ into }))).toEqual(payload(3000))
    await sending
  })

  test('a call that is aborted midway loses nothing', async () => {
    const into = new Uint8Array(3000)
    const { sending } = await begin(into)
    const controller = new AbortController()
    const aborted = consumer.receive({ into, signal: controller.signal })
    controller.abort()
    await expectRejection('ABORT_ERR', soon(aborted))
    expect(await soon(consumer.receive({ into }))).toEqual(payload(3000))
    await sending
  })

  test('an array that is transferred midway: the message is told to be incomplete, once; the next one is whole', async () => {
    const into = new Uint8Array(3000)
    const { sending } = await begin(into)
    structuredClone(into.buffer, { transfer: [into.buffer] })
    const target = new Uint8Array(3000)
    const error = await soon(consumer.receive({ into: target })).catch((reason) => reason)
    expect(error).toMatchObject({
      code: 'ERR_ISTHMUS_MESSAGE_INCOMPLETE',
      reason: 'array-lost',
      messageByteLength: 3000,
    })
    const next = consumer.receive({ into: target })
    expect(await soon(sending)).toBe(true)
    producer.trySend(payload(3, 2))
    expect(await soon(next)).toEqual(payload(3, 2))
  })

  test('a message that breaks off leaves the next one whole', async () => {
    const into = new Uint8Array(3000)
    producer.sendSync(payload(3000), { timeoutMs: 0 })
    await expectRejection('ERR_ISTHMUS_MESSAGE_INCOMPLETE', consumer.receive({ into }))
    producer.trySend(payload(3, 2))
    expect(consumer.tryReceive({ into })).toEqual(payload(3, 2))
  })

  test('concurrent calls each fill their own array, in the order of the calls', async () => {
    const arrays = [new Uint8Array(3000), new Uint8Array(3000), new Uint8Array(8)]
    const receiving = arrays.map((into) => consumer.receive({ into }))
    expect(consumer.tryReceive({ into: arrays[0] })).toBeUndefined()
    expectCode('EDEADLK', () => consumer.receiveSync({ into: arrays[0] }))
    await until(isWaiting)
    for (const message of [payload(3000, 1), payload(2500, 2), payload(8, 3)])
      expect(await soon(producer.send(message))).toBe(true)
    expect(await soon(Promise.all(receiving))).toEqual([payload(3000, 1), payload(2500, 2), payload(8, 3)])
    expect(arrays[1].subarray(0, 2500)).toEqual(payload(2500, 2))
  })

  test('the consumer keeps no array that it has filled', async () => {
    setFlagsFromString('--expose-gc')
    const collectGarbage: () => void = runInNewContext('gc')
    const exchange = async () => {
      const into = new Uint8Array(3000)
      await Promise.all([consumer.receive({ into }), producer.send(payload(3000))])
      return new WeakRef(into)
    }
    const into = await exchange()
    await until(() => {
      collectGarbage()
      return into.deref() === undefined
    })
  })
})
