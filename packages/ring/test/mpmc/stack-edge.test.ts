import { describe, expect, test } from 'vitest'
import type { SendLoan } from '../../src/index.js'
import { outcomeOf } from '../support/outcome-at-edge.js'

const DELIVERIES = ['at-most-once', 'at-least-once'] as const
const SENDING = ['trySend', 'sendSync', 'trySendBatch', 'cork', 'loan'] as const
const RECEIVING = ['tryReceive', 'receiveSync', 'tryReceiveBatch', 'drain', 'take'] as const

describe('At the edge of the stack', () => {
  test.each(DELIVERIES.flatMap((delivery) => SENDING.map((way) => `${way}, ${delivery}`)))(
    '%s: what it says is sent is sent, once and whole, and no block is lost',
    async (name) => {
      const { errors, told, found } = await outcomeOf(name, ({ HeapRegion, mpmcQueue }, name, atTheEdge, rounds) => {
        const [way, delivery] = name.split(', ') as [string, 'at-most-once']
        const { root } = HeapRegion.create(mpmcQueue({ blocks: 4000, blockBytes: 64, delivery }))
        const sender = root.sender()
        const messages = Array.from({ length: 2_000 }, (_, at) => Uint8Array.of(at >> 8, at))
        let sent = 0
        let loan: SendLoan | undefined
        const actions: Record<string, () => void> = {
          trySend() {
            if (sender.trySend(messages[sent])) sent = sent + 1
          },
          sendSync() {
            if (sender.sendSync(messages[sent])) sent = sent + 1
          },
          trySendBatch() {
            sent = sent + sender.trySendBatch([messages[sent], messages[sent + 1], messages[sent + 2]])
          },
          cork() {
            sender.cork()
            if (sender.trySend(messages[sent])) sent = sent + 1
            sender.uncork()
          },
          loan() {
            loan ??= sender.tryLoan()
            if (loan === undefined) return
            sender.bytes[loan.byteOffset] = sent >> 8
            sender.bytes[loan.byteOffset + 1] = sent
            loan.send(2)
            loan = undefined
            sent = sent + 1
          },
        }
        let errors = 0
        for (let round = 0; round < rounds; round++) errors += atTheEdge(actions[way])
        loan?.discard()
        while (way === 'cork') {
          try {
            sender.uncork()
          } catch {
            break
          }
        }
        const receiver = root.receiver()
        const found: number[] = []
        for (let message = receiver.tryReceive(); message !== undefined && message !== null; ) {
          found.push(message[0] * 256 + message[1])
          message = receiver.tryReceive()
        }
        // Strays are found by a look.
        receiver.receiveSync({ timeoutMs: 0 })
        if (root.describe().free !== 4000) found.push(-1 - root.describe().free)
        return { errors, told: Array.from({ length: sent }, (_, at) => at), found }
      })
      expect(errors).toBeGreaterThan(0)
      expect(found).toEqual(told)
    },
  )

  test.each(DELIVERIES.flatMap((delivery) => RECEIVING.map((way) => `${way}, ${delivery}`)))(
    '%s: every message is received once, and no block is lost',
    async (name) => {
      const { errors, told, found } = await outcomeOf(name, ({ HeapRegion, mpmcQueue }, name, atTheEdge, rounds) => {
        const [way, delivery] = name.split(', ') as [string, 'at-most-once']
        const { root } = HeapRegion.create(mpmcQueue({ blocks: 2000, blockBytes: 64, delivery }))
        const sender = root.sender()
        const told = Array.from({ length: 1_200 }, (_, at) => at)
        for (const at of told) {
          if (at % 5 === 0) sender.trySendBatch([Uint8Array.of(at >> 8, at), Uint8Array.of((at + 1) >> 8, at + 1)])
          else if (at % 5 > 1) sender.trySend(Uint8Array.of(at >> 8, at))
        }
        const receiver = root.receiver()
        const found: number[] = []
        let last: { bytes: Uint8Array; release(): void } | undefined | null
        const note = (message: Uint8Array | undefined | null) => {
          if (message !== undefined && message !== null) found[found.length] = message[0] * 256 + message[1]
        }
        const actions: Record<string, () => void> = {
          tryReceive() {
            const message = receiver.tryReceive()
            if (message !== undefined && message !== null) found[found.length] = message[0] * 256 + message[1]
          },
          receiveSync() {
            const message = receiver.receiveSync({ timeoutMs: 0 })
            if (message !== undefined && message !== null) found[found.length] = message[0] * 256 + message[1]
          },
          tryReceiveBatch() {
            const batch = receiver.tryReceiveBatch(3)
            if (batch === undefined || batch === null) return
            for (let at = 0; at < batch.length; at++) found[found.length] = batch[at][0] * 256 + batch[at][1]
          },
          drain() {
            receiver.drain(
              (bytes, from) => {
                found[found.length] = bytes[from] * 256 + bytes[from + 1]
              },
              { limit: 2 },
            )
          },
          take() {
            last = receiver.tryTake()
          },
        }
        let errors = 0
        const settle = () => {
          if (last === undefined || last === null) return
          note(last.bytes)
          last.release()
          last = undefined
        }
        const successes = way === 'take' ? 1 : 2
        for (let round = 0; round < rounds; round++) errors += atTheEdge(actions[way], successes, settle)
        for (let message = receiver.tryReceive(); message !== undefined; message = receiver.tryReceive()) note(message)
        receiver.acknowledge()
        receiver.receiveSync({ timeoutMs: 0 })
        if (root.describe().free !== 2000) found.push(-1 - root.describe().free)
        return { errors, told, found: found.sort((a, b) => a - b) }
      })
      expect(errors).toBeGreaterThan(0)
      expect(found).toEqual(told)
    },
  )

  test.each(DELIVERIES.flatMap((delivery) => ['release', 'requeue'].map((way) => `${way}, ${delivery}`)))(
    'a loan that is not over goes on, and no block is lost: %s',
    async (name) => {
      const { errors, told, found } = await outcomeOf(name, ({ HeapRegion, mpmcQueue }, name, atTheEdge) => {
        const [way, delivery] = name.split(', ') as ['release' | 'requeue', 'at-most-once']
        const { root } = HeapRegion.create(mpmcQueue({ blocks: 20, blockBytes: 64, delivery, maxDeliveries: 1000 }))
        const sender = root.sender()
        const receiver = root.receiver()
        let errors = 0
        const found: number[] = []
        for (let round = 0; round < 4; round++) {
          sender.trySend(Uint8Array.of(round))
          const loan = receiver.tryTake()
          const end = () => {
            if (loan?.isHeld) loan[way]()
          }
          errors += atTheEdge(end, 1)
          if (loan?.isHeld) end()
          for (let message = receiver.tryReceive(); message; message = receiver.tryReceive()) found.push(message[0])
          receiver.acknowledge()
        }
        if (root.describe().free !== 20) found.push(-1 - root.describe().free)
        return { errors, told: way === 'requeue' ? [0, 1, 2, 3] : [], found }
      })
      expect(errors).toBeGreaterThan(0)
      expect(found).toEqual(told)
    },
  )
})
