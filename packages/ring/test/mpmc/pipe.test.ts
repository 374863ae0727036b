import type { HeapRegion } from '@isthmus/sync'
import { describe, expect, it, vi } from 'vitest'
import { expectCode, expectRejection } from '../../../sync/test/support/expect-code.js'
import { withoutSafetyNet } from '../../../sync/test/support/safety-net.js'
import { soon, stateOf, turns, until } from '../../../sync/test/support/waiting.js'
import {
  type MessageChunk,
  type MpmcQueue,
  type MpmcQueueOptions,
  mpmcQueue,
  type Receiver,
  type SendLoan,
  utf8,
} from '../../src/index.js'
import {
  BLOCK_HEADER_BYTES,
  KIND_WORD,
  LEASE_WORD,
  ORPHAN,
  PIPE,
  PIPE_LENGTH_OFFSET,
  PIPE_READ_OFFSET,
  PIPE_RECEIVER_EVENTS_OFFSET,
  PIPE_SENDER_EVENTS_OFFSET,
  PIPE_WRITE_OFFSET,
  SENDER_WORD,
} from '../../src/mpmc/layout.js'
import { createQueue, type QueueMemory, type QueueSetup } from '../support/queue-memory.js'
import { endHold, expectSameMessages, numbered, payload } from '../support/ring-memory.js'

withoutSafetyNet()

const OPTIONS = { blocks: 3, blockBytes: 1024, maxMessageBytes: 1_000_000 }
const AT_LEAST_ONCE = { ...OPTIONS, delivery: 'at-least-once' } as const
const DELIVERIES = ['at-most-once', 'at-least-once'] as const
const LARGE = payload(10_000)

/** A sender and a receiver, each of an attachment of its own. */
function createPair(options: MpmcQueueOptions = OPTIONS) {
  const setup = createQueue(options)
  const region = setup.attach()
  return { ...setup, sender: setup.queue.sender(), receiver: region.root.receiver(), receiverRegion: region }
}

/** Nobody has a block any more, also after a look for what dead peers had. */
function expectAllFree({ queue, memory }: QueueSetup): void {
  expect(queue.receiver().receiveSync({ timeoutMs: 0 }) ?? undefined).toBeUndefined()
  expect(queue.describe()).toMatchObject({ taken: [], strays: 0 })
  expect(memory.allFree).toBe(true)
}

async function chunksOf(receiver: Receiver, into?: Uint8Array): Promise<MessageChunk[]> {
  const chunks: MessageChunk[] = []
  for (;;) {
    const chunk = (await soon(receiver.receiveChunk(into === undefined ? {} : { into }))) as MessageChunk
    chunks.push({ ...chunk, bytes: chunk.bytes.slice() })
    if (chunk.isLast) return chunks
  }
}

