import { HeapRegion, waitAny } from '@isthmus/sync'
import { afterEach, describe, expect, it } from 'vitest'
import { expectCode } from '../../../sync/test/support/expect-code.js'
import { stateOf } from '../../../sync/test/support/waiting.js'
import { type BroadcastRingOptions, broadcastRing, OverrunError, utf8 } from '../../src/index.js'
import { createBroadcast } from '../support/broadcast-memory.js'
import { endHold } from '../support/ring-memory.js'

const regions: { close(): void }[] = []
afterEach(() => {
  for (const region of regions.splice(0)) region.close()
})

function ringOf(options: Partial<BroadcastRingOptions> = {}) {
  const layout = broadcastRing({ capacityBytes: 1024, ...options })
  const region = HeapRegion.create(layout)
  const other = HeapRegion.attach(region.handle, layout)
  regions.push(region, other)
  return { ring: region.root, other: other.root, region }
}

/** A message whose bytes all depend on its number. */
function messageOf(number: number, byteLength = 40): Uint8Array {
  const message = new Uint8Array(byteLength).fill(number)
  new DataView(message.buffer).setUint32(0, number)
  return message
}

function numberOf(message: Uint8Array): number {
  const number = new DataView(message.buffer, message.byteOffset).getUint32(0)
  expect(message).toEqual(messageOf(number, message.byteLength))
  return number
}

