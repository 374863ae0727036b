import { describe, expect, it } from 'vitest'
import { withoutSafetyNet } from '../../../sync/test/support/safety-net.js'
import { until } from '../../../sync/test/support/waiting.js'
import { createQueue, type QueueSetup } from '../support/queue-memory.js'
import { inQueueThread } from '../support/queue-thread.js'

withoutSafetyNet()

const OPTIONS = { blocks: 4, blockBytes: 4096, maxMessageBytes: 2 ** 24 }
const DELIVERIES = ['at-most-once', 'at-least-once'] as const

function expectAllFree({ queue, memory }: QueueSetup): void {
  expect(queue.receiver().receiveSync({ timeoutMs: 0 }) ?? undefined).toBeUndefined()
  expect(queue.describe()).toMatchObject({ taken: [], strays: 0 })
  expect(memory.allFree).toBe(true)
}

/** Byte 0 names a message; every byte depends on its place. */
function numbered(byteLength: number, number: number): Uint8Array {
  const bytes = new Uint8Array(byteLength)
  for (let at = 0; at < byteLength; at++) bytes[at] = at === 0 ? number : (at * 31 + (at >> 8) + number) & 0xff
  return bytes
}

describe.each(DELIVERIES)('Large messages between threads, %s', (delivery) => {
  const options = { ...OPTIONS, delivery }

  it('of several MiB go through a block of 4 KiB: a thread that blocks, and an event loop', async () => {
    const setup = createQueue(options)
    const { region, queue } = setup
    const message = numbered(1_500_000, 7)
    const receiving = inQueueThread(region, options, (root) => {
      const receiver = root.receiver()
      const bytes = receiver.receiveSync() as Uint8Array
      receiver.acknowledge()
      return bytes
    })
    expect(await queue.sender().send(message)).toBe(true)
    expect(Buffer.compare(await receiving.result, message)).toBe(0)

    const sending = inQueueThread(region, options, (root) => {
      const bytes = new Uint8Array(1_500_000)
      for (let at = 0; at < bytes.length; at++) bytes[at] = at * 13
      return root.sender().sendSync(bytes)
    })
    const receiver = queue.receiver()
    let receivedBytes = 0
    let wrong = 0
    for (let isLast = false; !isLast; ) {
      const chunk = await receiver.receiveChunk()
      if (chunk === null) break
      expect(chunk.messageOffset).toBe(receivedBytes)
      for (const [at, byte] of chunk.bytes.entries()) if (byte !== (((receivedBytes + at) * 13) & 0xff)) wrong++
      receivedBytes += chunk.bytes.length
      isLast = chunk.isLast
    }
    receiver.acknowledge()
    expect({ receivedBytes, wrong }).toEqual({ receivedBytes: 1_500_000, wrong: 0 })
    expect(await sending.result).toBe(true)
    expectAllFree(setup)
  })

  it('many at a time, mixed with small ones: nothing is lost, doubled or mixed up', async () => {
    const setup = createQueue(options)
    const { region, queue } = setup
    const send = async (root: typeof queue, first: number) => {
      const sender = root.sender()
      const sends: Promise<boolean>[] = []
      for (let at = 0; at < 30; at++) {
        const bytes = new Uint8Array([8, 5000, 40_000][at % 3])
        for (let byte = 0; byte < bytes.length; byte++) {
          bytes[byte] = byte === 0 ? first + at : (byte * 31 + (byte >> 8) + first + at) & 0xff
        }
        sends.push(sender.send(bytes))
      }
      return (await Promise.all(sends)).every((isSent) => isSent)
    }
    const sendBlocking = (root: typeof queue) => {
      const sender = root.sender()
      for (let at = 0; at < 30; at++) {
        const bytes = new Uint8Array([8, 5000, 40_000][at % 3])
        for (let byte = 0; byte < bytes.length; byte++) {
          bytes[byte] = byte === 0 ? 100 + at : (byte * 31 + (byte >> 8) + 100 + at) & 0xff
        }
        if (!sender.sendSync(bytes)) return false
      }
      return true
    }
    const receive = (root: typeof queue) => {
      const received: Uint8Array[] = []
      const receiver = root.receiver()
      for (const message of receiver) received.push(message)
      receiver.acknowledge()
      return received
    }
    const receivers = [inQueueThread(region, options, receive), inQueueThread(region, options, receive)]
    const received: Uint8Array[] = []
    const here = setup.attach()
    const loop = here.root.receiver().forEach((bytes) => {
      received.push(bytes.slice())
    })
    const blocking = inQueueThread(region, options, sendBlocking)
    expect(await send(queue, 0)).toBe(true)
    expect(await blocking.result).toBe(true)
    queue.end()
    await loop
    for (const { result } of receivers) received.push(...(await result))
    received.sort((one, other) => one[0] - other[0])
    expect(received.map(([number]) => number)).toEqual(Array.from({ length: 60 }, (_, at) => (at < 30 ? at : 70 + at)))
    for (const message of received) {
      const expected = numbered(message.length, message[0])
      expect(message.length).toBe([8, 5000, 40_000][(message[0] % 100) % 3])
      expect(Buffer.compare(message, expected)).toBe(0)
    }
    expectAllFree(setup)
  })

  it('a thread that waits for a receiver, or for the rest, gives up in time', async () => {
    const setup = createQueue(options)
    const { region, queue } = setup
    const untaken = inQueueThread(region, options, (root) =>
      root.sender().sendSync(new Uint8Array(10_000), { timeoutMs: 10 }),
    )
    expect(await untaken.result).toBe(false)
    const receiver = queue.receiver()
    expect(receiver.tryReceive()).toBeUndefined()
    const midway = inQueueThread(region, options, (root) =>
      root.sender().sendSync(new Uint8Array(10_000), { timeoutMs: 100 }),
    )
    await until(() => receiver.tryReceiveChunk() !== undefined)
    expect(await midway.result).toBe(false)
    await expect(
      (async () => {
        for (;;) await receiver.receiveChunk()
      })(),
    ).rejects.toMatchObject({ code: 'ERR_ISTHMUS_MESSAGE_INCOMPLETE' })
    expectAllFree(setup)
  })
})
