import { describe, expect, test } from 'vitest'
import type { Consumer } from '../../src/index.js'
import { outcomeOf } from '../support/outcome-at-edge.js'

describe('at the edge of the stack', () => {
  const ways = [
    'trySend',
    'sendSync',
    'tryClaim and commit',
    'trySendBatch',
    'sendBatchSync',
    'sendSync in fragments',
    'sendBatchSync in fragments',
  ]

  test.each(ways)('%s: what it says is sent is sent, once and whole, and nothing else', async (sending) => {
    const { errors, told, found } = await outcomeOf(sending, ({ HeapRegion, spscRing }, way, atTheEdge, rounds) => {
      const isLarge = way.endsWith('in fragments')
      const layout = spscRing({ capacityBytes: isLarge ? 1 << 12 : 1 << 16 })
      const region = HeapRegion.create(layout)
      const producer = region.root.producer()
      const consumer = HeapRegion.attach(region.handle, layout).root.consumer()
      const byteLength = isLarge ? 2_500 : 8
      const messages = Array.from({ length: 2_000 }, (_, at) => {
        const message = new Uint8Array(byteLength).fill(at)
        message[0] = at >> 8
        return message
      })
      let sent = 0
      let isClaimOpen = false
      const actions: Record<string, () => void> = {
        trySend() {
          if (producer.trySend(messages[sent])) sent = sent + 1
        },
        sendSync() {
          if (producer.sendSync(messages[sent])) sent = sent + 1
        },
        'tryClaim and commit'() {
          if (isClaimOpen) producer.abort()
          isClaimOpen = false
          const byteOffset = producer.tryClaim(8)
          if (byteOffset < 0) return
          isClaimOpen = true
          producer.bytes.set(messages[sent], byteOffset)
          producer.commit()
          isClaimOpen = false
          sent = sent + 1
        },
        trySendBatch() {
          const batch = [messages[sent], messages[sent + 1], messages[sent + 2]]
          sent = sent + producer.trySendBatch(batch)
        },
        sendBatchSync() {
          const batch = [messages[sent], messages[sent + 1], messages[sent + 2]]
          try {
            sent = sent + producer.sendBatchSync(batch)
          } catch (error) {
            const before = (error as { sent?: number }).sent
            if (before !== undefined) sent = sent + before
            throw error
          }
        },
        'sendBatchSync in fragments'() {
          const batch = [messages[sent], messages[sent + 1]]
          try {
            sent = sent + producer.sendBatchSync(batch, { timeoutMs: 0 })
          } catch (error) {
            const before = (error as { sent?: number }).sent
            if (before !== undefined) sent = sent + before
            throw error
          }
        },
        'sendSync in fragments'() {
          if (producer.sendSync(messages[sent], { timeoutMs: 0 })) sent = sent + 1
        },
      }
      const found: number[] = []
      const receiveAll = () => {
        for (;;) {
          try {
            const message = consumer.tryReceive()
            if (message === undefined || message === null) return
            const number = (message[0] << 8) | message[1]
            const isWhole =
              message.byteLength === byteLength && message.every((byte, at) => at === 0 || byte === message[1])
            found.push(isWhole ? number : -1)
          } catch (error) {
            if ((error as { code?: string }).code !== 'ERR_ISTHMUS_MESSAGE_INCOMPLETE') throw error
          }
        }
      }
      let errors = 0
      for (let round = 0; round < rounds; round++) errors += atTheEdge(actions[way], 2, receiveAll)
      if (isClaimOpen) producer.abort()
      producer.trySend(messages[0].subarray(0, 8))
      const last = consumer.tryReceive()
      return { errors, told: [...Array(sent).keys(), last?.[0] ?? -1], found: [...found, 0] }
    })
    expect(errors).toBeGreaterThan(10)
    expect(found).toEqual(told)
  })

  test('trySend wakes a consumer that waits on its event loop, also from the edge', async () => {
    const { errors, told, found } = await outcomeOf('', async ({ HeapRegion, spscRing }, _way, atTheEdge, rounds) => {
      const layout = spscRing({ capacityBytes: 1 << 16 })
      const region = HeapRegion.create(layout)
      const producer = region.root.producer()
      const consumer = HeapRegion.attach(region.handle, layout).root.consumer()
      const found: number[] = []
      let sent = 0
      let errors = 0
      for (let round = 0; round < rounds; round++) {
        const receiving = consumer.receive()
        while (!region.root.describe().consumer.isWaiting) await new Promise((resolve) => setTimeout(resolve, 1))
        const message = new Uint8Array(1)
        errors += atTheEdge(() => {
          message[0] = sent
          if (producer.trySend(message)) sent = sent + 1
        }, 1)
        found.push((await receiving)?.[0] ?? -1)
        for (let next = consumer.tryReceive(); next; next = consumer.tryReceive()) found.push(next[0])
      }
      return { errors, told: [...Array(sent).keys()], found }
    })
    expect(errors).toBeGreaterThan(10)
    expect(found).toEqual(told.map((number) => number & 0xff))
  })

  const receiving = [
    'tryReceive',
    'receiveSync',
    'tryReceiveBatch',
    'into',
    'drain',
    'drain of several',
    'in fragments',
    'in fragments, into',
    'in chunks',
  ]
  test.each(receiving)('%s: every message is received once and whole, in order', async (name) => {
    const { errors, told, found } = await outcomeOf(name, ({ HeapRegion, spscRing }, way, atTheEdge, rounds) => {
      const isLarge = way.startsWith('in fragments') || way === 'in chunks'
      const layout = spscRing({ capacityBytes: isLarge ? 1 << 12 : 1 << 16 })
      const region = HeapRegion.create(layout)
      const producer = region.root.producer()
      const consumer: Consumer = HeapRegion.attach(region.handle, layout).root.consumer()
      /** Written without a call: it could fail at the edge as well. */
      const got: (Uint8Array | undefined)[] = new Array(20_000).fill(undefined)
      let count = 0
      const intos = Array.from({ length: way.endsWith('into') ? 2_000 : 0 }, () => ({ into: new Uint8Array(2_500) }))
      const intoNext = () => {
        const message = consumer.tryReceive(intos[count])
        if (!message) return
        got[count] = message
        count = count + 1
      }
      const actions: Record<string, () => void> = {
        into: intoNext,
        'in fragments, into': intoNext,
        tryReceiveBatch() {
          const batch = consumer.tryReceiveBatch(3)
          if (!batch) return
          for (let at = 0; at < batch.length; at = at + 1) {
            got[count] = batch[at]
            count = count + 1
          }
        },
        tryReceive() {
          const message = consumer.tryReceive()
          if (!message) return
          got[count] = message
          count = count + 1
        },
        receiveSync() {
          const message = consumer.receiveSync({ timeoutMs: 0 })
          if (!message) return
          got[count] = message
          count = count + 1
        },
        drain() {
          consumer.drain(
            (bytes, byteOffset) => {
              got[count] = bytes.slice(byteOffset, byteOffset + 2)
              count = count + 1
            },
            { limit: 1 },
          )
        },
        'drain of several'() {
          consumer.drain((bytes, byteOffset) => {
            got[count] = bytes.slice(byteOffset, byteOffset + 2)
            count = count + 1
          })
        },
        'in chunks'() {
          const chunk = consumer.tryReceiveChunk()
          if (!chunk) return
          got[count] = chunk.bytes
          count = count + 1
        },
      }
      const action = actions[way] ?? actions.tryReceive
      let errors = 0
      let sent = 0
      for (let round = 0; round < rounds; round++) {
        for (let more = isLarge ? 1 : 40; more > 0; more--) {
          const message = new Uint8Array(isLarge ? 2_500 : 2).fill(sent)
          message[0] = sent >> 8
          producer.sendSync(message)
          sent++
        }
        errors += atTheEdge(action)
        for (let before = -1; before !== count; ) {
          before = count
          action()
        }
      }
      const bytes = got.slice(0, count).flatMap((message) => [...(message ?? [])])
      const size = isLarge ? 2_500 : 2
      const found = Array.from({ length: bytes.length / size }, (_, at) => {
        const message = bytes.slice(at * size, (at + 1) * size)
        return message.every((byte, index) => index === 0 || byte === message[1]) ? (message[0] << 8) | message[1] : -1
      })
      return { errors, told: [...Array(sent).keys()], found }
    })
    expect(errors).toBeGreaterThan(10)
    expect(found).toEqual(told)
  })

  test('close that fails at the edge can be repeated, and gives the role back', async () => {
    const { errors, told, found } = await outcomeOf('', ({ HeapRegion, spscRing }, _way, atTheEdge, rounds) => {
      const { root } = HeapRegion.create(spscRing({ capacityBytes: 1024 }))
      const found: number[] = []
      let errors = 0
      for (let round = 0; round < rounds; round++) {
        const producer = root.producer()
        const consumer = root.consumer()
        producer.trySend(new Uint8Array([round]))
        errors += atTheEdge(() => producer.close(), 1)
        producer.close()
        const message = consumer.tryReceive()
        found.push(message?.[0] ?? -1)
        if (consumer.tryReceive() !== null) found.push(-2)
        errors += atTheEdge(() => consumer.close(), 1)
        consumer.close()
      }
      return { errors, told: [...Array(rounds).keys()], found }
    })
    expect(errors).toBeGreaterThan(10)
    expect(found).toEqual(told)
  })

  test.each(['producer', 'tryProducer', 'consumer', 'tryConsumer'])(
    '%s that fails at the edge has taken no role',
    async (way) => {
      const { errors, found } = await outcomeOf(way, ({ HeapRegion, spscRing }, take, atTheEdge, rounds) => {
        const layout = spscRing({ capacityBytes: 1024 })
        const side = take.includes('roducer') ? 'producer' : 'consumer'
        const found: number[] = []
        let errors = 0
        for (let round = 0; round < rounds; round++) {
          const { root } = HeapRegion.create(layout)
          const act = () => {
            const handle = (root as unknown as Record<string, () => { close(): void } | undefined>)[take]()
            if (handle) held.push(handle)
          }
          const held: { close(): void }[] = []
          // Each action that fails leaves the ring to the next one, which has a little more room.
          errors += atTheEdge(act, 1, () => {
            for (const handle of held.splice(0)) handle.close()
            if (root.describe()[side].state === 'held') found.push(round)
          })
        }
        return { errors, told: [], found }
      })
      expect(errors).toBeGreaterThan(10)
      expect(found).toEqual([])
    },
  )

  test('the death of a producer is told once, though telling it fails at the edge', async () => {
    const { errors, told, found } = await outcomeOf('', ({ HeapRegion, spscRing }, _way, atTheEdge, rounds) => {
      const layout = spscRing({ capacityBytes: 1024 })
      const region = HeapRegion.create(layout)
      const consumer = region.root.consumer()
      const found: number[] = []
      let errors = 0
      for (let round = 0; round < rounds; round++) {
        const mortal = HeapRegion.attach(region.handle, layout)
        mortal.root.producer()
        region.declareDead(mortal.peers.self)
        let count = 0
        const hear = () => {
          try {
            consumer.tryReceive()
          } catch (error) {
            if ((error as { code?: string }).code !== 'ERR_ISTHMUS_PEER_DIED') throw error
            count = count + 1
          }
        }
        errors += atTheEdge(hear, 1)
        hear()
        found.push(count)
      }
      return { errors, told: found.map(() => 1), found }
    })
    expect(errors).toBeGreaterThan(10)
    expect(found).toEqual(told)
  })
})
