import { describe, expect, it } from 'vitest'
import { Stamps } from '../../src/subjects/crowd/stamps.js'
import { assertAllReceived, Tally } from '../../src/subjects/crowd/tally.js'

const MESSAGE_BYTES = 64
/** Messages do not begin where their memory does. */
const OFFSET = 8

describe('the check of what many senders send to many receivers', () => {
  it('lets messages pass that went to different receivers, in the order of each sender', () => {
    const { senders, receivers, message } = crowd(2, 2)
    const sent = [message(0), message(1), message(0), message(1), message(0)]
    for (const [index, bytes] of sent.entries()) take(receivers[index % 2], bytes)
    assertAllReceived(
      senders.map((sender) => sender.sent),
      receivers.map((receiver) => receiver.received),
    )
  })

  it('is complete when all receivers together have what is expected', () => {
    const { board, receivers, message } = crowd(1, 2)
    board.expected = 2
    take(receivers[0], message(0))
    expect(receivers[0].isComplete).toBe(false)
    take(receivers[1], message(0))
    // The other one has not told its count yet.
    expect(receivers[0].isComplete).toBe(false)
    expect(receivers[1].isComplete).toBe(true)
    expect(receivers[0].isComplete).toBe(true)
  })

  it.each<[string, (messages: Uint8Array[]) => Uint8Array[]]>([
    ['came twice in a row', ([a, b]) => [a, b, b]],
    ['overtook another', ([a, b, c]) => [a, c, b]],
    ['came twice, the second time late', ([a, b]) => [a, b, a]],
    ['has another first word', ([a, b]) => [a, changed(b, 0)]],
    ['has another last word', ([a, b]) => [a, changed(b, MESSAGE_BYTES - 1)]],
    ['names a sender that there is not', ([a, b]) => [a, changed(b, 4, 7)]],
    ['is shorter', ([a]) => [a.subarray(0, a.length - 4)]],
  ])('refuses a message that %s', (_, arrive) => {
    const { receivers, message } = crowd(1, 1)
    const arriving = arrive([message(0), message(0), message(0)])
    expect(() => {
      for (const bytes of arriving) take(receivers[0], bytes)
    }).toThrow('Receiving from sender')
  })

  it('sees at the end that a message was lost', () => {
    const { senders, receivers, message } = crowd(2, 1)
    message(0)
    take(receivers[0], message(1))
    const check = () => assertAllReceived([senders[0].sent, senders[1].sent], [receivers[0].received])
    expect(check).toThrow('Sender 0 has sent 1 messages, and 0 were received')
  })

  it('sees at the end that two receivers received the same message', () => {
    const { senders, receivers, message } = crowd(1, 2)
    const bytes = message(0)
    for (const receiver of receivers) take(receiver, bytes)
    const check = () =>
      assertAllReceived(
        [senders[0].sent],
        receivers.map((receiver) => receiver.received),
      )
    expect(check).toThrow('Sender 0 has sent 1 messages, and 2 were received')
  })

  it('sees at the end that one message came twice in place of another, even if the sum of their numbers is the same', () => {
    const { senders, receivers, message } = crowd(1, 3)
    const [, second] = [message(0), message(0), message(0)]
    // Numbers 1, 1 and 1 in place of 0, 1 and 2.
    for (const receiver of receivers) take(receiver, second)
    const received = receivers.map((receiver) => receiver.received)
    const check = () => assertAllReceived([senders[0].sent], received)
    expect(check).toThrow('some were lost, and as many came twice')
  })
})

function crowd(first: number, second: number) {
  const counts = { first: new Map<number, number>(), second: new Map<number, number>() }
  const board = {
    expected: 0,
    setCount: (role: 'first' | 'second', index: number, count: number) => void counts[role].set(index, count),
    countOf: (role: 'first' | 'second') => [...counts[role].values()].reduce((sum, count) => sum + count, 0),
  }
  const senders = Array.from({ length: first }, (_, index) => new Stamps(board, index))
  const receivers = Array.from(
    { length: second },
    (_, index) => new Tally(board, { first, second }, index, MESSAGE_BYTES),
  )
  const message = (sender: number): Uint8Array => {
    const bytes = new Uint8Array(OFFSET + MESSAGE_BYTES)
    senders[sender].stamp(bytes, OFFSET, MESSAGE_BYTES)
    return bytes
  }
  return { board, senders, receivers, message }
}

function take(tally: Tally, bytes: Uint8Array): void {
  tally.take(bytes, OFFSET, bytes.length - OFFSET)
}

/** The same message with one other byte. */
function changed(bytes: Uint8Array, at: number, value = 0xee): Uint8Array {
  const copy = bytes.slice()
  copy[OFFSET + at] = value
  return copy
}