describe.each(DELIVERIES)('A message that is larger than a block, %s', (delivery) => {
  const options = { ...OPTIONS, delivery }
  const isAtLeastOnce = delivery === 'at-least-once'

  it('arrives whole, and frees its block', async () => {
    const pair = createPair(options)
    const { sender, receiver } = pair
    for (const byteLength of [1025, 4096, 10_000, 100_000]) {
      const message = payload(byteLength)
      const sent = sender.send(message)
      expectSameMessages([(await soon(receiver.receive())) as Uint8Array], [message])
      if (isAtLeastOnce) {
        expect(await stateOf(sent)).toBe('pending')
        receiver.acknowledge()
      }
      expect(await soon(sent)).toBe(true)
      expect(pair.memory.allFree).toBe(true)
    }
    expectAllFree(pair)
  })

  it('arrives between two attachments of which only one has a block', async () => {
    const pair = createPair({ ...options, blocks: 1 })
    const { sender, receiver } = pair
    const messages = numbered(1, 5, 5000)
    const sends = messages.map((message) => sender.send(message))
    const received: Uint8Array[] = []
    for (let count = 0; count < 5; count++) received.push((await soon(receiver.receive())) as Uint8Array)
    if (isAtLeastOnce) receiver.acknowledge()
    expectSameMessages(received, messages)
    expect(await soon(Promise.all(sends))).toEqual([true, true, true, true, true])
    expectAllFree(pair)
  })

  it.each([undefined, 100, 1024])(
    'arrives in chunks, with its progress, into an array of %s bytes',
    async (intoBytes) => {
      const pair = createPair(options)
      const sent = pair.sender.send(LARGE)
      const chunks = await chunksOf(pair.receiver, intoBytes === undefined ? undefined : new Uint8Array(intoBytes))
      expect(chunks.length).toBeGreaterThan(10)
      let messageOffset = 0
      for (const chunk of chunks) {
        expect(chunk).toMatchObject({ messageOffset, messageByteLength: LARGE.length })
        messageOffset += chunk.bytes.length
        expect(chunk.isLast).toBe(messageOffset === LARGE.length)
        expect(chunk.bytes.length).toBeLessThanOrEqual(pair.receiver.maxChunkBytes)
      }
      expectSameMessages([Buffer.concat(chunks.map(({ bytes }) => bytes))], [LARGE])
      expect(pair.receiver.tryReceiveChunk()).toBeUndefined()
      expect(await soon(sent)).toBe(true)
      expectAllFree(pair)
    },
  )

  it('keeps its place among small ones, which go on through other receivers', async () => {
    const pair = createPair({ ...options, codec: utf8 } as never)
    const sender = pair.sender as never as { trySend(value: string): boolean; send(value: string): Promise<boolean> }
    const receiver = pair.receiver as never as Receiver<string>
    const text = 'x'.repeat(9000)
    expect(sender.trySend('before')).toBe(true)
    const sent = sender.send(text)
    expect(await stateOf(sent)).toBe('pending')
    expect(sender.trySend('after')).toBe(true)
    expect(sender.trySend('no block')).toBe(false)
    expect(receiver.tryReceive()).toBe('before')
    const received = receiver.receive()
    await turns(1)
    // The large one has a receiver, the small one gets another.
    const other = pair.attach().root.receiver() as never as Receiver<string>
    for (let count = 0; count < 20; count++) {
      expect(await soon(other.receive())).toBe(count === 0 ? 'after' : `small ${count}`)
      other.acknowledge()
      expect(sender.trySend(`small ${count + 1}`)).toBe(true)
    }
    expect(await soon(received)).toBe(text)
    receiver.acknowledge()
    expect(await soon(sent)).toBe(true)
    expect(other.tryReceive()).toBe('small 20')
    other.acknowledge()
    expectAllFree(pair)
  })

  it('reaches iterators, forEach, forEachInPlace, drain, batches and loans', async () => {
    const pair = createPair(options)
    const { sender, receiver, queue } = pair
    const send = () => Promise.all([sender.send(LARGE), sender.send(Uint8Array.of(7))])
    const received: Uint8Array[] = []
    async function twice(sends: Promise<boolean[]>): Promise<void> {
      receiver.acknowledge()
      expect(await soon(sends)).toEqual([true, true])
      expectSameMessages(received.splice(0), [LARGE, Uint8Array.of(7)])
      expect(pair.memory.allFree).toBe(true)
    }
    let sends = send()
    for await (const message of receiver) if (received.push(message) === 2) break
    await twice(sends)

    for (const inPlace of [false, true]) {
      sends = send()
      const controller = new AbortController()
      const { signal } = controller
      const note = (message: Uint8Array) => {
        if (received.push(message.slice()) === 2) controller.abort()
      }
      const loop = inPlace
        ? receiver.forEachInPlace((bytes, from, length) => note(bytes.subarray(from, from + length)), { signal })
        : receiver.forEach(note, { signal })
      await expect(soon(loop)).rejects.toMatchObject({ name: 'AbortError' })
      await twice(sends)
    }

    sends = send()
    while (received.length < 2) {
      receiver.drain((bytes, from, length) => received.push(bytes.slice(from, from + length)))
      await turns(1)
    }
    await twice(sends)

    sends = send()
    while (received.length < 2) received.push(...((await soon(receiver.receiveBatch())) as Uint8Array[]))
    await twice(sends)

    sends = send()
    for (let loan = receiver.tryTake(); received.length < 2; loan = receiver.tryTake()) {
      if (loan) {
        received.push(loan.bytes.slice())
        expect(loan.deliveries).toBe(1)
        loan.release()
      } else {
        await turns(1)
      }
    }
    await twice(sends)

    const end = send()
    await turns(2)
    queue.end()
    for await (const message of receiver) received.push(message)
    await twice(end)
  })

  it('is not sent by calls that do not wait', () => {
    const pair = createPair(options)
    const { sender } = pair
    expect(() => sender.trySend(LARGE)).toThrow('Use send or sendSync')
    expectCode('ERR_ISTHMUS_MESSAGE_TOO_LARGE', () => sender.trySend(LARGE))
    expectCode('ERR_ISTHMUS_MESSAGE_TOO_LARGE', () => sender.trySendBatch([LARGE]))
    expect(sender.trySendBatch([Uint8Array.of(1), LARGE])).toBe(1)
    expect(sender.sendSync(LARGE, { timeoutMs: 0 })).toBe(false)
    expectCode('ERR_ISTHMUS_MESSAGE_TOO_LARGE', () => sender.sendSync(new Uint8Array(1_000_001)))
    expect(sender.blockBytes).toBe(1024)
    expect(sender.maxMessageBytes).toBe(1_000_000)
    expect(pair.receiver.tryReceive()).toEqual(Uint8Array.of(1))
    pair.receiver.acknowledge()
    expectAllFree(pair)
  })

  it('goes out in its turn in a batch', async () => {
    const pair = createPair(options)
    const messages = [payload(3), LARGE, payload(4), payload(5000), payload(5)]
    const sent = pair.sender.sendBatch(messages)
    const received: Uint8Array[] = []
    while (received.length < 5) received.push((await soon(pair.receiver.receive())) as Uint8Array)
    pair.receiver.acknowledge()
    expect(await soon(sent)).toBe(5)
    expectSameMessages(received, messages)
    expectAllFree(pair)
  })

  it('is passed over silently if its sender gave it up before it was taken', async () => {
    const pair = createPair(options)
    const { sender, receiver } = pair
    const controller = new AbortController()
    const aborted = sender.send(LARGE, { signal: controller.signal })
    const timedOut = sender.send(LARGE, { timeoutMs: 5 })
    expect(await soon(timedOut)).toBe(false)
    controller.abort()
    await expect(soon(aborted)).rejects.toMatchObject({ name: 'AbortError' })
    expect(pair.queue.describe()).toMatchObject({ free: 1, depth: 0 })
    expect(sender.trySend(Uint8Array.of(7))).toBe(true)
    expect(receiver.tryReceive()).toEqual(Uint8Array.of(7))
    receiver.acknowledge()
    expectAllFree(pair)
  })

  it('breaks off if its sender gives it up in the midst; the next one follows', async () => {
    const pair = createPair(options)
    const { sender, receiver } = pair
    const controller = new AbortController()
    const sent = sender.send(LARGE, { signal: controller.signal })
    await turns()
    // What was published comes first.
    expect(receiver.tryReceiveChunk()).toMatchObject({ messageOffset: 0, messageByteLength: LARGE.length })
    controller.abort()
    await expect(soon(sent)).rejects.toMatchObject({ name: 'AbortError' })
    expect(sender.trySend(Uint8Array.of(7))).toBe(true)
    let receivedBytes = 416
    const error = expectCode('ERR_ISTHMUS_MESSAGE_INCOMPLETE', () => {
      for (;;) {
        const chunk = receiver.tryReceiveChunk()
        if (chunk) receivedBytes = chunk.messageOffset + chunk.bytes.length
      }
    })
    expect(error).toMatchObject({ reason: 'abandoned', receivedBytes, messageByteLength: LARGE.length })
    expect(receiver.tryReceive()).toEqual(Uint8Array.of(7))
    receiver.acknowledge()
    expectAllFree(pair)
  })

  it('whose sender does not go on can be skipped', async () => {
    const pair = createPair({ ...options, maxDeliveries: 2 })
    const { sender, receiver } = pair
    expect(receiver.skipMessage()).toBe(false)
    const sent = sender.send(LARGE)
    sent.catch(() => {})
    await turns()
    expect(sender.trySend(Uint8Array.of(7))).toBe(true)
    expect(receiver.tryReceive()).toBeUndefined()
    expect(receiver.skipMessage()).toBe(true)
    expect(receiver.tryReceive()).toEqual(Uint8Array.of(7))
    if (isAtLeastOnce) {
      // The sender goes on after all: it comes again.
      receiver.acknowledge()
      await turns()
      expect(receiver.tryReceive()).toBeUndefined()
      expect(receiver.skipMessage()).toBe(true)
      await expectRejection('ERR_ISTHMUS_MESSAGE_INCOMPLETE', soon(sent))
      expect(pair.queue.describe().givenUp).toBe(1)
    } else {
      await expectRejection('ERR_ISTHMUS_MESSAGE_INCOMPLETE', soon(sent))
    }
    expectAllFree(pair)
  })

  it('is continued by the next call after a timeout; skipMessage lets a call that waits for the rest go on', async () => {
    const pair = createPair(options)
    const { sender, receiver } = pair
    const stopped = pair.attach()
    const pipe = stoppedSender(pair, stopped, 2000)
    expect(await soon(receiver.receive({ timeoutMs: 5 }))).toBeUndefined()
    const controller = new AbortController()
    const aborted = receiver.receive({ signal: controller.signal })
    expect(await stateOf(aborted)).toBe('pending')
    controller.abort()
    await expect(soon(aborted)).rejects.toMatchObject({ name: 'AbortError' })
    const later = receiver.receive()
    expect(sender.trySend(Uint8Array.of(7))).toBe(true)
    expect(await stateOf(later)).toBe('pending')
    expect(receiver.skipMessage()).toBe(true)
    expect(await soon(later)).toEqual(Uint8Array.of(7))
    receiver.acknowledge()
    // Its sender has it, and no other.
    expect(pair.memory.holds().filter((hold) => hold === ORPHAN)).toHaveLength(1)
    pipe.publish(100)
    pair.region.declareDead(stopped.peers.self)
    expectAllFree(pair)
  })

  it('ends with its sender, if that or its region is closed', async () => {
    const pair = createPair(options)
    for (const end of ['sender', 'region'] as const) {
      const region = pair.attach()
      const sender = region.root.sender()
      const [begun, untaken] = [sender.send(LARGE), sender.send(LARGE)]
      begun.catch(() => {})
      untaken.catch(() => {})
      await turns()
      expect(pair.receiver.tryReceive()).toBeUndefined()
      const rest = pair.receiver.receive()
      rest.catch(() => {})
      if (end === 'sender') sender.close()
      else region.close()
      await expectRejection('ERR_ISTHMUS_CLOSED', soon(begun))
      await expectRejection('ERR_ISTHMUS_CLOSED', soon(untaken))
      await expectRejection('ERR_ISTHMUS_MESSAGE_INCOMPLETE', soon(rest))
      expectAllFree(pair)
    }
  })

  it('ends with its receiver, if that or its region is closed', async () => {
    const pair = createPair(options)
    for (const end of ['receiver', 'region'] as const) {
      const region = pair.attach()
      const receiver = region.root.receiver()
      const sent = pair.sender.send(LARGE)
      sent.catch(() => {})
      await turns()
      const rest = receiver.receiveChunk()
      await soon(rest)
      const next = receiver.receiveChunk()
      next.catch(() => {})
      if (end === 'receiver') receiver.close()
      else region.close()
      if (isAtLeastOnce) {
        expectSameMessages([(await soon(pair.receiver.receive())) as Uint8Array], [LARGE])
        pair.receiver.acknowledge()
        expect(await soon(sent)).toBe(true)
      } else {
        await expectRejection('ERR_ISTHMUS_MESSAGE_INCOMPLETE', soon(sent))
      }
      expectAllFree(pair)
    }
  })

  it('whose sender dies breaks off, or is passed over', async () => {
    const pair = createPair(options)
    const { queue, receiver } = pair
    const mortal = pair.attach()
    const sender = mortal.root.sender()
    for (const message of [LARGE, LARGE]) sender.send(message).catch(() => {})
    await turns()
    expect(queue.sender().trySend(Uint8Array.of(7))).toBe(true)
    expect(receiver.tryReceive()).toBeUndefined()
    endHold(pair.region, mortal.peers.self)
    expectCode('ERR_ISTHMUS_MESSAGE_INCOMPLETE', () => receiver.receiveSync({ timeoutMs: 0 }))
    expect(receiver.tryReceive()).toEqual(Uint8Array.of(7))
    receiver.acknowledge()
    expectAllFree(pair)
  })

  it('whose sender is declared dead breaks off while its receiver waits', async () => {
    const pair = createPair(options)
    const mortal = pair.attach()
    const pipe = stoppedSender(pair, mortal, 2000)
    pipe.publish(100)
    expect(pair.receiver.tryReceiveChunk()).toMatchObject({ messageOffset: 0, messageByteLength: 2000 })
    const rest = chunksOf(pair.receiver)
    rest.catch(() => {})
    expect(await stateOf(rest)).toBe('pending')
    pipe.publish(150)
    pair.region.declareDead(mortal.peers.self)
    await expect(soon(rest)).rejects.toMatchObject({ reason: 'abandoned', receivedBytes: 150 })
    expectAllFree(pair)
  })
})

