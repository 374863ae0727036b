import { describe, expect, test } from 'vitest'
import { Listener, untilComplete } from '../../src/subjects/broadcast/listener.js'
import { stampBytes } from '../../src/subjects/stamp.js'

const BYTES = 16

function messageOf(sequence: number, messageBytes = BYTES): Uint8Array {
  const message = new Uint8Array(messageBytes)
  stampBytes(message, 0, messageBytes, sequence)
  return message
}

function listenerOf(messages: number) {
  const listener = new Listener(BYTES)
  listener.expect(messages)
  return { listener, take: (message: Uint8Array) => listener.take(message, 0, message.byteLength) }
}

describe('Listener', () => {
  test('it counts what has come, and what is missing before it', () => {
    const { listener, take } = listenerOf(6)
    for (const sequence of [0, 1, 4]) take(messageOf(sequence))
    expect([listener.received, listener.lost, listener.isComplete]).toEqual([3, 2, false])
    take(messageOf(5))
    expect([listener.received, listener.lost, listener.isComplete]).toEqual([4, 2, true])
    listener.expect(1)
    expect(listener.isComplete).toBe(false)
  })

  test.each([
    ['comes twice', messageOf(1)],
    ['comes late', messageOf(0)],
    ['was never published', messageOf(6)],
    ['is too short', messageOf(2, BYTES - 4)],
    ['has another end', Uint8Array.from([...messageOf(2).subarray(0, BYTES - 1), 7])],
  ])('it refuses a message that %s', (_, message) => {
    const { take } = listenerOf(6)
    for (const sequence of [0, 1]) take(messageOf(sequence))
    expect(() => take(message)).toThrow('Receiving message 2')
  })

  test('untilComplete resolves with the last message, and rejects for a wrong one', async () => {
    const right = listenerOf(2).listener
    await untilComplete(right, (take) => {
      for (const sequence of [0, 1]) take(messageOf(sequence))
    })
    const wrong = listenerOf(2).listener
    await expect(untilComplete(wrong, (take) => take(messageOf(2)))).rejects.toThrow('message 2 came')
  })
})
