import { IncompleteMessageError, type MessageChunk, type MpmcQueue, mpmcQueue, type Receiver } from '@isthmus/ring'
import { Segment } from '@isthmus/shm-posix'
import { afterEach, describe, expect, it } from 'vitest'
import { Agent, endAllAgents } from '../src/harness/agent.js'
import { removeTestSegments, uniqueName } from '../src/harness/test-segments.js'

const BYTE_LENGTH = 500_000
const KILLS = Number(process.env.ISTHMUS_KILLS ?? 4)
const OPTIONS = { blocks: 4, blockBytes: 4096, maxMessageBytes: BYTE_LENGTH }
const DELIVERIES = ['at-most-once', 'at-least-once'] as const
const WATCHDOG_MS = 30_000

afterEach(async () => {
  await endAllAgents()
  removeTestSegments()
})

/** Waits until it is true; gives up after half a minute. */
async function until(isTrue: () => boolean): Promise<void> {
  const watchdog = performance.now() + WATCHDOG_MS
  while (!isTrue()) {
    if (performance.now() > watchdog) throw new Error('It never became true')
    await new Promise((resolve) => setTimeout(resolve, 1))
  }
}

const isHeld = (queue: MpmcQueue) => queue.describe().taken.some(({ state }) => state === 'held')

function expectAllFree(queue: MpmcQueue): void {
  expect(queue.receiver().receiveSync({ timeoutMs: 0 }) ?? undefined).toBeUndefined()
  expect(queue.describe()).toMatchObject({ taken: [] })
}

function expectWhole(message: Uint8Array | undefined | null, number: number): void {
  expect(message?.byteLength).toBe(BYTE_LENGTH)
  let wrong = 0
  for (let at = 0; at < BYTE_LENGTH; at += 997) if (message?.[at] !== ((at * 31 + number) & 0xff)) wrong++
  expect(wrong).toBe(0)
}

/** Receives chunks until the message breaks off, and returns how much had come. */
function receiveUntilItBreaks(receiver: Receiver): number {
  for (;;) {
    try {
      if (receiver.receiveChunkSync({ timeoutMs: WATCHDOG_MS }) === undefined) throw new Error('It never broke off')
    } catch (error) {
      if (error instanceof IncompleteMessageError) return error.receivedBytes
      throw error
    }
  }
}