describe('A lossy subscriber', () => {
  it('gets what is published after it began, in order, and nothing twice', () => {
    const { ring, other } = ringOf()
    const publisher = ring.publisher()
    publisher.tryPublish(messageOf(0))
    const subscriber = other.subscriber()
    expect(subscriber.tryReceive()).toBeUndefined()
    for (const number of [1, 2, 3]) publisher.tryPublish(messageOf(number))
    const received = [subscriber.tryReceive(), subscriber.tryReceive(), subscriber.tryReceive()]
    expect(received.map((message) => numberOf(message as Uint8Array))).toEqual([1, 2, 3])
    expect(subscriber.tryReceive()).toBeUndefined()
    expect(subscriber.lost).toBe(0)
  })

  it('each gets every message', () => {
    const { ring, other } = ringOf()
    const subscribers = [ring.subscriber(), other.subscriber(), other.subscriber()]
    ring.publisher().tryPublishBatch([messageOf(1), messageOf(2)])
    for (const subscriber of subscribers) {
      expect(subscriber.tryReceiveBatch()?.map(numberOf)).toEqual([1, 2])
    }
  })

  it('counts exactly what was overwritten, and goes on with whole messages', () => {
    const { ring, other } = ringOf()
    const publisher = ring.publisher()
    const subscriber = other.subscriber()
    let next = 0
    let received = 0
    for (let round = 0; round < 200; round++) {
      const count = (round * 7) % 61
      for (let sent = 0; sent < count; sent++) publisher.tryPublish(messageOf(next++, 8 + ((next * 13) % 90)))
      for (let message = subscriber.tryReceive(); message; message = subscriber.tryReceive()) {
        expect(numberOf(message)).toBe(received + subscriber.lost)
        received++
      }
      expect(received + subscriber.lost).toBe(next)
    }
    expect(subscriber.lost).toBeGreaterThan(100)
    expect(received).toBeGreaterThan(1000)
  })

  it('is told of an overrun, if it wants to be: once, with the count, and then goes on', () => {
    const { ring, other } = ringOf()
    const publisher = ring.publisher()
    const subscriber = other.subscriber({ onOverrun: 'throw' })
    for (let number = 0; number < 100; number++) publisher.tryPublish(messageOf(number))
    let error: unknown
    try {
      subscriber.tryReceive()
    } catch (thrown) {
      error = thrown
    }
    expect(error).toBeInstanceOf(OverrunError)
    const { lost, code } = error as OverrunError
    expect(code).toBe('ERR_ISTHMUS_OVERRUN')
    expect(numberOf(subscriber.tryReceive() as Uint8Array)).toBe(lost)
    expect(subscriber.lost).toBe(lost)
  })

  it('tells a batch that begins before an overrun, then the overrun', () => {
    const { ring, other } = ringOf()
    const publisher = ring.publisher()
    const subscriber = other.subscriber({ onOverrun: 'throw' })
    for (let number = 0; number < 100; number++) publisher.tryPublish(messageOf(number))
    expect(() => subscriber.tryReceiveBatch()).toThrow(OverrunError)
    const batch = subscriber.tryReceiveBatch() as Uint8Array[]
    expect(numberOf(batch[0])).toBe(subscriber.lost)
    expect(numberOf(batch.at(-1) as Uint8Array)).toBe(99)
  })

  it('may begin with the oldest messages that are there, also after the publisher has closed', () => {
    const { ring, other } = ringOf()
    const publisher = ring.publisher()
    for (let number = 0; number < 5; number++) publisher.tryPublish(messageOf(number))
    publisher.close()
    const subscriber = other.subscriber({ from: 'oldest' })
    expect([...subscriber].map(numberOf)).toEqual([0, 1, 2, 3, 4])
    expect(subscriber.tryReceive()).toBeNull()
  })

  it('from the oldest on misses nothing of what is there, however far the ring has come', () => {
    const { ring, other } = ringOf()
    const publisher = ring.publisher()
    for (let number = 0; number < 500; number++) {
      publisher.tryPublish(messageOf(number, 8 + ((number * 29) % 120)))
      const subscriber = other.subscriber({ from: 'oldest' })
      const received = (subscriber.tryReceiveBatch(Number.POSITIVE_INFINITY) as Uint8Array[]).map(numberOf)
      expect(received.at(-1)).toBe(number)
      expect(received).toEqual(received.map((_, at) => received[0] + at))
      if (number > 100) expect(received.length).toBeGreaterThan(3)
      expect(subscriber.lost).toBe(0)
      subscriber.close()
    }
  })

  it('that begins after the end of a publisher waits for the next one', async () => {
    const { ring, other } = ringOf()
    ring.publisher().close()
    const subscriber = other.subscriber()
    expect(subscriber.tryReceive()).toBeUndefined()
    const waiting = subscriber.receive()
    const publisher = ring.publisher()
    publisher.tryPublish(messageOf(7))
    expect(numberOf((await waiting) as Uint8Array)).toBe(7)
    publisher.close()
    expect(await subscriber.receive()).toBeNull()
    expect(subscriber.tryReceive()).toBeNull()
  })

  it('waits before there is a publisher, also in waitAny', async () => {
    const { ring, other } = ringOf()
    const subscriber = other.subscriber()
    const asked = other.subscriber()
    const numbers: number[] = []
    const ready = waitAny([asked])
    const received = subscriber.forEach((message) => {
      numbers.push(numberOf(message))
    })
    const publisher = ring.publisher()
    await publisher.publishBatch([messageOf(1), messageOf(2)])
    expect((await ready)[0]).toBe(asked)
    publisher.close()
    await received
    expect(numbers).toEqual([1, 2])
  })

  it('sees messages in place, and is told if one was overwritten while its callback read it', () => {
    const { ring, other } = ringOf()
    const publisher = ring.publisher()
    const subscriber = other.subscriber()
    for (let number = 0; number < 4; number++) publisher.tryPublish(messageOf(number))
    const seen: number[] = []
    const count = subscriber.drain((bytes, byteOffset, byteLength) => {
      seen.push(numberOf(bytes.slice(byteOffset, byteOffset + byteLength)))
    })
    expect(count).toBe(4)
    expect(seen).toEqual([0, 1, 2, 3])
    publisher.tryPublish(messageOf(4))
    let next = 5
    const overwrite = () => {
      while (next < 60) publisher.tryPublish(messageOf(next++))
    }
    expect(() => subscriber.drain(overwrite)).toThrow(OverrunError)
    expect(numberOf(subscriber.tryReceive() as Uint8Array)).toBe(4 + subscriber.lost)
  })

  it.each(['sync', 'promise'])('forEachInPlace: the same (%s)', async (kind) => {
    const { ring, other } = ringOf()
    const publisher = ring.publisher()
    const subscriber = other.subscriber()
    publisher.tryPublish(messageOf(0))
    let next = 1
    const overwrite = () => {
      while (next < 60) publisher.tryPublish(messageOf(next++))
      return kind === 'promise' ? Promise.resolve() : undefined
    }
    await expect(subscriber.forEachInPlace(overwrite)).rejects.toThrow(OverrunError)
    expect(numberOf(subscriber.tryReceive() as Uint8Array)).toBe(subscriber.lost)
  })

  it('receives messages in fragments: whole, into memory of the program, and in chunks', () => {
    const { ring, other } = ringOf({ capacityBytes: 4096 })
    const publisher = ring.publisher()
    const whole = other.subscriber()
    const into = other.subscriber()
    const chunks = other.subscriber()
    const large = messageOf(77, 2047)
    expect(large.byteLength).toBeGreaterThan(ring.maxRecordBytes)
    publisher.tryPublish(messageOf(1))
    publisher.publishSync(large)
    publisher.tryPublish(messageOf(2))
    expect((whole.tryReceiveBatch() as Uint8Array[]).map(numberOf)).toEqual([1])
    expect((whole.tryReceiveBatch() as Uint8Array[]).map(numberOf)).toEqual([77, 2])
    const memory = new Uint8Array(3000)
    for (const number of [1, 77, 2]) expect(numberOf(into.tryReceive({ into: memory }) as Uint8Array)).toBe(number)
    const parts: Uint8Array[] = []
    for (let chunk = chunks.tryReceiveChunk(); chunk; chunk = chunks.tryReceiveChunk()) parts.push(chunk.bytes)
    expect(parts.length).toBeGreaterThan(3)
    expect(Buffer.concat(parts).equals(Buffer.concat([messageOf(1), large, messageOf(2)]))).toBe(true)
    for (const subscriber of [whole, into, chunks]) expect(subscriber.lost).toBe(0)
  })

  it('counts a message in fragments that is overwritten half-way as one, and tells a reader of its chunks', () => {
    const { ring, other } = ringOf({ capacityBytes: 4096 })
    const publisher = ring.publisher()
    const subscriber = other.subscriber()
    const chunks = other.subscriber()
    publisher.publishSync(messageOf(0, 2047))
    expect(chunks.tryReceiveChunk()?.isLast).toBe(false)
    for (let number = 1; number < 100; number++) publisher.tryPublish(messageOf(number, 200))
    const first = numberOf(subscriber.tryReceive() as Uint8Array)
    expect(first).toBe(subscriber.lost)
    expect(() => chunks.tryReceiveChunk()).toThrow(OverrunError)
    expect(numberOf(chunks.tryReceiveChunk()?.bytes as Uint8Array)).toBe(chunks.lost)
  })

  it('that begins inside a message in fragments begins with the next one, and has lost nothing', async () => {
    const { ring, other } = ringOf({ capacityBytes: 4096, gates: 1, maxMessageBytes: 100_000 })
    const publisher = ring.publisher()
    const gating = other.subscriber({ gate: true })
    const sending = publisher.publish(messageOf(0, 20_000))
    expect((await gating.receiveChunk())?.messageOffset).toBe(0)
    const late = other.subscriber()
    const received = late.receive()
    while (!(await gating.receiveChunk())?.isLast);
    await sending
    publisher.tryPublish(messageOf(1))
    expect(numberOf((await received) as Uint8Array)).toBe(1)
    expect(late.lost).toBe(0)
  })

  it.each([2n ** 30n - 40n, 2n ** 31n - 40n, 2n ** 32n - 40n, 2n ** 62n - 40n])(
    'counts across position %s, and numbers that wrap their low word',
    (start) => {
      const { ring, attach } = createBroadcast({ capacityBytes: 256 }, start, 2n ** 32n - 3n)
      const publisher = ring.publisher()
      const subscriber = attach().root.subscriber()
      let next = 0
      let received = 0
      for (let round = 0; round < 60; round++) {
        for (let sent = 0; sent < round % 23; sent++) publisher.tryPublish(messageOf(next++, 8))
        for (const message of subscriber.tryReceiveBatch() ?? []) {
          expect(numberOf(message)).toBe(received + subscriber.lost)
          received++
        }
        expect(received + subscriber.lost).toBe(next)
      }
      expect(subscriber.lost).toBeGreaterThan(5)
    },
  )

  it('that was stopped while more than 4 GiB went by knows it, also if the low words are the same again', () => {
    const { ring, attach, memory } = createBroadcast({ capacityBytes: 256 })
    const publisher = ring.publisher()
    const subscriber = attach().root.subscriber()
    publisher.tryPublish(messageOf(0, 8))
    expect(numberOf(subscriber.tryReceive() as Uint8Array)).toBe(0)
    const position = memory.writePosition
    publisher.close()
    // As many messages as take exactly 4 GiB, of which none is there any more.
    memory.startAt(position + 2n ** 32n, 1n + 2n ** 32n / 24n)
    expect(subscriber.tryReceive()).toBeNull()
    expect(subscriber.lost).toBe(Math.floor(2 ** 32 / 24))
    const successor = ring.publisher()
    successor.tryPublish(messageOf(2, 8))
    expect(numberOf(subscriber.tryReceive() as Uint8Array)).toBe(2)
  })

  it('decodes with the codec', () => {
    const layout = broadcastRing({ capacityBytes: 1024, codec: utf8 })
    const region = HeapRegion.create(layout)
    regions.push(region)
    const subscriber = region.root.subscriber()
    region.root.publisher().tryPublishBatch(['grüße', 'you'])
    expect(subscriber.tryReceiveBatch()).toEqual(['grüße', 'you'])
  })
})

