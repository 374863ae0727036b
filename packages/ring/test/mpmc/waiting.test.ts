import { getEventListeners } from 'node:events'
import { waitAny } from '@isthmus/sync'
import { describe, expect, it } from 'vitest'
import { expectCode, expectRejection } from '../../../sync/test/support/expect-code.js'
import { withoutSafetyNet } from '../../../sync/test/support/safety-net.js'
import { sleep, soon, stateOf, turns, until } from '../../../sync/test/support/waiting.js'
import { createQueue } from '../support/queue-memory.js'
import { inQueueThread } from '../support/queue-thread.js'
import { numbered, payload } from '../support/ring-memory.js'

withoutSafetyNet()

const OPTIONS = { blocks: 2, blockBytes: 16 }
const [first, second, third] = numbered(1, 3)

describe('A receiver that waits', () => {
  it.each([0, 1, 20])('is woken by a message that comes after %i ms', async (pauseMs) => {
    const { queue, attach } = createQueue(OPTIONS)
    const receiving = attach().root.receiver().receive()
    await sleep(pauseMs)
    queue.sender().trySend(first)
    expect(await soon(receiving)).toEqual(first)
    expect(queue.describe().waitingReceivers).toEqual([])
  })

  it('gets its message at once if it is there', async () => {
    const { queue } = createQueue(OPTIONS)
    queue.sender().trySend(first)
    expect(await queue.receiver().receive()).toEqual(first)
  })

  it('serves concurrent calls in their order, and tryReceive comes after them', async () => {
    const { queue } = createQueue(OPTIONS)
    const receiver = queue.receiver()
    const calls = [receiver.receive(), receiver.receive()]
    await turns()
    queue.sender().trySendBatch([first, second])
    expect(receiver.tryReceive()).toBeUndefined()
    expectCode('EDEADLK', () => receiver.receiveSync())
    expect(await soon(Promise.all(calls))).toEqual([first, second])
  })

  it('gives up after its timeout, takes nothing and leaves nothing behind', async () => {
    const { queue, attach } = createQueue(OPTIONS)
    const receiver = attach().root.receiver()
    expect(await soon(receiver.receive({ timeoutMs: 5 }))).toBeUndefined()
    expect(receiver.receiveSync({ timeoutMs: 5 })).toBeUndefined()
    expect(receiver.receiveSync({ timeoutMs: 0 })).toBeUndefined()
    expect(await receiver.receive({ timeoutMs: 0 })).toBeUndefined()
    expect(queue.describe().waitingReceivers).toEqual([])
  })

  it('is aborted, and no message is lost', async () => {
    const { queue, attach } = createQueue(OPTIONS)
    const controller = new AbortController()
    const receiver = attach().root.receiver()
    const receiving = receiver.receive({ signal: controller.signal })
    await sleep(5)
    queue.sender().trySend(first)
    controller.abort('enough')
    await expect(soon(receiving)).rejects.toMatchObject({ code: 'ABORT_ERR' })
    expect(getEventListeners(controller.signal, 'abort')).toEqual([])
    expect(receiver.tryReceive()).toEqual(first)
    await expectRejection('ABORT_ERR', receiver.receive({ signal: AbortSignal.abort() }))
  })

  it('rejects if its region or the receiver itself is closed', async () => {
    const { attach } = createQueue(OPTIONS)
    const region = attach()
    const [closed, other] = [region.root.receiver(), region.root.receiver()]
    const calls = [closed.receive(), other.receive()].map((call) => expectRejection('ERR_ISTHMUS_CLOSED', call))
    await sleep(2)
    closed.close()
    await soon(calls[0])
    region.close()
    await soon(calls[1])
    expectCode('ERR_ISTHMUS_CLOSED', () => other.tryReceive())
    expectCode('ERR_ISTHMUS_CLOSED', () => closed.tryReceive())
  })

  it('hands a wake-up on: all of many are served, threads and event loops mixed', async () => {
    const options = { blocks: 8, blockBytes: 16 }
    const { region, queue, attach } = createQueue(options)
    const threads = Array.from({ length: 2 }, () =>
      inQueueThread(region, options, (root) => root.receiver().receiveSync()),
    )
    await Promise.all(threads.map(({ hasBegun }) => hasBegun))
    const loops = Array.from({ length: 3 }, () => attach().root.receiver().receive())
    await until(() => queue.describe().waitingReceivers.length === 5)
    const messages = numbered(1, 5)
    for (const message of messages) expect(queue.sender().trySend(message)).toBe(true)
    const all = await soon(Promise.all([...threads.map(({ result }) => result), ...loops]), 'one of the messages')
    expect(all.map((message) => (message as Uint8Array)[0]).sort()).toEqual(
      messages.map((message) => message[0]).sort(),
    )
  })

  it('blocks its thread until a message comes', async () => {
    const { region, queue } = createQueue(OPTIONS)
    const thread = inQueueThread(region, OPTIONS, (root) => {
      const receiver = root.receiver()
      return [receiver.receiveSync(), ...(receiver.receiveBatchSync() ?? []), receiver.receiveSync()]
    })
    await thread.hasBegun
    const sender = queue.sender()
    for (const message of [first, second]) {
      await sleep(5)
      sender.trySend(message)
    }
    await sleep(5)
    queue.end()
    expect(await thread.result).toEqual([first, second, null])
  })
})

