import { type Consumer, IncompleteMessageError, spscRing } from '@isthmus/ring'
import { PeerDiedError, struct, words } from '@isthmus/sync'
import { contentOf } from '../../harness/messages.js'
import { expect, expectEqual } from '../expectations.js'

/** So small a ring that everything happens in it: padding, no space, fragments. */
export const ringLayout = struct({
  ring: spscRing({ capacityBytes: 256 }),
  /**
   * What the victim says of itself: how many messages it has sent, or received, and how many of those it has
   * acknowledged.
   */
  told: words(4),
})

export const SMALL_BYTES = 20
/** A message of six fragments, more than the ring can hold. */
export const LARGE_BYTES = 300

export function messageOf(number: number, byteLength: number): Uint8Array {
  const bytes = contentOf(11, number, byteLength)
  bytes[0] = number
  return bytes
}

/** The messages that a consumer has received, in order. */
export class Received {
  readonly numbers: number[] = []
  incomplete = 0
  /** How the producer's epoch ended, as far as the consumer was told. */
  end: 'died' | 'closed' | 'nothing' = 'nothing'

  /** Adds a message; throws if it is damaged or out of order. */
  note(message: Uint8Array): void {
    const number = message[0]
    const expected = messageOf(number, message.byteLength)
    expect(Buffer.compare(message, expected) === 0, `Message ${number} is damaged`)
    const last = this.numbers.at(-1)
    expect(last === undefined || number === last + 1, `Message ${number} came after ${last}`)
    this.numbers.push(number)
  }

  /** Blocks until nothing comes for `timeoutMs`, or until the end of the epoch. */
  takeSync(consumer: Consumer, timeoutMs: number): this {
    this.end = 'nothing'
    while (this.#handle(() => consumer.receiveSync({ timeoutMs })));
    return this
  }

  async take(consumer: Consumer, timeoutMs: number): Promise<this> {
    this.end = 'nothing'
    for (;;) {
      let result: () => Uint8Array | undefined | null
      try {
        const message = await consumer.receive({ timeoutMs })
        result = () => message
      } catch (error) {
        result = () => {
          throw error
        }
      }
      if (!this.#handle(result)) return this
    }
  }

  /** Returns whether to receive again. */
  #handle(receive: () => Uint8Array | undefined | null): boolean {
    try {
      const message = receive()
      if (message === null) this.end = 'closed'
      if (message === null || message === undefined) return false
      this.note(message)
    } catch (error) {
      if (error instanceof IncompleteMessageError) this.incomplete++
      else if (error instanceof PeerDiedError) {
        this.end = 'died'
        return false
      } else throw error
    }
    return true
  }

  expectNumbers(from: number, to: number, what: string): void {
    expectEqual(
      this.numbers,
      Array.from({ length: Math.max(0, to - from) }, (_, index) => from + index),
      what,
    )
  }
}