describe('A gating subscriber', () => {
  const options = { gates: 2 }

  it('misses nothing: the publisher waits for it', async () => {
    const { ring, other } = ringOf(options)
    const publisher = ring.publisher()
    const subscriber = other.subscriber({ gate: true })
    let sent = 0
    while (publisher.tryPublish(messageOf(sent))) sent++
    expect(sent).toBeGreaterThan(10)
    expect(publisher.tryPublish(messageOf(sent))).toBe(false)
    const rest = publisher.publishBatch(Array.from({ length: 500 }, (_, at) => messageOf(sent + at)))
    const received: number[] = []
    while (received.length < sent + 500) received.push(numberOf((await subscriber.receive()) as Uint8Array))
    expect(received).toEqual(received.map((_, at) => at))
    expect(await rest).toBe(500)
    expect(subscriber.lost).toBe(0)
    expect(subscriber.isGating).toBe(true)
  })

  it('holds nobody back who has no gate, and the slowest gate decides', () => {
    const { ring, other } = ringOf(options)
    const publisher = ring.publisher()
    const slow = other.subscriber({ gate: true })
    const quick = other.subscriber({ gate: true })
    const lossy = other.subscriber()
    let sent = 0
    while (publisher.tryPublish(messageOf(sent))) sent++
    for (const subscriber of [quick, lossy]) {
      expect(subscriber.tryReceiveBatch()?.length).toBe(sent)
      expect(subscriber.tryReceive()).toBeUndefined()
    }
    expect(publisher.tryPublish(messageOf(sent))).toBe(false)
    expect(publisher.gates().map(({ behindBytes }) => behindBytes > 0)).toEqual([true, false])
    expect(slow.tryReceiveBatch()?.length).toBe(sent)
    slow.acknowledge()
    expect(publisher.tryPublish(messageOf(sent))).toBe(true)
  })

  it('that is demoted reads on: it has lost what it says, and may take a gate again', () => {
    const { ring, other } = ringOf({ gates: 1 })
    const publisher = ring.publisher()
    const subscriber = other.subscriber({ gate: true })
    expectCode('ERR_ISTHMUS_NO_GATE', () => other.subscriber({ gate: true }))
    let sent = 0
    while (publisher.tryPublish(messageOf(sent))) sent++
    expect(numberOf(subscriber.tryReceive() as Uint8Array)).toBe(0)
    const [gate] = ring.describe().gates
    expect(gate.state).toBe('active')
    expect(publisher.demote(gate)).toBe(true)
    expect(subscriber.isGating).toBe(false)
    expect(numberOf(subscriber.tryReceive() as Uint8Array)).toBe(1)
    for (let more = 0; more < 100; more++) expect(publisher.tryPublish(messageOf(sent++))).toBe(true)
    // What it had copied before is its own: then it is told.
    let received = 2
    const receive = () => {
      for (let message = subscriber.tryReceive(); message; message = subscriber.tryReceive()) {
        expect(numberOf(message)).toBe(received + subscriber.lost)
        received++
      }
    }
    expect(receive).toThrow(OverrunError)
    receive()
    expect(received + subscriber.lost).toBe(sent)
    expect(subscriber.lost).toBeGreaterThan(10)
    expect(subscriber.tryTakeGate()).toBe(true)
    while (publisher.tryPublish(messageOf(sent))) sent++
    receive()
    expect(received + subscriber.lost).toBe(sent)
  })

  it('from the oldest on gets history, and then everything', () => {
    const { ring, other } = ringOf(options)
    const publisher = ring.publisher()
    for (let number = 0; number < 100; number++) publisher.tryPublish(messageOf(number))
    const subscriber = other.subscriber({ gate: true, from: 'oldest' })
    let sent = 100
    while (publisher.tryPublish(messageOf(sent))) sent++
    const received: number[] = []
    const receive = () => {
      for (let message = subscriber.tryReceive(); message; message = subscriber.tryReceive())
        received.push(numberOf(message))
    }
    try {
      receive()
    } catch (error) {
      expect(error).toBeInstanceOf(OverrunError)
      received.length = 0
      receive()
    }
    expect(received).toContain(100)
    expect(received).toEqual(received.map((_, at) => received[0] + at))
    expect(received.at(-1)).toBe(sent - 1)
  })

  it('whose thread waits for anything else returns its space first', async () => {
    const { ring, other } = ringOf(options)
    const publisher = ring.publisher()
    const subscriber = other.subscriber({ gate: true })
    let sent = 0
    while (publisher.tryPublish(messageOf(sent))) sent++
    subscriber.tryReceiveBatch()
    expect(publisher.tryPublish(messageOf(sent))).toBe(false)
    expect(await publisher.publish(messageOf(sent), { timeoutMs: 5000 })).toBe(true)
  })

  it('that dies frees the publisher, and one that closes, too', async () => {
    const setup = createBroadcast({ capacityBytes: 1024, gates: 2 })
    const publisher = setup.ring.publisher()
    const region = setup.attach()
    region.root.subscriber({ gate: true })
    const closing = setup.attach().root.subscriber({ gate: true })
    let sent = 0
    while (publisher.tryPublish(messageOf(sent))) sent++
    closing.close()
    const waiting = publisher.publish(messageOf(sent))
    expect(await stateOf(waiting)).toBe('pending')
    setup.region.declareDead(region.peers.self)
    expect(await waiting).toBe(true)
    expect(setup.ring.describe().freeGates).toBe(2)
  })

  it('gets a message that is larger than the ring', async () => {
    const { ring, other } = ringOf({ capacityBytes: 4096, gates: 1, maxMessageBytes: 1_000_000 })
    const publisher = ring.publisher()
    const subscriber = other.subscriber({ gate: true })
    const sending = publisher.publish(messageOf(5, 300_000))
    expect(numberOf((await subscriber.receive()) as Uint8Array)).toBe(5)
    expect(await sending).toBe(true)
  })
})