describe('A sender that waits', () => {
  it('is woken by a block that comes free', async () => {
    const { queue, attach } = createQueue(OPTIONS)
    const sender = attach().root.sender()
    expect(await sender.sendBatch([first, second])).toBe(2)
    while (sender.trySend(first));
    const sending = [sender.send(second), sender.send(third)]
    expect(sender.trySend(third)).toBe(false)
    expectCode('EDEADLK', () => sender.sendSync(third))
    expect(await stateOf(sending[0])).toBe('pending')
    const receiver = queue.receiver()
    const received: (Uint8Array | null | undefined)[] = []
    while (received.length < 4) {
      const message = receiver.tryReceive()
      if (message === undefined) await turns(1)
      else received.push(message)
    }
    expect(await soon(Promise.all(sending))).toEqual([true, true])
    expect(received.slice(-2)).toEqual([second, third])
    expect(queue.describe()).toMatchObject({ waitingSenders: [], free: 2 })
  })

  it('gives up after its timeout or by its signal, and has sent nothing', async () => {
    const { queue, memory } = createQueue(OPTIONS)
    const sender = queue.sender()
    for (const message of [first, second]) sender.trySend(message)
    expect(await soon(sender.send(third, { timeoutMs: 5 }))).toBe(false)
    expect(sender.sendSync(third, { timeoutMs: 5 })).toBe(false)
    expect(sender.sendSync(third, { timeoutMs: 0 })).toBe(false)
    const controller = new AbortController()
    const sending = sender.send(third, { signal: controller.signal })
    await turns()
    controller.abort()
    await expectRejection('ABORT_ERR', soon(sending))
    expect(queue.describe()).toMatchObject({ depth: 2, waitingSenders: [] })
    queue.receiver().drain(() => {})
    expect(memory.allFree).toBe(true)
  })

  it('blocks its thread until a block comes free, and sends batches of any length', async () => {
    const { region, queue } = createQueue(OPTIONS)
    const thread = inQueueThread(region, OPTIONS, (root) => {
      const sender = root.sender()
      const numbers = Array.from({ length: 50 }, (_, at) => Uint8Array.of(at))
      return [sender.sendBatchSync(numbers), sender.sendSync(Uint8Array.of(50))]
    })
    const receiver = queue.receiver()
    const received: number[] = []
    while (received.length < 51) received.push(((await soon(receiver.receive())) as Uint8Array)[0])
    expect(received).toEqual([...received.keys()])
    expect(await thread.result).toEqual([50, true])
  })

  it('refuses to wait for blocks that only its own thread has', () => {
    const { queue } = createQueue(OPTIONS)
    const sender = queue.sender()
    sender.trySend(first)
    const taken = queue.receiver().tryTake()
    const loan = sender.tryLoan()
    expectCode('EDEADLK', () => sender.sendSync(third))
    expect(sender.sendSync(third, { timeoutMs: 0 })).toBe(false)
    taken?.release()
    expect(sender.sendSync(third)).toBe(true)
    loan?.discard()
  })

  it('is told that the bytes of its message have changed while it waited', async () => {
    const { queue } = createQueue(OPTIONS)
    const sender = queue.sender()
    for (const message of [first, second]) sender.trySend(message)
    const bytes = payload(8)
    const sending = sender.send(bytes)
    await turns()
    structuredClone(bytes, { transfer: [bytes.buffer as ArrayBuffer] })
    queue.receiver().tryReceive()
    await expectRejection('ERR_ISTHMUS_INVALID_ARGUMENT', soon(sending))
    expect(queue.describe().free).toBe(1)
  })
})

