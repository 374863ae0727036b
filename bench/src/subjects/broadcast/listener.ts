import { readInt32 } from '../stamp.js'

/** Checks and counts what one subscriber receives: messages come in order, and those that are missing count as lost. */
export class Listener {
  readonly #messageBytes: number
  /** The number after that of the last message. */
  #next = 0
  #end = 0
  #received = 0

  constructor(messageBytes: number) {
    this.#messageBytes = messageBytes
  }

  /** So many more messages will be published. */
  expect(messages: number): void {
    this.#end += messages
  }

  /** @throws Error if these bytes are no message that may come now */
  take(bytes: Uint8Array, byteOffset: number, byteLength: number): void {
    const sequence = readInt32(bytes, byteOffset)
    const isWhole = byteLength === this.#messageBytes && readInt32(bytes, byteOffset + byteLength - 4) === sequence
    this.hear(sequence, isWhole)
  }

  /**
   * The same, for a message that was looked at in place.
   * @param isWhole whether it had its length, and the bytes that belong to this number
   */
  hear(sequence: number, isWhole: boolean): void {
    if (!isWhole || sequence < this.#next || sequence >= this.#end) throw wrongMessageError(sequence, this.#next)
    this.#next = sequence + 1
    this.#received++
  }

  /** Whether everything that will be published was received or lost. The last message of a transfer is never lost. */
  get isComplete(): boolean {
    return this.#next === this.#end
  }

  get received(): number {
    return this.#received
  }

  get lost(): number {
    return this.#next - this.#received
  }
}

function wrongMessageError(sequence: number, next: number): Error {
  return new Error(`Receiving message ${next}: message ${sequence} came, which is changed, or not in order`)
}

/**
 * Resolves when the listener is complete.
 * @param listen is given what it calls for each message, which is then in private memory
 */
export function untilComplete(
  listener: Listener,
  listen: (take: (message: Uint8Array) => void) => void,
): Promise<void> {
  return new Promise((resolve, reject) => {
    listen((message) => {
      try {
        listener.take(message, 0, message.byteLength)
      } catch (error) {
        reject(error)
      }
      if (listener.isComplete) resolve()
    })
  })
}