describe('Subscribing', () => {
  it('refuses what it does not know', () => {
    const { ring } = ringOf()
    expectCode('ERR_ISTHMUS_INVALID_ARGUMENT', () => ring.subscriber({ gate: true }))
    expectCode('ERR_ISTHMUS_INVALID_ARGUMENT', () => ring.subscriber({ from: 'newest' as 'latest' }))
    expectCode('ERR_ISTHMUS_INVALID_ARGUMENT', () => ring.subscriber({ onOverrun: 'ignore' as 'skip' }))
    expectCode('ERR_ISTHMUS_INVALID_ARGUMENT', () => ring.subscriber({ gate: 1 as unknown as boolean }))
  })

  it('a closed subscriber is of no use, and gives its gate back', () => {
    const { ring, other } = ringOf({ gates: 1 })
    const subscriber = other.subscriber({ gate: true })
    subscriber.close()
    subscriber.close()
    expectCode('ERR_ISTHMUS_CLOSED', () => subscriber.tryReceive())
    expect(ring.describe().freeGates).toBe(1)
  })

  it('after a death that no peer has noticed, waits for the next publisher', () => {
    const setup = createBroadcast({ capacityBytes: 1024 })
    const dying = setup.attach()
    dying.root.publisher().tryPublish(messageOf(1))
    endHold(setup.region, dying.peers.self)
    const subscriber = setup.ring.subscriber()
    expect(subscriber.receiveSync({ timeoutMs: 0 })).toBeUndefined()
    setup.ring.publisher().tryPublish(messageOf(2))
    expect(numberOf(subscriber.tryReceive() as Uint8Array)).toBe(2)
  })

  it('a death of the publisher is told once, after everything that it had published', async () => {
    const setup = createBroadcast({ capacityBytes: 1024 })
    const dying = setup.attach()
    const publisher = dying.root.publisher()
    const subscriber = setup.ring.subscriber()
    publisher.tryPublish(messageOf(1))
    endHold(setup.region, dying.peers.self)
    expect(numberOf(subscriber.receiveSync() as Uint8Array)).toBe(1)
    expectCode('ERR_ISTHMUS_PEER_DIED', () => subscriber.receiveSync({ timeoutMs: 10_000 }))
    expect(subscriber.tryReceive()).toBeUndefined()
    setup.ring.publisher().tryPublish(messageOf(2))
    expect(numberOf(subscriber.tryReceive() as Uint8Array)).toBe(2)
    expect(subscriber.lost).toBe(0)
  })
})
