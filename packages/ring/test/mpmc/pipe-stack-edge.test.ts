import { describe, expect, test } from 'vitest'
import type { TakenLoan } from '../../src/index.js'
import { outcomeOf } from '../support/outcome-at-edge.js'

const DELIVERIES = ['at-most-once', 'at-least-once'] as const
const WAYS = ['send', 'tryReceive', 'tryReceiveChunk', 'drain', 'take', 'release', 'skip', 'close', 'closeReceiver']

describe('At the edge of the stack, of messages that are larger than a block', () => {
  test.each(DELIVERIES.flatMap((delivery) => WAYS.map((way) => `${way}, ${delivery}`)))(
    '%s: what was sent is received, once and whole, no side is stuck, and no block is lost',
    async (name) => {
      const { errors, told, found } = await outcomeOf(
        name,
        async ({ HeapRegion, mpmcQueue }, name, atTheEdge) => {
          const [way, delivery] = name.split(', ') as [string, 'at-most-once']
          const options = { blocks: 3, blockBytes: 1024, maxMessageBytes: 4096, maxDeliveries: 1000 }
          const layout = mpmcQueue({ ...options, delivery })
          const region = HeapRegion.create(layout)
          const other = HeapRegion.attach(region.handle, layout)
          const receivers = Array.from({ length: 5 }, () => other.root.receiver())
          let receiver = receivers[4]
          const isWhole = (bytes: Uint8Array) =>
            bytes.length === 1200 && bytes.every((byte, at) => byte === ((bytes[0] + at * 31) & 0xff))
          const told: number[] = []
          const found: number[] = []
          const whole: Uint8Array[] = []
          const parts: Uint8Array[] = []
          let loan: TakenLoan | undefined | null
          let hasActed = false
          let sender = region.root.sender()
          let message = new Uint8Array(0)
          const sends: Promise<void>[] = []
          let pending = 0
          const note = (number: number) => (isSent: boolean) => {
            pending--
            if (isSent) told.push(number)
          }
          const forget = () => {
            pending--
          }
          const watch = (sent: Promise<boolean>) => {
            pending++
            sends.push(sent.then(note(message[0]), forget))
          }
          const promises: Promise<boolean>[] = []
          const actions: Record<string, () => void> = {
            send() {
              if (!hasActed) promises[promises.length] = sender.send(message)
              hasActed = true
            },
            tryReceive() {
              receiver.acknowledge()
              const bytes = receiver.tryReceive()
              if (bytes) whole[whole.length] = bytes
            },
            tryReceiveChunk() {
              receiver.acknowledge()
              const chunk = receiver.tryReceiveChunk()
              if (chunk) parts[parts.length] = chunk.bytes
            },
            drain() {
              receiver.drain((bytes) => {
                whole[whole.length] = bytes
              })
            },
            take() {
              if (!loan) loan = receiver.tryTake()
            },
            release() {
              if (loan?.isHeld) loan.release()
            },
            skip() {
              if (receiver.skipMessage()) hasActed = true
            },
            close() {
              sender.close()
            },
            closeReceiver() {
              receiver.close()
            },
          }
          // What is done between, with room on the stack.
          const receive = () => {
            try {
              receiver.acknowledge()
              const bytes = receiver.tryReceive()
              if (bytes) whole.push(bytes)
            } catch {
              // It breaks off, or the receiver was closed: another one goes on.
              if (way === 'closeReceiver') receiver = other.root.receiver()
            }
          }
          let errors = 0
          for (let number = 0; number < 4; number++) {
            if (way === 'close') sender = region.root.sender()
            if (way === 'closeReceiver') receiver = receivers[number]
            message = Uint8Array.from({ length: 1200 }, (_, at) => number + at * 31)
            hasActed = false
            if (way !== 'send') watch(sender.send(message))
            for (let turn = 0; turn < 50 && (turn === 0 || pending > 0); turn++) {
              await new Promise((resolve) => (turn < 10 ? setImmediate(resolve) : setTimeout(resolve, 2)))
              if (way === 'skip' || way === 'closeReceiver' || way === 'close') {
                if (turn === 0 && way !== 'close') receiver.tryReceive()
                if (turn < 3 && !hasActed) errors += atTheEdge(actions[way], 1)
                if (turn > 0 || way === 'skip') receive()
              } else if (way === 'send') {
                if (turn === 0) errors += atTheEdge(actions.send, 1)
                for (const promise of promises.splice(0)) watch(promise)
                receive()
              } else if (way === 'release') {
                loan ??= receiver.tryTake()
                if (loan) whole[number] = loan.isHeld ? loan.bytes : whole[number]
                if (loan) errors += atTheEdge(actions.release, 1)
              } else {
                errors += atTheEdge(actions[way], 1)
                if (loan) {
                  whole.push(loan.bytes)
                  loan.release()
                  loan = undefined
                }
                if (parts.length > 0 && parts.reduce((sum, { length }) => sum + length, 0) === 1200) {
                  const bytes = new Uint8Array(1200)
                  let at = 0
                  for (const part of parts.splice(0)) {
                    bytes.set(part, at)
                    at += part.length
                  }
                  whole.push(bytes)
                }
              }
            }
            if (way === 'release') {
              if (loan?.isHeld) loan.release()
              loan = undefined
            }
          }
          if (way !== 'closeReceiver') receiver.acknowledge()
          await Promise.race([Promise.all(sends), new Promise((resolve) => setTimeout(resolve, 500))])
          for (const bytes of whole) found.push(isWhole(bytes) ? bytes[0] : -1)
          const last = other.root.receiver()
          last.receiveSync({ timeoutMs: 0 })
          if (pending > 0) found.push(-100 - pending)
          if (region.root.describe().free !== 3) found.push(-200 - region.root.describe().free)
          return { errors, told: told.sort((a, b) => a - b), found: found.sort((a, b) => a - b) }
        },
        { hasTicks: true },
      )
      expect(errors).toBeGreaterThan(0)
      expect(found).toEqual(told)
    },
  )
})