describe('A large message whose receiver dies', () => {
  it('is sent again, at least once, from its first byte', async () => {
    const pair = createPair(AT_LEAST_ONCE)
    const sent = pair.sender.send(LARGE)
    await turns()
    const mortal = pair.attach()
    expect(mortal.root.receiver().tryReceiveChunk()).toMatchObject({ messageOffset: 0 })
    await turns()
    endHold(pair.region, mortal.peers.self)
    pair.region.declareDead(mortal.peers.self)
    expectSameMessages([(await soon(pair.receiver.receive())) as Uint8Array], [LARGE])
    pair.receiver.acknowledge()
    expect(await soon(sent)).toBe(true)
    expectAllFree(pair)
  })

  it('is sent again, at least once, if all of it was received and not acknowledged', async () => {
    const pair = createPair(AT_LEAST_ONCE)
    const sent = pair.sender.send(LARGE)
    const mortal = pair.attach()
    expectSameMessages([(await soon(mortal.root.receiver().receive())) as Uint8Array], [LARGE])
    expect(await stateOf(sent)).toBe('pending')
    pair.region.declareDead(mortal.peers.self)
    const loan = await soon(loanFrom(pair.receiver))
    expect(loan.deliveries).toBe(2)
    expectSameMessages([loan.bytes], [LARGE])
    expect(loan.requeue()).toBe(true)
    expectSameMessages([(await soon(pair.receiver.receive())) as Uint8Array], [LARGE])
    pair.receiver.acknowledge()
    expect(await soon(sent)).toBe(true)
    expectAllFree(pair)
  })

  it('is given up after maxDeliveries', async () => {
    const pair = createPair({ ...AT_LEAST_ONCE, maxDeliveries: 2 })
    const sent = pair.sender.send(LARGE)
    sent.catch(() => {})
    for (let death = 0; death < 2; death++) {
      const mortal = pair.attach()
      const receiver = mortal.root.receiver()
      await turns()
      receiver.tryReceive()
      await turns()
      pair.region.declareDead(mortal.peers.self)
    }
    await expectRejection('ERR_ISTHMUS_PEER_DIED', soon(sent))
    expect(pair.queue.describe().givenUp).toBe(1)
    expectAllFree(pair)
  })

  it('is not sent, at most once', async () => {
    const pair = createPair()
    const sent = pair.sender.send(LARGE)
    sent.catch(() => {})
    const mortal = pair.attach()
    const receiver = mortal.root.receiver()
    expect(await stateOf(sent)).toBe('pending')
    // Too little to wake the sender for its space: it is woken to watch its receiver.
    expect(receiver.tryReceiveChunk({ into: new Uint8Array(1) })).toBeDefined()
    await turns()
    pair.region.declareDead(mortal.peers.self)
    await expect(soon(sent)).rejects.toMatchObject({
      name: 'PeerDiedError',
      code: 'ERR_ISTHMUS_PEER_DIED',
      pid: process.pid,
    })
    expect(pair.queue.describe().lost).toBe(0)
    expectAllFree(pair)
  })

  it('is lost, at most once, if it was sent', async () => {
    const pair = createPair({ ...OPTIONS, blockBytes: 2048 })
    const message = payload(2100)
    const mortal = pair.attach()
    const receiver = mortal.root.receiver()
    const sent = pair.sender.send(message)
    await turns()
    expect(receiver.tryReceiveChunk({ into: new Uint8Array(700) })).toMatchObject({ isLast: false })
    expect(await soon(sent)).toBe(true)
    pair.region.declareDead(mortal.peers.self)
    expectAllFree(pair)
    expect(pair.queue.describe().lost).toBe(1)
  })

  it('is not sent, at least once, if the queue has ended meanwhile', async () => {
    const pair = createPair(AT_LEAST_ONCE)
    const sent = pair.sender.send(LARGE)
    sent.catch(() => {})
    const mortal = pair.attach()
    const receiver = mortal.root.receiver()
    await turns()
    receiver.tryReceive()
    await turns()
    pair.queue.end()
    expect(pair.receiver.tryReceive()).toBeNull()
    pair.region.declareDead(mortal.peers.self)
    await expectRejection('ERR_ISTHMUS_CLOSED', soon(sent))
    expectAllFree(pair)
  })
})

