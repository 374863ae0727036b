import { stampBytes } from '../stamp.js'
import { type BroadcastSeat, batchMessagesFor } from './broadcast-subject.js'

/** The messages of a publisher, a batch at a time: the same arrays again and again, with new numbers. */
export class Batches {
  readonly #batch: readonly Uint8Array[]
  readonly #messageBytes: number
  #sequence = 0

  constructor({ messageBytes }: BroadcastSeat) {
    this.#messageBytes = messageBytes
    this.#batch = Array.from({ length: batchMessagesFor(messageBytes) }, () => new Uint8Array(messageBytes))
  }

  *of(messages: number): Generator<readonly Uint8Array[]> {
    const batch = this.#batch
    for (let left = messages; left > 0; left -= batch.length) {
      const count = Math.min(batch.length, left)
      for (let index = 0; index < count; index++) {
        stampBytes(batch[index], 0, this.#messageBytes, this.#sequence++)
      }
      yield count === batch.length ? batch : batch.slice(0, count)
    }
  }
}