describe.each(DELIVERIES)('A large message of a process, %s', (delivery) => {
  const options = { ...OPTIONS, delivery }

  it(`whose sender is killed breaks off, and the next one follows, ${KILLS} times over`, {
    timeout: 300_000,
  }, async () => {
    const name = uniqueName()
    using segment = Segment.create(name, mpmcQueue(options))
    const queue = segment.root
    const receiver = queue.receiver()
    const task = { name, options, byteLength: BYTE_LENGTH, count: 100 }
    for (let kill = 0; kill < KILLS; kill++) {
      const agent = await Agent.start('pipe-agent')
      agent.tell(kill % 2 === 0 ? 'sendBlocking' : 'send', task)
      for (let chunk = 0; chunk < 1 + kill * 3; chunk++) {
        if (receiver.receiveChunkSync({ timeoutMs: WATCHDOG_MS }) === undefined) throw new Error('Nothing came')
      }
      agent.signal('SIGKILL')
      expect(receiveUntilItBreaks(receiver)).toBeGreaterThan(0)
      expect(queue.sender().trySend(Uint8Array.of(kill))).toBe(true)
      expect(receiver.receiveSync({ timeoutMs: WATCHDOG_MS })?.[0]).toBe(kill)
      receiver.acknowledge()
      await agent.exited
      expectAllFree(queue)
    }
    Segment.unlink(name)
  })

  it('whose sender is killed before it is taken is passed over', { timeout: 60_000 }, async () => {
    const name = uniqueName()
    using segment = Segment.create(name, mpmcQueue(options))
    const queue = segment.root
    const agent = await Agent.start('pipe-agent')
    agent.tell('sendBlocking', { name, options, byteLength: BYTE_LENGTH, count: 1 })
    await until(() => queue.describe().depth === 1)
    agent.signal('SIGKILL')
    await agent.exited
    expect(queue.sender().trySend(Uint8Array.of(7))).toBe(true)
    const receiver = queue.receiver()
    expect(receiver.tryReceive()).toEqual(Uint8Array.of(7))
    receiver.acknowledge()
    expectAllFree(queue)
    Segment.unlink(name)
  })

  it('whose receiver is killed is sent again, or not sent', { timeout: 120_000 }, async () => {
    const name = uniqueName()
    using segment = Segment.create(name, mpmcQueue(options))
    const queue = segment.root
    const sender = queue.sender()
    const message = new Uint8Array(BYTE_LENGTH).map((_, at) => at * 31 + 5)
    for (let kill = 1; kill < 4; kill += 2) {
      const agent = await Agent.start('pipe-agent')
      agent.tell(kill === 3 ? 'receive' : 'receiveChunks', { name, options, byteLength: BYTE_LENGTH, count: 1 + kill })
      if (delivery === 'at-most-once' && kill === 3) {
        expect(await sender.send(message, { timeoutMs: WATCHDOG_MS })).toBe(true)
        continue
      }
      const sent = sender.send(message, { timeoutMs: WATCHDOG_MS })
      sent.catch(() => {})
      await until(() => isHeld(queue))
      agent.signal('SIGKILL')
      if (delivery === 'at-most-once') {
        await expect(sent).rejects.toMatchObject({ code: 'ERR_ISTHMUS_PEER_DIED', pid: agent.pid })
      } else {
        const receiver = queue.receiver()
        expectWhole(await receiver.receive({ timeoutMs: WATCHDOG_MS }), 5)
        receiver.acknowledge()
        expect(await sent).toBe(true)
      }
      await agent.exited
      expectAllFree(queue)
    }
    await endAllAgents()
    expectAllFree(queue)
    Segment.unlink(name)
  })

  it('keeps nobody waiting but its receiver while its sender is stopped, and goes on when that does', {
    timeout: 120_000,
  }, async () => {
    const name = uniqueName()
    using segment = Segment.create(name, mpmcQueue(options))
    const queue = segment.root
    const agent = await Agent.start('pipe-agent')
    const sent = agent.call('sendBlocking', { name, options, byteLength: BYTE_LENGTH, count: 1 })
    const receiver = queue.receiver()
    const first = await receiver.receiveChunk()
    agent.signal('SIGSTOP')
    const [sender, other] = [queue.sender(), queue.receiver()]
    for (let count = 0; count < 10_000; count++) {
      if (!sender.trySend(Uint8Array.of(count)) || other.tryReceive()?.[0] !== (count & 0xff)) {
        throw new Error('Another one was kept from sending or receiving')
      }
      other.acknowledge()
    }
    let next: MessageChunk | undefined | null = first
    while (next) next = receiver.receiveChunkSync({ timeoutMs: 50 })
    expect(receiver.skipMessage()).toBe(true)
    expect(other.receiveSync({ timeoutMs: 0 })).toBeUndefined()
    // Its block is left to its sender, which still may write into it.
    expect(queue.describe().taken.map(({ state }) => state)).toEqual(['orphaned'])
    agent.signal('SIGCONT')
    if (delivery === 'at-least-once') {
      expectWhole(await receiver.receive({ timeoutMs: WATCHDOG_MS }), 0)
      receiver.acknowledge()
      expect(await sent).toBe(1)
    } else {
      await expect(sent).rejects.toMatchObject({ code: 'ERR_ISTHMUS_MESSAGE_INCOMPLETE' })
    }
    expectAllFree(queue)
    Segment.unlink(name)
  })

  it('waits for its receiver, if that is stopped, and can be given up', { timeout: 120_000 }, async () => {
    const name = uniqueName()
    using segment = Segment.create(name, mpmcQueue(options))
    const queue = segment.root
    const agent = await Agent.start('pipe-agent')
    const received = agent.call<number>('receiveBlocking', { name, options, byteLength: BYTE_LENGTH, count: 1 })
    received.catch(() => {})
    const sender = queue.sender()
    const sent = sender.send(new Uint8Array(BYTE_LENGTH), { timeoutMs: 500 })
    await until(() => isHeld(queue))
    agent.signal('SIGSTOP')
    for (let count = 0; count < 1000; count++) {
      if (!sender.trySend(Uint8Array.of(count))) throw new Error('A stopped receiver keeps a sender from sending')
      const other = queue.receiver()
      expect(other.tryReceive()?.[0]).toBe(count & 0xff)
      other.acknowledge()
    }
    const wasSent = await sent
    agent.signal('SIGCONT')
    if (!wasSent) {
      // If it had received nothing yet, it passes over the message, and gets this one.
      expect(sender.trySend(Uint8Array.of(1))).toBe(true)
      const outcome = await received.catch(({ code }) => code)
      expect([1, 'ERR_ISTHMUS_MESSAGE_INCOMPLETE']).toContain(outcome)
      await agent.kill()
      queue.receiver().drain(() => {})
      expectAllFree(queue)
    }
    Segment.unlink(name)
  })
})