describe('waitAny', () => {
  it('tells which receivers have something, and takes nothing', async () => {
    const { queue, attach } = createQueue(OPTIONS)
    const receivers = [createQueue(OPTIONS).queue.receiver(), attach().root.receiver()]
    const indexes = async (options?: { timeoutMs: number }) =>
      (await soon(waitAny(receivers, options))).map((receiver) => receivers.indexOf(receiver))
    const waiting = indexes()
    await turns()
    queue.sender().trySend(first)
    expect(await waiting).toEqual([1])
    expect(receivers[1].tryReceive()).toEqual(first)
    expect(await indexes({ timeoutMs: 1 })).toEqual([])
    queue.end()
    expect(await indexes()).toEqual([1])
  })

  it('waits for a free block', async () => {
    const { queue, attach } = createQueue(OPTIONS)
    const sender = attach().root.sender()
    expect((await waitAny([sender])).length).toBe(1)
    while (sender.trySend(first));
    expect(await waitAny([sender], { timeoutMs: 1 })).toEqual([])
    const waiting = waitAny([sender])
    await turns()
    queue.receiver().tryReceive()
    expect((await soon(waiting)).length).toBe(1)
    while (sender.trySend(first));
    const ended = waitAny([sender])
    await turns()
    queue.end()
    expect((await soon(ended)).length).toBe(1)
  })
})

describe('The end', () => {
  it('comes after the last message, to every receiver, and in every call', async () => {
    const { queue, attach } = createQueue(OPTIONS)
    const others = [attach().root.receiver(), attach().root.receiver()]
    const waiting = others.map((receiver) => receiver.receive())
    await sleep(2)
    queue.end()
    expect(await soon(Promise.all(waiting))).toEqual([null, null])
    const receiver = queue.receiver()
    expect(receiver.tryReceive()).toBeNull()
    expect(receiver.receiveSync()).toBeNull()
    expect(receiver.drain(() => {})).toBeNull()
    expect(receiver.tryReceiveBatch()).toBeNull()
    expect(receiver.tryTake()).toBeNull()
    expect([...receiver]).toEqual([])
    await receiver.forEach(() => {})
    await receiver.forEachInPlace(() => {})
  })

  it('is refused by all ways to send, until it is taken back', async () => {
    const { queue, memory } = createQueue(OPTIONS)
    const sender = queue.sender()
    sender.trySend(first)
    const loan = sender.tryLoan()
    sender.cork()
    queue.end()
    queue.end()
    expectCode('ERR_ISTHMUS_CLOSED', () => loan?.send(1))
    sender.trySend(first)
    expectCode('ERR_ISTHMUS_CLOSED', () => sender.uncork())
    expectCode('ERR_ISTHMUS_CLOSED', () => sender.trySend(first))
    expectCode('ERR_ISTHMUS_CLOSED', () => sender.sendSync(first))
    expectCode('ERR_ISTHMUS_CLOSED', () => sender.trySendBatch([first]))
    await expectRejection('ERR_ISTHMUS_CLOSED', sender.send(first))
    await expect(sender.sendBatch([first])).rejects.toMatchObject({ code: 'ERR_ISTHMUS_CLOSED', sent: 0 })
    expect(queue.describe()).toMatchObject({ depth: 1, free: 1, hasEnded: true })
    expect(queue.receiver().tryReceive()).toEqual(first)
    expect(memory.allFree).toBe(true)
    expect(queue.reopen()).toBe(true)
    expect(queue.reopen()).toBe(false)
    expect(sender.trySend(second)).toBe(true)
    expect(queue.receiver().tryReceive()).toEqual(second)
    expect(queue.receiver().tryReceive()).toBeUndefined()
  })

  it('wakes a sender that waits', async () => {
    const { queue, attach } = createQueue(OPTIONS)
    const sender = attach().root.sender()
    while (sender.trySend(first));
    const sending = sender.send(second)
    await turns()
    queue.end()
    await expectRejection('ERR_ISTHMUS_CLOSED', soon(sending))
  })
})
