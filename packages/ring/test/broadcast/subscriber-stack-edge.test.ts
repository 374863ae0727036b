import { describe, expect, it } from 'vitest'
import { outcomeOf } from '../support/outcome-at-edge.js'

const VERBS = [
  'tryReceive',
  'receiveSync',
  'into',
  'tryReceiveBatch',
  'receiveBatchSync',
  'chunks',
  'fragments',
  'iterator',
  'drain',
  'demoted',
  'tryTakeGate',
] as const
const WAYS = VERBS.flatMap((verb) => [`${verb}, lossy`, `${verb}, gating`])

describe('A subscriber at the edge of the stack', () => {
  it.each(WAYS)('%s: each message comes once and whole, or is counted as lost', async (way) => {
    const outcome = await outcomeOf(way, ({ HeapRegion, broadcastRing }, way, atTheEdge) => {
      const [verb, mode] = way.split(', ')
      const isLarge = verb === 'chunks' || verb === 'fragments'
      const byteLength = isLarge ? 9_000 : 100
      const region = HeapRegion.create(
        broadcastRing({ capacityBytes: isLarge ? 1 << 14 : 4096, gates: 1, maxMessageBytes: 9_000 }),
      )
      const ring = region.root
      const publisher = ring.publisher()
      const message = new Uint8Array(byteLength)
      const slots = new Int32Array(200_000)
      let received = 0
      let published = 0
      let wrong = 0
      let failedCalls = 0
      const subscriber = ring.subscriber({ gate: mode === 'gating', onOverrun: 'skip' })
      const into = new Uint8Array(9_000)
      let turns = 0
      /** Without a gate, more than the ring holds, each time or every third time. */
      const publishSome = () => {
        turns++
        const burst = isLarge ? (turns % 3 === 0 ? 3 : 1) : 70
        for (let count = 0; count < burst; count++) {
          message[0] = published >> 8
          message[1] = published
          message[byteLength - 2] = published >> 8
          message[byteLength - 1] = published
          if (!publisher.publishSync(message, { timeoutMs: 0 })) return
          published++
        }
      }
      const last = byteLength - 1
      let chunkFirst = 0
      // No call stands between what takes a message and what notes it.
      const actions: Record<string, () => void> = {
        tryReceive() {
          const taken = subscriber.tryReceive()
          if (taken) {
            slots[received] = (taken[0] << 8) | taken[1]
            if (taken[0] !== taken[last - 1] || taken[1] !== taken[last]) wrong = wrong + 1
            received = received + 1
          }
        },
        receiveSync() {
          const taken = subscriber.receiveSync({ timeoutMs: 0 })
          if (taken) {
            slots[received] = (taken[0] << 8) | taken[1]
            if (taken[0] !== taken[last - 1] || taken[1] !== taken[last]) wrong = wrong + 1
            received = received + 1
          }
        },
        into() {
          const taken = subscriber.tryReceive({ into })
          if (taken) {
            slots[received] = (taken[0] << 8) | taken[1]
            if (taken[0] !== taken[last - 1] || taken[1] !== taken[last]) wrong = wrong + 1
            received = received + 1
          }
        },
        tryReceiveBatch() {
          const batch = subscriber.tryReceiveBatch(3)
          if (batch) {
            for (let at = 0; at < batch.length; at++) {
              const taken = batch[at]
              slots[received] = (taken[0] << 8) | taken[1]
              if (taken[0] !== taken[last - 1] || taken[1] !== taken[last]) wrong = wrong + 1
              received = received + 1
            }
          }
        },
        receiveBatchSync() {
          const batch = subscriber.receiveBatchSync({ maxMessages: 3, timeoutMs: 0 })
          if (batch) {
            for (let at = 0; at < batch.length; at++) {
              const taken = batch[at]
              slots[received] = (taken[0] << 8) | taken[1]
              if (taken[0] !== taken[last - 1] || taken[1] !== taken[last]) wrong = wrong + 1
              received = received + 1
            }
          }
        },
        chunks() {
          try {
            const chunk = subscriber.tryReceiveChunk()
            if (chunk) {
              const { bytes } = chunk
              if (chunk.messageOffset === 0) chunkFirst = (bytes[0] << 8) | bytes[1]
              if (chunk.isLast) {
                slots[received] = chunkFirst
                // `bytes.length` may be a call.
                const end = byteLength - chunk.messageOffset
                if (chunkFirst !== ((bytes[end - 2] << 8) | bytes[end - 1])) wrong = wrong + 1
                received = received + 1
              }
            }
          } catch (error) {
            const { code } = error as { code?: string }
            if (code !== 'ERR_ISTHMUS_OVERRUN' && code !== 'ERR_ISTHMUS_MESSAGE_INCOMPLETE') throw error
          }
        },
        drain() {
          failedCalls = failedCalls + 1
          subscriber.drain(
            (bytes, from, length) => {
              slots[received] = (bytes[from] << 8) | bytes[from + 1]
              const end = from + length
              if (bytes[from] !== bytes[end - 2] || bytes[from + 1] !== bytes[end - 1]) wrong = wrong + 1
              received = received + 1
            },
            { limit: 1 },
          )
          failedCalls = failedCalls - 1
        },
        iterator() {
          for (const taken of subscriber) {
            slots[received] = (taken[0] << 8) | taken[1]
            if (taken[0] !== taken[last - 1] || taken[1] !== taken[last]) wrong = wrong + 1
            received = received + 1
            break
          }
        },
        tryTakeGate() {
          subscriber.tryTakeGate()
          actions.tryReceive()
        },
      }
      actions.fragments = () => {
        try {
          actions.tryReceive()
        } catch (error) {
          const { code, cause } = error as { code?: string; cause?: unknown }
          // The memory of a large message was asked for at the edge, too.
          if (code === 'ERR_ISTHMUS_MESSAGE_TOO_LARGE') throw cause
          if (code !== 'ERR_ISTHMUS_MESSAGE_INCOMPLETE') throw error
        }
      }
      actions.demoted = actions.tryReceive
      let errors = 0
      const settle = () => {
        const take = isLarge ? actions[verb] : actions.tryReceive
        for (let before = -1; ; ) {
          before = received
          for (let time = 0; time < 20; time++) take()
          if (received === before) return
        }
      }
      for (let round = 0; round < 4; round++) {
        publishSome()
        errors += atTheEdge(actions[verb], 2, () => {
          if (verb === 'demoted') {
            subscriber.tryTakeGate()
            for (const gate of publisher.gates()) publisher.demote(gate)
          }
          if (verb === 'tryTakeGate') for (const gate of publisher.gates()) publisher.demote(gate)
          publishSome()
        })
      }
      settle()
      let doubled = 0
      for (let at = 1; at < received; at++) if (slots[at] <= slots[at - 1]) doubled++
      const missing = published - received - subscriber.lost
      return { errors, told: [wrong, doubled, missing, failedCalls], found: [received, subscriber.lost] }
    })
    const { errors, told, found } = outcome
    const [wrong, doubled, missing, failedCalls] = told
    const [received, lost] = found
    expect(errors).toBeGreaterThan(0)
    expect({ wrong, doubled }).toEqual({ wrong: 0, doubled: 0 })
    // A callback that could not be called has thrown, and its message counts as received.
    if (way.startsWith('drain')) expect(missing).toBeLessThanOrEqual(failedCalls)
    else expect({ missing, received, lost, errors }).toEqual({ missing: 0, received, lost, errors })
    expect(missing).toBeGreaterThanOrEqual(0)
    expect(received).toBeGreaterThan(3)
    if (way.endsWith('lossy')) expect(lost).toBeGreaterThan(0)
  })
})
