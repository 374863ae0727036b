import { type Consumer, IncompleteMessageError } from '@isthmus/ring'
import { PeerDiedError } from '@isthmus/sync'

/** The content of message `number`: each byte depends on the number and on its place. */
export function messageOf(number: number, byteLength: number): Uint8Array {
  return Uint8Array.from({ length: byteLength }, (_, at) => (number * 37 + at * 5 + 1) & 0xff)
}

export function isMessage(bytes: readonly number[], number: number, byteLength: number): boolean {
  return bytes.length === byteLength && messageOf(number, byteLength).every((byte, at) => byte === bytes[at])
}

/** What a receive gave: a message's bytes, the end, a death, or an unfinished message. */
export type Told = number[] | 'end' | 'death' | 'incomplete'

/** Receives until the producer closes. */
export function receiveToEnd(consumer: Consumer): Told[] {
  const told: Told[] = []
  for (;;) {
    const next = receiveOne(consumer)
    told.push(next)
    if (next === 'end') return told
  }
}

export function receiveOne(consumer: Consumer): Told {
  try {
    const message = consumer.receiveSync()
    return message === null ? 'end' : [...message]
  } catch (error) {
    if (error instanceof PeerDiedError) return 'death'
    if (error instanceof IncompleteMessageError) return 'incomplete'
    throw error
  }
}

export function messagesIn(told: readonly Told[]): number[][] {
  return told.filter((one): one is number[] => Array.isArray(one))
}

export function countOf(told: readonly Told[], what: 'end' | 'death' | 'incomplete'): number {
  return told.filter((one) => one === what).length
}

/** Describes what is wrong with messages that should be number 0, 1, 2 … of these lengths. */
export function wrongSequence(messages: readonly number[][], lengths: readonly number[]): string | undefined {
  if (messages.length !== lengths.length) return `${messages.length} messages were received, not ${lengths.length}`
  const wrong = messages.findIndex((bytes, number) => !isMessage(bytes, number, lengths[number]))
  return wrong < 0 ? undefined : `message ${wrong} arrived as [${messages[wrong].join(' ')}]`
}