describe('A pipe', () => {
  it('needs blocks of at least 768 bytes', async () => {
    const making = (blockBytes: number, maxMessageBytes: number) => () =>
      mpmcQueue({ blocks: 1, blockBytes, maxMessageBytes })
    expectCode('ERR_ISTHMUS_INVALID_ARGUMENT', making(767, 768))
    expect(making(767, 768)).toThrow('blockBytes is 767. Give at least 768')
    expectCode('ERR_ISTHMUS_INVALID_ARGUMENT', making(768, 767))
    expectCode('ERR_ISTHMUS_INVALID_ARGUMENT', making(768, Number.NaN))
    expect(making(767, 767)).not.toThrow()
    expect(making(768, 769)().signature).not.toBe(making(768, 768)().signature)
    const pair = createPair({ blocks: 1, blockBytes: 768, maxMessageBytes: 3000 })
    const sent = pair.sender.send(payload(3000))
    expectSameMessages([(await soon(pair.receiver.receive())) as Uint8Array], [payload(3000)])
    expect(await soon(sent)).toBe(true)
    expectAllFree(pair)
  })

  it('is an orphan for its sender alone', async () => {
    const pair = createPair(AT_LEAST_ONCE)
    const stopped = pair.attach()
    const mortal = pair.attach()
    const sent = stopped.root.sender().send(LARGE)
    await turns()
    expect(mortal.root.receiver().tryReceive()).toBeUndefined()
    pair.region.declareDead(mortal.peers.self)
    // The sender has had no turn yet.
    expect(pair.memory.holds().filter((hold) => hold === ORPHAN)).toHaveLength(1)
    for (let look = 0; look < 3; look++) expect(pair.receiver.receiveSync({ timeoutMs: 0 })).toBeUndefined()
    expect(pair.memory.holds().filter((hold) => hold === ORPHAN)).toHaveLength(1)
    expectSameMessages([(await soon(pair.receiver.receive())) as Uint8Array], [LARGE])
    pair.receiver.acknowledge()
    expect(await soon(sent)).toBe(true)
    expectAllFree(pair)
  })

  it('keeps the sequences of its event counts when it is sent again: its sender knows its own wake-ups by them', async () => {
    const pair = createPair({ ...AT_LEAST_ONCE, blocks: 1 })
    const sent = pair.sender.send(LARGE)
    await turns()
    const { words } = pair.memory
    const [forReceiver, forSender] = [PIPE_RECEIVER_EVENTS_OFFSET, PIPE_SENDER_EVENTS_OFFSET].map(
      (offset) => pair.memory.cellIndex(0) + offset / 4,
    )
    const mortal = pair.attach()
    expect(mortal.root.receiver().tryReceive()).toBeUndefined()
    // As if the receiver had slept, and had been woken.
    words.set([mortal.peers.self, 1007], forReceiver)
    words[forSender + 1] += 1000
    pair.region.declareDead(mortal.peers.self)
    await until(() => pair.queue.describe().depth === 1)
    expect(words[forReceiver]).toBe(0)
    expect(words[forReceiver + 1]).toBeGreaterThanOrEqual(1007)
    expect(words[forSender + 1]).toBeGreaterThanOrEqual(1000)
    expectSameMessages([(await soon(pair.receiver.receive())) as Uint8Array], [LARGE])
    pair.receiver.acknowledge()
    expect(await soon(sent)).toBe(true)
    expectAllFree(pair)
  })

  it('is left after the own waits in it have ended: their end writes into its block', async () => {
    for (const side of ['sender', 'receiver'] as const) {
      const pair = createPair({ ...AT_LEAST_ONCE, blocks: 1 })
      const cell = pair.memory.cellIndex(0)
      const offset = side === 'sender' ? PIPE_SENDER_EVENTS_OFFSET : PIPE_RECEIVER_EVENTS_OFFSET
      const sleeper = () => Atomics.load(pair.memory.words, cell + offset / 4)
      if (side === 'sender') pair.sender.send(LARGE).catch(() => {})
      else stoppedSender(pair, pair.attach(), 2000)
      await turns()
      const receiving = side === 'receiver' ? pair.receiver.receive() : undefined
      receiving?.catch(() => {})
      await until(() => sleeper() !== 0)
      const sleepersWhenMarked: number[] = []
      const { or } = Atomics
      const marking = vi.spyOn(Atomics, 'or').mockImplementation((words, index, value) => {
        if (index === cell + LEASE_WORD) sleepersWhenMarked.push(sleeper())
        return or(words, index, value)
      })
      if (side === 'sender') pair.sender.close()
      else pair.receiver.skipMessage()
      marking.mockRestore()
      expect(sleepersWhenMarked.length).toBeGreaterThan(0)
      expect(sleepersWhenMarked.every((found) => found === 0)).toBe(true)
      pair.receiver.close()
      await receiving?.catch(() => {})
    }
  })

  it('is received to its end in one way', async () => {
    const pair = createPair()
    const { receiver } = pair
    const sent = pair.sender.send(LARGE)
    await turns()
    expect(receiver.tryReceive()).toBeUndefined()
    expectCode('ERR_ISTHMUS_CALL_ORDER', () => receiver.tryReceiveChunk())
    expectSameMessages([(await soon(receiver.receive())) as Uint8Array], [LARGE])
    await soon(sent)
    const again = pair.sender.send(LARGE)
    await turns()
    expect(receiver.tryReceiveChunk()).toBeDefined()
    expectCode('ERR_ISTHMUS_CALL_ORDER', () => receiver.tryReceive())
    expectCode('ERR_ISTHMUS_CALL_ORDER', () => receiver.drain(() => {}))
    await soon(chunksOf(receiver))
    expect(await soon(again)).toBe(true)
    expectAllFree(pair)
  })

  it('does not block the thread that has both of its ends', async () => {
    const { queue } = createQueue(OPTIONS)
    const sender = queue.sender()
    const receiver = queue.receiver()
    const sent = sender.send(LARGE)
    await turns()
    expectCode('EDEADLK', () => receiver.receiveSync({ timeoutMs: 1000 }))
    expectCode('EDEADLK', () => sender.sendSync(LARGE, { timeoutMs: 1000 }))
    expectSameMessages([(await soon(receiver.receive())) as Uint8Array], [LARGE])
    expect(await soon(sent)).toBe(true)
  })
})

describe('Hostile words of a pipe', () => {
  const setWord = (word: number, value: number) => (memory: QueueMemory, cell: number) => {
    memory.words[cell + word] = value
  }
  const LENGTH = PIPE_LENGTH_OFFSET / 4
  const WRITE = PIPE_WRITE_OFFSET / 4

  it.each([
    ['the length of a message that fits into a block', setWord(LENGTH, 1024)],
    ['a length beyond maxMessageBytes', setWord(LENGTH, 1_000_001)],
    ['a length beyond all numbers', setWord(LENGTH + 1, -1)],
    ['more bytes than a block has room for', setWord(WRITE, 417)],
    ['bytes before the first one', setWord(WRITE, -1)],
  ])('throw, and the next message follows: %s', (_, spoil) => {
    for (const inChunks of [false, true]) {
      const pair = createPair()
      const stopped = pair.attach()
      const pipe = stoppedSender(pair, stopped, 2000)
      pipe.publish(100)
      spoil(pair.memory, pipe.cell)
      expect(pair.sender.trySend(Uint8Array.of(7))).toBe(true)
      const receive = () => (inChunks ? pair.receiver.tryReceiveChunk() : pair.receiver.tryReceive())
      expectCode('ERR_ISTHMUS_CORRUPT', receive)
      expect(pair.receiver.tryReceive()).toEqual(Uint8Array.of(7))
      pair.region.declareDead(stopped.peers.self)
      expectAllFree(pair)
    }
  })

  it('throw if more is published than the message has', () => {
    const pair = createPair()
    const stopped = pair.attach()
    const pipe = stoppedSender(pair, stopped, 1025)
    for (const publishedBytes of [416, 832]) {
      pipe.publish(publishedBytes)
      expect(pair.receiver.tryReceive()).toBeUndefined()
    }
    pipe.publish(1026)
    expectCode('ERR_ISTHMUS_CORRUPT', () => pair.receiver.tryReceive())
    pair.region.declareDead(stopped.peers.self)
    expectAllFree(pair)
  })

  it('are those of a peer that is gone, if they name none', () => {
    for (const sender of [0, -1, 0x7fffffff, 127]) {
      const pair = createPair()
      const pipe = stoppedSender(pair, pair.attach(), 2000)
      pipe.publish(100)
      pair.memory.words[pipe.cell + SENDER_WORD] = sender
      expect(pair.receiver.tryReceive()).toBeUndefined()
      expectAllFree(pair)
    }
  })

  it('throw in a queue without large messages', () => {
    const pair = createPair({ blocks: 2, blockBytes: 1024 })
    stoppedSender(pair, pair.attach(), 2000)
    expectCode('ERR_ISTHMUS_CORRUPT', () => pair.receiver.tryReceive())
    expectAllFree(pair)
  })

  it.each([-1, 0x40000000, 5000])('end a send, if a receiver says that it has read %i bytes', async (readPosition) => {
    const pair = createPair()
    const sent = pair.sender.send(LARGE)
    sent.catch(() => {})
    await turns()
    const block = pair.queue.describe().taken[0]?.block ?? 0
    expect(pair.receiver.tryReceiveChunk()).toBeDefined()
    pair.memory.words[pair.memory.cellIndex(block) + PIPE_READ_OFFSET / 4] = readPosition
    await expectRejection('ERR_ISTHMUS_CORRUPT', soon(sent))
    expectCode('ERR_ISTHMUS_MESSAGE_INCOMPLETE', () => pair.receiver.tryReceiveChunk())
    expectAllFree(pair)
  })
})

/** Plays a sender that has pushed a pipe, and does what the test says. */
function stoppedSender({ memory }: QueueSetup, region: HeapRegion<MpmcQueue>, messageByteLength: number) {
  const loan = region.root.sender().tryLoan() as SendLoan
  const payloadWord = loan.byteOffset / 4
  const cell = payloadWord - BLOCK_HEADER_BYTES / 4
  const { words } = memory
  words.fill(0, payloadWord, payloadWord + 160)
  words[cell + PIPE_LENGTH_OFFSET / 4] = messageByteLength
  loan.send(0)
  words[cell + LEASE_WORD] = 0
  words[cell + KIND_WORD] = PIPE
  return {
    publish: (writePosition: number) => Atomics.store(words, cell + PIPE_WRITE_OFFSET / 4, writePosition),
    cell,
  }
}

async function loanFrom(receiver: Receiver) {
  for (;;) {
    const loan = receiver.tryTake()
    if (loan) return loan
    await turns(1)
  }
}
